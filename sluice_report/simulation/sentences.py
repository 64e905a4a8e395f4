"""A run's findings in words: pure functions from results and time series to sentences.

Every number in a sentence comes from the run. Times count from the beginning of the trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sluice_report.quantities import count, duration, durations, number, share, times
from sluice_report.simulation.comparison import ComparedRun
from sluice_report.simulation.decisions import Decision, direction_changes
from sluice_report.simulation.time_series import (
    MINUTE_S,
    TimeSeries,
)
from sluice_sim.promise import KEPT_SHARE

HOUR_S, DAY_S = 3600, 86_400
FEW_MINUTES_S = 600
FEW_HOURS_S = 7200
MIN_NAMED_SHARE = 0.2
"""The interval with the most late messages is named if it has at least this share of them."""
MAX_RATIO_AT_BOUND = 1.005

OUT_OF_REACH = "The most instances allowed cannot keep the promise, so the bound is that of more"

Result = Mapping[str, object]


def moment(at_s: float) -> str:
    """Time since the beginning of the trace, to the minute."""
    days, rest = divmod(int(at_s), DAY_S)
    hours, rest = divmod(rest, HOUR_S)
    parts = [(days, "d"), (hours, "h"), (rest // 60, "min")]
    return " ".join(f"{amount} {unit}" for amount, unit in parts if amount) or "0 min"


def span(series: TimeSeries, interval: int) -> str:
    """When an interval begins and ends."""
    begin = interval * series.interval_s
    return f"{moment(begin)} to {moment(min(begin + series.interval_s, series.end_s))}"


def hours(amount: float) -> str:
    """Instance-hours."""
    return f"{number(amount)} instance-hour" + ("" if amount == 1 else "s")


def verdict(result: Result, promise_s: float) -> str:
    """Promise and cost in one sentence."""
    attained = number_of(result["attainment"])
    text = f"bills {hours(_whole_hours(result['instance_hours']))}{_against_bound(result)}"
    if attained is None:
        return f"No message arrives; {text}"
    kept = "every one" if attained == 1 else share(attained)
    messages = count(int(str(result["messages"])), "message")
    switched = _switched(result.get("switch"))
    return f"Starts {kept} of {messages} within {duration(promise_s)} and {text}{switched}"


def _switched(cost: Any) -> str:
    """What a switch between two colors took; empty without one."""
    if cost is None:
        return ""
    if cost["to"] is None:
        return ". The switch to the other color was refused"
    waits, without = durations([cost["during"]["mean_s"], cost["during_without"]["mean_s"]])
    ended = "" if cost["status"] == "SUCCEEDED" else " and failed"
    took, extra = duration(cost["duration_s"]), number(cost["extra_instance_hours"])
    return (
        f". The switch to {cost['to']} took {took}{ended}: messages waited {waits} on average meanwhile, "
        f"{without} without it, for {extra} instance-hours more"
    )


def _against_bound(result: Result) -> str:
    ratio, bound = number_of(result.get("cost_ratio")), number_of(result.get("lower_bound_instance_hours"))
    if ratio is None or bound is None:
        return ""
    if result.get("promise_kept") is False:
        return f", without keeping the promise; hindsight keeps it with {number(bound)}"
    if ratio < MAX_RATIO_AT_BOUND:
        return ", which no policy that keeps the promise can beat"
    return f", {times(ratio)} times the {number(bound)} that hindsight needs"


def comparison(compared: Sequence[ComparedRun], *, ratios: bool) -> str:
    """The cheapest run that keeps the promise, and the runs on the frontier."""
    if not compared:
        return "No message arrives"
    best = [one.name for one in sorted(compared, key=lambda one: one.cost) if one.on_frontier]
    frontier = f"{_listed(best)}: nothing here is cheaper without being later"
    frontier = f"On the frontier {'is' if len(best) == 1 else 'are'} {frontier}"
    keeping = [one for one in compared if one.attainment >= KEPT_SHARE]
    if not keeping:
        nearest = max(compared, key=lambda one: one.attainment)
        closest = f"{nearest.name} comes closest with {share(nearest.attainment)}"
        return f"None starts {100 * KEPT_SHARE:g} % in time, {closest}. {frontier}"
    cheapest = min(keeping, key=lambda one: one.cost)
    price = f"{times(cheapest.cost)} times the bound" if ratios else hours(cheapest.cost)
    kept = f"{100 * KEPT_SHARE:g} %"
    return f"{cheapest.name} is the cheapest that starts {kept} in time, at {price}. {frontier}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def arrivals(series: TimeSeries) -> str:
    """How many messages arrive, and when the most."""
    total = int(series.arrivals.sum())
    if not total:
        return "No message arrives"
    mean = total * MINUTE_S / series.end_s
    return (
        f"{number(mean)} messages arrive a minute on average, "
        f"{number(int(series.busiest_minute.max()))} in the busiest minute (at {moment(series.busiest_at_s)})"
    )


def backlog(series: TimeSeries) -> str:
    """How many messages wait at most, and how often none does."""
    peak = int(series.waiting.max())
    if not peak:
        return "No message waits at any minute's end: each is received at once"
    wait = "waits" if peak == 1 else "wait"
    text = f"At most {count(peak, 'message')} {wait} (at {moment(series.max_waiting_at_s)})"
    none = series.share_without_backlog
    return text + (f"; none waits {share(none)} of the time" if none else "")


def instances(series: TimeSeries) -> str:
    """How many instances run, against the lower bound's plan."""
    lengths = _lengths(series)
    mean = float((series.running.mean * lengths).sum() / series.end_s)
    text = f"At most {count(int(series.running.maximum.max()), 'instance')} run, {number(mean)} on average"
    if series.planned is None:
        return text
    plan = float((series.planned.mean * lengths).sum() / series.end_s)
    peak = number(float(series.planned.maximum.max()))
    return f"{text}; hindsight would run {number(plan)} on average and {peak} at most"


