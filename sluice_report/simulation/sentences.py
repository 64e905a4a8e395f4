"""What a run shows, said in words: pure sentences over results and courses.

Every number in them is a number of the run. Durations count from the beginning of the trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sluice_report.quantities import count, duration, number, share, times
from sluice_report.simulation import decisions as moved
from sluice_report.simulation.comparison import Entry
from sluice_report.simulation.decisions import Move
from sluice_report.simulation.time_series import (
    MINUTE_S,
    Course,
)
from sluice_sim.promise import KEPT_SHARE

HOUR_S, DAY_S = 3600, 86_400
FEW_MINUTES_S = 600
FEW_HOURS_S = 7200
MOST_DECIMALS = 5
MUCH_AT_ONCE = 0.2
"""From this share of the late messages on, the stretch they arrive in is named."""
SAME_COST = 1.005

OUT_OF_REACH = "The most instances allowed cannot keep the promise, so the bound is that of more"

Result = Mapping[str, object]


def moment(at_s: float) -> str:
    """How long after the beginning, to the minute."""
    days, rest = divmod(int(at_s), DAY_S)
    hours, rest = divmod(rest, HOUR_S)
    parts = [(days, "d"), (hours, "h"), (rest // 60, "min")]
    return " ".join(f"{amount} {unit}" for amount, unit in parts if amount) or "0 min"


def span(course: Course, stretch: int) -> str:
    """From when to when a stretch lasts."""
    begin = stretch * course.stretch_s
    return f"{moment(begin)} to {moment(min(begin + course.stretch_s, course.end_s))}"


def hours(amount: float) -> str:
    """Instance-hours."""
    return f"{number(amount)} instance-hour" + ("" if amount == 1 else "s")


def verdict(result: Result, promise_s: float) -> str:
    """Promise and cost in one sentence."""
    attained = number_of(result["attainment"])
    told = f"bills {hours(_whole_hours(result['instance_hours']))}{_against_bound(result)}"
    if attained is None:
        return f"No message arrives; {told}"
    kept = "every one" if attained == 1 else share(attained)
    messages = count(int(str(result["messages"])), "message")
    return f"Starts {kept} of {messages} within {duration(promise_s)} and {told}"


def _against_bound(result: Result) -> str:
    ratio, bound = number_of(result.get("cost_ratio")), number_of(result.get("lower_bound_instance_hours"))
    if ratio is None or bound is None:
        return ""
    if result.get("promise_kept") is False:
        return f", without keeping the promise; hindsight keeps it with {number(bound)}"
    if ratio < SAME_COST:
        return ", which no policy that keeps the promise can beat"
    return f", {times(ratio)} times the {number(bound)} that hindsight needs"


def comparison(compared: Sequence[Entry], *, ratios: bool) -> str:
    """Who is on the frontier, and what keeping the promise costs at least."""
    if not compared:
        return "No message arrives"
    best = [one.name for one in sorted(compared, key=lambda one: one.cost) if one.on_frontier]
    frontier = f"{_listed(best)}: nothing here is cheaper without being later"
    frontier = f"On the frontier {'is' if len(best) == 1 else 'are'} {frontier}"
    keeping = [one for one in compared if one.attainment >= KEPT_SHARE]
    if not keeping:
        most = max(compared, key=lambda one: one.attainment)
        closest = f"{most.name} comes closest with {share(most.attainment)}"
        return f"None starts {100 * KEPT_SHARE:g} % in time, {closest}. {frontier}"
    cheapest = min(keeping, key=lambda one: one.cost)
    price = f"{times(cheapest.cost)} times the bound" if ratios else hours(cheapest.cost)
    kept = f"{100 * KEPT_SHARE:g} %"
    return f"{cheapest.name} is the cheapest that starts {kept} in time, at {price}. {frontier}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def arrivals(course: Course) -> str:
    """How much comes, and when the most."""
    total = int(course.arrivals.sum())
    if not total:
        return "No message arrives"
    mean = total * MINUTE_S / course.end_s
    return (
        f"{number(mean)} messages arrive a minute on average, "
        f"{number(int(course.busiest.max()))} in the busiest minute (at {moment(course.busiest_s)})"
    )


def backlog(course: Course) -> str:
    """How much is held at most, and how it ends."""
    most = int(course.waiting.max())
    if not most:
        return "No message waits at any minute's end: each is taken up at once"
    wait = "waits" if most == 1 else "wait"
    told = f"At most {count(most, 'message')} {wait} (at {moment(course.most_waiting_s)})"
    return told + (f"; none waits {share(course.free)} of the time" if course.free else "")


def instances(course: Course) -> str:
    """How many run, against how many hindsight would."""
    lengths = _lengths(course)
    mean = float((course.running.mean * lengths).sum() / course.end_s)
    told = f"At most {count(int(course.running.most.max()), 'instance')} run, {number(mean)} on average"
    if course.planned is None:
        return told
    plan = float((course.planned.mean * lengths).sum() / course.end_s)
    most = number(float(course.planned.most.max()))
    return f"{told}; hindsight would run {number(plan)} on average and {most} at most"


def waits(result: Result, course: Course, promise_s: float) -> str:
    """What was promised, and what half, 99 of 100 and the unluckiest message got."""
    attained = number_of(result["attainment"])
    if attained is None:
        return "No message arrives"
    half, most, longest = (
        duration(number_of(result[f"wait_{name}_s"]) or 0.0) for name in ("p50", "p99", "max")
    )
    told = f"Promise of {duration(promise_s)} kept for {share(attained)}: half start within {half}"
    told += f", 99 of 100 within {most}, all within {longest}"
    late = int(course.late.sum())
    if not late:
        return told
    worst = int(course.late.argmax())
    part = float(course.late[worst]) / late
    if part >= MUCH_AT_ONCE:
        which = "all" if part == 1 else f"{share(part)} of the"
        return f"{told}; {which} {number(late)} late ones arrive from {span(course, worst)}"
    somewhere = float((course.late > 0).mean())
    each = moment(course.stretch_s)
    return f"{told}; {number(late)} are late, in {share(somewhere)} of the stretches of {each} drawn"


def decisions(moves: Sequence[Move]) -> str:
    """How many, in which direction, and how often the direction turns."""
    if not moves:
        return "Nothing is decided: the fleet stays as it begins"
    out, back = sum(move.change > 0 for move in moves), sum(move.change < 0 for move in moves)
    other = len(moves) - out - back
    told = f"{count(len(moves), 'decision')}: {number(out)} out, {number(back)} in"
    told += f", {number(other)} about the target" if other else ""
    turned = moved.turns(moves)
    return f"{told}; the direction turns {count(turned, 'time')}" if turned else told


def cost(result: Result, course: Course) -> str:
    """What is billed, and what could not have been saved."""
    billed = f"{hours(_whole_hours(result['instance_hours']))} billed"
    bound, ratio = number_of(result.get("lower_bound_instance_hours")), number_of(result.get("cost_ratio"))
    if bound is None:
        return billed
    told = f"{billed}; the clairvoyant lower bound is {number(_whole_hours(bound))}"
    if ratio is not None:
        told += f", a ratio of {times(ratio)}"
    elif because := result.get("no_cost_ratio_because"):
        told += f"; no meaningful ratio: {because}"
    return told if course.attainable else f"{told}. {OUT_OF_REACH}"


def _lengths(course: Course) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    lengths = np.full(course.stretches, course.stretch_s)
    lengths[-1] = course.end_s - course.stretch_s * (course.stretches - 1)
    return lengths


def _whole_hours(amount: object) -> float:
    return number_of(amount) or 0.0


def number_of(value: object) -> float | None:
    """A result's number, None where it has none."""
    return None if value is None else float(str(value))
