"""Turn a matplotlib figure into a PNG that stands alone, or into an SVG that the HTML page embeds.

Both reports use the same style. The page shows a point as one CSS pixel; a PNG has two pixels per point.
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

from sluice_report.chart.canvas import POINTS_PER_INCH
from sluice_report.chart.palette import LIGHT, with_variables

PNG_PIXELS_PER_POINT = 2

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
    """An SVG for the page; `left` and `right` are where its plots begin and end, as shares of its width."""

    svg: str
    left: float
    right: float


@contextmanager
def style(*, salt: str = "sluice") -> Iterator[None]:
    """Apply the report's style, whatever the user's matplotlibrc says.

    `salt` seeds the ids inside an SVG. Each drawing of a page needs its own, or their ids collide.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        # DejaVu Sans lacks some scripts: a PNG then shows boxes, while the page uses the reader's own fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | {"svg.hashsalt": salt})
        yield


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG with two pixels per point."""
    out = io.BytesIO()
    # Without the Software entry the same figure gives the same bytes under any version of matplotlib.
    figure.savefig(out, format="png", dpi=POINTS_PER_INCH * PNG_PIXELS_PER_POINT, metadata={"Software": None})
    return out.getvalue()


def to_svg(figure: Figure) -> str:
    """The figure as an SVG element for HTML, with the page's colours and font."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    width, height = (float(inches) * POINTS_PER_INCH for inches in figure.get_size_inches())
    return with_variables(_for_html(out.getvalue(), width, height))


def _for_html(svg: str, width: float, height: float) -> str:
    """Strip what HTML does not need: prologue, metadata, styles, size, fonts, ids that nothing refers to."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"font: ([^;\"]*?)([\d.]+px) [^;\"]*", r"font: \1\2 var(--font)", body)
    body = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", body)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    return re.sub(
        r"<svg [^>]*>", f'<svg viewBox="0 0 {width:g} {height:g}" aria-hidden="true">', body, count=1
    )
