"""The pages of experiments: a module per experiment in this folder (`_*.py` are parts), and those of other packages.

A page has `opening(run)`, the first screen, and `sections(run)`, the rest from top to bottom, with None for what the
run did not measure. Another package names its page as an entry point in the group "sigmabench.pages":

    [project.entry-points."sigmabench.pages"]
    NAME = "package.page"

TABLES, if such a page has it, names the tables that its experiment writes besides, with the columns that they must
have. COLUMNS, if it has it, describes columns that reports/schema.py does not know. Only these modules are imported,
never one that a file names.
"""

import pkgutil
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType

from reports.schema import COLUMNS, TABLES, Column

PAGES = "sigmabench.pages"
OURS = {module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")}


def page_of(experiment: str) -> ModuleType:
    """The page of an experiment. Raises ValueError if there is none."""
    page = import_module(f"{__name__}.{experiment}") if experiment in OURS else _installed(experiment)
    if page:
        return page
    known = ", ".join(sorted({*OURS, *entry_points(group=PAGES).names}))
    raise ValueError(
        f"run.json: experiment={experiment!r}: no page is installed for it, only for {known}; install the package that "
        "it comes from (for this one: pip install -e .)"
    )


def _installed(experiment: str) -> ModuleType | None:
    return next((entry.load() for entry in entry_points(group=PAGES, name=experiment)), None)


def tables_of(experiment: str) -> dict[str, tuple[str, ...]]:
    """The tables that a result folder of an experiment may have, with the columns that each must have."""
    return TABLES | getattr(_installed(experiment), "TABLES", {})


def columns_of(experiment: str) -> dict[str, Column]:
    """The description of the columns of these tables."""
    return COLUMNS | getattr(_installed(experiment), "COLUMNS", {})
