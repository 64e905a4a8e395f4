"""Promises that cannot be kept, and what would make each of them possible, with numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sluice_operator.core.sizes as sizes
import sluice_operator.core.staffing as staffing
from sluice.core.deadline.floor import MAX_LOAD_RATIO
from sluice.core.deadline.promise import longest_boot_s, shortest_promise_s
from sluice_operator.core.demand import Demand
from sluice_operator.core.engine_choice import TICK_S, Scaling, is_late_from_zero, more_s
from sluice_operator.core.sizes import Needed

DAY_S = 86_400.0
RETENTION_S = 14 * DAY_S
"""SQS keeps a message for two weeks at most."""
MOST_TIMES = 100
"""Nobody makes a message shorter, or an instance larger, by more."""
STEPS = 30
"""Of bisection: the result is exact to a millionth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """Why the promise, or the time to drain, cannot be kept, and each thing that would make it possible."""

    problem: str
    ways_out: Sequence[str]

    def __str__(self) -> str:
        return f"{self.problem}. What would make it possible: {'; or '.join(self.ways_out)}."


def shortfalls(
    demand: Demand, scaling: Scaling, needed: Needed, maximum: int, target: float
) -> Iterator[Shortfall]:
    """Every reason why the demand is not met."""
    if scaling is Scaling.TARGET_TRACKING:
        yield from _below_one_message(demand, target)
    yield from _bursts_within_a_start(demand, scaling)
    yield from _drained_too_late(demand, needed)
    if maximum < needed.instances:
        yield _maximum_too_small(demand, scaling, needed, maximum)


def _below_one_message(demand: Demand, target: float) -> Iterator[Shortfall]:
    if target >= 1:
        return
    start_s = TICK_S + demand.boot_s
    each_s = demand.processing_s / demand.concurrency
    slots = math.ceil(demand.concurrency / target)
    yield Shortfall(
        problem=f"The target would be {target:.2g} messages per instance: a message occupies an instance for "
        f"{each_s:g} s, longer than a start from zero leaves of the promise",
        ways_out=[
            f"a promise of {math.ceil(start_s + each_s)} s",
            f"{slots} messages at a time on each instance",
            f"--scaling {Scaling.DEADLINE}, which gives each message a slot of its own",
        ],
    )


def _bursts_within_a_start(demand: Demand, scaling: Scaling) -> Iterator[Shortfall]:
    """Where a start is late, only what runs already keeps the promise: steeper bursts pay for no floor."""
    arrivals = demand.arrivals
    if not arrivals.counts or not is_late_from_zero(demand, scaling):
        return
    peak_per_s = staffing.peak_rate(arrivals.counts, arrivals.interval_s, demand.promise_s)
    times = peak_per_s / arrivals.per_s
    if times <= MAX_LOAD_RATIO:
        return
    start_s = more_s(demand, scaling)
    shortest_s = max(
        shortest_promise_s(replace(demand, promise_s=RETENTION_S).deadline, demand.boot_s), start_s
    )
    longest_s = math.floor(longest_boot_s(demand.deadline))
    yield Shortfall(
        problem=f"Bursts of {times:.3g} times the mean load rise within the {start_s:g} s that a start "
        f"takes, longer than the promise of {demand.promise_s:g} s, and are above what a floor pays for",
        ways_out=[
            f"a promise of {math.ceil(shortest_s)} s",
            f"a minimum of {demand.instances(peak_per_s * demand.processing_s)}, held all the time",
            *([f"a start within {longest_s} s, by a shorter boot or a warm pool"] if longest_s > 0 else ()),
        ],
    )


def _drained_too_late(demand: Demand, needed: Needed) -> Iterator[Shortfall]:
    if demand.drain_within_s is None or needed.draining is not None:
        return
    yield Shortfall(
        problem=f"No number of instances drains the backlog within {demand.drain_within_s:g} s: they boot "
        f"for {demand.boot_s:g} s",
        ways_out=[f"a longer time to drain, above {demand.boot_s:g} s", "a shorter boot"],
    )


def _maximum_too_small(demand: Demand, scaling: Scaling, needed: Needed, maximum: int) -> Shortfall:
    ways = [f"a maximum of {needed.instances}"]
    ways += _ways_with(demand, scaling, maximum)
    if demand.load >= maximum * demand.concurrency:
        problem = (
            f"At most {maximum} instances never keep up: the arrivals alone keep "
            f"{demand.load / demand.concurrency:.3g} busy, so the queue grows for ever"
        )
    else:
        problem = f"At most {maximum} instances are too few {_largest_of(needed)}"
    return Shortfall(problem=problem, ways_out=ways)


def _largest_of(needed: Needed) -> str:
    what = {
        f"to drain the backlog in time, which takes {needed.draining}": needed.draining,
        f"for the busiest time, which takes {needed.busiest}": needed.busiest,
        f"for the promise, which takes {needed.steady}": needed.steady,
    }
    return max(what, key=lambda sentence: what[sentence] or 0)


def _ways_with(demand: Demand, scaling: Scaling, maximum: int) -> Iterator[str]:
    """Each one thing with which so many instances suffice, as little changed as possible."""

    def suffice(**changes: Any) -> bool:
        changed = replace(demand, **changes)
        needed = sizes.needed(changed, more_s(changed, scaling))
        return needed.instances <= maximum and (demand.drain_within_s is None or needed.draining is not None)

    promise_s = _nearest(lambda value: suffice(promise_s=value), demand.promise_s, RETENTION_S)
    if promise_s is not None:
        yield f"a promise of {math.ceil(promise_s):,} s"
    if demand.drain_within_s is not None:
        within_s = _nearest(lambda value: suffice(drain_within_s=value), demand.drain_within_s, RETENTION_S)
        if within_s is not None:
            yield f"{_up(within_s / DAY_S)} days to drain"
    each_s = _nearest(
        lambda value: suffice(processing_s=value), demand.processing_s, demand.processing_s / MOST_TIMES
    )
    if each_s is not None:
        yield f"{_down(each_s)} s a message"
    slots = _nearest(
        lambda value: suffice(concurrency=math.ceil(value)),
        demand.concurrency,
        demand.concurrency * MOST_TIMES,
    )
    if slots is not None:
        yield f"{math.ceil(slots)} messages at a time on each instance, as fast as now"


def _nearest(suffices: Callable[[float], bool], now: float, farthest: float) -> float | None:
    """The value nearest to `now` that suffices, of those up to `farthest`; None if that does not suffice."""
    if not suffices(farthest):
        return None
    for _ in range(STEPS):
        middle = math.sqrt(now * farthest)
        now, farthest = (now, middle) if suffices(middle) else (middle, farthest)
    return farthest


def _up(value: float) -> str:
    """Three digits, rounded up."""
    return f"{_rounded(value, math.ceil):.3g}"


def _down(value: float) -> str:
    return f"{_rounded(value, math.floor):.3g}"


def _rounded(value: float, rounding: Callable[[float], int]) -> float:
    scale = 10.0 ** (2 - math.floor(math.log10(value)))
    return rounding(value * scale) / scale
