"""Pages on finished results: reads the files of a result folder, writes report.html, report.md and figures/.

It computes no statistic: differences, intervals and verdicts are read from contrasts.csv. `page.py` has the parts that
every page consists of, and `pages/` has one module per question with what is its own.
"""
