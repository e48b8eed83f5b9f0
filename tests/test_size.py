"""The size of the repository is limited, in tokens of Python: a limit on lines paid for packed lines.

Each room of the product has its own limit, so that none grows at another's expense. A limit lay 1.5 % above the size
when it was set. Only a capability raises a limit, in a commit of its own that says what for and what it replaced.
"""

from collections import Counter
from pathlib import Path

import pytest
from token_count import count_tokens

ROOT = Path(__file__).parents[1]
PRODUCT = ("bench", "diffusion_core", "experiments", "reports")
MISSION = "mission: sweep, train, sample, score, time, report"
ROOMS = {  # the paths that begin so; all others are the mission's
    "judges of other people's code": (
        "bench/published", "experiments/check_sampler", "experiments/conformance",
        "experiments/levels", "reports/pages/conformance", "reports/pages/levels",
    ),
    "image sets": (
        "experiments/compare_results", "experiments/distances/duplicates", "experiments/distances/equivalence",
        "experiments/scoring", "reports/pages/harmless", "reports/pages/score",
    ),
    "infrastructure": (
        "experiments/__main__", "experiments/cli", "experiments/console", "experiments/entrypoint",
        "experiments/run/autotune", "experiments/run/cache", "experiments/run/identity",
        "experiments/run/machine", "experiments/run/options", "experiments/run/ray_runner", "experiments/run/runner",
        "experiments/run/spot_check", "experiments/store", "experiments/user/imports", "experiments/user/json_io",
        "experiments/names", "reports/__main__", "reports/cli",
    ),
    "own models": (
        "diffusion_core/adapters", "experiments/check", "experiments/user",
    ),
}  # fmt: skip
LIMITS = {
    MISSION: 99_700,
    "judges of other people's code": 23_720,
    "image sets": 21_130,
    "infrastructure": 16_330,
    "own models": 21_510,
    "tokens of tests": 160_100,
    "files outside tests": 168,
    "words of docs": 25_100,
}
SLACK = 0.04  # a size that fell further below its limit: lower the limit


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    product = [path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")]
    docs = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / folder / "LOG.md" for folder in PRODUCT)]
    sizes = Counter({
        "tokens of tests": sum(count_tokens(path.read_text()) for path in (ROOT / "tests").rglob("*.py")),
        "files outside tests": len(product),
        "words of docs": sum(len(path.read_text().split()) for path in docs if path.is_file()),
    })  # fmt: skip
    for path in product:
        sizes[find_room(path.relative_to(ROOT).as_posix())] += count_tokens(path.read_text())
    return sizes


def find_room(path: str) -> str:
    """The first room that has the path."""
    return next((room for room, beginnings in ROOMS.items() if path.startswith(beginnings)), MISSION)


@pytest.mark.parametrize("name", LIMITS)
def test_the_repository_grows_only_by_a_commit_that_says_what_for(name: str, sizes: dict[str, int]):
    assert sizes[name] <= LIMITS[name], f"{name}: {sizes[name]:,}, above the limit"
    assert sizes[name] >= (1 - SLACK) * LIMITS[name], f"{name}: it fell to {sizes[name]:,}; lower the limit"


@pytest.mark.parametrize("text, tokens", [
    ('"""Words."""\n\nimport re  # 1\n\n\ndef f() -> int:\n    """More\n    words."""\n    # why\n    return 1\n',
     "def f ( ) -> int : return 1"),
    ("a, b = 1, 2\n", "a , b = 1 , 2"),
    ("a = (\n    1\n)\nb = 2\n", "a = ( 1 ) b = 2"),  # a longer text is no larger by its lines
    ('é = f"""{a} of\n{b:.{c - 1}f}""" f"{d!r}" "e"\nf = 1\n', "é = '' a b c - 1 d f = 1"),  # columns of é are bytes
    ("a = f\"{'-'.join([f'{b}s' for b in c])}\"\n", "a = '' '-' . join ( [ '' b for b in c ] )"),
], ids=["layout", "packed", "spread", "f-string", "nested f-string"])  # fmt: skip
def test_tokens_are_counted_alike_by_every_python(text: str, tokens: str):
    assert count_tokens(text) == len(tokens.split())
