"""Writes dashboard.svg: a deployed dashboard, drawn from what the embedded AWS answers for its body."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FuncFormatter, MultipleLocator

from sluice_report import quantities
from sluice_report.chart import scales
from sluice_report.chart.canvas import POINTS_PER_INCH, new_figure, style_axes
from sluice_report.chart.compact_svg import compact
from sluice_report.chart.palette import LIGHT
from sluice_report.chart.rendering import style
from sluice_sim.account import REGION
from sluice_sim.aws_rules.dashboards import COLUMNS, Line, Widget, widgets
from sluice_sim.embedded import dashboards
from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import PHOTO_IMPORT
from sluice_sim.embedded.timeline import SteadyArrivals

ROOT = Path(__file__).resolve().parents[1]
SCENARIO = replace(
    PHOTO_IMPORT,
    steady=SteadyArrivals(first=2, last=44, per_minute=20),
    visibility_timeout_s=60,
    max_minutes=50,
    quiet_minutes=50,
)
FAILING = {12: ("failure", 5), 27: ("failure", 9), 34: ("timeout", 4)}
"""Minute -> outcome and number of the messages that fail, three times each."""
PARAMETERS = {
    "Dashboard": "true",
    "DepthAlarms": "true",
    "WarningDepthMessages": "100",
    "CriticalDepthMessages": "1000",
    "AtMaximumAlarm": "true",
    "MissingInstancesAlarm": "true",
    "ThroughputAlarm": "true",
    "PromiseAlarm": "true",
    "DeadLetterQueueName": "dead-photo-import",
}
UNIT, ROW = 44.0, 25.0
"""Points of a column and of a row of the grid."""
GAP, PAD, HEAD = 4.0, 9.0, 34.0
"""Points between two widgets, inside one, and of its title and legend."""
LINES = ("waiting", "running-text", "processing", "per-instance", "muted")
AREAS = ("in-flight", "waiting", "arriving")
STATES = {"OK": "running-text", "ALARM": "failure", "INSUFFICIENT_DATA": "arriving"}
CELLS = {
    "@timestamp": 0,
    "decision": 62,
    "outcome": 122,
    "reason": 178,
    "desired_now": 272,
    "desired": 337,
    "message": 388,
}
"""Field of the table of decisions -> where its column begins, in points."""
MESSAGE = 140
"""Characters of a message that fit."""
TEXT, SMALL = 8.5, 7.5
FONT = "DejaVu Sans, Verdana, sans-serif"
"""Verdana is as wide, where DejaVu Sans is not installed."""


def main() -> None:
    """Play the scenario, and draw its dashboard at the end."""
    with embedded_aws(ROOT) as aws:
        start = aws.clock.now
        demo = Demo(aws, ROOT)
        demo.add_workload(SCENARIO, PARAMETERS)
        for minute, (outcome, count) in FAILING.items():
            aws.clock.at(start + minute * 60, partial(_send, aws, outcome, count))
        demo.run()
        aws.flush_metrics()
        text = dashboards.body(aws.cloudwatch, f"sluice-{SCENARIO.name}-{REGION}")
        with style(salt="dashboard"):
            svg = _svg(draw(aws, widgets(text), start))
    (Path(__file__).parent / "dashboard.svg").write_text(svg, encoding="utf-8")


def _send(aws: EmbeddedAws, outcome: str, count: int) -> None:
    url = aws.sqs.get_queue_url(QueueName=SCENARIO.name)["QueueUrl"]
    body = json.dumps({"duration_s": 10, "outcome": outcome})
    for _ in range(count):
        aws.sqs.send_message(QueueUrl=url, MessageBody=body)


def draw(aws: EmbeddedAws, shown: Sequence[Widget], start: float) -> Figure:
    """Every widget in its place of the grid, with what AWS answers for the time since `start`."""
    rows = max(widget.y + widget.height for widget in shown)
    figure = new_figure(COLUMNS * UNIT + GAP, rows * ROW + GAP)
    figure.set_facecolor("#f3f5f7")
    kinds: dict[str, Callable[[Card, EmbeddedAws, float], None]] = {
        "metric": _chart,
        "alarm": _states,
        "log": _table,
    }
    for widget in shown:
        kinds[widget.kind](Card(figure, widget), aws, start)
    return figure


class Card:
    """The place of one widget; positions inside are in points from its upper left corner."""

    def __init__(self, figure: Figure, widget: Widget) -> None:
        self.figure, self.widget = figure, widget
        self._width, self._height = (float(inches) * POINTS_PER_INCH for inches in figure.get_size_inches())
        self.left, self.top = widget.x * UNIT + GAP, widget.y * ROW + GAP
        self.width, self.height = widget.width * UNIT - GAP, widget.height * ROW - GAP
        self.box(0, 0, self.width, self.height, facecolor=LIGHT["paper"], edgecolor=LIGHT["grid"])
        self.write(PAD, 16, widget.title, size=9.5, weight="bold")

    def box(self, x: float, y: float, width: float, height: float, **look: Any) -> None:
        """A box with round corners; y is its upper edge."""
        left, bottom = self._at(x, y + height)
        self.figure.add_artist(
            FancyBboxPatch(
                (left, bottom), width / self._width, height / self._height,
                boxstyle="round,pad=0,rounding_size=0.003", mutation_aspect=self._width / self._height,
                transform=self.figure.transFigure, lw=0.8, zorder=-1, **look,
            )
        )  # fmt: skip

    def write(self, x: float, y: float, text: str, *, size: float = TEXT, **look: Any) -> None:
        """A text on the base line y."""
        self.figure.text(*self._at(x, y), text, size=size, va="baseline", **look)

    def axes(self) -> Axes:
        """Axes below the legend."""
        left, bottom = self._at(PAD + 27, self.height - 20)
        width, height = self.width - 2 * PAD - 36, self.height - 20 - HEAD
        return self.figure.add_axes((left, bottom, width / self._width, height / self._height))

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return (self.left + x) / self._width, 1 - (self.top + y) / self._height


def _chart(card: Card, aws: EmbeddedAws, start: float) -> None:
    widget, axes = card.widget, card.axes()
    found = dashboards.drawn(aws.cloudwatch, widget, start, aws.clock.now)
    colours = AREAS if widget.stacked else LINES
    top, below = max((mark.value for mark in widget.annotations), default=0.0), [0.0] * 10_000
    for (line, points), colour in zip(found.items(), colours, strict=False):
        at, values = _series(line, points, start, aws.clock.now, missing=0.0 if widget.stacked else math.nan)
        if widget.stacked:
            upper = [low + value for low, value in zip(below, values, strict=False)]
            axes.fill_between(at, below[: len(at)], upper, color=LIGHT[colour], lw=0, zorder=3)
            below = values = upper
        else:
            axes.plot(at, values, color=LIGHT[colour], lw=1.5, zorder=4)
            axes.plot(*_isolated(at, values), color=LIGHT[colour], ls="none", marker="o", ms=2, zorder=4)
        top = max([top, *(value for value in values if math.isfinite(value))])
    scales.linear(axes, top, headroom=1.2)
    style_axes(axes)
    axes.tick_params(labelsize=SMALL)
    axes.set_xlim(0, (aws.clock.now - start) / 60)
    axes.xaxis.set_major_locator(MultipleLocator(10))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda minute, _: f"{datetime.fromtimestamp(start + minute * 60, UTC):%H:%M}")
    )
    _legend(card, [(line.label, colour) for line, colour in zip(found, colours, strict=False)])
    for mark in widget.annotations:
        axes.axhline(mark.value, color=LIGHT["target"], lw=1.1, ls=(0, (5, 2.5)), zorder=5)
        axes.annotate(
            f"{mark.label} {quantities.number(mark.value)}", (1, mark.value), ha="right",
            xycoords=("axes fraction", "data"), xytext=(-2, 3), textcoords="offset points",
            size=SMALL, color=LIGHT["target"], zorder=6,
        )  # fmt: skip


def _series(
    line: Line, points: Any, start: float, end: float, *, missing: float
) -> tuple[list[float], list[float]]:
    """Minutes since the start, and the value of each; a period without one breaks the line."""
    periods = range(math.ceil(start / line.period_s) * line.period_s, int(end), line.period_s)
    return [(at - start) / 60 for at in periods], [points.get(at, missing) for at in periods]


def _isolated(at: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points without a neighbour, which no line shows."""
    known = [math.isfinite(value) for value in (math.nan, *values, math.nan)]
    alone = [
        (moment, value)
        for moment, value, before, itself, after in zip(at, values, known, known[1:], known[2:], strict=False)
        if itself and not before and not after
    ]
    return [moment for moment, _ in alone], [value for _, value in alone]


