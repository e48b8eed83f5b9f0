"""Is guidance what was asked for: u + w (c - u), at every evaluation, with each sample's own prompt and negative?

verdict = check_guidance(pipeline)          # PolicyVerdict: what is wrong, in sentences
assert_guided(pipeline, scales=interval)    # for a test suite
"""

from experiments.conformance.guidance.check import assert_guided, check_guidance
from experiments.conformance.guidance.faults import ACCEPTABLE, CHECKS
