"""From a demand to the settings of a workload. `staffing` has the formulas; nothing is read here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import sluice_operator.core.engine_choice as engine_choice
import sluice_operator.core.sizes as sizes
from sluice.core.drain import drain_s
from sluice_operator.core.demand import Demand
from sluice_operator.core.engine_choice import LARGEST_TARGET, Scaling, messages_per_instance
from sluice_operator.core.shortfalls import Shortfall, shortfalls
from sluice_operator.core.sizes import Needed

MAX_INSTANCES = 9999
"""As workload.yaml's MaxCapacity."""
MIN_VISIBILITY_S, MAX_VISIBILITY_S = 30, 43_200
"""SQS's default, and its limit of twelve hours."""
VISIBILITY_FACTOR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings, and what they follow from."""

    load_instances: float
    """The offered load: instances that the arrivals keep busy."""
    steady: int
    """Instances with which the promised share starts in time, at the mean of the arrivals."""
    at_once: int
    """Instances with which that share does not wait at all: the margin of the square-root rule alone."""
    at_once_factor: float
    safety_factor: float
    """The margin that the share within the promise needs, as a multiple of the square root of the load in
    slots; `at_once_factor` that of `at_once`."""
    late_share: float
    """Share that starts late with `steady` instances."""
    busiest: int | None
    """Instances for the busiest time of a trace; None where only a mean is known."""
    draining: int | None
    """Instances that drain the backlog in the time given; None if none is given, or no number does."""
    drained_by_steady_s: float
    """Until the backlog is gone: infinite if it never is, 0 if there is none."""
    drained_by_maximum_s: float
    scaling: Scaling
    scaling_because: str
    start_s: float
    """From a message's arrival at a fleet of zero until an instance processes it."""
    target: float
    """Messages per instance."""
    target_of_promise: float
    """The same where instances run already: promise x concurrency / processing time."""
    minimum: int
    maximum: int
    bootstrap: int
    """Instances that a bootstrap starts for the present backlog and what arrives meanwhile."""
    idle_minutes: int
    cold_share: float
    """Share that starts late because no instance ran."""
    visibility_timeout_s: int
    mean_instances: float
    """Over a month, without the backlog."""
    shortfalls: Sequence[Shortfall]
    """Why the promise or the time to drain cannot be kept; empty if they can."""
    notes: Sequence[str]
    """What follows from the demand and is easy to miss."""


def plan(demand: Demand, scaling: Scaling | None = None) -> Plan:
    """The settings for a demand; `scaling` is the engine, by default the one that the promise needs.

    ValueError if it takes more than workload.yaml does.
    """
    engine, because = engine_choice.chosen(demand)
    if scaling is not None and scaling is not engine:
        engine, because = scaling, "as asked for"
    start_s = engine_choice.start_s(demand, engine)
    needed = sizes.needed(demand, engine_choice.more_s(demand, engine))
    steady = needed.steady
    maximum = demand.maximum or _largest(demand, needed)
    target = _within_template(demand, engine_choice.target(demand, engine))
    minutes, minimum = sizes.idle_minutes(demand), 0
    if engine_choice.is_late_from_zero(demand, engine):
        in_time = sizes.idle_minutes_in_time(demand, steady, start_s)
        minutes, minimum = (minutes, min(steady, maximum)) if in_time is None else (in_time, 0)
    cold = 0.0 if minimum else sizes.cold_share(demand, steady, minutes, start_s)
    return Plan(
        load_instances=demand.load / demand.concurrency,
        steady=steady,
        at_once=sizes.at_once(demand),
        at_once_factor=sizes.safety_factor(demand, 0.0),
        safety_factor=sizes.safety_factor(demand, demand.promise_s),
        late_share=sizes.late_share(demand, steady),
        busiest=needed.busiest,
        draining=needed.draining,
        drained_by_steady_s=_drained_s(demand, steady),
        drained_by_maximum_s=_drained_s(demand, maximum),
        scaling=engine,
        scaling_because=because,
        start_s=start_s,
        target=target,
        target_of_promise=messages_per_instance(demand.promise_s, demand.concurrency, demand.processing_s),
        minimum=minimum,
        maximum=maximum,
        bootstrap=_bootstrap(demand, start_s, target, minimum, maximum),
        idle_minutes=minutes,
        cold_share=cold,
        visibility_timeout_s=visibility_timeout_s(demand.assumed_longest_s),
        mean_instances=sizes.mean_instances(
            demand, minutes, minimum, maximum, engine_choice.HELD_BUCKETS[engine]
        ),
        shortfalls=[*shortfalls(demand, engine, needed, maximum, target)],
        notes=[*_notes(demand, start_s, minimum, cold)],
    )


