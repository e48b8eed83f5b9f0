"""The size of the repository is limited, in tokens of Python: a limit on lines paid for packed lines.

A limit has 1.5 % of room above the size when it was set. Only a capability raises a limit, in a commit of its own that
says what for and what the capability replaced.
"""

import ast
import io
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ("bench", "diffusion_core", "experiments", "reports")
LIMITS = {
    "tokens outside tests": 206_900,
    "tokens of tests": 189_700,
    "files outside tests": 183,
    "words of docs": 30_000,
}
SLACK = 0.04  # a size that fell further below its limit: lower the limit
LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def count_tokens(text: str) -> int:
    """The tokens without comments, docstrings, imports and layout."""
    skipped = set[int]()
    for node in ast.walk(ast.parse(text)):
        docstring = (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and type(node.value.value) is str
        )
        if docstring or isinstance(node, ast.Import | ast.ImportFrom):
            skipped.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sum(token.type not in LAYOUT and token.start[0] not in skipped for token in tokens)


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    texts = [path.read_text() for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")]
    tests = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    docs = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / folder / "LOG.md" for folder in PRODUCT)]
    return {
        "tokens outside tests": sum(map(count_tokens, texts)),
        "tokens of tests": sum(map(count_tokens, tests)),
        "files outside tests": len(texts),
        "words of docs": sum(len(path.read_text().split()) for path in docs if path.is_file()),
    }


@pytest.mark.parametrize("name", LIMITS)
def test_the_repository_grows_only_by_a_commit_that_says_what_for(name: str, sizes: dict[str, int]) -> None:
    assert sizes[name] <= LIMITS[name], f"{name}: {sizes[name]:,}, above the limit"
    assert sizes[name] >= (1 - SLACK) * LIMITS[name], f"{name}: it fell to {sizes[name]:,}; lower the limit"


def test_tokens_are_counted_without_docstrings_comments_imports_and_layout() -> None:
    text = '"""Words."""\n\nimport re  # 1\n\n\ndef f() -> int:\n    """More\n    words."""\n    # why\n    return 1\n'
    assert count_tokens(text) == len("def f ( ) -> int : return 1".split())
    packed, spread = "a, b = 1, 2\n", "a = (\n    1\n)\nb = 2\n"
    assert count_tokens(spread) == 8  # a longer text is no larger by its lines
    assert count_tokens(packed) == 7