def waits(result: Result, series: TimeSeries, promise_s: float) -> str:
    """How far the promise is kept, the percentiles of the waits, and when late messages arrive."""
    attained = number_of(result["attainment"])
    if attained is None:
        return "No message arrives"
    p50, p99, longest = (
        duration(number_of(result[f"wait_{name}_s"]) or 0.0) for name in ("p50", "p99", "max")
    )
    text = f"Promise of {duration(promise_s)} kept for {share(attained)}: half start within {p50}"
    text += f", 99 of 100 within {p99}, all within {longest}"
    late = int(series.late.sum())
    if not late:
        return text
    worst = int(series.late.argmax())
    part = float(series.late[worst]) / late
    if part >= MIN_NAMED_SHARE:
        which = "all" if part == 1 else f"{share(part)} of the"
        return f"{text}; {which} {number(late)} late ones arrive from {span(series, worst)}"
    late_share = float((series.late > 0).mean())
    each = moment(series.interval_s)
    return f"{text}; {number(late)} are late, in {share(late_share)} of the intervals of {each} drawn"


def decisions(decided: Sequence[Decision]) -> str:
    """How many decisions, in which direction, and how often the direction changes."""
    if not decided:
        return "Nothing is decided: the fleet stays as it begins"
    outwards = sum(one.change > 0 for one in decided)
    inwards = sum(one.change < 0 for one in decided)
    other = len(decided) - outwards - inwards
    text = f"{count(len(decided), 'decision')}: {number(outwards)} out, {number(inwards)} in"
    text += f", {number(other)} about the target" if other else ""
    turns = direction_changes(decided)
    return f"{text}; the direction turns {count(turns, 'time')}" if turns else text


def cost(result: Result, series: TimeSeries) -> str:
    """What is billed, against the lower bound."""
    billed = f"{hours(_whole_hours(result['instance_hours']))} billed"
    bound, ratio = number_of(result.get("lower_bound_instance_hours")), number_of(result.get("cost_ratio"))
    if bound is None:
        return billed
    text = f"{billed}; the lower bound, which knows all arrivals, is {number(_whole_hours(bound))}"
    if ratio is not None:
        text += f", a ratio of {times(ratio)}"
    elif because := result.get("no_cost_ratio_because"):
        text += f"; no meaningful ratio: {because}"
    return text if series.attainable else f"{text}. {OUT_OF_REACH}"


def _lengths(series: TimeSeries) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    lengths = np.full(series.intervals, series.interval_s)
    lengths[-1] = series.end_s - series.interval_s * (series.intervals - 1)
    return lengths


def _whole_hours(amount: object) -> float:
    return number_of(amount) or 0.0


def number_of(value: object) -> float | None:
    """A result's value as a number; None stays None."""
    return None if value is None else float(str(value))
