"""The tick's second look: what keeps arriving at each queue, and how much capacity that takes.

Arrivals, processing times and targets move slowly, and CloudWatch bills for each metric that is read: they
are read every few minutes and kept in the process between ticks. Owns how often each is read, and for how
long a reading that cannot be renewed still counts. Refuses to guess: what is not known is Unknown, and the
tick publishes the plain backlog.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sluice.core.backlog import MINUTE
from sluice.core.effective_backlog import READ_MINUTES, sustained_arrivals_per_s
from sluice.core.model import (
    Demand,
    Durations,
    DynamicTarget,
    OfferedLoad,
    StaticTarget,
    Unknown,
    Workload,
)
from sluice.core.target import initial_target
from sluice.observe import report_unknown
from sluice.ports import LastKnown, RemainingS, Report, SeriesQuery, World, first_half
from sluice.processing_time import DurationQuery, processing_times

SENT = "NumberOfMessagesSent"
"""Messages added to a queue, delayed ones when they are sent; its own retries are none of them."""
MIN_SAMPLES = 30
"""Processed messages that make the processing time of a static target known; a dynamic one says how many."""
NO_TIME_LEFT = "no time was left to read it"

Workloads = Mapping[str, Workload]
Readings = Mapping[str, float | Unknown]
"""Workload name -> what was read for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """Something that is read every few minutes."""

    name: str
    source: Callable[[Workload], str]
    """What it is read from: a workload whose document names another source is read anew."""
    read: Callable[[Workloads, datetime, World, Report, RemainingS], Readings]
    every: timedelta
    retry: timedelta
    """After a read that told nothing."""
    kept: timedelta
    """For so long the last reading counts where newer ones tell nothing."""


def demands(
    minute: datetime, workloads: Workloads, world: World, report: Report, remaining_s: RemainingS
) -> dict[str, Demand | Unknown]:
    """What keeps arriving at each workload, for the tick of this minute.

    No more is read than can matter: processing time and target of those workloads alone at which messages
    keep arriving, and which their document does not name. A read that AWS refuses is reported and counted.
    Half of the remaining time is left to others.
    """
    in_time_s = first_half(remaining_s)

    def last_known(quantity: Quantity, asked: Workloads) -> dict[str, LastKnown]:
        return _last_known(quantity, asked, minute, world, report, in_time_s)

    arrivals = last_known(ARRIVALS, workloads)
    arriving = {name: workloads[name] for name, last in arrivals.items() if _is_positive(last.value)}
    measured = {name: workload for name, workload in arriving.items() if not _is_processing_given(workload)}
    processing = last_known(PROCESSING, measured)
    retuned = {
        name: workload
        for name, workload in arriving.items()
        if _is_retuned(workload) and (name not in processing or _is_positive(processing[name].value))
    }
    targets = last_known(TARGET, retuned)
    return {
        name: _demand(workload, arrivals[name], processing.get(name), targets.get(name))
        for name, workload in workloads.items()
    }


def _demand(
    workload: Workload, arrivals: LastKnown, processing: LastKnown | None, target: LastKnown | None
) -> Demand | Unknown:
    """Of the three readings; None where the document says it, or where it makes no difference."""
    processing_s = processing.value if processing else workload.tracking.processing_s or 0.0
    per_instance = target.value if target else initial_target(workload)
    arrivals_per_s = arrivals.value
    if isinstance(arrivals_per_s, Unknown):
        return arrivals_per_s
    if isinstance(processing_s, Unknown):
        return processing_s
    if isinstance(per_instance, Unknown):
        return per_instance
    return Demand(
        load=OfferedLoad(
            arrivals_per_s=arrivals_per_s,
            processing_s=processing_s,
            concurrency_per_instance=workload.target.concurrency_per_instance,
        ),
        target_per_instance=per_instance,
        not_renewed=tuple(
            last.not_renewed for last in (arrivals, processing, target) if last and last.not_renewed
        ),
    )


def _is_processing_given(workload: Workload) -> bool:
    """A dynamic target follows the workers' own measurements, and so does its load."""
    return workload.tracking.processing_s is not None and isinstance(workload.target, StaticTarget)


def _is_retuned(workload: Workload) -> bool:
    """Whether the policy's target may differ from the document's."""
    return isinstance(workload.target, DynamicTarget) and workload.policy_arn is not None


def _is_positive(value: float | Unknown) -> bool:
    return not isinstance(value, Unknown) and value > 0


# --- what is kept between ticks ---------------------------------------------------------------------------


