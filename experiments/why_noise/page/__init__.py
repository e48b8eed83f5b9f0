"""The page of `why_noise`, an entry point in the group "sigmabench.pages". It reads tables and imports reports only."""

from experiments.why_noise.page.evidence import sections
from experiments.why_noise.page.first_screen import opening
from experiments.why_noise.page.tables import COLUMNS, TABLES

__all__ = ["COLUMNS", "TABLES", "opening", "sections"]
