"""Pages for everyone, in a browser: contrast, names of pictures, keyboard, screens of four widths, the dark, no errors.

Each check is also made on a page that was spoilt, where it must find something.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from reports.index import write_index

pytestmark = pytest.mark.slow(20)

WIDTHS = [320, 390, 768, 1280]

# The text whose contrast with its background is below WCAG 2 AA: 4.5, or 3 for large text.
CONTRAST = """
const rgba = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
const over = (a, b) => [0, 1, 2].map(i => a[i] * (a[3] ?? 1) + b[i] * (1 - (a[3] ?? 1)));
const light = color => color.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const ground = one => one
  ? over(rgba(getComputedStyle(one).backgroundColor), ground(one.parentElement)) : [255, 255, 255];
return [...document.querySelectorAll("body *")].filter(one => one.getClientRects().length && one.tagName !== "STYLE" &&
  [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())).map(one => {
    const style = getComputedStyle(one), below = ground(one), size = parseFloat(style.fontSize);
    const color = rgba(one.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const [a, b] = [light(over(color, below)), light(below)].sort((x, y) => y - x);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700), ratio = (a + .05) / (b + .05);
    return ratio < (large ? 3 : 4.5) ? `${one.tagName} ${ratio.toFixed(2)}: ${one.textContent.trim()}` : "";
  }).filter(Boolean);
"""
# Pictures without a name; those of the index only repeat what its row says, and what is hidden needs none.
NAMELESS = """
return [...document.querySelectorAll("img, svg")].filter(one =>
  !one.closest(".entry, [aria-hidden=true], div[role=img][aria-label]")
  && !/......(?<!\\.(png|svg))$/.test(one.getAttribute(one.tagName === "IMG" ? "alt" : "aria-label") || "")
).map(one => one.outerHTML.slice(0, 80));
"""
# What can be reached with the keyboard; of what has the focus: its number, whether that can be seen, and is on screen.
REACHABLE = """
window.reachable = [...document.querySelectorAll("a[href], summary, pre")].filter(one => one.checkVisibility());
return reachable.length;
"""
FOCUSED = """
const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
return [reachable.indexOf(one), style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
  box.top < innerHeight && box.bottom > 0];
"""


@pytest.fixture(scope="module", params=["beta-digits", "schedules-digits", "samplers", "index"])
def path(again: dict[str, Path], request: pytest.FixtureRequest) -> Path:
    if request.param != "index":
        return again[request.param] / "report.html"
    root = next(iter(again.values())).parent
    return write_index(Path(shutil.copytree(root, root.with_name("indexed"))))  # it writes links into reports


@pytest.fixture
def opened(path: Path, browser: Any) -> Any:
    """A page, with all folds open."""
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(path.as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    yield browser
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def spoil(browser: Any, html: str):
    browser.execute_script("document.querySelector('main').insertAdjacentHTML('beforeend', arguments[0])", html)


@pytest.mark.parametrize("scheme, paper", [("light", "rgb(253, 252, 249)"), ("dark", "rgb(21, 21, 19)")])
def test_text_can_be_read_on_light_and_dark_pages(opened: Any, scheme: str, paper: str):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    spoil(opened, "<p class='verdict failed'>No verdict</p>")  # which is rare
    assert opened.execute_script("return getComputedStyle(document.body).backgroundColor") == paper
    assert opened.execute_script(CONTRAST) == []
    spoil(opened, "<p style='color: #777; background: #888'>grey</p>")
    assert opened.execute_script(CONTRAST) == ["P 1.26: grey"]


def test_pictures_have_names_and_the_console_no_errors(opened: Any):
    assert opened.execute_script(NAMELESS) == [] and opened.get_log("browser") == []
    spoil(opened, "<img alt=''><svg aria-label='a.svg'></svg>")
    opened.execute_script("console.error('odd')")
    assert len(opened.execute_script(NAMELESS)) == 2 and "odd" in opened.get_log("browser")[0]["message"]


def test_the_keyboard_reaches_folds_and_links_in_order_and_shows_where_it_is(opened: Any):
    def tab() -> list[Any]:
        opened.switch_to.active_element.send_keys("\ue004")
        return opened.execute_script(FOCUSED)

    count = opened.execute_script(REACHABLE)
    assert [tab() for _ in range(count)] == [[at, True, True] for at in range(count)] and count > 2
    spoil(opened, "<style>:focus-visible { outline: none !important; }</style>")
    opened.execute_script("reachable[1].tabIndex = -1; reachable[0].focus()")
    assert tab()[:2] == [2, False]


def test_figures_have_no_ground_and_print_opens_the_conditions(again: dict[str, Path], browser: Any):
    browser.get((again["noise_levels-laptop"] / "report.html").as_uri())
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    state = """return [document.querySelector("#details dl").checkVisibility(),
      getComputedStyle(document.querySelector(".paper")).filter === "none",
      getComputedStyle(document.querySelector("#patch_1 path")).fill]"""
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen", "features": [dark]})
    on_screen = browser.execute_script(state)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": [dark]})
    printed = browser.execute_script(state)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert (on_screen, printed) == ([False, False, "none"], [True, True, "none"])


def test_under_the_pointer_one_picture_lies_in_the_place_of_the_other(again: dict[str, Path], browser: Any):
    browser.get((again["beta-digits"] / "report.html").as_uri())
    _, first, second = browser.find_elements("css selector", ".pictures img")
    apart = first.rect["x"] - second.rect["x"]
    pytest.importorskip("selenium.webdriver").ActionChains(browser).move_to_element(first).perform()
    assert first.rect == second.rect and apart < -200


def test_no_screen_needs_sideways_scrolling(opened: Any):
    def scrolling() -> list[int]:
        too_narrow = []
        for width in WIDTHS:
            size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 700}
            opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            if opened.execute_script("return document.documentElement.scrollWidth") > width:
                too_narrow.append(width)
        return too_narrow

    assert scrolling() == []
    spoil(opened, "<p style='width: 1300px'>wide</p>")
    assert scrolling() == WIDTHS
