"""The growth of a tick with its workloads, as a picture for the documentation.

Both axes are logarithmic, so that a time in proportion to the workloads is a straight line.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.approaches import TIMEOUT_S
from benchmarks.tick_results import PER_WORKLOAD_CALLS, Tick
from sluice import wiring
from sluice.usecases.shards import MAX_WORKLOADS_PER_INVOCATION
from sluice_report.chart.palette import LIGHT
from sluice_report.chart.rendering import style

WIDTH_IN, HEIGHT_IN = 8.6, 4.4
READING_S = TIMEOUT_S - wiring.RESERVE_S
"""When a tick stops reading and publishes what it has."""


def svg(ticks: Sequence[Tick], *, latency_s: float) -> str:
    """Time and calls over the number of workloads, for ticks that differ in nothing else."""
    out = io.StringIO()
    with style():
        figure(ticks, latency_s).savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def figure(ticks: Sequence[Tick], latency_s: float) -> Figure:
    """Both panels."""
    drawn = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    times, calls = drawn.subplots(1, 2, width_ratios=(3, 2))
    _times(times, ticks)
    _calls(calls, ticks)
    drawn.suptitle(
        f"A tick in one invocation, each call answered after {latency_s * 1000:g} ms",
        x=0.01,
        ha="left",
        fontsize=12,
        fontweight="bold",
    )
    return drawn


def _times(axes: Axes, ticks: Sequence[Tick]) -> None:
    whole = [one for one in ticks if one.cpu_share == 1]
    partly = [one for one in ticks if one.cpu_share < 1]
    _line(axes, whole, [one.cold_s for one in whole], "tick, registry unread", "per-instance", ":")
    if partly:
        name = f"tick, {partly[0].cpu_share:.2f} of a core"
        _line(axes, partly, [one.wall_s for one in partly], name, "running-text", "-.")
    _line(axes, whole, [one.floor_s for one in whole], "bare boto3, the same calls", "muted", "--")
    _line(axes, whole, [one.wall_s for one in whole], "tick", "waiting", "-")
    _finish(axes, "seconds", whole)
    axes.axhline(READING_S, color=LIGHT["target"], linewidth=1.2)
    _note(axes, "reading stops", (whole[0].workloads, READING_S), (0, 4), "target")
    axes.set_ylim(top=READING_S * 1.7)
    axes.annotate(
        "more go in shards",
        (MAX_WORKLOADS_PER_INVOCATION, 0.02),
        (4, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        rotation=90,
        va="bottom",
        fontsize=9,
        color=LIGHT["desired"],
    )
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, 0.9), fontsize=9)


def _calls(axes: Axes, ticks: Sequence[Tick]) -> None:
    whole = [one for one in ticks if one.cpu_share == 1]
    _line(axes, whole, [one.calls for one in whole], "tick", "waiting", "-")
    _finish(axes, "calls a workload", whole)
    axes.set_ylim(0.9, 3.4)
    axes.set_yticks([1, 1.5, 2, 3])
    axes.axhline(PER_WORKLOAD_CALLS, color=LIGHT["target"], linewidth=1.2)
    _note(axes, "a function for each workload", (whole[0].workloads, PER_WORKLOAD_CALLS), (0, 4), "target")


def _line(
    axes: Axes, ticks: Sequence[Tick], values: Sequence[float], name: str, role: str, dashes: str
) -> None:
    sizes = [one.workloads for one in ticks]
    axes.plot(sizes, values, dashes, color=LIGHT[role], marker="o", markersize=4, linewidth=2, label=name)


def _note(axes: Axes, text: str, at: tuple[float, float], moved: tuple[float, float], role: str) -> None:
    axes.annotate(text, at, moved, textcoords="offset points", fontsize=9, color=LIGHT[role])


def _finish(axes: Axes, what: str, ticks: Sequence[Tick]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("workloads", color=LIGHT["muted"])
    axes.set_ylabel(what, color=LIGHT["muted"])
    axes.set_xticks([one.workloads for one in ticks])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(color=LIGHT["grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.axvline(MAX_WORKLOADS_PER_INVOCATION, color=LIGHT["desired"], linewidth=1.2)
