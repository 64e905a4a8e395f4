"""Bootstrap and shutdown: observe -> decide -> act -> report, for an alarm and for a tick alike.

Owns the order of the steps. Refuses to act on anything but a document re-read, and a world re-observed, just
before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sluice.core.emptiness import (
    MINUTE,
    minutes_to_prove,
    up_to,
)
from sluice.core.model import (
    BACKLOG_PER_INSTANCE,
    Decision,
    Metric,
    Mode,
    Observation,
    Reason,
    Trigger,
    Unknown,
    Workload,
)
from sluice.core.target import initial_target
from sluice.core.wake import decide_bootstrap, decide_shutdown, reads_empty_above_min
from sluice.errors import ConfigError, TransientError
from sluice.events import Alarm
from sluice.ports import Counter, Outcome, RemainingS, Report, Series, SeriesQuery, World
from sluice.usecases.isolation import told_if_it_fails
from sluice.usecases.observe import observe


def on_bootstrap_alarm(alarm: Alarm, world: World, report: Report, remaining_s: RemainingS) -> None:
    """The bootstrap alarm changed state; only the change to ALARM asks for anything."""
    if not alarm.rings:
        report.noted(Counter.EVENT_IGNORED, f"alarm {alarm.name} is {alarm.state}: nothing to do")
        return
    workload = world.registry.one(alarm.workload, remaining_s)
    _check(alarm, workload, workload.bootstrap_alarm_arn)
    _bootstrap(workload, world, Trigger.ALARM, report, remaining_s)


def on_shutdown_alarm(alarm: Alarm, world: World, report: Report, remaining_s: RemainingS) -> None:
    """The shutdown alarm changed state; only the change to ALARM asks for anything."""
    if not alarm.rings:
        report.noted(Counter.EVENT_IGNORED, f"alarm {alarm.name} is {alarm.state}: nothing to do")
        return
    workload = world.registry.one(alarm.workload, remaining_s)
    _check(alarm, workload, workload.shutdown_alarm_arn)
    _shutdown(workload, up_to(world.now()), world, Trigger.ALARM, report, remaining_s)


def retry_bootstrap(name: str, world: World, report: Report, remaining_s: RemainingS) -> None:
    """The tick saw work waiting and nothing running: what the bootstrap alarm would have done."""
    _bootstrap(world.registry.one(name, remaining_s), world, Trigger.TICK, report, remaining_s)


def retry_shutdown(
    name: str, proof_ends: Sequence[datetime], world: World, report: Report, remaining_s: RemainingS
) -> None:
    """The tick saw an empty queue above minimum: what the shutdown alarm would have done."""
    workload = world.registry.one(name, remaining_s)
    _shutdown(workload, proof_ends, world, Trigger.TICK, report, remaining_s)


def published_backlog(
    world: World,
    workloads: Mapping[str, Workload],
    proof_ends: Sequence[datetime],
    remaining_s: RemainingS,
) -> Mapping[str, Series | Unknown]:
    """BacklogPerInstance by scheduled minute, as far back as each workload's proof of emptiness asks.

    `proof_ends` are the minutes with which a proof may end, newest first.
    """
    if not workloads:
        return {}
    queries = {
        name: SeriesQuery(
            metric=published_metric(world, workload, BACKLOG_PER_INSTANCE), statistic="Maximum", period_s=60
        )
        for name, workload in workloads.items()
    }
    longest = max(workload.idle_minutes for workload in workloads.values())
    first = minutes_to_prove(proof_ends[-1], longest)[0]
    return world.metrics.read(queries, first, proof_ends[0] + MINUTE, remaining_s)


def published_metric(world: World, workload: Workload, name: str) -> Metric:
    """Where a tick publishes this workload's metric of that name."""
    return Metric(namespace=world.namespace, name=name, dimensions=workload.fleet.dimensions)


def _bootstrap(
    workload: Workload, world: World, trigger: Trigger, report: Report, remaining_s: RemainingS
) -> None:
    saw = observe(world, [workload], remaining_s)[workload.name]
    decision = decide_bootstrap(workload, saw, trigger, target_per_instance=initial_target(workload))
    _act(decision, workload, world, report)


def _shutdown(
    workload: Workload,
    proof_ends: Sequence[datetime],
    world: World,
    trigger: Trigger,
    report: Report,
    remaining_s: RemainingS,
) -> None:
    saw = observe(world, [workload], remaining_s)[workload.name]
    published: Series | Unknown = {}
    if reads_empty_above_min(workload, saw):
        read = published_backlog(world, {workload.name: workload}, proof_ends, remaining_s)
        published = read[workload.name]
    decision = decide_shutdown(workload, saw, published, trigger, proof_ends=proof_ends)
    outcome = _act(decision, workload, world, report, published)
    # A message may have arrived between the proof and the act, and the alarm that fired for it saw us awake.
    # Lambda's next attempt after a look that failed finds the fleet at its minimum: it looks again too.
    if outcome is Outcome.ACTED:
        saw = observe(world, [workload], remaining_s)[workload.name]
    elif decision.reason is not Reason.AT_MINIMUM:
        return
    _wake_if_work_waits(workload, saw, world, trigger, report)


def _wake_if_work_waits(
    workload: Workload, saw: Observation, world: World, trigger: Trigger, report: Report
) -> None:
    decision = decide_bootstrap(workload, saw, trigger, target_per_instance=initial_target(workload))
    if decision.desired is not None or decision.reason is Reason.UNKNOWN_READING:
        _act(decision, workload, world, report)


def _act(
    decision: Decision, workload: Workload, world: World, report: Report, *proof: Series | Unknown
) -> Outcome:
    """Do and tell; a reading that failed is told and raised, so that Lambda asks again."""
    outcome = Outcome.HELD
    if decision.desired is not None and workload.mode is Mode.OBSERVE:
        outcome = Outcome.OBSERVED
    elif decision.desired is not None:
        with told_if_it_fails(decision, report):
            world.fleets.set_desired(workload.fleet, decision.desired)
        outcome = Outcome.ACTED
    report.decided(decision, outcome)
    report_stuck_deployment(decision, report)
    if decision.reason is Reason.UNKNOWN_READING:
        for reading in (decision.saw.backlog, decision.saw.capacity, *proof):
            if isinstance(reading, Unknown) and reading.defect:
                raise reading.defect
        raise TransientError(f"{decision.kind} of {workload.name} is held: {decision.detail}")
    return outcome


def report_stuck_deployment(decision: Decision, report: Report) -> None:
    """An error of its own: nothing else shows that a deployment that never ends has an idle fleet billed."""
    if decision.reason is Reason.DEPLOYMENT_STUCK:
        report.failed(decision.workload, Counter.DEPLOYMENT_STUCK, f"{decision.reason}: {decision.detail}")


def _check(alarm: Alarm, workload: Workload, expected_arn: str) -> None:
    if alarm.arn != expected_arn:
        raise ConfigError(
            f"alarm {alarm.arn} says it belongs to workload {workload.name}, whose document names "
            f"{expected_arn}: update the workload's stack, or delete the stray alarm"
        )
