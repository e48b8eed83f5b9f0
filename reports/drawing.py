"""Figures as SVG: the same drawing gives the same bytes, and points that were given a text show it as a tooltip."""

import io
import re

import matplotlib.figure
from markupsafe import Markup

from reports import figures

TARGET = re.compile(  # the mark that `figures.target` drew
    rf'<g id="{figures.TIP}(\d*)\|([^"]*)">.*?<use [^>]*?x="([^"]*)" y="([^"]*)".*?</g>\s*</g>', re.DOTALL
)


def svg(drawing: matplotlib.figure.Figure) -> str:
    """The figure as an SVG file, with tooltips."""
    buffer = io.BytesIO()
    figures.settle(drawing).savefig(
        buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = re.sub(r"<!--.*?-->\n?", "", buffer.getvalue().decode(), flags=re.DOTALL)
    text = text.replace("font-family: 'DejaVu Sans'", "font-family: 'DejaVu Sans', Verdana, sans-serif")
    text = re.sub(r'\b([dxy])="[^"]*"', _rounded, text)
    return TARGET.sub(_titled, text)


def _rounded(found: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point, or of a font's unit, which nobody can see."""
    return re.sub(r"(\.\d\d)\d+", r"\1", found[0])


def _titled(found: re.Match[str]) -> str:
    """An invisible disc with a text, a third as long as matplotlib's mark."""
    key, text, x, y = found.groups()
    number = f' data-key="{key}"' if key else ""
    return f'<circle class="tip"{number} cx="{x}" cy="{y}" r="4.5" fill-opacity="0"><title>{text}</title></circle>'


def inline(text: str, name: str, alt: str) -> Markup:
    """An SVG file as an element of a page. Its ids start with `name`, so that figures do not share them."""
    element = text[text.index("<svg") :]
    element = re.sub(r'\bid="', f'id="{name}-', element)
    element = re.sub(r'href="#', f'href="#{name}-', element)
    element = element.replace("url(#", f"url(#{name}-")
    label = Markup('<svg role="img" tabindex="0" aria-label="{}" ').format(alt)
    element = re.sub(r"\n\s*", "\n", element)
    return Markup(element.replace("<svg ", label, 1).strip())
