"""Models that are not trained here: networks from elsewhere, and the exact denoiser of a known distribution."""
