"""The files of a result folder, edited by a test; and the tags of a page."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd

Change = Callable[[pd.DataFrame], pd.DataFrame]


def edit(path: Path, change: Change) -> None:
    """Rewrites a CSV. All of its cells are texts."""
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)


class Page(HTMLParser):
    """The tags of a page with their attributes, in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each of these tags."""
        return [attributes for name, attributes in self.tags if name == tag]