def _last_known(
    quantity: Quantity,
    workloads: Workloads,
    minute: datetime,
    world: World,
    report: Report,
    remaining_s: RemainingS,
) -> dict[str, LastKnown]:
    """Each workload's newest reading, from memory where it is recent enough."""
    memory = world.last_known
    keys = {name: (quantity.name, quantity.source(workload)) for name, workload in workloads.items()}
    due = {name: workloads[name] for name, key in keys.items() if _is_due(quantity, memory.get(key), minute)}
    readings: Readings = dict.fromkeys(due, Unknown(why=NO_TIME_LEFT))
    if due and remaining_s() > 0:
        readings = quantity.read(due, minute, world, report, remaining_s)
    for name, reading in readings.items():
        memory[keys[name]] = _renewed(quantity, memory.get(keys[name]), reading, minute)
    return {name: memory[key] for name, key in keys.items()}


def _is_due(quantity: Quantity, last: LastKnown | None, minute: datetime) -> bool:
    if last is None:
        return True
    told_nothing = isinstance(last.value, Unknown) or last.not_renewed
    return minute - last.asked_at >= (quantity.retry if told_nothing else quantity.every)


def _renewed(
    quantity: Quantity, last: LastKnown | None, reading: float | Unknown, minute: datetime
) -> LastKnown:
    """The reading; or the last one, where this one tells nothing and that one is not too old."""
    if not isinstance(reading, Unknown):
        return LastKnown(value=reading, read_at=minute, asked_at=minute)
    why = f"{quantity.name}: {reading.why}"
    if last is None or isinstance(last.value, Unknown) or minute - last.read_at > quantity.kept:
        unknown = Unknown(why=why, defect=reading.defect)
        return LastKnown(value=unknown, read_at=minute, asked_at=minute)
    return replace(last, asked_at=minute, not_renewed=f"{why}; that of {last.read_at:%H:%M} counts")


# --- what is read -----------------------------------------------------------------------------------------


def _arrivals(
    workloads: Workloads, minute: datetime, world: World, report: Report, remaining_s: RemainingS
) -> Readings:
    """Messages per second; those of all workloads in one read."""
    queries = {
        name: SeriesQuery(metric=workload.queue_metric(SENT), statistic="Sum", period_s=60)
        for name, workload in workloads.items()
    }
    series = world.metrics.read(queries, minute - MINUTE * READ_MINUTES, minute, remaining_s)
    _report_failures(series, report)
    return {
        name: sent if isinstance(sent, Unknown) else sustained_arrivals_per_s(sent, minute)
        for name, sent in series.items()
    }


def _processing(
    workloads: Workloads,
    minute: datetime,  # noqa: ARG001 - the windows end with the present
    world: World,
    report: Report,
    remaining_s: RemainingS,
) -> Readings:
    """Mean seconds a message takes, as measured; as the document says, until enough are."""
    queries = {
        name: DurationQuery(
            metric=workload.duration_metric, statistic="Average", min_samples=_min_samples(workload)
        )
        for name, workload in workloads.items()
    }
    measured = processing_times(queries, world, remaining_s)
    _report_failures(measured, report)
    return {name: _processing_s(workloads[name], reading) for name, reading in measured.items()}


def _processing_s(workload: Workload, measured: Durations | Unknown) -> float | Unknown:
    given_s, needed = workload.tracking.processing_s, _min_samples(workload)
    if isinstance(measured, Durations) and measured.samples >= needed and 0 < measured.seconds < math.inf:
        return measured.seconds
    if given_s is not None:
        return given_s
    if isinstance(measured, Unknown):
        return measured
    return Unknown(
        why=f"{measured.seconds:g} s over {measured.samples:g} MsgProcessingDuration of the last day, and "
        f"{needed} are needed; ProcessingSeconds would say it"
    )


def _min_samples(workload: Workload) -> int:
    return workload.target.min_samples if isinstance(workload.target, DynamicTarget) else MIN_SAMPLES


def _targets(
    workloads: Workloads,
    minute: datetime,  # noqa: ARG001 - a policy has no history
    world: World,
    report: Report,
    remaining_s: RemainingS,
) -> Readings:
    """Messages per instance that the policies hold now."""
    targets = world.policies.targets(workloads, remaining_s)
    _report_failures(targets, report)
    return targets


def _report_failures(readings: Mapping[str, object], report: Report) -> None:
    for name, reading in readings.items():
        if isinstance(reading, Unknown):
            report_unknown(name, [reading], report)


ARRIVALS = Quantity(
    name="arrivals",
    source=lambda workload: workload.queue_url,
    read=_arrivals,
    every=5 * MINUTE,
    retry=5 * MINUTE,
    kept=60 * MINUTE,
)
PROCESSING = Quantity(
    name="processing time",
    source=lambda workload: f"{workload.name} {workload.duration_metric}",
    read=_processing,
    every=60 * MINUTE,
    retry=10 * MINUTE,
    kept=24 * 60 * MINUTE,
)
TARGET = Quantity(
    name="target",
    source=lambda workload: f"{workload.policy_arn}",
    read=_targets,
    every=5 * MINUTE,
    retry=5 * MINUTE,
    kept=60 * MINUTE,
)
