"""Is a sampler right? With an exact denoiser, every error is the sampler's.

verdict = check(sampler, order=2)           # Verdict: what is wrong, in a sentence
assert_converges(sampler, order=2)          # for a test suite
assert_levels(sampler, "flow(shift=3)", 28) # which noise levels it visits
"""

from experiments.conformance import wrappers
from experiments.conformance.check import assert_converges, check
from experiments.conformance.convergence import Verdict
from experiments.conformance.impulses import SamplerFunction
from experiments.conformance.levels import Levels, assert_levels, find_levels
from experiments.conformance.oracle import Oracle
