"""A small run directory of fixed rows, and a way to change it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from run_files import Change, edit

from reports import render

HERE = Path(__file__).parent
SIDE, FRAMES, LEVELS = 32, 10, [30.0, 14.0, 6.5, 3.0, 1.4, 0.65, 0.3, 0.14, 0.065, 0.03]


@pytest.fixture
def directory(copied: Callable[[str], Path]) -> Path:
    """A copy of the committed run."""
    return copied("run")


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """A function that copies a committed run ("run-tune")."""
    return lambda name: Path(shutil.copytree(HERE / name, tmp_path / name))


@pytest.fixture
def change_info(directory: Path) -> Callable[..., None]:
    """Sets keys of run.json of the copy."""

    def apply(**values: object) -> None:
        info = json.loads((directory / "run.json").read_text(encoding="utf-8"))
        (directory / "run.json").write_text(json.dumps(info | values), encoding="utf-8")

    return apply


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on the committed run, written once; only to be read."""
    folder = tmp_path_factory.mktemp("report") / "run"
    return render.write_report(Path(shutil.copytree(HERE / "run", folder)))


@pytest.fixture
def as_committed(request: pytest.FixtureRequest) -> Callable[[str, Path], None]:
    """Asserts that a text is that of a committed file. `pytest tests/reports --renew` writes the file first."""

    def compare(text: str, expected: Path) -> None:
        if request.config.getoption("--renew"):
            expected.write_text(text, encoding="utf-8")
        assert text == expected.read_text(encoding="utf-8")

    return compare


@pytest.fixture
def text_of(drawn: None) -> Callable[[Path], str]:
    """Writes a report, without its figures, and returns its Markdown."""
    return lambda directory: render.write_report(directory).with_suffix(".md").read_text(encoding="utf-8")


@pytest.fixture
def change(directory: Path) -> Callable[[str, Change], None]:
    """Rewrites one CSV of the copy: `change("table.csv", lambda frame: ...)`; all cells are text."""
    return lambda name, how: edit(directory / name, how)


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on the committed run, with a grid and a film of its own for each setting."""
    directory = tmp_path_factory.mktemp("browser") / "run"
    shutil.copytree(HERE / "run", directory)
    names = sorted(set(pd.read_csv(directory / "table.csv")["samples_id"].dropna()))
    for shade, name in enumerate(names):
        Image.new("L", (4 * SIDE, 4 * SIDE), shade).save(directory / "images" / f"{name}.png")
        for ending in ("film", "denoised"):
            Image.new("L", (FRAMES * SIDE, 4 * SIDE), shade).save(directory / "images" / f"{name}-{ending}.png")
    films = [{"samples_id": name, "frame": at, "sigma": sigma} for name in names for at, sigma in enumerate(LEVELS)]
    pd.DataFrame(films).to_csv(directory / "films.csv", index=False)
    return render.write_report(directory)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium without a window, which keeps a log of its console and of every request. Without one: skips the test."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: it comes with the extra dev")
    chrome = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not (chrome and driver):
        pytest.skip("no browser: chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    for argument in "headless=new no-sandbox disable-gpu window-size=1280,800 disable-background-networking".split():
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield running
    running.quit()


@pytest.fixture
def visit(browser: Any) -> Callable[[Path], Any]:
    """Opens a page anew and waits until its script has run. `get` alone may return before that on a busy machine."""
    from selenium.webdriver.support.wait import WebDriverWait

    there = "return location.href === arguments[0] && document.readyState === 'complete'"
    built = "return !document.querySelector('.explorer[hidden]')"  # the script shows it after `load`

    def open_page(path: Path) -> Any:
        browser.get("about:blank")
        browser.get(path.as_uri())
        WebDriverWait(browser, 30).until(
            lambda browser: browser.execute_script(there, path.as_uri()) and browser.execute_script(built)
        )
        return browser

    return open_page
