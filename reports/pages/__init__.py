"""The pages of experiments, a module per experiment in this folder (`_*.py` are parts).

A page has `opening(run)`, the first screen, and `sections(run)`, the rest from top to bottom, with None for what the
run did not measure. Only these modules are imported, never one that a file names.
"""

import pkgutil
from importlib import import_module
from types import ModuleType

PAGES = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def page_of(experiment: str) -> ModuleType:
    """The page of an experiment. Raises ValueError if there is none."""
    if experiment not in PAGES:
        raise ValueError(
            f"run.json: experiment={experiment!r}: this version has no page for it, only for {', '.join(PAGES)}; a "
            "report.html beside it stays as it was written"
        )
    return import_module(f"{__name__}.{experiment}")
