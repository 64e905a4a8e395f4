"""Step: what keeps arriving at each queue, and how much capacity that takes.

Arrivals, processing times and targets are read here, each as often as it changes. Nothing is guessed: if one
is Unknown, the tick publishes the plain backlog.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sluice.core.backlog import demanded_capacity
from sluice.core.drain import Work
from sluice.core.minutes import MINUTE
from sluice.core.model import (
    Backlog,
    Demand,
    DynamicTarget,
    OfferedLoad,
    StaticTarget,
    Unknown,
    Workload,
)
from sluice.core.sustained_arrivals import (
    READ_MINUTES,
    has_gaps,
    sustained_arrivals_per_s,
    with_zeros,
)
from sluice.core.target import initial_target
from sluice.ports import LastKnown, Series, SeriesQuery, first_half
from sluice.usecases.last_known import Quantity, earlier_readings, last_known
from sluice.usecases.processing_time import MIN_SAMPLES, processing_quantity
from sluice.usecases.tick_context import TickContext, Workloads

VISIBLE = "ApproximateNumberOfMessagesVisible"
SENT = "NumberOfMessagesSent"
"""Messages added to a queue; delayed ones count when they are sent, redeliveries do not count."""


def demands(workloads: Workloads, tick: TickContext) -> dict[str, Demand | Unknown]:
    """What keeps arriving at each of these workloads of the tick, by name.

    Processing time and target are read only for workloads at which messages keep arriving, and only if their
    document does not give them. A read that AWS refuses is logged and counted.
    Half of the remaining time is left to the later steps.
    """
    tick = replace(tick, remaining_s=first_half(tick.remaining_s))
    arrivals = last_known(ARRIVALS, workloads, tick)
    arriving = {name: workloads[name] for name, last in arrivals.items() if _is_positive(last.value)}
    retuned = {name: workload for name, workload in arriving.items() if _is_retuned(workload)}
    before = earlier_readings(TARGET, retuned, tick.ports)
    targets = _current_targets(retuned, tick)
    measured = {name: workload for name, workload in arriving.items() if not _is_processing_given(workload)}
    # A moved target means that a retune has measured another processing time: with the old one, target x load
    # would be wrong by as much as the target has moved.
    moved = {name for name, last in before.items() if last.value != targets[name].value}
    processing = last_known(PROCESSING, measured, tick, renew=moved)
    return {
        name: _demand(workload, arrivals[name], processing.get(name), targets.get(name))
        for name, workload in workloads.items()
    }


def work(workload: Workload, backlog: Backlog, tick: TickContext) -> Work | Unknown:
    """What the queue asks of its fleet: its backlog, with sustained arrivals and processing time.

    Both are read anew. The processing time is the measured one, and the planned one until there are enough
    durations.
    """
    own = {workload.name: workload}
    arrivals_per_s = last_known(ARRIVALS, own, tick, renew=own)[workload.name].value
    if isinstance(arrivals_per_s, Unknown):
        return replace(arrivals_per_s, reason=f"{ARRIVALS.name}: {arrivals_per_s.reason}")
    measured_s = last_known(PROCESSING, own, tick, renew=own)[workload.name].value
    processing_s = workload.tracking.processing_s if isinstance(measured_s, Unknown) else measured_s
    if processing_s is None:
        assert isinstance(measured_s, Unknown)
        return replace(measured_s, reason=f"{PROCESSING.name}: {measured_s.reason}")
    return Work(
        backlog=backlog.total,
        arrivals_per_s=arrivals_per_s,
        processing_s=processing_s,
        concurrency_per_instance=workload.target.concurrency_per_instance,
    )


def _current_targets(retuned: Workloads, tick: TickContext) -> Mapping[str, LastKnown]:
    """Takes half of the time at most: a slow DescribePolicies must leave time to read the processing time."""
    if not retuned:
        return {}
    return last_known(TARGET, retuned, replace(tick, remaining_s=first_half(tick.remaining_s)))


def _demand(
    workload: Workload, arrivals: LastKnown, processing: LastKnown | None, target: LastKnown | None
) -> Demand | Unknown:
    """The demand from three readings; None for one that the document gives or that does not matter."""
    given_s = workload.tracking.processing_s
    if processing and isinstance(processing.value, Unknown) and given_s is not None:
        processing = None
    arrivals_per_s = arrivals.value
    processing_s = processing.value if processing else given_s or 0.0
    per_instance = target.value if target else initial_target(workload)
    # In the order of reading: a slow read leaves no time for those after it, so the first failure is the
    # cause.
    if isinstance(arrivals_per_s, Unknown):
        return replace(arrivals_per_s, reason=f"{ARRIVALS.name}: {arrivals_per_s.reason}")
    if isinstance(per_instance, Unknown):
        return replace(per_instance, reason=f"{TARGET.name}: {per_instance.reason}")
    if isinstance(processing_s, Unknown):
        return replace(processing_s, reason=f"{PROCESSING.name}: {processing_s.reason}")
    load = OfferedLoad(
        arrivals_per_s=arrivals_per_s,
        processing_s=processing_s,
        concurrency_per_instance=workload.target.concurrency_per_instance,
    )
    readings = {ARRIVALS.name: arrivals, PROCESSING.name: processing, TARGET.name: target}
    not_renewed = tuple(
        f"{name}: {last.not_renewed}; that of {last.read_at:%H:%M} counts"
        for name, last in readings.items()
        if last and last.not_renewed
    )
    return demanded_capacity(load, per_instance, not_renewed)


def _is_processing_given(workload: Workload) -> bool:
    """Whether the document gives the processing time; for a dynamic target the measured one counts."""
    return workload.tracking.processing_s is not None and isinstance(workload.target, StaticTarget)


def _is_retuned(workload: Workload) -> bool:
    """Whether a retune may have moved the policy's target away from the document's."""
    return isinstance(workload.target, DynamicTarget) and workload.policy_arn is not None


def _is_positive(value: float | Unknown) -> bool:
    return not isinstance(value, Unknown) and value > 0


# --- the quantities that are read ---------------------------------------------------------------------------


def _sent(workloads: Workloads, tick: TickContext) -> Mapping[str, Series | Unknown]:
    """Messages sent per minute; if minutes are missing, a second metric shows whether they were idle.

    The second metric is not read for a queue that was silent before and still is, because it does not matter.
    """
    sent, before = _minutes(workloads, SENT, "Sum", tick), earlier_readings(ARRIVALS, workloads, tick.ports)
    gapped = {
        name: workloads[name]
        for name, series in sent.items()
        if not isinstance(series, Unknown)
        and has_gaps(series, tick.minute)
        and (series or (name in before and _is_positive(before[name].value)))
    }
    active = _minutes(gapped, VISIBLE, "Maximum", tick) if gapped else {}
    return {name: _with_zeros(series, active.get(name, {}), tick) for name, series in sent.items()}


def _with_zeros(sent: Series | Unknown, active: Series | Unknown, tick: TickContext) -> Series | Unknown:
    if isinstance(sent, Unknown):
        return sent
    return active if isinstance(active, Unknown) else with_zeros(sent, active, tick.minute)


def _minutes(
    workloads: Workloads, name: str, statistic: str, tick: TickContext
) -> Mapping[str, Series | Unknown]:
    """One of SQS's metrics by minute, as far back as arrivals count."""
    queries = {
        workload: SeriesQuery(metric=each.queue_metric(name), statistic=statistic, period_s=60)
        for workload, each in workloads.items()
    }
    first = tick.minute - MINUTE * READ_MINUTES
    return tick.ports.metrics.read(queries, first, tick.minute, tick.remaining_s)


