"""README and docs show only what works: their Python runs, their commands parse, their smoke runs and reports run."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import tyro
import warm
from own_sweep import FILE, written
from smoke import smoke

from bench.command import BenchOptions
from diffusion_core.networks import PARAMETERISATIONS
from diffusion_core.registry import NOISE_DISTRIBUTIONS, SAMPLERS
from diffusion_core.schedules import SCHEDULES
from diffusion_core.weightings import WEIGHTINGS
from experiments import check, check_sampler, compare_results, levels, store
from experiments.cli import STUDIES, parse
from experiments.run.networks import RECIPES
from experiments.scoring.command import ScoreOptions
from reports.schema import TABLES, all_columns

ROOT = Path(__file__).parents[1]
PATHS = (ROOT / "README.md", ROOT / "AGENTS.md", *sorted(ROOT.glob("docs/*.md")))
DOCUMENTS = {path: path.read_text(encoding="utf-8") for path in PATHS}
OF_A_RUN = ["seconds", "train_seconds", "shared_device", "finished_at", "trained_commit"]  # columns that may differ
LONGEST = {"README.md": 120, "AGENTS.md": 60}  # lines


def blocks(language: str) -> list[str]:
    return [block for text in DOCUMENTS.values() for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


SHOWN = ROOT / "docs" / "examples"
FEW_EVALUATIONS = "docs/examples/consistency.py"
BOARD = "# to_tensorboard.py"
CELLS = json.loads((SHOWN / "first_steps.ipynb").read_text())["cells"]
SOURCES = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
NOTEBOOK = "\n".join(SOURCES).replace("30_000", "60_000")  # it trains half as long
EXAMPLES = [NOTEBOOK, *(block for block in blocks("python") if not block.startswith(BOARD))]


@pytest.mark.slow
@pytest.mark.parametrize("code", EXAMPLES, ids=lambda code: code.splitlines()[0][:40])
def test_python_examples_run(code: str, tmp_path: Path):
    done = warm.run("-c", code.replace("60_000", "640"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_notebook_is_readmes_example_with_its_output():
    (readme,) = (block for block in EXAMPLES[1:] if "load, sample, train\n\ntorch.manual_seed" in block)
    assert {*readme.splitlines()[4:10]} <= {*NOTEBOOK.splitlines()}
    outputs = [output for cell in CELLS for output in cell.get("outputs", ())]
    assert [*outputs[0]["text"]][-1].startswith("25,600 images, loss 0.")
    assert ["image/png" in output["data"] for output in outputs[1:]] == [True, True]
    assert (SHOWN / "first_steps.ipynb").stat().st_size < 150_000


STAND_IN = """
import sys, types
class SummaryWriter:
    def __init__(self, folder): print("folder", folder)
    __enter__, __exit__ = lambda self: self, lambda self, *error: None
    def add_scalar(self, tag, value, step): print(tag, float(value), step)
