"""Entry point: hold scale-out of the workloads whose downstream fails, and release it.

A hold is stored first, so that Sluice's own decisions are held at once, and AWS's policy is held after that.
What fails is tried again every minute, as long as the hold lasts or is not put back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from sluice.core.guard import Guard, as_stored, decide_guard
from sluice.core.held_fields import Fields, Holds, before_all, is_held, not_put_back
from sluice.core.minutes import minutes_since_epoch
from sluice.core.model import GuardDecision, Mode, Reason, Unknown, Workload
from sluice.core.rotation import rotated
from sluice.errors import ConfigError, TransientError
from sluice.ports import (
    NO_TICK_S,
    Counter,
    EngineStates,
    HeldPolicies,
    Outcome,
    Ports,
    RemainingS,
    Report,
    StoredState,
    first_half,
)
from sluice.usecases.guard_readings import Signals, read_signals
from sluice.usecases.isolation import each_isolated, isolated, raise_for_defects, report_if_refused
from sluice.usecases.observe import registered, report_unknown
from sluice.usecases.serve_workloads import is_stale
from sluice.usecases.tick_context import NO_TIME_LEFT, Workloads

LOOKS_EVERY_MINUTES = 5
"""How often AWS's policy is looked at during a hold: an update of the workload's stack puts it anew."""
NOTHING_STORED = StoredState(tick_s=NO_TICK_S, state=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hold:
    """A workload whose policy AWS has to hold, to release, or to be looked at."""

    decision: GuardDecision
    guard: Guard
    stored: StoredState
    """What was stored before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Minute:
    """What the steps of one minute share."""

    number: int
    workloads: Workloads
    stored: Mapping[str, StoredState | Unknown | None]
    signals: Mapping[str, Signals]
    ports: Ports
    states: EngineStates
    policies: HeldPolicies
    report: Report
    remaining_s: RemainingS
    holds: dict[str, _Hold] = field(default_factory=dict)


def guard_downstream(scheduled: datetime, ports: Ports, report: Report, remaining_s: RemainingS) -> None:
    """One minute of the guard of every workload that has one; a stale minute does nothing.

    Raises TransientError if no time was left to have AWS hold or release a policy, once all others are done.
    """
    if is_stale(scheduled, ports, report):
        return
    guarded = {
        workload.name: workload
        for workload in registered(ports, report, remaining_s).workloads
        if workload.guard is not None and workload.mode is not Mode.PAUSED
    }
    report.event(Counter.WORKLOADS_SERVED, f"guard of {scheduled:%H:%M}", len(guarded))
    if not guarded:
        return
    if ports.states is None or ports.held_policies is None:
        raise ConfigError(
            "this function knows no table of holds, or not where to schedule their ends: template.yaml sets "
            "SLUICE_STATE_TABLE, SLUICE_PAUSE_SCHEDULE_GROUP and SLUICE_HOLD_END_ROLE_ARN for it"
        )
    with raise_for_defects(report):
        minute = _Minute(
            number=minutes_since_epoch(scheduled),
            workloads=guarded,
            stored=ports.states.read(list(guarded), first_half(remaining_s)),
            signals=read_signals(guarded, ports, first_half(remaining_s)),
            ports=ports,
            states=ports.states,
            policies=ports.held_policies,
            report=report,
            remaining_s=remaining_s,
        )
        each_isolated(guarded, Counter.OBSERVATION_FAILED, report, partial(_decide, minute))
        _act_in_turn(minute)


def _decide(minute: _Minute, workload: Workload) -> None:
    """Decide, and store what Sluice's own decisions heed; AWS's policies come after all of them."""
    name, settings, stored, signals = (
        workload.name,
        workload.guard,
        minute.stored[workload.name],
        minute.signals[workload.name],
    )
    unread = [*([stored] if isinstance(stored, Unknown) else []), *signals.unread]
    if unread:
        report_unknown(name, unread, minute.report)
    if isinstance(stored, Unknown) or settings is None:
        return
    stored = stored or NOTHING_STORED
    if stored.switch is not None:
        return  # a switch holds and releases the same fields of AWS's: the first minute after it decides
    guarding = decide_guard(name, settings, signals.readings, stored.guard, minute.ports.now())
    guard, decision = guarding.guard, guarding.decision
    if guard != stored.guard and not minute.states.put_guard(name, stored.guard, guard):
        return  # another invocation was faster, and does the rest
    if decision.engages:
        _log_engagement(decision, workload, minute.report)
    if guard is None or guard.is_put_back:
        return
    is_due = not guard.is_held_by_aws or minute.number % LOOKS_EVERY_MINUTES == 0
    if decision.engages is False or is_due:
        minute.holds[name] = _Hold(decision=decision, guard=as_stored(guard), stored=stored)


