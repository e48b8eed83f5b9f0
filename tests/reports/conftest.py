"""Result folders whose numbers a test chooses, the published results rendered again, and a browser."""

import json
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from experiments.judge import answer
from reports.index import write_index
from reports.render import PAGES, write_report
from reports.results import read_info
from reports.schema import TABLES, all_columns

PUBLISHED = Path(__file__).parents[2] / "reports" / "published"
Rows = list[dict[str, Any]]
Make = Callable[..., Path]
NO: Any = {}
COMMON = {"experiment": "any", "data": "mnist5k", "network": "small", "trained_by": "sigmabench", "images_seen": 9000,
    "features": "digits", "n_samples": 500, "n_reference": 4500, "final_denoise": False}  # fmt: skip


def id_of(setting: str) -> str:
    """The name of a setting's pictures."""
    return f"s{zlib.crc32(setting.encode())}"


def runs_of(mode: str, setting: str, mmd: float, **values: Any) -> Rows:
    """A row of table.csv per network. `mmd` is times 1000, and FD is the same number."""
    row = COMMON | {"section": mode, "setting": setting, "status": "ok", "sampler": "euler", "eta": 0, "nfe": 66,
        "visible_noise": 0.0, "schedule": "geometric", "mmd": mmd / 1000, "fd": mmd, "samples_id": id_of(setting),
        "finished_at": "2026-11-20T10:00+00:00"}  # fmt: skip
    return [row | {"train_seed": seed, "run_id": f"{mode}{setting}{seed}"} | values for seed in range(5)]


def compared(question: str, a: str, b: str, change: float, verdict: str, **values: Any) -> Rows:
    """The rows of contrasts.csv of a pair over five networks. `change`, `before` and `half` an interval are times 1000.

    `fd`: the change of FD, from 7.6; `noise`: the visible noise of b and of a.
    """
    before, half, fd = (values.pop(*pair) for pair in (("before", 12), ("half", 1), ("fd", None)))
    quiet, noise = values.pop("noise", (0, 0))
    shared = {"question": question, "family": "exploration", "section": "confirm", "b_is": "in use", "n": 5,
        "a": a, "b": b, "nfe_a": 66, "nfe_b": 66, "verdict": verdict, "reason": "",
        "compared": 1, "p": 1e-6 if abs(change) > half else 0.5,
        "detectable": 0.002} | values  # fmt: skip
    metrics = [("mmd", before, change, half, 1000), ("visible_noise", quiet, noise - quiet, 0, 1)]
    metrics += [] if fd is None else [("fd", 7.6, fd, 1, 1)]
    rows = Rows()
    for metric, start, step, width, scale in metrics:
        names = ("value_b", "value_a", "difference", "low", "high")
        ends = (start, start + step, step, step - width, step + width)
        numbers = {name: end / scale for name, end in zip(names, ends, strict=True)}
        rows.append(shared | {"metric": metric, "each": " ".join([f"{step / scale}"] * 5)} | numbers)
    return rows


def explored(role: str, budget: int, setting: str, mmd: float, rank: int = 1, chosen: bool = False) -> Rows:
    """The row of choices.csv of a setting that three networks tried."""
    row = {"section": "explore", "budget": budget, "kind": role, "rank": rank, "setting": setting, "nfe": budget}
    row |= {"mmd": mmd / 1000, "visible_noise": 0.0, "chosen": chosen, "reason": "lowest" if chosen else ""}
    return [COMMON | row | {"networks": 3, "n": 250, "seeds": "101 102 103", "draw": 0}]


def floors(n: int = 500, fd: float = 1.4) -> Rows:
    row = COMMON | {"n_samples": n, "repeats": 20}
    return [row | {"metric": name, "mean": mean, "low": 0, "high": mean} for name, mean in (("mmd", 1e-4), ("fd", fd))]


@pytest.fixture
def folder(tmp_path: Path) -> Make:
    """Writes a result folder: `folder("beta", table=rows, contrasts=rows, info={...})`, with pictures of `images`."""

    def write(experiment: str, info: Any = NO, images: Sequence[str] = (), **tables: Rows) -> Path:
        (tmp_path / experiment / "images").mkdir(parents=True)
        content = {"schema": 2, "experiment": experiment, "question": "Which?", "command": "run it", **info}
        content |= {"statistics": {"visible_noise": 0.04}} if "statistics" not in info else {}
        (tmp_path / experiment / "run.json").write_text(json.dumps(content), encoding="utf-8")
        if "contrasts" in tables:
            judged, table = (
                pd.DataFrame(rows).reindex(columns=all_columns(TABLES[name]))
                for name, rows in (("contrasts.csv", tables["contrasts"]), ("table.csv", tables["table"]))
            )
            tables["answers"] = answer(judged, table).to_dict("records")
        for name, rows in tables.items():
            frame = pd.DataFrame(rows, dtype=object).reindex(columns=all_columns(TABLES[f"{name}.csv"]))
            frame.to_csv(tmp_path / experiment / f"{name}.csv", index=False)
        for name, height in ((f"{name}{end}", size) for name in images for end, size in (("", 128), ("-4", 32))):
            Image.new("L", (128, height), 77).save(tmp_path / experiment / "images" / f"{name}.png")
        return tmp_path / experiment

    return write