def visibility_timeout_s(longest_s: float) -> int:
    """Twice the longest processing time, within what SQS takes."""
    return min(max(math.ceil(VISIBILITY_FACTOR * longest_s), MIN_VISIBILITY_S), MAX_VISIBILITY_S)


def _drained_s(demand: Demand, instances: int) -> float:
    return drain_s(demand.work, instances, boot_s=demand.boot_s) if demand.backlog else 0.0


def _largest(demand: Demand, needed: Needed) -> int:
    if needed.instances > MAX_INSTANCES:
        raise ValueError(
            f"that takes {needed.instances:,} instances, and a workload has {MAX_INSTANCES:,} at most: check "
            f"the units of the arrivals and of the processing time, which is {demand.processing_s:g} s; give "
            "an instance more concurrency, or share the load between several workloads"
        )
    return needed.instances


def _within_template(demand: Demand, target: float) -> float:
    if target > LARGEST_TARGET:
        raise ValueError(
            f"a processing time of {demand.processing_s:g} s makes a target of {target:,.0f} messages per "
            f"instance, and workload.yaml takes {LARGEST_TARGET:,} at most: check its unit (2ms are "
            "milliseconds, 2s are seconds), or promise a shorter wait"
        )
    return target


def _bootstrap(demand: Demand, start_s: float, target: float, minimum: int, maximum: int) -> int:
    """ceil(backlog / target), as the control plane does for BootstrapCapacity=backlog."""
    waiting = demand.backlog + demand.arrivals.per_s * start_s
    return min(max(math.ceil(waiting / target - 1e-9), minimum, 1), maximum)


def _notes(demand: Demand, start_s: float, minimum: int, cold: float) -> list[str]:
    notes = []
    if minimum:
        notes.append(
            f"From zero the promise cannot be kept: a start takes {start_s:g} s, the promise is "
            f"{demand.promise_s:g} s. So the plan holds a minimum of {minimum}"
        )
    if minimum == 0 and start_s > demand.promise_s and demand.arrivals.counts:
        notes.append(
            "The promise is shorter than a start: what rises faster than that starts late unless the floor "
            "that the deadline engine learns holds it. `sluice simulate` shows how much does"
        )
    if minimum == 0 and cold:
        notes.append(
            f"From zero a start takes {start_s:g} s, which is late: at this load {100 * cold:.2g} % of the "
            "messages find no instance, fewer than the promise allows to be late"
        )
    if not demand.arrivals.counts:
        notes.append(
            "Only the mean of the arrivals is known, so the maximum is for an even load: a trace or a "
            "queue's history shows its peaks"
        )
    elif demand.arrivals.interval_s > demand.promise_s:
        notes.append(
            f"The arrivals are counted by {demand.arrivals.interval_s:g} s, longer than the promise: peaks "
            "within that time are not seen"
        )
    if demand.longest_s is None:
        notes.append(
            f"The longest processing time is assumed to be {demand.assumed_longest_s:.3g} s, by the spread "
            "given: --longest says it"
        )
    if VISIBILITY_FACTOR * demand.assumed_longest_s > MAX_VISIBILITY_S:
        notes.append(
            "A visibility timeout ends at 12 hours: longer work has to extend it, as Sluice's workers do"
        )
    return notes
