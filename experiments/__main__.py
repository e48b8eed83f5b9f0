"""`python -m experiments NAME ...` and `sigmabench NAME ...`: run an experiment, manage the store, write a report.

Exit status: 0 if every run succeeded, 1 if one failed, 2 for invalid arguments, 130 after an interrupt. Modules are
imported only when the command needs them, so that --help appears at once.
"""

import sys
import time
from importlib import import_module
from types import ModuleType

from experiments.entrypoint import exit_on_interrupt, program_name, reject_empty_arguments, run_main

OTHERS = {  # name -> module whose command(arguments, prog) returns the exit status, and title
    "check": (
        "experiments.check",
        "Does your pretrained network denoise as it should? check --network python:my_model:eps",
    ),
    "check-sampler": (
        "experiments.check_sampler",
        "Is a sampler right, if its network is exact? check-sampler my_file:sampler",
    ),
    "levels": (
        "experiments.levels",
        "Which noise levels does a sampler visit? levels my_file:sampler --steps 4 8 28",
    ),
    "score": (
        "experiments.scoring.command",
        "Which of these images are nearest to real ones? With intervals: score REAL A B",
    ),
    "compare": (
        "experiments.compare_results",
        "Did your change help? Two results of one experiment: compare BEFORE AFTER",
    ),
    "bench": (
        "bench.command",
        "How fast is a sampling loop, beside others' and before? bench --sampler my_file:Mine",
    ),
    "store": ("experiments.store", "what the store of networks, samples and scores holds"),
    "reports": ("reports.cli", "Pages of finished runs: reports DIR; reports index FOLDER; reports publish DIR OUT"),
}


def main() -> int:
    """Parses the arguments and runs the command. Prints any error as one line. Returns the exit status."""
    return run_main(lambda: _run([*reject_empty_arguments(sys.argv[1:])]))


sigmabench = main  # the console command


def _run(arguments: list[str]) -> int:
    began = time.time()
    cli = _imported("experiments.cli")
    if arguments == ["--version"]:
        print(f"sigmabench {_imported('importlib.metadata').version('sigmabench')}")
        return 0
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview(cli))
        return 0 if arguments else 2
    name, *rest = arguments
    names = [*cli.STUDIES, "sweep", *OTHERS]
    if name in OTHERS:
        return int(_imported(OTHERS[name][0]).command(rest, f"{program_name()} {name}"))
    if name not in names:
        close = _imported("difflib").get_close_matches(name, names, 1)
        hint = f"did you mean {close[0]}?" if close else f"the names are {', '.join(names)}"
        raise ValueError(f"{name}: there is no such experiment; {hint}")
    study, options, folder = cli.parse(name, rest, program_name())
    return int(_imported("experiments.sweep").run_study(study, options, folder, began).status)


def _imported(name: str) -> ModuleType:
    with exit_on_interrupt():
        return import_module(name)


def overview(cli: ModuleType) -> str:
    """The text of `--help`."""
    titles = {name: study.question for name, study in cli.STUDIES.items()} | {"sweep": cli.SWEEP}
    titles |= {name: title for name, (_, title) in OTHERS.items()}
    lines = "\n".join(f"  {name:13} {title}" for name, title in titles.items())
    prog = program_name()
    return f"""usage: {prog} NAME [options]

Each experiment answers one question about the noise of a diffusion model with a report.

{lines}

{cli.SYMBOLS}

Start with:
  {prog} beta --preset smoke     about 20 seconds: does everything work here?
  {prog} beta --help             its options, with examples"""


if __name__ == "__main__":
    sys.exit(main())
