"""The size of the repository is a limit. A commit may lower a number here; to raise one takes a commit of its own.

That commit says for which capability, and what it replaced.
"""

import ast
import io
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = ("bench", "diffusion_core", "experiments", "reports")
LIMITS = {
    "lines outside tests": 23_584,
    "lines of code outside tests": 14_399,  # without docstrings, comments, blank lines and imports
    "lines of tests": 16_124,
    "classes outside tests": 195,
    "files outside tests": 170,
    "words of docs": 29_153,
}
SLACK = 0.01  # a number that fell by more is to be written down
SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code(text: str) -> int:
    """The lines with a token that is no comment, docstring or import."""
    lines = set[int]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SKIPPED:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        docstring = (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and type(node.value.value) is str
        )
        if docstring or isinstance(node, ast.Import | ast.ImportFrom):
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return len(lines)


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    texts = [path.read_text() for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")]
    tests = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    docs = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / folder / "LOG.md" for folder in PRODUCT)]
    classes = [node for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)]
    return {
        "lines outside tests": sum(len(text.splitlines()) for text in texts),
        "lines of code outside tests": sum(map(code, texts)),
        "lines of tests": sum(len(text.splitlines()) for text in tests),
        "classes outside tests": len(classes),
        "files outside tests": len(texts),
        "words of docs": sum(len(path.read_text().split()) for path in docs if path.is_file()),
    }


@pytest.mark.parametrize("name", LIMITS)
def test_the_repository_grows_only_by_a_commit_that_says_what_for(name: str, sizes: dict[str, int]) -> None:
    assert sizes[name] <= LIMITS[name], f"{name}: {sizes[name]:,}, above the limit"
    assert sizes[name] >= (1 - SLACK) * LIMITS[name], f"{name}: it fell to {sizes[name]:,}; lower the limit"


def test_code_is_counted_without_docstrings_comments_and_imports() -> None:
    text = '"""Words."""\n\nimport re  # 1\n\n\ndef f() -> int:\n    """More\n    words."""\n    # why\n    return 1\n'
    assert code(text) == 2