def _act_in_turn(minute: _Minute) -> None:
    """Have AWS hold or release each policy; every minute begins with another workload."""
    late = []
    for name in rotated(minute.holds, minute.number):
        if minute.remaining_s() <= 0:
            minute.report.failed(name, Counter.ACTION_FAILED, NO_TIME_LEFT)
            late.append(name)
        else:
            step = partial(_act, minute, name, minute.holds[name])
            isolated(name, Counter.ACTION_FAILED, minute.report, step)
    if late:
        raise TransientError(f"no time was left for {len(late)} workloads; the next minute goes on")


def _act(minute: _Minute, name: str, hold: _Hold) -> None:
    """Have AWS hold or release the policy, and remember that it does."""
    workload = minute.ports.registry.one(name, minute.remaining_s)
    if hold.decision.engages is False:
        with report_if_refused(hold.decision, workload.fleet, minute.report):
            # Also what was held before the mode became observe: its schedule would make a lost policy anew.
            if workload.mode is Mode.ACTIVE or hold.guard.before:
                fields = minute.policies.fields(workload)
                _bring_about(minute, workload, hold.guard, hold.stored, fields, is_over=True)
        is_well = hold.decision.reason is Reason.DOWNSTREAM_RECOVERED
        minute.states.put_guard(name, hold.guard, None if is_well else replace(hold.guard, is_put_back=True))
        _log_release(hold.decision, workload, minute.report)
    elif workload.mode is Mode.ACTIVE and workload.guard is not None:
        _hold(minute, workload, hold.guard, hold.stored)


def _hold(minute: _Minute, workload: Workload, guard: Guard, stored: StoredState) -> None:
    """Hold AWS's policy unless it is held; what it had before is stored first.

    A service whose scalable target was not described has no fields; those found later are held then.
    """
    fields = minute.policies.fields(workload)
    is_known = fields.keys() <= guard.before.keys()
    if is_known and guard.is_held_by_aws and is_held(guard, fields):
        return
    if not is_known:
        pause = not_put_back(stored.pause, fields, minute.ports.now())
        before = {**before_all(fields, Holds(pause=pause)), **guard.before}
        known = as_stored(replace(guard, before=before))
        if not minute.states.put_guard(workload.name, guard, known):
            return
        guard = known
    _bring_about(minute, workload, guard, stored, fields)
    if not guard.is_held_by_aws:
        minute.states.put_guard(workload.name, guard, replace(guard, is_held_by_aws=True))


def _bring_about(
    minute: _Minute,
    workload: Workload,
    guard: Guard,
    stored: StoredState,
    fields: Fields,
    *,
    is_over: bool = False,
) -> None:
    """Hold or release AWS's policy, and heed a pause that began or ended meanwhile.

    `fields` tell what a pause that is over may have left behind. The adapter reads them anew before it puts
    the policy, of which it sends all.
    """
    ports, left = minute.ports, None if is_over else guard
    pause = not_put_back(stored.pause, fields, ports.now())
    for _ in range(2):
        holding = Holds(pause=stored.in_force(ports.now()), guard=left)
        minute.policies.hold(workload, Holds(pause=pause, guard=guard), holding)
        present = minute.states.read([workload.name], minute.remaining_s)[workload.name]
        if isinstance(present, Unknown):
            raise TransientError(f"whether somebody paused it meanwhile is unknown: {present.reason}")
        pause, stored = holding.pause, present or NOTHING_STORED
        if stored.in_force(ports.now()) == pause:
            return


def _log_engagement(decision: GuardDecision, workload: Workload, report: Report) -> None:
    """Loud, once: nothing grows from now on."""
    if workload.mode is Mode.ACTIVE:
        report.failed(workload.name, Counter.GUARD_ENGAGED, _said("holds scale-out", decision))
    report.decided(decision, _outcome(workload), workload.fleet)


def _log_release(decision: GuardDecision, workload: Workload, report: Report) -> None:
    """A release by the clock is loud: the downstream fails still, and the fleet grows."""
    text = _said("releases scale-out", decision)
    if decision.reason is Reason.GUARD_OVER and workload.mode is Mode.ACTIVE:
        report.failed(workload.name, Counter.GUARD_RELEASED, text)
    else:
        report.event(Counter.GUARD_RELEASED, f"{workload.name}: {text}")
    report.decided(decision, _outcome(workload), workload.fleet)


def _outcome(workload: Workload) -> Outcome:
    return Outcome.ACTED if workload.mode is Mode.ACTIVE else Outcome.OBSERVED


def _said(verdict: str, decision: GuardDecision) -> str:
    return f"the downstream guard {verdict}: {decision.reason} ({decision.detail})"
