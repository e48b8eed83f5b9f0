"""The explorer in a browser, opened as a file: knobs, films, tooltips, keyboard, no error and no network request."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def opened(visit: Callable[[Path], Any], page: Path) -> Any:
    return visit(page)


def one(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def every(browser: Any, selector: str) -> list[Any]:
    return browser.find_elements("css selector", selector)


def now(browser: Any) -> tuple[str, str, str]:
    """The picture, the label and the place of the mark that the explorer shows."""
    samples, marker = one(browser, "[data-part=now]"), one(browser, ".marker")
    label = browser.execute_script("return arguments[0].nextElementSibling.textContent", samples)
    return samples.get_attribute("data-picture"), label, marker.get_attribute("cx")


def wait(browser: Any) -> Any:
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, 30)


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


@pytest.mark.parametrize(
    ("link", "label"),
    [("eta=1&nfe=8", "eta 1, 8 evaluations"), ("beta=0.40", "beta 0.4, 454 evaluations"), ("eta=7", None)],
)
def test_a_link_opens_the_explorer_at_a_setting(opened: Any, page: Path, link: str, label: str | None) -> None:
    first = now(opened)[1]
    opened.execute_script("location.hash = arguments[0]", link)
    wait(opened).until(lambda browser: now(browser)[1] == (label or first))
    if label:
        turn(opened, ".knob input", "HOME")
        assert opened.execute_script("return location.hash") in ("#nfe=8&eta=0", "#beta=0")


def test_a_link_opens_what_is_folded(opened: Any) -> None:
    tables = one(opened, "nav a:nth-last-child(2)")
    assert tables.text == "Tables" and not every(opened, "details.part:last-of-type[open]")
    tables.click()
    wait(opened).until(lambda browser: every(browser, "details.part:last-of-type[open]"))


def test_the_first_screen_needs_no_scrolling(opened: Any) -> None:
    bottom = opened.execute_script("return document.querySelector('#answer').getBoundingClientRect().bottom")
    assert bottom <= 800


def test_no_error_and_no_request(opened: Any, page: Path) -> None:
    assert [entry for entry in opened.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    sent = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in sent
    assert {url.split(":")[0] for url in sent} <= {"file", "data"}
    assert all(url.endswith(".html") for url in sent if url.startswith("file"))  # the pages themselves
