"""One file per experiment: the sections of its report, from top to bottom."""
