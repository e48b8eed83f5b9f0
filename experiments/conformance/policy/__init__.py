"""Is a stochastic step of a flow model right as a policy: does its log_prob belong to the noise that it draws?

verdict = check_policy(step, noise="noise_level")    # PolicyVerdict: what is wrong, in sentences
assert_policy(step, replayed_by=trainer_step)        # for a test suite
"""

from experiments.conformance.policy.check import assert_policy, check_policy
from experiments.conformance.policy.findings import ACCEPTABLE, CHECKS, Finding, PolicyVerdict
