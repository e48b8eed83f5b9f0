"""The quality of samples: features, distances between sets of features, and the uncertainty of these distances."""
