"""An example of a study as a package of its own, see docs/sweeps.md."""