@pytest.fixture
def beta(folder: Make) -> Make:
    """A result of `beta`: a against b, a difference in MMD and in FD (times 1000), floors.

    `best`: evaluations, difference of the best with fresh noise to the best without, which both take them, verdict.
    `more`: evaluations, difference of the best with fresh noise to the best without it with 8, verdict.
    `noisy`: the visible noise of some settings.
    """

    def write(
        change: float = -8.0, verdict: str = "better", *, a: str = "eta 1", b: str = "eta 0", fd: float = -2.6,
        before: float = 12.0, floor: Any = (500, 1.4), failed: int = 0, info: Any = NO, best: Sequence[Any] = (),
        more: Sequence[Any] = (), noisy: Any = NO, **values: Any,
    ) -> Path:  # fmt: skip
        table = runs_of("primary", b, before) + runs_of("primary", a, before + change, eta=1)
        table += [COMMON | {"section": "primary", "status": "failed", "run_id": f"f{at}"} for at in range(failed)]
        rival = {"section": "primary", "family": "primary", "b_is": "rival", "fd": fd, "before": before}
        contrasts = compared("Fresh noise on the geometric schedule", a, b, change, verdict, **rival | values)
        choices = Rows()
        confirm = {"family": "confirm", "compared": len(best)}
        for budget, difference, said in best:
            cost = {"within": budget, "nfe_a": budget, "nfe_b": budget, "b_is": "rival"}
            names = (f"with {budget}", f"without {budget}")
            loud = tuple(noisy.get(name, 0.0) for name in names[::-1])
            contrasts += compared("Best against best", *names, difference, said, **confirm, **cost, noise=loud)
            for name, mmd in zip(names, (12.0 + difference, 12.0), strict=True):
                noise = noisy.get(name, 0.0)
                table += runs_of("confirm", name, mmd, budget=budget, nfe=budget, visible_noise=noise)
                choices += explored(f"{name.split()[0]} fresh noise", budget, name, mmd, chosen=True)
            table += runs_of("explore", "passed over", 20)
            choices += explored("with fresh noise", budget, "passed over", 20, rank=2)
        for budget, difference, said in more:
            loud = (0.0, noisy.get(f"with {budget}", 0.0))
            cost = {"within": budget, "nfe_a": budget, "nfe_b": 8, "b_is": "cheaper", "noise": loud}
            contrasts += compared(
                "More evaluations", f"with {budget}", "without 8", difference, said, **confirm, **cost
            )
        images = ["real", *{row["samples_id"] for row in table if "samples_id" in row}]
        tables = {"table": table, "contrasts": contrasts, "floors": floors(*floor) if floor else []}
        return folder("beta", {"fixed_beforehand": True, **info}, images, **tables, choices=choices)

    return write


@pytest.fixture
def chosen(folder: Make) -> Make:
    """A result of settings that explorers chose, each confirmed against base.

    `duels`: evaluations, setting, difference in MMD (times 1000), verdict, and further columns if there are any.
    `dearer`: evaluations, setting, cheaper setting and its evaluations, difference, verdict.
    `chosen_before`: before this run.
    """

    def write(
        duels: Sequence[Any], experiment: str = "schedules", dearer: Sequence[Any] = (), info: Any = NO,
        chosen_before: bool = False, **values: Any,
    ) -> Path:  # fmt: skip
        table, contrasts, choices = Rows(), Rows(), Rows()
        for budget, a, change, verdict, *more in duels:
            columns = {"family": "confirm", "within": budget, "nfe_a": budget, "nfe_b": budget, "compared": len(duels)}
            columns |= dict(*more)
            noise = columns.pop("noise", 0)
            contrasts += compared("Chosen against default", a, "base", change, verdict, noise=(0, noise), **columns)
            if budget not in {row.get("budget") for row in table}:
                table += runs_of("confirm", "base", 12.0, budget=budget, nfe=budget)
                choices += explored("default", budget, "base", 12.0, chosen=True)
            table += runs_of("confirm", a, 12.0 + change, budget=budget, nfe=budget, visible_noise=noise)
            choices += explored("challenger", budget, a, 12.0 + change, chosen=True)
            choices += explored("challenger", budget, "passed over", 20.0, rank=2)
            table += runs_of("explore", "passed over", 20) if not chosen_before else []
        for budget, a, b, nfe_b, change, verdict in dearer:
            columns = {"family": "confirm", "b_is": "cheaper", "within": budget, "nfe_a": budget, "nfe_b": nfe_b}
            contrasts += compared("More evaluations", a, b, change, verdict, **columns)
        tables = {"table": table, "contrasts": contrasts, "choices": choices, "floors": floors(fd=0.0)}
        return folder(experiment, info, [id_of(row["setting"]) for row in table[::5]], **tables, **values)

    return write


