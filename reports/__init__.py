"""Reports on finished runs: reads the files of a run directory, writes report.html, report.md and figures/.

It imports neither torch nor the rest of the project, and computes no statistics: differences, intervals and verdicts
are read from contrasts.csv. One module an experiment (`beta.py`) lists the sections of its report, over shared parts:

    columns   what every column means          tables    files -> validated DataFrames
    formats   a number -> text                 figures   DataFrame -> axes
    verdicts  contrasts -> sentences           blocks    what a report is made of
    parts     captions, figures and sections that any experiment can use
    tables    tables that any experiment can use
    render    blocks -> Markdown and HTML
"""
