"""How many instances a demand needs: on average, at its busiest, to drain, and held while nothing arrives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import sluice_operator.core.staffing as staffing
from sluice.core.deadline.plan import MIN_WORK_SHARE
from sluice.core.drain import instances_to_drain
from sluice_operator.core.demand import Demand

DEFAULT_IDLE_MINUTES, MAX_IDLE_MINUTES = 5, 120
"""workload.yaml's IdleMinutes."""
BUCKET_S = 300.0
"""A fleet follows the load of about so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Instances that a demand needs, by what for."""

    steady: int
    """For the promised share at the mean of the arrivals."""
    busiest: int | None
    """For the busiest time of a trace; None where only a mean is known."""
    draining: int | None
    """To drain the backlog in the time given; None if none is given, or no number does."""

    @property
    def instances(self) -> int:
        """For all of it."""
        return max(self.steady, self.busiest or 0, self.draining or 0)


def needed(demand: Demand, more_s: float) -> Needed:
    """All sizes, if instances work `more_s` after they are needed; ValueError for a load beyond any fleet."""
    return Needed(steady=steady(demand), busiest=busiest(demand, more_s), draining=draining(demand))


def steady(demand: Demand) -> int:
    """Instances with which the promised share starts in time at the mean of the arrivals; 1 without any.

    ValueError for a load beyond any fleet.
    """
    slots = staffing.fewest_slots(
        demand.load,
        demand.late_allowed,
        demand.promise_s / demand.processing_s,
        demand.variability,
        multiple=demand.concurrency,
    )
    return slots // demand.concurrency


def at_once(demand: Demand) -> int:
    """Instances with which the promised share finds a free slot, whatever the promise."""
    slots = staffing.fewest_slots(demand.load, demand.late_allowed, 0.0, multiple=demand.concurrency)
    return slots // demand.concurrency


def late_share(demand: Demand, instances: int) -> float:
    """Share of the messages that start late with so many instances, at the mean of the arrivals."""
    slots = instances * demand.concurrency
    return staffing.late_share(slots, demand.load, demand.promise_s / demand.processing_s, demand.variability)


def safety_factor(demand: Demand, within_s: float) -> float:
    """The margin with which the promised share starts within a time, per square root of the load in slots."""
    return staffing.safety_factor(
        demand.load, demand.late_allowed, within_s / demand.processing_s, demand.variability
    )


def busiest(demand: Demand, more_s: float) -> int | None:
    """Instances for the busiest time of a trace, if more work `more_s` after they are needed; None without.

    What cannot start in time any more is due a tenth of the promise later, as for the deadline engine:
    otherwise the number that could still save it would be unbounded.
    """
    arrivals = demand.arrivals
    if not arrivals.counts:
        return None
    slack_s = max(demand.promise_s - more_s, MIN_WORK_SHARE * demand.promise_s)
    per_s = staffing.peak_rate(arrivals.counts, arrivals.interval_s, slack_s)
    return demand.instances(per_s * demand.processing_s)


def draining(demand: Demand) -> int | None:
    """Instances that drain the backlog in the time given; None without one, or if no number does."""
    if demand.drain_within_s is None:
        return None
    return instances_to_drain(demand.work, demand.drain_within_s, boot_s=demand.boot_s)


def idle_minutes(demand: Demand) -> int:
    """Minutes that a fleet waits for the next message before it ends: as long as a boot.

    The rule of the ski rental (Karlin et al. 1988; DelayedOff of Gandhi et al.): it then costs at most twice
    what it would if the next arrival were known. Never below Sluice's default.
    """
    return min(max(DEFAULT_IDLE_MINUTES, math.ceil(demand.boot_s / 60)), MAX_IDLE_MINUTES)


def idle_minutes_in_time(demand: Demand, instances: int, start_s: float) -> int | None:
    """The fewest idle minutes with which the promise holds although a start from zero is late, if any do."""

    def holds(minutes: int) -> bool:
        return cold_share(demand, instances, minutes, start_s) <= demand.late_allowed

    low, high = idle_minutes(demand), MAX_IDLE_MINUTES
    if not holds(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return high


def cold_share(demand: Demand, instances: int, minutes: int, start_s: float) -> float:
    """Share that starts late because the fleet had ended after so many idle minutes."""
    arrivals = demand.arrivals
    if arrivals.counts:
        return staffing.cold_share_of_trace(
            arrivals.counts, arrivals.interval_s, minutes * 60, start_s, demand.promise_s
        )
    return staffing.cold_share(
        demand.load, instances * demand.concurrency, arrivals.per_s, minutes * 60, start_s, demand.promise_s
    )


def mean_instances(demand: Demand, minutes: int, minimum: int, maximum: int, held_buckets: int) -> float:
    """Instances that are billed on average, without the backlog: they follow the load, within the bounds.

    For a mean: what the load needs, while messages arrive and for the idle minutes after them. For a trace:
    what the load of each five minutes and of the `held_buckets` - 1 before needs, and the boots of those that
    are launched. The simulator's instance-hours are within a fifth on its generated traces.
    """
    factor = safety_factor(demand, demand.promise_s)
    linger_s = minutes * 60 + demand.boot_s + demand.processing_s
    if not demand.arrivals.counts:
        per_s = demand.arrivals.per_s
        running = staffing.running_share(per_s, linger_s) * max(_size(demand, per_s, factor), 1)
        return float(min(max(running, minimum), maximum))
    rates, bucket_s = [*_rates(demand)], _bucket_s(demand)
    of_rate = {rate: min(_size(demand, rate, factor), maximum) for rate in {*rates}}
    sizes = [max(of, minimum) for of in _held([of_rate[rate] for rate in rates], held_buckets)]
    idle = sum(_lingering(rates, linger_s / bucket_s)) if not minimum else 0.0
    launched = sum(max(after - before, 0) for before, after in pairwise([minimum, *sizes]))
    return (sum(sizes) + idle + launched * demand.boot_s / bucket_s) / len(sizes)


def _size(demand: Demand, per_s: float, factor: float) -> int:
    load = per_s * demand.processing_s
    return demand.instances(load + factor * math.sqrt(load))


def _held(sizes: Sequence[int], buckets: int) -> list[int]:
    """The largest of each size and those just before it."""
    return [max(sizes[max(0, end - buckets) : end]) for end in range(1, len(sizes) + 1)]


def _bucket_s(demand: Demand) -> float:
    interval_s = demand.arrivals.interval_s
    return interval_s * max(1, round(BUCKET_S / interval_s))


def _rates(demand: Demand) -> Iterator[float]:
    """Messages a second of each bucket; the last one may be shorter."""
    counts, interval_s = demand.arrivals.counts, demand.arrivals.interval_s
    step = round(_bucket_s(demand) / interval_s)
    for begin in range(0, len(counts), step):
        bucket = counts[begin : begin + step]
        yield sum(bucket) / (len(bucket) * interval_s)


def _lingering(rates: Sequence[float], linger: float) -> Iterator[float]:
    """Share of each bucket without messages in which one instance still runs, `linger` buckets in all."""
    left = 0.0
    for rate in rates:
        yield 0.0 if rate else min(left, 1.0)
        left = linger if rate else max(left - 1, 0.0)