@pytest.fixture
def sweep(folder: Make) -> Make:
    """A result of a sweep: `sweep({group: {setting: (MMD × 1000, verdict, noise)}})`, the baseline first."""

    def write(groups: Any, experiment: str = "sweep", info: Any = NO, **values: Any) -> Path:
        table, contrasts = Rows(), Rows()
        for group, settings in groups.items():
            first, before = next((name, values[0]) for name, values in settings.items())
            for name, (mmd, verdict, noise) in settings.items():
                table += runs_of(group, name, mmd, visible_noise=noise)
                if name != first:
                    columns = {"section": group, "before": before, "noise": (0, noise)} | values
                    contrasts += compared(group, name, first, mmd - before, verdict, **columns)
        tables = {"table": table, "contrasts": contrasts, "floors": floors(fd=0.0)}
        return folder(experiment, info, [id_of(row["setting"]) for row in table[::5]], **tables)

    return write


@pytest.fixture
def grid(folder: Make) -> Make:
    """A result of a grid of eta and steps: effects as name, change and verdict; `best`: the change of the best one."""

    def write(effects: Any, best: Sequence[Any] = (), **values: Any) -> Path:
        cells = {"eta=0, steps=1": 12.0, "eta=1, steps=1": 8.0}
        table = [row for name, mmd in cells.items() for row in runs_of("combinations", name, mmd)]
        contrasts = Rows()
        for question, a, b, change, verdict, *more in effects:
            columns = {"section": "combinations", "family": "effects", "b_is": ""} | dict(*more)
            contrasts += compared(question, a, b, change, verdict, compared=len(effects), **columns)
        if best:
            table += runs_of("confirm", "eta=1, steps=1", 8.0) + runs_of("confirm", "eta=0, steps=1", 12.0)
            contrasts += compared("Best against baseline", *[*cells][::-1], *best, family="confirm")
        info = {"factors": [["eta", ["0", "1"]], ["steps", ["1", "2"]]]}
        return folder("factors", info, [id_of(name) for name in cells], table=table, contrasts=contrasts, **values)

    return write


@pytest.fixture
def score(sweep: Make) -> Make:
    """A result of `score`: the sets as the settings of a sweep, after the first; the ends of intervals as ratios."""

    def write(sets: Any = NO, ends: Sequence[float] = (0.5, 2), **facts: Any) -> Path:
        sets = {"first": (12.0, "", 0.0), **sets}
        directory = sweep({"sets": sets}, "score", {"score": facts}, b_is="", n=1)
        rows = [{"features": "digits", "setting": name, "metric": metric, "value": mmd / 1000,
                 "low": ends[0] * mmd / 1000, "high": ends[1] * mmd / 1000}
                for name, (mmd, _, _) in sets.items() for metric in ("mmd", "fd")]  # fmt: skip
        pd.DataFrame(rows).to_csv(directory / "scores.csv", index=False)
        return directory

    return write


@pytest.fixture(scope="session")
def again(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Copies of the published results that this version has a page for, rendered again, with the index of all."""
    root = tmp_path_factory.mktemp("again")
    made = {}
    for path in sorted(PUBLISHED.glob("*/run.json")):
        copy = Path(shutil.copytree(path.parent, root / path.parent.name))
        if read_info(path)["experiment"] in PAGES:
            made[copy.name] = copy
            write_report(copy)
    write_index(root)
    return made


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window, which keeps a log of its console. Without one: skips the test."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: it comes with the extra dev")
    browsers = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    driver = shutil.which("chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = next(browsers, "")
    if not (options.binary_location and driver):
        pytest.skip("no browser: chromium and chromedriver are not installed")
    for argument in "headless=new no-sandbox disable-gpu window-size=1280,800".split():
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield running
    running.quit()
