"""A story as a file: the PNG that stands alone, and the SVGs that the page holds.

Owns the style and what HTML needs of an SVG. One layout draws both: the page shows a point as a pixel, the
PNG as two.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from sluice_report.chart.canvas import (
    LEFT,
    POINTS_PER_INCH,
    RIGHT,
)
from sluice_report.chart.palette import (
    LIGHT,
    with_variables,
)
from sluice_report.demo.layout import figure
from sluice_sim.embedded.timeline import Timeline

PNG_SCALE = 2

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.edgecolor": LIGHT["muted"],
    "axes.facecolor": "none",
    "figure.facecolor": LIGHT["paper"],
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """An SVG for the page, and where in its width the first and the last minute stand (0 to 1)."""

    svg: str
    left: float
    right: float
    first: int
    last: int


def png(story: Timeline, *, width: float = 860) -> bytes:
    """The picture that stands by itself: title, panels, chronicle."""
    with style():
        return png_of(figure(story, width, alone=True))


def drawing(story: Timeline, *, width: float) -> Drawing:
    """The panels for the page, in the page's own colours and font."""
    with style(salt=f"{story.summary.name} {width}"):
        svg = svg_of(figure(story, width, alone=False))
    return Drawing(
        svg=svg,
        left=LEFT / width,
        right=1 - RIGHT / width,
        first=story.minutes[0].minute,
        last=story.minutes[-1].minute,
    )


def png_of(drawn: Figure) -> bytes:
    """A figure as a PNG of two pixels a point."""
    out = io.BytesIO()
    drawn.savefig(out, format="png", dpi=POINTS_PER_INCH * PNG_SCALE, metadata={"Software": None})
    return out.getvalue()


def svg_of(drawn: Figure) -> str:
    """A figure as an SVG inside HTML, in the page's own colours and font."""
    out = io.StringIO()
    drawn.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    width, height = (float(inches) * POINTS_PER_INCH for inches in drawn.get_size_inches())
    return with_variables(_inline(out.getvalue(), width, height))


def _inline(svg: str, width: float, height: float) -> str:
    """What HTML needs of an SVG file: no prologue, metadata, namespaces, styles, size, fonts, unused ids."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"font: ([^;\"]*?)([\d.]+px) [^;\"]*", r"font: \1\2 var(--font)", body)
    body = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", body)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    return re.sub(
        r"<svg [^>]*>", f'<svg viewBox="0 0 {width:g} {height:g}" aria-hidden="true">', body, count=1
    )


@contextmanager
def style(*, salt: str = "sluice") -> Iterator[None]:
    """The report's own style, whatever the user's matplotlibrc says; every SVG of a page has its own salt."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A name in a script the built-in font lacks is drawn as boxes in the PNG; the page has the reader's.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | {"svg.hashsalt": salt})
        yield
