"""Pages for everyone, in a browser: contrast, names of pictures and controls, keyboard, a narrow screen, the dark.

Each check is also made on a page that was spoilt, where it must find something.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reports import render
from reports.index import write_index
from reports.speed.page import write_bench_report

pytestmark = pytest.mark.slow

Visit = Callable[[Path], Any]
HERE = Path(__file__).parent
CONTROLS = "button, input, select, summary"
PAGES = ["beta", "tune", "speed", "index"]

# The text whose contrast with its background is below WCAG 2 AA: 4.5, or 3 for large text.
CONTRAST = """
const rgba = text => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
const over = (a, b) => [0, 1, 2].map(i => a[i] * (a[3] ?? 1) + b[i] * (1 - (a[3] ?? 1)));
const light = color => color.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
function ground(element) {
  const layers = [];
  const figure = element.closest("svg"); // in the dark, a filter turns a white figure to dark
  if (figure) element = getComputedStyle(figure).filter === "none" ? figure.parentElement : null;
  for (; element; element = element.parentElement) layers.push(rgba(getComputedStyle(element).backgroundColor));
  return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
}
document.querySelectorAll("details").forEach(fold => { fold.open = true; });
const bad = new Set();
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
  if (!own || ["SCRIPT", "STYLE", "title"].includes(element.tagName) || !element.getClientRects().length) continue;
  const style = getComputedStyle(element), svg = element.namespaceURI.endsWith("svg");
  const below = ground(element);
  const [a, b] = [light(over(rgba(svg ? style.fill : style.color), below)), light(below)].sort((x, y) => y - x);
  const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  const ratio = (a + .05) / (b + .05), text = element.textContent.trim().slice(0, 40);
  if (ratio < (large ? 3 : 4.5)) bad.add(`${element.tagName} ${ratio.toFixed(2)}: ${text}`);
}
return [...bad];
"""
# What is smaller than 24 x 24 pixels (WCAG 2.2, 2.5.8).
SMALL = """
document.querySelectorAll("details").forEach(fold => { fold.open = true; });
return [...document.querySelectorAll("a[href], button, input, select, summary")].filter(one => {
  const box = one.getBoundingClientRect();
  return one.checkVisibility() && (box.width < 24 || box.height < 24);
}).map(one => one.outerHTML.slice(0, 80));
"""
NAMELESS = """
return [...document.querySelectorAll("img, svg")].filter(one => {
  const name = one.getAttribute(one.tagName === "IMG" ? "alt" : "aria-label");
  return !name || name.length < 6 || /\\.(png|svg)$/.test(name);
}).map(one => one.outerHTML.slice(0, 80));
"""
# What can be reached with the keyboard, in the order of the page.
REACHABLE = """
window.reachable = [...document.querySelectorAll(
  "a[href], button, input, select, summary, svg[tabindex], [role=region][tabindex]"
)].filter(one => one.checkVisibility());
return reachable.length;
"""
# The number of what has the focus, whether that can be seen, whether it is on the screen, and whether it is in a film,
# which opens when a sample has the focus.
FOCUSED = """
const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
const seen = outlined || parseFloat(style.borderTopWidth) >= 3;
return [reachable.indexOf(one), seen, box.top < innerHeight && box.bottom > 0, one.closest(".film") !== null];
"""


@pytest.fixture(scope="module")
def pages(page: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind."""
    root = tmp_path_factory.mktemp("access")
    return {
        "beta": page,
        "tune": render.write_report(Path(shutil.copytree(HERE / "run-tune", root / "tune"))),
        "speed": write_bench_report(HERE / "speed" / "bench.json", root / "speed"),
        "index": write_index(root),
    }


@pytest.fixture(params=PAGES)
def path(pages: dict[str, Path], request: pytest.FixtureRequest) -> Path:
    return pages[request.param]


@pytest.fixture
def opened(visit: Visit, path: Path) -> Any:
    return visit(path)


def spoil(browser: Any, css: str) -> None:
    browser.execute_script(
        "document.head.append(Object.assign(document.createElement('style'), {textContent: arguments[0]}))", css
    )


@pytest.fixture
def dark(browser: Any) -> Iterator[None]:
    """The reader prefers dark pages."""
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    yield
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_dark_pages_can_be_read(dark: None, opened: Any) -> None:
    assert opened.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(18, 18, 18)"
    assert opened.execute_script(CONTRAST) == []
    spoil(opened, "p { color: #555 !important; }")
    assert opened.execute_script(CONTRAST) != []


def test_targets_are_large_enough_to_hit(opened: Any) -> None:
    assert opened.execute_script(SMALL) == []
    spoil(opened, "a, button, input, summary { padding: 0 !important; line-height: 1 !important; height: 12px; }")
    assert opened.execute_script(SMALL) != []


def test_text_can_be_read(opened: Any) -> None:
    rare = "<p class='warning'>A/A</p><p class='bubble'>value</p>"  # on pages with a failed control; at a point
    opened.execute_script("document.querySelector('main').insertAdjacentHTML('beforeend', arguments[0])", rare)
    assert opened.execute_script(CONTRAST) == []
    spoil(opened, "p { color: #888 !important; }")
    assert any("3.54" in found for found in opened.execute_script(CONTRAST))


def test_pictures_figures_and_controls_have_names(opened: Any) -> None:
    assert opened.execute_script(NAMELESS) == []
    opened.execute_script("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
    controls = [
        one for one in opened.find_elements("css selector", "button, input, select, summary") if one.is_displayed()
    ]
    assert controls and [one.get_attribute("outerHTML")[:80] for one in controls if not one.accessible_name] == []
    opened.execute_script(
        "document.body.insertAdjacentHTML('beforeend', '<img alt=\"\"><svg aria-label=\"a.svg\"></svg>')"
    )
    assert len(opened.execute_script(NAMELESS)) == 2


@pytest.mark.parametrize("path", ["beta", "speed", "index"], indirect=True)  # with all kinds of controls
def test_the_keyboard_reaches_everything_in_order_and_shows_where_it_is(opened: Any, visit: Visit, path: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    def visited(most: int) -> list[list[Any]]:
        stops: list[list[Any]] = []
        while len(stops) < most and (not stops or stops[-1][0] != count - 1):
            opened.switch_to.active_element.send_keys(Keys.TAB)
            stops.append(opened.execute_script(FOCUSED))
        return [stop for *stop, in_film in stops if stop[0] >= 0 or not in_film]

    count = opened.execute_script(REACHABLE)
    assert visited(3 * count) == [[at, True, True] for at in range(count)] and count > 2
    visit(path)
    opened.execute_script(REACHABLE)
    spoil(opened, ":focus-visible { outline: none !important; }")
    opened.execute_script("reachable[2].tabIndex = -1")
    spoilt = visited(4)
    assert [1, False, True] in spoilt and 2 not in [at for at, *_ in spoilt]


def test_a_narrow_screen_needs_no_sideways_scrolling(opened: Any, visit: Visit, path: Path) -> None:
    wide = "return document.documentElement.scrollWidth <= innerWidth && innerWidth == 390"
    opened.set_window_size(500, 844)  # the narrowest that Chromium allows
    try:
        size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
        opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        visit(path)
        opened.execute_script("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
        assert opened.execute_script(wide)
        spoil(opened, "h1 { width: 500px; }")
        assert not opened.execute_script(wide)
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        opened.set_window_size(1280, 800)
