"""How results are printed in a terminal: one run in detail, several side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from sluice_report.quantities import UNKNOWN, count, duration, durations, number, share, times
from sluice_sim.study.result import Result

BEST = "●"
LABEL_WIDTH = 12


def verdict(result: Result, promise_s: float) -> str:
    """The result in one sentence."""
    found = (
        f"{share(result['attainment'])} of {count(result['messages'], 'message')} started within "
        f"{duration(promise_s)} of their arrival, for {number(result['instance_hours'])} instance-hours"
    )
    if result["cost_ratio"] is not None:
        found += f": {times(result['cost_ratio'])} times the least that could keep the promise"
        found += "" if result["promise_kept"] else ", which this run does not keep"
    return f"\n[bold]{result['policy']}[/]: {found}."


def one(result: Result, promise_s: float) -> Table:
    """All metrics of one run, in four blocks; long because each row of the table is a line of its own."""
    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim")
    waits = ("wait_p50_s", "wait_p95_s", "wait_p99_s", "wait_max_s")
    p50, p95, p99, longest = durations([result[key] for key in waits])
    blocks: Sequence[Sequence[tuple[str, str, str]]] = (
        (
            ("attainment", share(result["attainment"]), f"started within {duration(promise_s)}"),
            ("wait p50", p50, "from arrival to start"),
            ("wait p95", p95, ""),
            ("wait p99", p99, ""),
            ("wait max", longest, ""),
        ),
        (
            ("instance-hours", _amount(result["instance_hours"]), "billed from launch to termination"),
            (
                "lower bound",
                _amount(result["lower_bound_instance_hours"]),
                "of a plan that knows every arrival",
            ),
            ("cost ratio", *_ratio(result)),
            ("launches", number(result["launches"]), ""),
            *_warm_pool(result),
            ("peak instances", number(result["peak_instances"]), "running at once"),
        ),
        (
            ("messages", number(result["messages"]), ""),
            ("processed", number(result["processed"]), ""),
            ("dead letters", number(result["dead_letters"]), "received too often"),
            *_failures(result),
            ("redelivered", number(result["redelivered"]), "their instance ended while processing them"),
            ("lost", number(result["lost"]), "neither processed nor in a queue"),
            ("target", _amount(result["target_per_instance"]), result["target_because"] or ""),
            ("peak backlog", number(result["peak_backlog"]), "not yet processed, at the worst moment"),
        ),
        (
            (
                "missing",
                _amount(result["missing_instances"]),
                "instances below the lower bound's plan, on average",
            ),
            ("surplus", _amount(result["surplus_instances"]), "instances above it, on average"),
            ("time missing", share(result["missing_time_share"]), "share of the time with too few"),
            ("time surplus", share(result["surplus_time_share"]), "share of the time with too many"),
            (
                "extra changes",
                _amount(result["extra_changes_per_hour"]),
                "of the fleet an hour, beyond the plan's",
            ),
        ),
    )
    for block in blocks:
        for name, value, meaning in block:
            if value != UNKNOWN:
                table.add_row(name, value, meaning)
        table.add_section()
    return table


def switch(cost: Mapping[str, Any]) -> Table:
    """What a switch between two colors costs, and how long each step took."""
    heading = f"switch to {cost['to']}" if cost["to"] else "switch refused"
    table = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim")
    ended = cost["status"] if not cost["cause"] else f"{cost['status']}: {cost['cause']}"
    table.add_row("ended after", duration(cost["duration_s"]), ended)
    for step in cost["steps"]:
        if step["seconds"]:
            table.add_row(f"of that {step['step']}", duration(step["seconds"]), "")
    table.add_section()
    extra, ratio = cost["extra_instance_hours"], cost["instance_hours_ratio"]
    of_all = "" if ratio is None else f": {times(ratio)} times as many"
    table.add_row("instance-hours", f"{extra:+.3g}", f"over those of a run without the switch{of_all}")
    table.add_row("killed in flight", number(cost["killed_in_flight"]), "their instance ended meanwhile")
    table.add_row("received again", number(cost["received_again"]), "messages received more than once")
    table.add_section()
    for name, meaning in (
        ("before", "of the messages that arrived before the switch"),
        ("during", "of those that arrived during the switch"),
        ("during_without", "of the same messages in a run without the switch"),
        ("after", "of those that arrived later"),
    ):
        waits = cost[name]
        mean, p95 = durations([waits["mean_s"], waits["p95_s"]])
        table.add_row(f"wait {name.replace('_', ' ')}", mean, f"mean; p95 {p95}; {meaning}")
    return table


Row = tuple[Result, Mapping[str, str], bool]
"""A result, the values that identify it, and whether it is on the frontier."""


def comparison(rows: Sequence[Row], *, promise: str, wide: bool) -> Table:
    """Several runs, one per row, those on the frontier marked; a narrow table has fewer columns."""
    results = [result for result, _, _ in rows]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("", min_width=len(BEST))
    for name in rows[0][1]:
        broadest = max(len(name), *(len(label[name]) for _, label, _ in rows))
        table.add_column(name, overflow="fold", min_width=broadest if wide else min(broadest, LABEL_WIDTH))
    columns = {heading: shown(results) for heading, shown in _columns(results, promise, wide=wide).items()}
    for heading, cells in columns.items():
        table.add_column(heading, justify="right", min_width=max(map(len, [heading, *cells])))
    for (_, label, marked), *cells in zip(rows, *columns.values(), strict=True):
        table.add_row(
            Text(BEST if marked else "", style="green"),
            *label.values(),
            *cells,
            style="bold" if marked else None,
        )
    return table


Column = Callable[[Sequence[Result]], list[str]]
"""Makes the cells of one column, all in one unit."""


def _columns(results: Sequence[Result], promise: str, *, wide: bool) -> dict[str, Column]:
    """The columns by their headings."""
    columns: dict[str, Column] = {
        promise: _each("attainment", share),
        "hours": _each("instance_hours", _amount),
        "× bound": _each("cost_ratio", times),
    }
    if wide:
        columns["p50"] = _durations("wait_p50_s")
    columns["p99"] = _durations("wait_p99_s")
    if wide:
        columns |= {
            "longest": _durations("wait_max_s"),
            "launches": _each("launches", number),
            **_warm_columns(results),
            "peak": _each("peak_instances", number),
            "missing": _each("missing_instances", _amount),
            "surplus": _each("surplus_instances", _amount),
        }
    if any(result["failed_attempts"] for result in results):
        columns |= {"failed": _each("failed_share", share), "dead": _each("dead_letters", number)}
    if any(result["processed"] != result["messages"] for result in results):
        columns["not processed"] = lambda results: [
            number(result["messages"] - result["processed"]) for result in results
        ]
    return columns


def _failures(result: Result) -> Sequence[tuple[str, str, str]]:
    if not result["failed_attempts"]:
        return ()
    wasted = f"{_amount(result['failed_instance_hours'])} instance-hours"
    return (
        ("failed", number(result["failed_attempts"]), f"attempts that the downstream failed, {wasted}"),
        ("failed share", share(result["failed_share"]), "of all attempts"),
    )


def _warm_columns(results: Sequence[Result]) -> dict[str, Column]:
    if all(result["warm_pool_size"] is None for result in results):
        return {}
    return {
        "warm": _each("warm_launches", number),
        "pool hours": _each("warm_pool_hours", _amount),
    }


def warnings(results: Sequence[Result], labels: Sequence[Mapping[str, str]]) -> list[tuple[str, list[str]]]:
    """Every warning once, with the runs that it applies to where there are several."""
    found: dict[str, list[str]] = {}
    for result, label in zip(results, labels, strict=True):
        for warning in result["warnings"]:
            found.setdefault(warning, []).append(" ".join(f"{name}={value}" for name, value in label.items()))
    return [(warning, which if len(results) > 1 else []) for warning, which in found.items()]


def _ratio(result: Result) -> tuple[str, str]:
    """The cost ratio and its meaning, or why there is none; nothing without a bound."""
    if result["lower_bound_instance_hours"] is None:
        return UNKNOWN, ""
    if result["cost_ratio"] is None:
        return "none", f"no meaningful ratio: {result['no_cost_ratio_because']}"
    return times(result["cost_ratio"]), "instance-hours / lower bound"


def _warm_pool(result: Result) -> Sequence[tuple[str, str, str]]:
    if result["warm_pool_size"] is None:
        return ()
    return (
        ("warm launches", number(result["warm_launches"]), "started from the warm pool"),
        ("warm pool", number(result["warm_pool_size"]), "instances"),
        ("warm pool hours", _amount(result["warm_pool_hours"]), "its cost, within the instance-hours"),
    )


def _each(key: str, written: Callable[[Any], str]) -> Column:
    return lambda results: [written(result[key]) for result in results]


def _durations(key: str) -> Column:
    return lambda results: durations([result[key] for result in results])


def _amount(value: float | None) -> str:
    return UNKNOWN if value is None else number(value)
