"""Entry point: the ticks below a minute, each for a slice of the workloads with the deadline engine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from sluice.core.deadline.decision import Scaling, decide_scale
from sluice.core.deadline.memory import Tick
from sluice.core.deadline.plan import Processing
from sluice.core.deadline.state import EngineState
from sluice.core.minutes import minute_of
from sluice.core.model import (
    AutoScalingGroup,
    Capacity,
    Decision,
    Mode,
    Observation,
    Reason,
    Unknown,
    Workload,
)
from sluice.errors import ConfigError, TransientError
from sluice.events import Shard, parse_shard
from sluice.ports import Counter, Outcome, Ports, RemainingS, Report, StateWrite, StoredState, first_half
from sluice.usecases.isolation import each_isolated, isolated, raise_for_defects, report_if_refused
from sluice.usecases.observe import observe, registered, report_unknown, schedule_in_force
from sluice.usecases.tick_context import NO_TIME_LEFT, TickContext

STALE_AFTER = timedelta(seconds=90)
"""A later tick has the work of one that is older."""
FUTURE_AFTER_S = 300.0
"""A state of a tick or a reading this far ahead was stored by a clock that is wrong."""
STORED_WITHIN_S = 7.0
"""What storing states may take of the time that an invocation keeps for acting; the resizes have the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """A decision to act on once its state is stored; `workload` is as its document says now."""

    workload: Workload
    scaling: Scaling
    state: EngineState


def serve_deadline_ticks(
    bodies: Collection[str], ports: Ports, report: Report, remaining_s: RemainingS
) -> None:
    """Serve the ticks that the queue delivered, the newest of each slice alone.

    Raises TransientError if any failed, so that the invocation counts as failed; every tick has had its turn.
    """
    failed = 0
    newest: dict[tuple[str, ...], Shard] = {}
    for body in bodies:
        try:
            tick = parse_shard(body)
        except ConfigError as bad:
            report.failed("a tick's message", Counter.TICK_FAILED, str(bad))
            failed += 1
            continue
        names = tuple(tick.documents)
        if names not in newest or newest[names].scheduled < tick.scheduled:
            newest[names] = tick
    with raise_for_defects(report):
        for tick in newest.values():
            step = partial(_serve, tick, ports, report, remaining_s)
            failed += not isolated(tick.name, Counter.TICK_FAILED, report, step)
    if failed:
        raise TransientError(f"{failed} ticks of this batch failed; the log line of each says why")


def _serve(tick: Shard, ports: Ports, report: Report, remaining_s: RemainingS) -> None:
    age = ports.now() - tick.scheduled
    if abs(age) > STALE_AFTER:
        report.event(
            Counter.STALE_TICK, f"tick of {tick.scheduled:%H:%M:%S}, {age.total_seconds():.0f} s ago"
        )
        return
    if remaining_s() <= 0:
        raise TransientError(NO_TIME_LEFT)
    if ports.tick_queue is not None:
        ports = replace(ports, registry=ports.tick_queue.registry(tick.documents))
    workloads = registered(ports, report, remaining_s).workloads
    scale_by_deadline(tick.scheduled, workloads, ports, report, remaining_s)


def scale_by_deadline(
    moment: datetime, workloads: Collection[Workload], ports: Ports, report: Report, remaining_s: RemainingS
) -> None:
    """Decide and set the size of each workload with the deadline engine, for the tick of this moment."""
    served = {
        workload.name: workload
        for workload in workloads
        if workload.deadline is not None and workload.mode is not Mode.PAUSED
    }
    stored = _stored(served, moment, ports, report, first_half(remaining_s))
    served = {name: workload for name, workload in served.items() if name in stored}
    observed = observe(ports, list(served.values()), remaining_s)
    context = TickContext(
        minute=minute_of(moment),
        workloads=served,
        observed=_with_warm_pools(observed, served, ports, report, remaining_s),
        ports=ports,
        report=report,
        remaining_s=remaining_s,
    )
    decided: dict[str, _Decided] = {}

    def decide(workload: Workload) -> None:
        name = workload.name
        if (found := _decide(name, moment, stored[name], context)) is not None:
            decided[name] = found

    each_isolated(served, Counter.ACTION_FAILED, report, decide)
    for name in _remember(decided, stored, context):
        step = partial(_act, decided[name], moment, context)
        isolated(name, Counter.ACTION_FAILED, report, step)


def _with_warm_pools(
    observed: Mapping[str, Observation],
    served: Mapping[str, Workload],
    ports: Ports,
    report: Report,
    remaining_s: RemainingS,
) -> dict[str, Observation]:
    """The observations with what can be started from each warm pool.

    A pool that could not be read stays unknown: the plan then takes every launch for a cold one.
    """
    capacities = {
        name: capacity
        for name in served
        if isinstance(capacity := observed[name].capacity, Capacity) and capacity.has_warm_pool
    }
    groups = {name: fleet for name in capacities if isinstance(fleet := served[name].fleet, AutoScalingGroup)}
    known = dict(observed)
    if ports.warm_pools is None or not groups:
        return known
    ready = ports.warm_pools.ready(set(groups.values()), remaining_s)
    for name, group in groups.items():
        warm = ready[group]
        if isinstance(warm, Unknown):
            report_unknown(name, [warm], report)
        else:
            known[name] = replace(observed[name], capacity=replace(capacities[name], warm=warm))
    return known


