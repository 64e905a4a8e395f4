"""How results look in a terminal: one run at length, several side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from sluice_sim.simulation.result import Result

BEST = "●"
NOTHING = "-"
LABEL_WIDTH = 12


def verdict(result: Result, promise_s: float) -> str:
    """The finding in a sentence."""
    found = (
        f"{percent(result['attainment'])} of {whole(result['messages'])} messages started within "
        f"{seconds(promise_s)} of their arrival, for {number(result['instance_hours'])} instance-hours"
    )
    if result["cost_ratio"] is not None:
        found += f": {ratio(result['cost_ratio'])} times the least that could keep the promise"
    return f"\n[bold]{result['policy']}[/]: {found}."


def one(result: Result, promise_s: float) -> Table:
    """Everything there is about one run, in four blocks."""
    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim")
    blocks: Sequence[Sequence[tuple[str, str, str]]] = (
        (
            ("attainment", percent(result["attainment"]), f"started within {seconds(promise_s)}"),
            ("wait p50", seconds(result["wait_p50_s"]), "from arrival to start"),
            ("wait p95", seconds(result["wait_p95_s"]), ""),
            ("wait p99", seconds(result["wait_p99_s"]), ""),
            ("wait max", seconds(result["wait_max_s"]), ""),
        ),
        (
            ("instance-hours", number(result["instance_hours"]), "billed from launch to termination"),
            ("lower bound", number(result["lower_bound_instance_hours"]), "what a clairvoyant pays"),
            ("cost ratio", ratio(result["cost_ratio"]), "the one over the other"),
            ("launches", whole(result["launches"]), ""),
            ("peak instances", whole(result["peak_instances"]), "running at once"),
        ),
        (
            ("messages", whole(result["messages"]), ""),
            ("processed", whole(result["processed"]), ""),
            ("redelivered", whole(result["redelivered"]), "their instance went while it worked on them"),
            ("lost", whole(result["lost"]), "held by nobody"),
            ("peak backlog", whole(result["peak_backlog"]), "not yet processed, at the worst moment"),
        ),
        (
            ("too few", number(result["a_u"]), "instances below the clairvoyant plan, on average (a_u)"),
            ("too many", number(result["a_o"]), "instances above it, on average (a_o)"),
            ("time too few", percent(result["tau_u"]), "tau_u"),
            ("time too many", percent(result["tau_o"]), "tau_o"),
            ("jitter", _per_hour(result["jitter"]), "changes an hour beyond the plan's"),
        ),
    )
    for block in blocks:
        for name, value, meaning in block:
            if value != NOTHING:
                table.add_row(name, value, meaning)
        table.add_section()
    return table


Row = tuple[Result, Mapping[str, str], bool]
"""A result, what tells it apart, and whether no other one beats it."""


def comparison(rows: Sequence[Row], *, promise: str, wide: bool) -> Table:
    """Several runs, one a row, the best marked; a narrow table leaves out the details."""
    results = [result for result, _, _ in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("", min_width=len(BEST))
    for name in rows[0][1]:
        broadest = max(len(name), *(len(label[name]) for _, label, _ in rows))
        table.add_column(name, overflow="fold", min_width=broadest if wide else min(broadest, LABEL_WIDTH))
    columns = _columns(promise, wide=wide)
    if any(result["processed"] != result["messages"] for result in results):
        columns["not processed"] = lambda result: whole(result["messages"] - result["processed"])
    for heading, shown in columns.items():
        broadest = max(len(heading), *(len(shown(result)) for result in results))
        table.add_column(heading, justify="right", min_width=broadest)
    for result, label, marked in rows:
        table.add_row(
            Text(BEST if marked else "", style="green"),
            *label.values(),
            *(shown(result) for shown in columns.values()),
            style="bold" if marked else None,
        )
    return table


def _columns(promise: str, *, wide: bool) -> dict[str, Callable[[Result], str]]:
    """Headings, and what stands below them."""
    columns: dict[str, Callable[[Result], str]] = {
        promise: lambda result: percent(result["attainment"]),
        "hours": lambda result: number(result["instance_hours"]),
        "× bound": lambda result: ratio(result["cost_ratio"]),
    }
    if wide:
        columns["p50"] = lambda result: seconds(result["wait_p50_s"])
    columns["p99"] = lambda result: seconds(result["wait_p99_s"])
    if wide:
        columns |= {
            "longest": lambda result: seconds(result["wait_max_s"]),
            "launches": lambda result: whole(result["launches"]),
            "peak": lambda result: whole(result["peak_instances"]),
            "too few": lambda result: number(result["a_u"]),
            "too many": lambda result: number(result["a_o"]),
        }
    return columns


def seconds(value: float | None) -> str:
    """A duration, in the unit a person would choose."""
    if value is None:
        return NOTHING
    if value < 120:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.1f} min"
    return f"{value / 3600:.1f} h" if value < 172_800 else f"{value / 86_400:.1f} d"


def percent(share: float | None) -> str:
    """A share; nothing short of all of it is shown as all."""
    if share is None:
        return NOTHING
    if 0.99995 <= share < 1:
        return "> 99.99 %"
    return f"{100 * share:.2f} %"


def number(value: float | None) -> str:
    """Three digits or so."""
    if value is None:
        return NOTHING
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def ratio(value: float | None) -> str:
    """How many times the bound."""
    return NOTHING if value is None else f"{value:.2f}"


def whole(value: int) -> str:
    """A count."""
    return f"{value:,}"


def _per_hour(per_s: float | None) -> str:
    return NOTHING if per_s is None else number(3600 * per_s)
