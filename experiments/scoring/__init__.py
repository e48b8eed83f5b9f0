"""Images that people already have, scored: `python -m experiments score REAL A B`; in Python `compare` and `score`."""
