"""Networks that are not trained here: somebody else's, and the exact denoiser of a known distribution."""
