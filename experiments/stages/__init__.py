"""Config in, artifact out: training, sampling, scoring, and measurements on denoisers."""
