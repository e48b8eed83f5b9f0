"""Experiments: one file per question; `python -m experiments NAME` runs it."""
