"""Pages on finished results: reads the files of a result folder, writes report.html, report.md and figures/.

It computes no statistic. `pages/` has what is a page's own; the other modules have the parts of every page.
"""
