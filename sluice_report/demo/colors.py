"""The panels of a blue/green workload: the instances of each color, and the steps of a switch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from sluice_report.chart import scales
from sluice_report.chart.canvas import REGULAR_WIDTH
from sluice_report.chart.label_placement import LabelPlacement
from sluice_report.chart.palette import LIGHT
from sluice_sim.embedded.timeline import ColorSize, Minute, SwitchSeen, SwitchStep

HEADROOM = 1.45
MINUTE_S = 60
BAR_BOTTOM, BAR_TOP = 0.08, 0.48
"""Of a step that takes time, as shares of the panel's height; the names of the others stand above."""
STEP_TEXT = 9.5
GAP = 4.0
"""Points between two names."""


def of(color: str, minutes: Sequence[Minute]) -> list[ColorSize]:
    """One color, minute by minute."""
    return [next(each for each in row.colors if each.color == color) for row in minutes]


def draw_instances(axes: Axes, minutes: Sequence[Minute], *, color: str) -> None:
    """Running instances of a color, those that work on messages darker, and how many are desired.

    Both colors have one scale.
    """
    at, sizes = [row.minute for row in minutes], of(color, minutes)
    running, busy = [size.running for size in sizes], [size.busy for size in sizes]
    desired = [size.desired for size in sizes]
    top = max(max(each.desired, each.running) for row in minutes for each in row.colors)
    scales.linear(axes, top, headroom=HEADROOM, integer=True)
    axes.fill_between(at, running, color=LIGHT[f"{color}-idle"], step="mid", lw=0, zorder=3)
    axes.fill_between(at, busy, color=LIGHT[f"{color}-busy"], step="mid", lw=0, zorder=3)
    axes.step(at, desired, where="mid", color=LIGHT["plan"], lw=1.4, zorder=4)
    labels = LabelPlacement(axes)
    labels.occupy_area(at, running)
    labels.occupy_line(at, desired)
    asked = [(float(m), float(size.desired)) for m, size in zip(at, sizes, strict=True)]
    booting = [point for point, size in zip(asked, sizes, strict=True) if size.desired > size.running]
    if anchors := booting or [point for point in asked if point[1]]:
        labels.add_label("desired", LIGHT["plan"], anchors)
    for text, is_so in (("working", _works), ("running, idle", _idles)):
        if anchors := [(float(m), float(s.running)) for m, s in zip(at, sizes, strict=True) if is_so(s)]:
            labels.add_label(text, LIGHT[f"{color}-text"], anchors)


def _works(size: ColorSize) -> bool:
    return size.busy > size.running / 2


def _idles(size: ColorSize) -> bool:
    return size.busy < size.running / 2


# --- the steps of a switch --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """Steps that begin and end at once, and where on the axis."""

    x: float
    text: str


def draw_steps(axes: Axes, minutes: Sequence[Minute], *, switch: SwitchSeen) -> None:
    """A bar for each step that takes time, and the names of those that end at once above where they are."""
    axes.set_ylim(0, 1)
    axes.yaxis.set_visible(False)
    axes.grid(visible=False)
    points_per_minute = axes.bbox.width / (axes.get_xlim()[1] - axes.get_xlim()[0])
    for step in switch.steps:
        left, right = _place(step.began_s), _place(_ended_s(step, minutes))
        axes.add_patch(
            Rectangle(
                (left, BAR_BOTTOM), right - left, BAR_TOP - BAR_BOTTOM, facecolor=LIGHT["step"],
                edgecolor=LIGHT["paper"], lw=1, zorder=3,
            )
        )  # fmt: skip
        if _width(step.step) <= (right - left) * points_per_minute:
            _write(
                axes,
                (left + right) / 2,
                (BAR_BOTTOM + BAR_TOP) / 2,
                step.step,
                align="center",
                facecolor=LIGHT["step"],
            )
    end = None
    for moment in _moments(switch.steps, minutes, points_per_minute):
        width = _width(moment.text) / points_per_minute
        # The first stands before its moment: the others are soon after it.
        left = max(moment.x - width, axes.get_xlim()[0]) if end is None else max(moment.x - width / 2, end)
        if left > moment.x:  # it would stand beside another moment than its own
            continue
        axes.plot([moment.x] * 2, [BAR_BOTTOM, 0.62], color=LIGHT["ink"], lw=1, zorder=4)
        _write(axes, left, 0.8, moment.text, align="left", facecolor=LIGHT["paper"])
        end = left + width + GAP / points_per_minute


def _moments(
    steps: Sequence[SwitchStep], minutes: Sequence[Minute], points_per_minute: float
) -> Iterator[_Moment]:
    """The steps whose bars are too narrow for their names; those of one moment together."""
    together: list[str] = []
    x = 0.0
    for step in steps:
        left, right = _place(step.began_s), _place(_ended_s(step, minutes))
        if _width(step.step) <= (right - left) * points_per_minute:
            continue
        if together and left - x > 0.01:
            yield _Moment(x=x, text=", ".join(together))
            together = []
        x = left
        together.append(step.step)
    if together:
        yield _Moment(x=x, text=", ".join(together))


def _write(axes: Axes, x: float, y: float, text: str, *, align: str, facecolor: str) -> None:
    axes.text(
        x, y, text, size=STEP_TEXT, color=LIGHT["ink"], ha=align, va="center_baseline", zorder=6,
        clip_on=False, bbox={"facecolor": facecolor, "edgecolor": "none", "pad": 0.5},
    )  # fmt: skip


def _width(text: str) -> float:
    """Points."""
    return REGULAR_WIDTH * STEP_TEXT * len(text)


def _place(seconds: float) -> float:
    """Where a moment of the run is on an axis whose minutes are drawn around their numbers."""
    return seconds / MINUTE_S + 0.5


def _ended_s(step: SwitchStep, minutes: Sequence[Minute]) -> float:
    return minutes[-1].minute * MINUTE_S if step.ended_s is None else step.ended_s


def shade(axes: Axes, minutes: Sequence[Minute], switch: SwitchSeen) -> None:
    """A background for the time of the switch, and a line where the other color becomes the active one."""
    first, last = switch.steps[0], switch.steps[-1]
    axes.axvspan(
        _place(first.began_s), _place(_ended_s(last, minutes)), facecolor=LIGHT["span"], lw=0, zorder=0
    )
    for step in switch.steps:
        if step.step == "flip":
            axes.axvline(_place(step.began_s), color=LIGHT["ink"], lw=0.9, zorder=2)
