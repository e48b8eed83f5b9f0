"""Is a sampler right? With an exact denoiser, every error is the sampler's.

verdict = check(sampler, order=2)           # Verdict: what is wrong, in a sentence
assert_converges(sampler, order=2)          # for a test suite
assert_levels(sampler, "flow(shift=3)", 28) # which noise levels it visits
"""

from diffusion_core.conformance import wrappers
from diffusion_core.conformance.check import assert_converges, check
from diffusion_core.conformance.convergence import BUDGETS, Verdict
from diffusion_core.conformance.guidance import assert_guided, check_guidance
from diffusion_core.conformance.impulses import SampleMoments, SamplerFunction
from diffusion_core.conformance.levels import Levels, assert_levels, find_levels
from diffusion_core.conformance.oracle import GAUSSIAN, Oracle
from diffusion_core.conformance.policy import PolicyVerdict, assert_policy, check_policy
