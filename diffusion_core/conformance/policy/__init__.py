"""Is a stochastic step of a flow model right as a policy: does its log_prob belong to the noise that it draws?

verdict = check_policy(step, noise="noise_level")    # PolicyVerdict: what is wrong, in sentences
assert_policy(step, replay=trainer_step)             # for a test suite

steps.py     a step under exact velocities, and what it really draws, by impulses
log_prob.py  log_prob, reported mean and std against what is drawn
replay.py    log_prob of stored samples, in float32 and bfloat16, and its gradient
check.py     these, finite ends, independence, the ODE, and the law of the samples
findings.py  what was found
"""

from diffusion_core.conformance.policy.check import assert_policy, check_policy
from diffusion_core.conformance.policy.findings import ACCEPTABLE, CHECKS, Finding, PolicyVerdict

__all__ = ["ACCEPTABLE", "CHECKS", "Finding", "PolicyVerdict", "assert_policy", "check_policy"]
