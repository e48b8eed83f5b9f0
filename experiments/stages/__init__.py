"""Config in, artifact out: training, sampling, scoring, and the probes of `why_noise`."""