def _stored(
    served: Mapping[str, Workload], moment: datetime, ports: Ports, report: Report, remaining_s: RemainingS
) -> dict[str, StoredState | None]:
    """The state of each workload whose tick is still to be served; one that cannot be used is logged once."""
    if ports.states is None:
        raise ConfigError(
            "this function knows no table of the deadline engine's states: template.yaml sets "
            "SLUICE_STATE_TABLE for deadline_tick"
        )
    usable: dict[str, StoredState | None] = {}
    for name, found in ports.states.read(list(served), remaining_s).items():
        if isinstance(found, Unknown):
            report_unknown(name, [found], report)
            usable[name] = None
        elif found is None:
            usable[name] = None
        elif (ahead_s := _latest_s(found) - ports.now().timestamp()) > FUTURE_AFTER_S:
            problem = f"of a moment {ahead_s:.0f} s in the future"
            usable[name] = replace(found, state=None, problem=problem)
        elif found.tick_s < moment.timestamp():
            usable[name] = found
    for name, state in usable.items():
        if state is not None and state.problem:
            report.failed(
                name, Counter.STATE_REBUILT, f"the engine's state is rebuilt, as it is {state.problem}"
            )
    return usable


def _latest_s(stored: StoredState) -> float:
    """The later of the state's tick and its reading, in seconds since the epoch."""
    return max(stored.tick_s, stored.state.read_s) if stored.state else stored.tick_s


def _decide(name: str, moment: datetime, stored: StoredState | None, context: TickContext) -> _Decided | None:
    """What to do with the workload and what to remember of it; None for nothing."""
    workload, ports, report = context.workloads[name], context.ports, context.report
    scaling = _scaling(workload, moment, stored, context)
    if scaling.decision.reason is Reason.UNKNOWN_READING:
        _log_unchanged(workload, scaling.decision, moment, report)
        observation = context.observed[name]
        unknown = [one for one in (observation.backlog, observation.capacity) if isinstance(one, Unknown)]
        report_unknown(name, unknown, report)
        return None
    if context.remaining_s() <= 0:
        raise TransientError(NO_TIME_LEFT)
    if scaling.decision.desired is not None and workload.mode is Mode.ACTIVE:
        # Its stack may have changed or paused it since the tick was queued.
        current = ports.registry.one(name, context.remaining_s)
        if current.deadline is None or (current.fleet, current.queue_url) != (
            workload.fleet,
            workload.queue_url,
        ):
            return None  # what was observed is no longer this workload's
        if current != workload:
            workload, scaling = current, _scaling(current, moment, stored, context)
    if scaling.state is None:
        return None
    return _Decided(workload=workload, scaling=scaling, state=scaling.state)


def _remember(
    decided: Mapping[str, _Decided], stored: Mapping[str, StoredState | None], context: TickContext
) -> list[str]:
    """Store what each decision remembers, before it acts; returns the workloads to act on.

    Only one invocation of a tick succeeds in storing a state, and it alone acts.
    """
    states = context.ports.states
    if states is None or not decided:
        return []
    writes = {name: StateWrite(state=each.state, replaces=stored[name]) for name, each in decided.items()}
    served = []
    for name, written in states.write(writes, _for_acting(context)).items():
        if isinstance(written, Unknown):
            context.report.failed(name, Counter.ACTION_FAILED, written.reason, defect=written.defect)
        elif written:
            served.append(name)
    return served


def _for_acting(context: TickContext) -> RemainingS:
    """Seconds left until only the time for one resize is left."""
    return lambda: context.remaining_s() + STORED_WITHIN_S


def _scaling(
    workload: Workload, moment: datetime, stored: StoredState | None, context: TickContext
) -> Scaling:
    learned = stored.learned if stored else None
    measured = learned.processing if learned else None
    tick = Tick(
        scheduled_s=moment.timestamp(),
        now_s=context.ports.now().timestamp(),
        processing=measured or Processing(mean_s=workload.planned_processing_s),
        margin_s=learned.margin_s if learned else None,
    )
    now, observation = context.ports.now(), context.observed[workload.name]
    return decide_scale(
        workload,
        observation,
        stored.state if stored else None,
        tick,
        pause=stored.in_force(now) if stored else None,
        guard=stored.guard_in_force(now) if stored else None,
        schedule=schedule_in_force(workload, observation, now),
    )


def _act(decided: _Decided, moment: datetime, context: TickContext) -> None:
    """Set the desired count, and log it."""
    workload, decision, report = decided.workload, decided.scaling.decision, context.report
    if decided.scaling.warning is not None:
        report.decided(decided.scaling.warning, Outcome.HELD, workload.fleet)
    if decision.desired is not None and workload.mode is Mode.ACTIVE:
        if _for_acting(context)() <= 0:
            raise TransientError(NO_TIME_LEFT)
        with report_if_refused(decision, workload.fleet, report):
            context.ports.fleets.set_desired(workload.fleet, decision.desired)
        report.decided(decision, Outcome.ACTED, workload.fleet)
    else:
        _log_unchanged(workload, decision, moment, report)


def _log_unchanged(workload: Workload, decision: Decision, moment: datetime, report: Report) -> None:
    """Log a decision that changes nothing, once a minute."""
    if workload.deadline and moment - minute_of(moment) < timedelta(seconds=workload.deadline.tick_s):
        outcome = Outcome.HELD if decision.desired is None else Outcome.OBSERVED
        report.decided(decision, outcome, workload.fleet)
