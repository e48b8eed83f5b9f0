"""Pages of experiments that other packages bring: entry points in the group "sigmabench.pages".

    [project.entry-points."sigmabench.pages"]
    NAME = "package.page"

A page is a module with `opening(run)` and `sections(run)`. TABLES, if it has it, names the tables that its experiment
writes besides, with the columns that they must have; `run.more` holds them. COLUMNS, if it has it, describes columns
that reports/schema.py does not know. Only installed entry points are imported, never a module that a file names.
"""

from importlib.metadata import entry_points
from types import ModuleType

from reports.schema import COLUMNS, TABLES, Column

PAGES = "sigmabench.pages"


def installed_pages() -> list[str]:
    """The names of the experiments that have such a page."""
    return sorted(entry_points(group=PAGES).names)


def installed_page(experiment: str) -> ModuleType | None:
    """The page of an experiment, None if no installed package brings it."""
    return next((entry.load() for entry in entry_points(group=PAGES, name=experiment)), None)


def tables_of(experiment: str) -> dict[str, tuple[str, ...]]:
    """The tables that a result folder of an experiment may have, with the columns that each must have."""
    return TABLES | getattr(installed_page(experiment), "TABLES", {})


def columns_of(experiment: str) -> dict[str, Column]:
    """The description of the columns of these tables."""
    return COLUMNS | getattr(installed_page(experiment), "COLUMNS", {})
