"""The pages: one file per experiment with the sections of its report, from top to bottom."""
