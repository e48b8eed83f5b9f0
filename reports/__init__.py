"""Reports on finished runs: reads the files of a run directory, writes report.html, report.md and figures/.

It imports neither torch nor the rest of the project. Differences, intervals and verdicts are read from contrasts.csv,
not computed here. `pages/` has one module per experiment with the sections of its report. They share:

    columns       the meaning of every column     document      the blocks of a report
    results       files -> validated DataFrames   components    captions, figures and sections for any experiment
    formats       numbers -> text                 tables        tables for any experiment
    sentences     contrasts -> sentences          best_setting  verdicts on many settings
    figures       DataFrame -> axes               render        blocks -> Markdown and HTML

`speed/` is the report on the benchmarks.
"""
