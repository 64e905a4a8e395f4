"""A run as one figure: a PNG that stands alone, and the SVGs that the page embeds. Sizes are in points."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from sluice_report.chart.canvas import (
    LEFT_MARGIN,
    REGULAR_WIDTH,
    RIGHT_MARGIN,
    TITLE_LINE,
    TITLE_SIZE,
    Canvas,
    new_figure,
    style_axes,
    wrap_text,
)
from sluice_report.chart.compact_svg import compact
from sluice_report.chart.palette import LIGHT
from sluice_report.chart.rendering import Drawing, style, to_png, to_svg
from sluice_report.simulation.panels import LegendKey, Panel
from sluice_report.simulation.time_series import TimeSeries

KEY_SIZE, KEY_LINE = 9.5, 15.0
SWATCH, SWATCH_GAP, KEY_GAP = 12.0, 4.0, 14.0
SPACE_BELOW_PLOT = 18.0
MIN_TICK_DISTANCE = 64.0
TICKS_S = (
    60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 432_000, 604_800,
    1_209_600,
)  # fmt: skip
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def png(name: str, verdict: str, panels: Sequence[Panel], series: TimeSeries, *, width: float = 860) -> bytes:
    """The picture that stands alone, with the run's name and verdict."""
    with style():
        return to_png(_figure(panels, series, width, heading=(name, verdict)))


def drawing(name: str, panels: Sequence[Panel], series: TimeSeries, *, width: float) -> Drawing:
    """The panels for the page."""
    with style(salt=f"{name} {width}"):
        svg = to_svg(_figure(panels, series, width, heading=None))
    return Drawing(svg=compact(svg), left=LEFT_MARGIN / width, right=1 - RIGHT_MARGIN / width)


def _figure(
    panels: Sequence[Panel], series: TimeSeries, width: float, *, heading: tuple[str, str] | None
) -> Figure:
    indent = 8.0 if heading else 0.0
    titles = [wrap_text(panel.title, width - 2 * indent, TITLE_SIZE) for panel in panels]
    keys = [_rows(panel.keys, width - 2 * indent) for panel in panels]
    name, verdict = heading or ("", "")
    head = wrap_text(verdict, width - 2 * indent, TITLE_SIZE, REGULAR_WIDTH) if heading else []
    height = 14 + (34 + len(head) * TITLE_LINE + 14 if heading else 2)
    for panel, title, rows in zip(panels, titles, keys, strict=True):
        height += len(title) * TITLE_LINE + len(rows) * KEY_LINE + 2 + panel.height + SPACE_BELOW_PLOT
    canvas = Canvas(new_figure(width, height), indent=indent)
    if heading:
        canvas.move_down(8)
        canvas.write_lines([name], size=17, line=26, weight="bold")
        canvas.write_lines(head, size=TITLE_SIZE, line=TITLE_LINE, colour="muted")
        canvas.move_down(14)
    for index, (panel, title, rows) in enumerate(zip(panels, titles, keys, strict=True)):
        canvas.write_lines(title, size=TITLE_SIZE, line=TITLE_LINE, weight="bold")
        for row in rows:
            _key_line(canvas, row, indent)
        canvas.move_down(2)
        axes = canvas.add_plot(panel.height)
        _time_axis(axes, series, width, labelled=index == len(panels) - 1)
        panel.draw(axes, series)
        canvas.move_down(SPACE_BELOW_PLOT)
    return canvas.figure


def _key_width(key: LegendKey) -> float:
    return SWATCH + SWATCH_GAP + KEY_SIZE * REGULAR_WIDTH * len(key.text) + KEY_GAP


def _rows(keys: Sequence[LegendKey], width: float) -> list[list[LegendKey]]:
    """Break a legend into rows that fit."""
    rows: list[list[LegendKey]] = []
    left = 0.0
    for key in keys:
        if not rows or _key_width(key) - KEY_GAP > left:
            rows.append([])
            left = width
        rows[-1].append(key)
        left -= _key_width(key)
    return rows


def _key_line(canvas: Canvas, keys: Sequence[LegendKey], x: float) -> None:
    for key in keys:
        canvas.draw_swatch(x, SWATCH, KEY_LINE / 2, LIGHT[key.role], line=key.line, dashed=key.dashed)
        canvas.write_text(
            x + SWATCH + SWATCH_GAP,
            key.text,
            baseline=KEY_LINE * 0.73,
            size=KEY_SIZE,
            color=LIGHT["muted"],
        )
        x += _key_width(key)
    canvas.move_down(KEY_LINE)


def _time_axis(axes: Axes, series: TimeSeries, width: float, *, labelled: bool) -> None:
    axes.set_xlim(-0.5, series.end_s / series.interval_s - 0.5)
    max_ticks = max(3, int((width - LEFT_MARGIN - RIGHT_MARGIN) / MIN_TICK_DISTANCE))
    step = next((step for step in TICKS_S if series.end_s / step <= max_ticks), TICKS_S[-1])
    size, unit = next(((size, unit) for size, unit in UNITS if step >= size), UNITS[-1])
    moments = range(0, int(series.end_s) + 1, step)
    axes.xaxis.set_major_locator(FixedLocator([at / series.interval_s - 0.5 for at in moments]))
    texts = [f"{at / size:g} {unit}" if labelled else "" for at in moments]
    axes.xaxis.set_major_formatter(FixedFormatter(texts))
    style_axes(axes)
    axes.grid(visible=True, axis="x", color=LIGHT["grid"], lw=0.8, zorder=0)
