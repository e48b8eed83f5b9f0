"""How good samples are: features, distances between sets of them, and how sure those are."""
