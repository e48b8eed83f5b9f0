"""Reports on finished runs: reads the files of a run directory, writes report.html, report.md and figures/.

It imports neither torch nor the rest of the project. Differences, intervals and verdicts are read from contrasts.csv,
not computed here, except between budgets and between runs (`budgets`). `pages/` has one module per experiment with its
first screen and its sections. They share:

    schema        tables, columns, verdicts       document      the blocks of a report
    publish       a result in few files           edge          how every program ends
    results       files -> validated DataFrames   openings      first screens: how sure, status, warnings
    formats       numbers -> text                 components    captions, figures and sections for any experiment
    sentences     contrasts -> sentences          explorer      knobs, samples and films
    tips          the text of a point             best_sets     the settings that cannot be told from the best
    figures/      DataFrame -> axes               tables        tables for any experiment
    drawing       figures -> SVG                  render        blocks -> Markdown and HTML

`budgets` says whether more evaluations help. `index` and `compare` look at several runs, `track` writes to MLflow.
`speed/` is the report on the benchmarks.
"""
