"""Which sampler settings are best for a network? The experiment, and its settings as text."""
