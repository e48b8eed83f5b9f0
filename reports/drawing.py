"""Figures as SVG: the same drawing gives the same bytes, and points that were given a text show it as a tooltip."""

import hashlib
import io
import re

import matplotlib.figure
from markupsafe import Markup

from reports.figures import canvas

TARGET = re.compile(  # the mark that `figures.target` drew
    rf'<g id="{canvas.TIP}(\d*)\|([^"]*)">.*?<use [^>]*?x="([^"]*)" y="([^"]*)".*?</g>\s*</g>', re.DOTALL
)


TIP = re.compile(r'<circle class="tip".*?</circle>\n?')
DROPPED = re.compile(  # comments, names of groups, rotations by 0, the font that `SHARED` sets, indentation
    r"""<!--.*?-->\n?|(?<=<g) id="[^"]*"| transform="rotate\(-0 [^"]*\)"|font-family: 'DejaVu Sans'; |(?<=\n) +""",
    re.DOTALL,
)
ALONE = re.compile(r"<g>\n(<[^>]*/>|<text[^>]*>[^<]*</text>)\n</g>")  # a group of one element
SHARED = "text{font-family: 'DejaVu Sans', Verdana, sans-serif}.tip{r: 4.5px; fill-opacity: 0}"


def svg(drawing: matplotlib.figure.Figure) -> str:
    """The figure as an SVG file, with tooltips. A third shorter than matplotlib's: each style is written once."""
    buffer = io.BytesIO()
    canvas.settle(drawing).savefig(
        buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = re.sub(r'\b([dxy])="[^"]*"', _rounded, buffer.getvalue().decode())
    text = ALONE.sub(r"\1", ALONE.sub(r"\1", DROPPED.sub("", TARGET.sub(_titled, text))))
    styles: dict[str, str] = {}
    text = re.sub(r'style="([^"]*)"', lambda style: f'class="{_named(style[1], styles)}"', text)
    rules = "".join(f".{name}{{{style}}}" for style, name in styles.items())
    return text.replace("</style>", f"{SHARED}{rules}</style>", 1)


def _named(style: str, styles: dict[str, str]) -> str:
    """The class of a style: a name by content, so that figures in one page may share it."""
    return styles.setdefault(style, f"s{hashlib.sha256(style.encode()).hexdigest()[:5]}")


def still(text: str) -> str:
    """An SVG file without its tooltips, which an `<img>` cannot show."""
    return TIP.sub("", text)


def _rounded(found: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point, or of a font's unit, which nobody can see; and a path without spaces."""
    text = re.sub(r"(\.\d\d)\d+", r"\1", found[0])
    return re.sub(r"\s*\b([A-Zz])\s*|\s*\n", r"\1", text) if text.startswith("d=") else text


def _titled(found: re.Match[str]) -> str:
    """An invisible disc with a text, a third as long as matplotlib's mark."""
    key, text, x, y = found.groups()
    number = f' data-key="{key}"' if key else ""
    return f'<circle class="tip"{number} cx="{x}" cy="{y}"><title>{text}</title></circle>'


def inline(text: str, name: str, alt: str) -> Markup:
    """An SVG file as an element of a page. Its ids start with `name`, so that figures do not share them."""
    element = text[text.index("<svg") :]
    element = re.sub(r'\bid="', f'id="{name}-', element)
    element = element.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    label = Markup('<svg role="img" tabindex="0" aria-label="{}" ').format(alt)
    element = re.sub(r"\n\s*", "\n", element)
    return Markup(element.replace("<svg ", label, 1).strip())
