"""The house keeps its order: imports point one way, without a cycle, in every folder."""

import ast
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from fresh import python

ROOT = Path(__file__).parents[1]
PACKAGES = ("diffusion_core", "experiments", "reports")
QUESTIONS = ("cli", "beta", "schedules", "noise_levels", "questions")
# each may import those before it; then questions
LAYERS = (("entrypoint", "console"), ("distances",), ("user",), ("names",), ("run", "settings"))


def modules() -> dict[str, Path]:
    """Every module by its dotted name, those in sub-folders too; a package's __init__ under the package's name."""
    found = {}
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


@cache
def imports(types: bool = True) -> dict[str, set[str]]:
    """What each module imports of these packages, at its top or inside a function; for its types too."""
    known, found = modules(), {}
    for name, path in known.items():
        uses = found[name] = set[str]()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not types:
            tree.body = [part for part in tree.body if not isinstance(part, ast.If)]  # `if TYPE_CHECKING`
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                uses |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.module and node.level == 0, f"{path}: imports are written in full"
                inside = {f"{node.module}.{alias.name}" for alias in node.names} & known.keys()
                uses |= inside or {node.module}
    return {name: (uses & known.keys()) - {name} for name, uses in found.items()}


def layer(module: str) -> int:
    """The place of a module of `experiments` among the layers; the questions come last."""
    name = module.split(".")[1]
    return next((place for place, names in enumerate(LAYERS) if name in names), len(LAYERS))


def test_imports_form_no_cycle_and_the_engine_has_at_most_nine_floors():
    """Imports for types count, and sub-folders too."""
    packages = {name for name, path in modules().items() if path.name == "__init__.py"}
    graph = {name: uses - packages for name, uses in imports().items() if name not in packages}
    floors = dict[str, int]()
    for name in TopologicalSorter(graph).static_order():  # raises CycleError, which names the modules
        if name.startswith("experiments.run."):
            floors[name] = 1 + max((floors[use] for use in graph[name] if use in floors), default=0)
    assert 1 < max(floors.values()) <= 9, max(floors, key=lambda name: floors[name])


def test_the_core_stands_alone_and_reports_but_for_the_edge_of_a_program():
    known = {name: uses for name, uses in imports().items() if not name.startswith("experiments")}
    found = {(name, use) for name, uses in known.items() for use in uses if use.split(".")[0] != name.split(".")[0]}
    assert found == {("reports.__main__", "experiments.entrypoint")}


def test_one_module_of_experiments_knows_reports_but_for_types_and_the_words_of_tables():
    uses = imports(types=False)
    assert not uses["reports.schema"]  # so that anyone may import it
    others = {name: used - {"reports.schema"} for name, used in uses.items()}
    known = {name for name in others if any(use.split(".")[0] == "reports" for use in others[name])}
    assert {name for name in known if name.startswith("experiments")} == {"experiments.run.result_folder"}


def test_layers_of_experiments_point_one_way():
    pairs = [(name, use) for name, uses in imports().items() for use in uses]
    inside = [pair for pair in pairs if all(name.startswith("experiments.") for name in pair)]
    assert not [f"{name} -> {use}" for name, use in inside if layer(use) > layer(name)]


@pytest.mark.slow
def test_the_example_of_readme_imports_the_nine_files_that_are_the_method():
    lines = (ROOT / "diffusion_core" / "__init__.py").read_text().partition("nine files")[2].partition("contract")[0]
    named = {match.replace("/", ".") for match in re.findall(r"^    ([\w/]+)\.py ", lines, re.MULTILINE)}
    code = "import sys; from diffusion_core import Euler, LogNormal, build, geometric, sample, train; build('small'); "
    imported = python(f"{code}print(*sys.modules)").stdout.split()
    assert len(named) == 9 and {f"diffusion_core.{name}" for name in named} <= {*imported}


def test_conformance_needs_the_core_the_names_and_two_modules_of_users():
    parts = {name: uses for name, uses in imports().items() if f"{name}.".startswith("experiments.conformance.")}
    outside = {use for uses in parts.values() for use in uses if not use.startswith(("diffusion_core.", *parts))}
    users = {"experiments.user.imports", "experiments.user.diffusers_schedulers"}
    assert outside == {"experiments.names", *users}


@pytest.mark.slow
@pytest.mark.parametrize("packages, forbidden", [
    ("experiments.conformance", "pandas matplotlib seaborn tyro torchvision torch_fidelity"),
    ("diffusion_core", "experiments reports pandas seaborn tyro"),
    ("reports.__main__", "torch numpy pandas seaborn tyro"),
    ("experiments.check, experiments.check_sampler, reports.cli", "torch numpy pandas scipy matplotlib"),
    ("experiments.scoring.command", "torch pandas scipy"),
    *((f"experiments.{name}", "torch numpy pandas scipy") for name in QUESTIONS),
])  # fmt: skip
def test_heavy_packages_stay_out(packages: str, forbidden: str):
    code = f"import sys, {packages}; print(sorted({{*{forbidden.split()}}} & set(sys.modules)))"
    assert python(code).stdout == "[]\n"


def test_tests_and_benchmarks_are_told_apart(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    ignored = request.config.hook.pytest_ignore_collect
    for benchmark, wanted, unwanted in ((False, "tests", "bench"), (True, "bench", "tests")):
        monkeypatch.setattr(request.config.option, "benchmark", benchmark)
        assert ignored(collection_path=ROOT / unwanted, config=request.config)
        assert not ignored(collection_path=ROOT / wanted, config=request.config)
    benchmarks = pytest.Module.from_parent(request.session, path=ROOT / "bench" / "bench_loop.py")
    assert "bench_loop_alone" in {function.name.partition("[")[0] for function in benchmarks.collect()}
