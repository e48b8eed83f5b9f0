"""Is a sampler right? With an exact denoiser, every error is the sampler's.

verdict = check(sampler, order=2)           # Verdict: what is wrong, in a sentence
assert_converges(sampler, order=2)          # for a test suite

oracle.py        exact predictions for VE, VP and flow matching
independence.py  row by row, as its generator says, and the same in each call
impulses.py      the moments of the samples, exactly; by Monte Carlo where they are not affine in the noise
convergence.py   from moments at several numbers of steps to a verdict
levels.py        which levels it visits, of the ladders of known_ladders.py
policy/          stochastic steps with a log-probability
wrappers.py      samplers of other signatures: ours, diffusers, k-diffusion, smalldiffusion, a step of flow matching
"""

from diffusion_core.conformance import wrappers
from diffusion_core.conformance.check import assert_converges, check
from diffusion_core.conformance.convergence import BUDGETS, Verdict
from diffusion_core.conformance.impulses import SampleMoments, SamplerFunction
from diffusion_core.conformance.levels import Levels, assert_levels, find_levels
from diffusion_core.conformance.oracle import GAUSSIAN, Oracle
from diffusion_core.conformance.policy import PolicyVerdict, assert_policy, check_policy

__all__ = [
    "BUDGETS",
    "GAUSSIAN",
    "Levels",
    "Oracle",
    "PolicyVerdict",
    "SampleMoments",
    "SamplerFunction",
    "Verdict",
    "assert_converges",
    "assert_levels",
    "assert_policy",
    "check",
    "check_policy",
    "find_levels",
    "wrappers",
]
