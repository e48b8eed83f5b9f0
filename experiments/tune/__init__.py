"""Which sampler settings are best for a network? The experiment, its settings as text, and proposals of new ones."""
