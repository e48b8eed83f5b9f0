"""Is a stochastic step of a flow model right as a policy: does its log_prob belong to the noise that it draws?

verdict = check_policy(step, noise="noise_level")    # PolicyVerdict: what is wrong, in sentences
assert_policy(step, replay=trainer_step)             # for a test suite

steps.py      a step under exact velocities, and what it really draws, by impulses
density.py    log_prob, reported mean and std against what is drawn
replay.py     log_prob of stored samples, in float32 and bfloat16, and its gradient
sampling.py   finite ends, batches, generators, the ODE, the law of the samples
verdict.py    what was found
"""

from diffusion_core.conformance.policy.checking import assert_policy, check_policy
from diffusion_core.conformance.policy.verdict import ACCEPTABLE, CHECKS, PolicyVerdict, Remark

__all__ = ["ACCEPTABLE", "CHECKS", "PolicyVerdict", "Remark", "assert_policy", "check_policy"]
