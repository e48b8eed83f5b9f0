"""Data sets by name (load.py), what one is in memory (dataset.py), and the files of a user's (readers.py)."""
