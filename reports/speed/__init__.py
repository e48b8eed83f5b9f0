"""The report on the benchmarks."""
