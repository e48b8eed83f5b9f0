"""Reports on finished runs: reads the files of a run directory, writes report.html, report.md and figures/.

It imports neither torch nor the rest of the project. Differences, intervals and verdicts are read from contrasts.csv,
not computed here, except between budgets and between runs (`budgets`). `pages/` has one module per experiment with its
first screen and its sections.
"""