def _arrivals_per_s(workload: Workload, sent: Series, tick: TickContext) -> float | Unknown:  # noqa: ARG001
    return sustained_arrivals_per_s(sent, tick.minute)


def _min_samples(workload: Workload) -> int:
    return workload.target.min_samples if isinstance(workload.target, DynamicTarget) else MIN_SAMPLES


def _targets(workloads: Workloads, tick: TickContext) -> Mapping[str, float | Unknown]:
    return tick.ports.policies.targets(workloads, tick.remaining_s)


ARRIVALS = Quantity(
    name="arrivals",
    source=lambda workload: workload.queue_url,
    read=_sent,
    value=_arrivals_per_s,
    refresh_interval=5 * MINUTE,
    retry_interval=5 * MINUTE,
    max_age=60 * MINUTE,
)
"""Messages per second; a read is billed as one metric, as two if minutes are missing."""
PROCESSING = processing_quantity("processing time", "Average", _min_samples)
"""Mean seconds a message takes; a read is billed as two metrics, as four if the last hour has too few
samples. It is read at once if a retune has moved the target."""
TARGET = Quantity(
    name="target",
    source=lambda workload: f"{workload.policy_arn}",
    read=_targets,
    value=lambda workload, target, tick: target,  # noqa: ARG005
    refresh_interval=MINUTE,
    retry_interval=5 * MINUTE,
    max_age=60 * MINUTE,
)
"""The policy's target in messages per instance; reading it is not billed."""
