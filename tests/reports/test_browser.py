"""The explorer in a browser, opened as a file: knobs, films, tooltips, keyboard, no error and no network request."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from reports import render

webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: it comes with the extra dev")
CHROME = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROME and DRIVER), reason="no browser: chromium and chromedriver are not installed"
)

SIDE, FRAMES, LEVELS = 32, 10, [30.0, 14.0, 6.5, 3.0, 1.4, 0.65, 0.3, 0.14, 0.065, 0.03]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on the committed run, with a grid and a film of its own for each setting."""
    directory = tmp_path_factory.mktemp("browser") / "run"
    shutil.copytree(Path(__file__).parent / "run", directory)
    names = sorted(set(pd.read_csv(directory / "table.csv")["samples_id"].dropna()))
    for shade, name in enumerate(names):
        Image.new("L", (4 * SIDE, 4 * SIDE), shade).save(directory / "images" / f"{name}.png")
        for ending in ("film", "denoised"):
            Image.new("L", (FRAMES * SIDE, 4 * SIDE), shade).save(directory / "images" / f"{name}-{ending}.png")
    films = [{"samples_id": name, "frame": at, "sigma": sigma} for name in names for at, sigma in enumerate(LEVELS)]
    pd.DataFrame(films).to_csv(directory / "films.csv", index=False)
    return render.write_report(directory)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window, which keeps a log of its console and of every request."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROME
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "window-size=1280,800",
        "disable-background-networking",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    browser.get(page.as_uri())
    return browser


def one(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def every(browser: Any, selector: str) -> list[Any]:
    return browser.find_elements("css selector", selector)


def now(browser: Any) -> tuple[str, str, str]:
    """The picture, the label and the place of the mark that the explorer shows."""
    samples, marker = one(browser, "[data-part=now]"), one(browser, ".marker")
    label = browser.execute_script("return arguments[0].nextElementSibling.textContent", samples)
    return samples.get_attribute("data-picture"), label, marker.get_attribute("cx")


def turn(browser: Any, selector: str, keys: str) -> None:
    from selenium.webdriver.common.keys import Keys

    one(browser, selector).send_keys(getattr(Keys, keys))


def test_the_slider_swaps_the_picture_and_moves_the_mark(opened: Any) -> None:
    one(opened, ".views button:nth-child(2)").click()  # at equal alpha, more beta costs more evaluations
    turn(opened, ".knob input", "HOME")
    first = now(opened)
    turn(opened, ".knob input", "END")
    last = now(opened)
    assert "beta 0, 66 evaluations" in first and "beta 0.4, 454 evaluations" in last
    assert first[0] != last[0] and first[2] != last[2]
    shown = one(opened, "[data-part=now]").value_of_css_property("background-image")
    assert shown.startswith('url("data:image/png') and shown != one(
        opened, "[data-part=against]"
    ).value_of_css_property("background-image")
    assert "difference from beta 0" in one(opened, ".facts").text


def test_a_sample_opens_its_film(opened: Any) -> None:
    assert not one(opened, ".film").is_displayed()
    opened.execute_script("arguments[0].focus()", every(opened, "[data-part=now] button")[2])
    assert one(opened, ".film").is_displayed() and one(opened, ".film .title").text.startswith("Sample 3, eta")
    assert one(opened, ".film output").text == "10 of 10, sigma 0.03"
    frame = one(opened, "[data-strip=denoised]")
    before = frame.value_of_css_property("background-position")
    turn(opened, ".film input", "ARROW_LEFT")
    assert one(opened, ".film output").text == "9 of 10, sigma 0.065"
    assert frame.value_of_css_property("background-position") != before
    assert frame.size == one(opened, "[data-strip=film]").size == {"width": 192, "height": 192}


def test_a_point_says_its_values(opened: Any) -> None:
    figure = one(opened, ".plot svg")
    opened.execute_script("arguments[0].focus()", figure)
    turn(opened, ".plot svg", "ARROW_RIGHT")
    assert "KD ×1000" in one(opened, ".bubble").text and "evaluations" in one(opened, ".bubble").text


def test_buttons_choose_a_setting_that_was_not_run_and_say_so(opened: Any) -> None:
    one(opened, ".views button:nth-child(3)").click()
    found = {now(opened)[:2] for button in every(opened, ".values button") if button.click() is None}
    assert len(found) == len(every(opened, ".values button")) > 1


def test_a_link_opens_what_is_folded(opened: Any) -> None:
    tables = one(opened, "nav a:nth-last-child(2)")
    assert tables.text == "Tables" and not every(opened, "details.part:last-of-type[open]")
    tables.click()
    assert every(opened, "details.part:last-of-type[open]")


def test_a_narrow_screen_needs_no_sideways_scrolling(opened: Any) -> None:
    opened.set_window_size(500, 844)  # the narrowest that Chromium allows
    try:
        opened.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
        )
        opened.refresh()
        assert opened.execute_script("return document.documentElement.scrollWidth <= innerWidth && innerWidth == 390")
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        opened.set_window_size(1280, 800)


def test_the_first_screen_needs_no_scrolling(opened: Any) -> None:
    bottom = opened.execute_script("return document.querySelector('#answer').getBoundingClientRect().bottom")
    assert bottom <= 800


def test_no_error_and_no_request(opened: Any, page: Path) -> None:
    assert [entry for entry in opened.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    sent = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in sent
    assert {url.split(":")[0] for url in sent} <= {"file", "data"} and {url for url in sent if url[:4] == "file"} == {
        page.as_uri()
    }
