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


def compared(kind: str, mode: str, a: str, b: str, change: float, verdict: str, **values: Any) -> Rows:
    """Rows of contrasts.csv in MMD: of all networks and of each one. `change` and `before` are times 1000."""
    metric, half, before = (values.pop(*pair) for pair in (("metric", "mmd"), ("half", 1.0), ("before", 12.0)))
    scale = 1000 if metric == "mmd" else 1
    names = ("value_a", "value_b", "difference", "low", "high")
    ends = (before + change, before, change, change - half, change + half)
    row = COMMON | {name: end / scale for name, end in zip(names, ends, strict=True)} | {
        "kind": kind, "section": mode, "metric": metric, "a": a, "b": b, "n_networks": 5, "n_planned": 5, "nfe_a": 66,
        "nfe_b": 66, "clear": abs(change) > half, "interval": "t over networks", "se": half / 2 / scale,
        "detectable": 2 / scale, "verdict": verdict, "level": 0.95, "n_compared": 1,
        "p_value": 1e-6 if abs(change) > half else 0.5,
    } | values  # fmt: skip
    return [row, *(row | {"n_networks": 1, "verdict": "", "train_seed": seed} for seed in range(5))]


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
    """

    def write(
        change: float = -8.0, verdict: str = "better", *, fd: float = -2.6, a: str = "eta 1", b: str = "eta 0",
        before: float = 12.0, floor: Any = (500, 1.4), failed: int = 0, info: Any = NO, best: Sequence[Any] = (),
        more: Sequence[Any] = (), quality: Sequence[Any] = (), **values: Any,
    ) -> Path:  # fmt: skip
        table = runs_of("primary", b, before) + runs_of("primary", a, before + change, eta=1)
        table += runs_of("same-schedule", "eta 0.5", 11, eta=0.5)
        table += [COMMON | {"section": "primary", "status": "failed", "run_id": f"f{at}"} for at in range(failed)]
        contrasts = compared("primary", "primary", a, b, change, verdict, before=before, **values)
        contrasts += compared("primary", "primary", a, b, fd, verdict, metric="fd", before=7.6, **values)
        choices = Rows()
        for budget, difference, said in best:
            cost = {"budget": budget, "nfe_a": budget, "nfe_b": budget, "n_compared": len(best)}
            names = (f"with {budget}", f"without {budget}")
            contrasts += compared("confirm", "confirm", *names, difference, said, choice="with fresh noise", **cost)
            for name, mmd in zip(names, (12.0 + difference, 12.0), strict=True):
                table += runs_of("confirm", name, mmd, budget=budget, nfe=budget)
                choices += explored(f"{name.split()[0]} fresh noise", budget, name, mmd, chosen=True)
            table += runs_of("explore", "passed over", 20)
            choices += explored("with fresh noise", budget, "passed over", 20, rank=2)
        for budget, difference, said in more:
            names = (f"with {budget}", "without 8")
            cost = {"budget": budget, "nfe_a": budget, "nfe_b": 8, "choice": "with fresh noise"}
            contrasts += compared("more evaluations", "confirm", *names, difference, said, **cost)
        images = ["real", *{row["samples_id"] for row in table if "samples_id" in row}]
        tables = {"table": table, "contrasts": contrasts, "floors": floors(*floor) if floor else []}
        info = {"fixed_beforehand": True, "options": {"only_primary": not best}, **info}
        return folder("beta", info, images, **tables, quality=quality, choices=choices)

    return write


@pytest.fixture
def chosen(folder: Make) -> Make:
    """A result of settings that explorers chose, each confirmed against base.

    `duels`: evaluations, setting, difference in MMD (times 1000), verdict, and further columns if there are any. Base
    has no visible noise. `beyond`: evaluations, setting, difference to base with 66, verdict.
    `chosen_before`: before this run.
    """

    def write(
        duels: Sequence[Any], experiment: str = "schedules", beyond: Sequence[Any] = (), info: Any = NO,
        chosen_before: bool = False, **values: Any,
    ) -> Path:  # fmt: skip
        table, contrasts, choices = Rows(), Rows(), Rows()
        for budget, a, change, verdict, *more in duels:
            columns = dict(*more)
            noise = columns.get("visible_noise_a", 0.0)
            columns = {
                "budget": budget, "nfe_a": budget, "nfe_b": budget, "choice": "challenger", "more_noise": noise > 0.04,
                "recommended": verdict == "better" and noise <= 0.04, "visible_noise_a": noise, "visible_noise_b": 0.0,
                "n_compared": len(duels),
            } | columns  # fmt: skip
            contrasts += compared("confirm", "confirm", a, "base", change, verdict, **columns)
            if budget not in {row.get("budget") for row in table}:
                table += runs_of("confirm", "base", 12.0, budget=budget, nfe=budget)
                choices += explored("default", budget, "base", 12.0, chosen=True)
            table += runs_of("confirm", a, 12.0 + change, budget=budget, nfe=budget, visible_noise=noise)
            choices += explored("challenger", budget, a, 12.0 + change, chosen=True)
            choices += explored("challenger", budget, "passed over", 20.0, rank=2)
            table += runs_of("explore", "passed over", 20) if not chosen_before else []
        for budget, a, change, verdict in beyond:
            columns = {"budget": budget, "nfe_a": budget, "nfe_b": 66, "choice": "challenger"}
            contrasts += compared("fewer evaluations", "confirm", a, "base", change, verdict, **columns)
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
            budget = {"budget": float(group.split()[0])} if group[:1].isdigit() else {}
            for name, (mmd, verdict, noise) in settings.items():
                table += runs_of(group, name, mmd, visible_noise=noise, **budget)
                if name != first:
                    columns = {"more_noise": noise > 0.04, "visible_noise_a": noise, "visible_noise_b": 0.0, **budget}
                    change = mmd - before
                    contrasts += compared(
                        "setting", group, name, first, change, verdict, before=before, **columns, **values
                    )
        tables = {"table": table, "contrasts": contrasts, "floors": floors(fd=0.0)}
        return folder(experiment, info, [id_of(row["setting"]) for row in table[::5]], **tables)

    return write


@pytest.fixture
def score(sweep: Make) -> Make:
    """A result of `score`: the sets as the settings of a sweep, after the first; the ends of intervals as ratios."""

    def write(sets: Any = NO, ends: Sequence[float] = (0.5, 2), **facts: Any) -> Path:
        sets = {"first": (12.0, "", 0.0), **sets}
        directory = sweep({"sets": sets}, "score", {"score": facts}, holds_for=1)
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
