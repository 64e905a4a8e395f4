"""Promises that cannot be kept, and what would make each of them possible, with numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sluice.core.drain import drain_s
from sluice_operator.core import sizes, staffing
from sluice_operator.core.demand import Demand
from sluice_operator.core.engine_choice import TICK_S, Scaling, is_late_from_zero, more_s

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """Why the promise, or the time to drain, cannot be kept, and each thing that would make it possible."""

    problem: str
    ways_out: Sequence[str]

    def __str__(self) -> str:
        return f"{self.problem}. What would make it possible: {'; or '.join(self.ways_out)}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Instances that a demand needs, by what for."""

    steady: int
    busiest: int | None
    draining: int | None

    @property
    def instances(self) -> int:
        """For all of it."""
        return max(self.steady, self.busiest or 0, self.draining or 0)


def shortfalls(
    demand: Demand, scaling: Scaling, needed: Needed, maximum: int, target: float
) -> Iterator[Shortfall]:
    """Every reason why the demand is not met."""
    if scaling is Scaling.TARGET_TRACKING:
        yield from _below_one_message(demand, target)
    yield from _late_from_zero(demand, scaling)
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


def _late_from_zero(demand: Demand, scaling: Scaling) -> Iterator[Shortfall]:
    """Only where a fleet of workers held all the time is not allowed either: the minimum solves it."""
    if demand.maximum is None or demand.maximum >= sizes.steady(demand):
        return
    if is_late_from_zero(demand, scaling):
        start_s = more_s(demand, scaling)
        yield Shortfall(
            problem=f"From zero a start takes {start_s:g} s, the promise is {demand.promise_s:g} s",
            ways_out=[f"a minimum of {sizes.steady(demand)}", f"a promise of {math.ceil(start_s)} s"],
        )


def _drained_too_late(demand: Demand, needed: Needed) -> Iterator[Shortfall]:
    if demand.drain_within_s is None or needed.draining is not None:
        return
    yield Shortfall(
        problem=f"No number of instances drains the backlog within {demand.drain_within_s:g} s: they boot for "
        f"{demand.boot_s:g} s",
        ways_out=[f"a longer time to drain, above {demand.boot_s:g} s", "a shorter boot"],
    )


def _maximum_too_small(demand: Demand, scaling: Scaling, needed: Needed, maximum: int) -> Shortfall:
    ways = [f"a maximum of {needed.instances}"]
    for_what = _largest_of(needed)
    slots = maximum * demand.concurrency
    if demand.load >= slots:
        most = slots / demand.processing_s
        return Shortfall(
            problem=f"At most {maximum} instances never keep up: the arrivals alone keep "
            f"{demand.load / demand.concurrency:.3g} busy, so the queue grows for ever",
            ways_out=[
                *ways,
                f"fewer than {most * DAY_S:,.0f} messages a day",
                f"less than {slots / demand.arrivals.per_s:.3g} s a message",
            ],
        )
    if needed.draining is not None and needed.draining == needed.instances:
        alone_s = drain_s(demand.work, maximum, boot_s=demand.boot_s)
        ways.append(f"{alone_s / DAY_S:.3g} days to drain")
    else:
        ways.append(f"a promise of {math.ceil(_shortest_promise_s(demand, scaling, maximum)):,} s")
    return Shortfall(problem=f"At most {maximum} instances are too few {for_what}", ways_out=ways)


def _largest_of(needed: Needed) -> str:
    what = {
        f"to drain the backlog in time, which takes {needed.draining}": needed.draining,
        f"for the busiest time, which takes {needed.busiest}": needed.busiest,
        f"for the promise, which takes {needed.steady}": needed.steady,
    }
    return max(what, key=lambda sentence: what[sentence] or 0)


def _shortest_promise_s(demand: Demand, scaling: Scaling, maximum: int) -> float:
    """The shortest promise that so many instances keep: at the busiest time, and at the mean."""
    slots = maximum * demand.concurrency
    waiting = staffing.wait_probability(slots, demand.load)
    mean_s = (
        demand.processing_s
        * demand.variability
        * math.log(max(waiting / demand.late_allowed, 1.0))
        / (slots - demand.load)
    )
    arrivals = demand.arrivals
    if not arrivals.counts:
        return mean_s
    per_s = slots / demand.processing_s
    longest_s = staffing.longest_wait_s(arrivals.counts, arrivals.interval_s, per_s)
    return max(mean_s, longest_s + more_s(replace(demand, promise_s=max(longest_s, 1.0)), scaling))