sys.modules["torch.utils.tensorboard"] = types.SimpleNamespace(SummaryWriter=SummaryWriter)
"""


@pytest.mark.slow
def test_the_recipe_for_tensorboard_writes_losses_and_scores(tmp_path: Path):
    """With a stand-in, since no extra brings tensorboard."""
    (code,) = (block for block in blocks("python") if block.startswith(BOARD))
    assert len(code.splitlines()) <= 14
    folder = tmp_path / "runs" / "beta-laptop"
    folder.mkdir(parents=True)
    (folder / "table.csv").write_text("section,setting,train_seed,mmd,fd,train_loss\nall,eta 0,3,0.5,2.0,7.0\n")
    done = warm.run("-c", STAND_IN + code, cwd=tmp_path)
    first, *losses, mmd, fd, last = done.stdout.splitlines()
    assert first == "folder runs/tensorboard" and [mmd, fd] == ["all/eta 0/mmd 0.5 3", "all/eta 0/fd 2.0 3"]
    assert last == "all/eta 0/train_loss 7.0 3"
    assert [int(line.split()[-1]) for line in losses] == [64, 128, 192, 256, 320] and losses[0].startswith("loss ")


@pytest.mark.slow(15)
def test_the_tests_of_a_pipeline_end_as_the_page_says(tmp_path: Path):
    pytest.importorskip("diffusers", reason="diffusers is not installed (extra `peers`)")
    pytest.importorskip("efficientnet_lite_pytorch", reason="its package is not installed (extra `natural`)")
    shutil.copy(SHOWN / "test_pipeline.py", tmp_path)
    done = warm.run("-m", "pytest", "--tb=line", "test_pipeline.py", cwd=tmp_path)
    assert re.findall(r"test_pipeline.py ([.F]+) ", done.stdout) == ["..F"], done.stdout + done.stderr
    (said,) = re.findall(r"^E +AssertionError: (.+ replacing) \d+( .+)", done.stdout, re.MULTILINE)
    page = re.sub(r"replacing \d+", "replacing", " ".join(DOCUMENTS[ROOT / "docs" / "score.md"].split()))
    assert "".join(said) in page


def test_workflows_run_these_tests():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed (extra `peers`)")
    workflow = yaml.safe_load((SHOWN / "harmless.yml").read_text())
    steps = workflow["jobs"]["harmless"]["steps"]
    assert [step["run"].split()[0] for step in steps if "run" in step] == ["pip", "pytest"]
    assert all(len(step.keys() & {"run", "uses"}) == 1 for step in steps)
    assert (SHOWN / steps[-1]["run"].split()[1]).exists()


IMPORT = r"(?:^|`)[ \t>]*((?:from [\w.]+ )?import [\w, ]+)(?:`|$)"


@pytest.mark.parametrize(
    "line", sorted({line for text in DOCUMENTS.values() for line in re.findall(IMPORT, text, re.MULTILINE)})
)
def test_what_is_imported_exists(line: str):
    exec(line, {})


PARSED: dict[str, type] = {
    "check": check.CheckOptions, "check-sampler": check_sampler.CheckSamplerOptions, "levels": levels.LevelsOptions,
    "compare": compare_results.CompareOptions,
    "score": ScoreOptions, "store": store.StoreOptions, "bench": BenchOptions,
}  # fmt: skip


def test_every_command_is_known(tmp_path: Path):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    seen = set()
    for name in ("my_sweep.py", "my_grid.py"):
        (tmp_path / name).write_text(next(block for block in blocks("python") if block.startswith(f"# {name}")))
    for program, *words in commands():
        if program == "make":
            assert words[0] in targets
        elif program == "pip":
            assert words[:2] == ["install", "-e"] and words[2].removeprefix(".").strip("[]") in extras
        elif words[:2] == ["-m", "experiments"]:
            name, *arguments = words[2:]
            if name in STUDIES:
                parse(name, arguments, "experiments")
            elif name == "sweep":
                files = [str(tmp_path / word) if word.endswith(".py") else word for word in arguments]
                parse(name, files, "experiments")
            elif name in PARSED:
                tyro.cli(PARSED[name], args=arguments)
            else:
                assert words[2:] == ["--help"]
        else:
            reports = program == "python" and words[:2] == ["-m", "reports"]
            assert reports or (program, words[0]) in (("pytest", "--benchmark"), ("python", FEW_EVALUATIONS))
        seen.add(program)
    assert seen == {"make", "pip", "python", "pytest"}


def test_every_name_that_can_be_typed_stands_in_the_documentation():
    text = DOCUMENTS[ROOT / "docs" / "sweeps.md"].split("## Names you can type")[1]
    names = [*NOISE_DISTRIBUTIONS, *SCHEDULES, *SAMPLERS, *WEIGHTINGS, *PARAMETERISATIONS, *RECIPES]
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_console_command_is_installed():
    sigmabench = Path(sys.executable).with_name("sigmabench")
    done = subprocess.run([str(sigmabench), "beta", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: sigmabench beta")
    assert subprocess.run([str(sigmabench), "bta"], capture_output=True, check=False).returncode == 2


@pytest.mark.slow(5)
def test_the_console_command_works_beside_a_folder_called_experiments(tmp_path: Path):
    """`python -m experiments` finds that folder; the pages that are read first say what to type."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").touch()
    file = written(tmp_path, FILE)
    sigmabench = Path(sys.executable).with_name("sigmabench")
    words = [str(sigmabench), "sweep", str(file), "--network", "exact", "--dry-run"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and '"dry_run": true' in done.stdout, done.stderr
    for name in ("README.md", "AGENTS.md"):
        assert re.search(r"called\s`experiments`", DOCUMENTS[ROOT / name])


def test_what_is_read_first_is_short():
    assert [name for name, lines in LONGEST.items() if len(DOCUMENTS[ROOT / name].splitlines()) > lines] == []


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The empty folder in which the README's smoke run was made, in an interpreter with what that imports first."""
    folder = tmp_path_factory.mktemp("quickstart")
    line = [sys.executable, "-W", "error", "-m", "experiments", "beta", "--preset", "smoke"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "report: runs/beta-smoke/report.html" in done.stdout
    return folder


@pytest.mark.slow(40)
def test_smoke_then_report(quickstart: Path):
    """The README's own lines, run one after the other in an empty folder."""
    shown = [command for place, command in enumerate(commands()) if command not in commands()[:place]]
    wanted = [c for c in shown if c[:3] == ["python", "-m", "experiments"] and ("smoke" in c or "--help" in c)]
    wanted += [command for command in shown if command[:3] == ["python", "-m", "reports"]]
    assert len(wanted) == 5
    wanted.remove(["python", "-m", "experiments", "beta", "--preset", "smoke"])
    html = (quickstart / "runs" / "beta-smoke" / "report.html").read_text()
    assert "data:image/png;base64," in html and "Does fresh noise in every step give better images?" in html
    few = "{'recipe': 'plain', 'train_images': 64, 'n_samples': 40, 'seeds': 1}"  # not the usual
    (own,) = (block for block in blocks("python") if block.startswith("# my_sweep.py\n"))
    assert len(own.splitlines()) <= 25
    (quickstart / "my_sweep.py").write_text(f"{own}    presets = {{'smoke': {few}}}\n")
    write_parts(quickstart)
    for command in wanted:
        done = warm.run(*command[1:], cwd=quickstart, drawn=True)
        assert done.returncode == 0, done.stderr
        if command[3] == "runs/beta-smoke":
            assert "report:  runs/" in done.stdout
    table = pd.read_csv(quickstart / "runs" / "beta-smoke" / "table.csv")
    sections = {"primary", "confirm", "same-alpha", "same-schedule", "pareto"}
    assert set(table["section"]) == sections
    assert (table["status"] == "ok").all()
    report = (quickstart / "runs" / "my_sweep-smoke" / "report.md").read_text()
    assert "\n# Does a network trained on wider noise levels want more noise put back?\n" in report
    assert "Trained on wide noise" in report and "heun" in report


def write_parts(folder: Path, right: str = "", wrong: str = ""):
    """The files that show parts of one's own, with a text in place of another, and the images that one makes."""
    for file in SHOWN.glob("my_*.py"):
        (folder / file.name).write_text(file.read_text().replace(right, wrong))
    assert warm.run("-c", "import runpy; runpy.run_path('my_images.py')", cwd=folder).returncode == 0


PARTS = {  # part -> what is changed in its file, so that the error of its row is printed, and what names it for `run`
    "schedule": ("-1, -1", "0, -1", "{}, euler, 32"),
    "noise distribution": ("return x -", "return 1 + x -", "geometric, euler, 32; train_noise={}"),
    "sampler": ("yield x", "yield x + x.clone().normal_()", "geometric, {}, 32"),
    "architecture": (" + self.level(c[:, None])[..., None, None]", "", "--network={}"),
    "images": (":32]", ":30]", "--data={}"),
}


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_ones_own_is_typed_as_the_table_says_and_a_wrong_one_is_refused(part: str, tmp_path: Path):
    right, wrong, option = PARTS[part]
    (row,) = re.findall(rf"^\| {part} \|.+`(.+)` \| `(.+)` \|$", DOCUMENTS[ROOT / "docs" / "sweeps.md"], re.MULTILINE)
    (name, *words), error = shlex.split(row[0]), row[1]
    write_parts(tmp_path, right, wrong)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        parse(name, words, "experiments")
    typed = ["run", "--preset", "smoke", "--precision", "fp32", "--threads", "1", option.format(words[-1])]
    done = warm.run("-m", "experiments", *typed, cwd=tmp_path)
    assert done.returncode == 2 and error in done.stderr, done.stderr


@pytest.mark.slow(30)
@pytest.mark.usefixtures("drawn")
def test_two_workers_give_the_values_of_the_smoke_run_to_the_last_bit(quickstart: Path, tmp_path: Path):
    """The workers find one network and make the others."""
    first = sorted((quickstart / "runs" / "store" / "networks").iterdir())[0]
    (tmp_path / "store" / "networks").mkdir(parents=True)
    shutil.copy(first, tmp_path / "store" / "networks")
    two = smoke(tmp_path, "beta", "--precision", "fp32", "--workers", "2")
    rows = two.rows()
    assert len(rows) == 18 and {"mmd", "fd", "kd", "recall", "visible_noise", "train_loss"} <= set(rows)
    for name in ("table", "contrasts", "choices", "floors", "training"):
        one, other = (
            frame.drop(columns=[column for column in OF_A_RUN if column in frame])
            for frame in (pd.read_csv(quickstart / "runs" / "beta-smoke" / f"{name}.csv"), two.rows(name))
        )
        pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings(path: Path):
    links = re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", DOCUMENTS[path])
    links += [(file, "") for file in re.findall(r'src="([^"]+)"', DOCUMENTS[path])]
    assert links
    for file, anchor in links:
        target = path.parent / file if file else path
        assert target.exists(), file
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_python_md_names_every_column_of_table_csv():
    section = DOCUMENTS[ROOT / "docs" / "python.md"].split("## The columns of `table.csv`")[1].split("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section))
    assert {*all_columns(TABLES["table.csv"])} <= named


def test_numbers_on_the_first_screen_of_the_readme_stand_in_published_tables():
    screen = " ".join(DOCUMENTS[ROOT / "README.md"].split("```sh")[0].split())
    report = ROOT / "reports" / "published" / "carry-over-natural"
    (path,) = report.glob("table.csv*")
    runs = pd.read_csv(path).query("section == 'against the default'")
    scores = 1000 * runs.groupby("setting")["mmd"].mean()
    trade = pd.read_csv(ROOT / "docs" / "data" / "trade.csv").query("report == 'beta-digits' and family == 'confirm'")
    known = {*(f"{score:.1f}" for score in scores), *(f"{change:.2f}" for change in trade["difference"]), "0.3"}
    named = re.findall(r"(?<![\w.])-?\d+\.\d+", screen.replace("−", "-"))
    assert len(named) >= 7 and {*named} <= known


def test_commands_in_the_tables_of_the_readme_are_known():
    typed = re.findall(r"\| `python -m experiments ([^`]+)` \|", DOCUMENTS[ROOT / "README.md"])
    assert len(typed) == 4
    for command in typed:
        name, *words = shlex.split(command)
        parse(name, words, "experiments")