def _legend(card: Card, entries: Sequence[tuple[str, str]]) -> None:
    x = PAD
    for label, colour in entries:
        card.box(x, 22.5, 8, 4, facecolor=LIGHT[colour], edgecolor="none")
        card.write(x + 11, 28, label, size=SMALL, color=LIGHT["muted"])
        x += 11 + len(label) * SMALL * 0.53 + 10


def _states(card: Card, aws: EmbeddedAws, _start: float) -> None:
    names = [arn.rpartition(":")[2] for arn in card.widget.alarms]
    described = aws.cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
    state_of = {alarm["AlarmName"]: alarm["StateValue"] for alarm in described}
    per_row = 6
    width = (card.width - 2 * PAD) / per_row
    for index, name in enumerate(names):
        x, y = PAD + index % per_row * width, 24 + index // per_row * 22
        card.box(x, y, width - 5, 18, facecolor=LIGHT["paper"], edgecolor=LIGHT["grid"])
        card.box(x, y, 5, 18, facecolor=LIGHT[STATES[state_of[name]]], edgecolor="none")
        card.write(x + 11, y + 12.3, name.removeprefix(f"sluice-{SCENARIO.name}-"), size=8)
        state = state_of[name].replace("INSUFFICIENT_DATA", "no data")
        card.write(
            x + width - 11,
            y + 12.3,
            state,
            size=SMALL,
            ha="right",
            color=LIGHT[STATES[state_of[name]]],
            weight="bold",
        )


def _table(card: Card, aws: EmbeddedAws, start: float) -> None:
    for field, x in CELLS.items():
        card.write(PAD + x, 32, field, size=SMALL, color=LIGHT["muted"], weight="bold")
    fits = int((card.height - 40) // 13)
    for index, row in enumerate(dashboards.rows(card.widget, start, aws.clock.now)[:fits]):
        for field, x in CELLS.items():
            text = row.get(field, "")
            cut = (
                text[11:19]
                if field == "@timestamp"
                else text
                if len(text) <= MESSAGE
                else f"{text[:MESSAGE]}…"
            )
            card.write(PAD + x, 46 + index * 13, cut, size=SMALL)


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", out.getvalue(), flags=re.DOTALL)
    text = (
        re.sub(r'<g id="[^"]*"', "<g", text)
        .replace("'DejaVu Sans'", FONT)
        .replace("DejaVu Sans;", f"{FONT};")
    )
    return compact(text)


if __name__ == "__main__":
    main()
