"""Sigmabench's method: noise laws, ladders, samplers, networks and the training loop. Needs torch alone.

The model contract used everywhere: `eps = model(x, sigma)` with x float (B, C, H, W) and sigma float (B,); eps has the
shape of x and estimates the unit noise in x = x0 + sigma * noise. `denoised = x - sigma * eps`.
"""

from diffusion_core.samplers.sampling import generate_samples

__all__ = ["generate_samples"]
