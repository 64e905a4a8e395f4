"""Raise a fleet at once and hold it as its minimum, or hand it back, for operators and critical alarms.

AWS's scheduled action that ends the surge is put first, then the minimum is raised: a raised minimum always
has its end. If a step fails, the earlier ones are undone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from sluice.core.drain import Work
from sluice.core.minutes import minute_of
from sluice.core.model import (
    Backlog,
    Capacity,
    Decision,
    Fleet,
    Kind,
    Limit,
    Mode,
    Observation,
    Reason,
    Trigger,
    Unknown,
    Workload,
)
from sluice.core.surge import Asked, Refusal, ScheduledActions, Surge
from sluice.core.surge_plan import Plan, ended, planned, why_not_surged
from sluice.errors import ConfigError, SluiceError, TransientError
from sluice.ports import Outcome, Ports, RemainingS, Report, Surges, first_half
from sluice.usecases.isolation import report_if_refused
from sluice.usecases.observe import observe
from sluice.usecases.offered_load import work
from sluice.usecases.pauses import holds_in_force
from sluice.usecases.tick_context import TickContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Surged:
    """What was done, or why nothing was."""

    decision: Decision
    outcome: Outcome
    surge: Surge | None = None
    """The surge in force from now on; of an end, the one that was ended."""
    replaced: Surge | None = None
    """The surge in force before."""
    refusal: Refusal | None = None


def surge(
    workload: Workload, asked: Asked, ports: Ports, trigger: Trigger, report: Report, remaining_s: RemainingS
) -> Surged:
    """Raise the fleet to what is asked for and hold it, if nothing speaks against it.

    Raises TransientError for a refusal of an alarm's surge that a retry may overcome.
    """
    # Before the fleet and after it: what a minimum was that another surge changes meanwhile, nobody knows.
    actions = _surges(ports).read(workload.fleet)
    observation = observe(ports, [workload], remaining_s)[workload.name]
    plan = _plan(workload, observation, actions, asked, ports, report, remaining_s)
    if isinstance(plan, Refusal):
        return _refused(workload, observation, plan, trigger, report)
    decided = partial(_decision, workload, observation, trigger)
    if plan.changes_nothing:
        decision = decided(Reason.SURGE_STANDS, str(plan.replaces))
        report.decided(decision, Outcome.HELD, workload.fleet)
        return Surged(decision=decision, outcome=Outcome.HELD, surge=plan.replaces, replaced=plan.replaces)
    decision = decided(Reason.SURGED, f"{plan.detail}; by {asked.by}", plan.surge.instances, plan.limits)
    outcome = Outcome.OBSERVED
    if workload.mode is not Mode.OBSERVE:
        with report_if_refused(decision, workload.fleet, report):
            _hold(workload, plan, ports, remaining_s)
        outcome = Outcome.ACTED
    report.decided(decision, outcome, workload.fleet)
    return Surged(decision=decision, outcome=outcome, surge=plan.surge, replaced=plan.replaces)


def end_surge(
    workload: Workload, ports: Ports, trigger: Trigger, report: Report, remaining_s: RemainingS
) -> Surged:
    """Put the minimum back as it was before the surge, now; what was launched is left to the scaling.

    A minimum that something else has set meanwhile stays.
    """
    observation = observe(ports, [workload], remaining_s)[workload.name]
    capacity, surges = observation.capacity, _surges(ports)
    if isinstance(capacity, Unknown):
        raise TransientError(f"the fleet of {workload.name} is unknown: {capacity.reason}; try again")
    actions = surges.read(workload.fleet)
    if not actions.surges:
        decision = _decision(workload, observation, trigger, Reason.NO_SURGE)
        report.decided(decision, Outcome.HELD, workload.fleet)
        return Surged(decision=decision, outcome=Outcome.HELD)
    current = actions.in_force(ports.now()) or actions.surges[-1]
    minimum = ended(workload, actions, capacity, ports.now())
    detail = (
        f"the minimum is {minimum} again"
        if minimum is not None
        else "the minimum was set meanwhile, and stays"
    )
    decision = _decision(workload, observation, trigger, Reason.SURGE_ENDED, f"{current}; {detail}")
    with report_if_refused(decision, workload.fleet, report):
        if minimum is not None:
            surges.set_minimum(workload.fleet, minimum)
        for each in actions.surges:
            surges.cancel(workload.fleet, each)
        _end_what_was_raised_meanwhile(workload, actions, ports, remaining_s)
    report.decided(decision, Outcome.ACTED, workload.fleet)
    return Surged(decision=decision, outcome=Outcome.ACTED, surge=current)


def _end_what_was_raised_meanwhile(
    workload: Workload, actions: ScheduledActions, ports: Ports, remaining_s: RemainingS
) -> None:
    """Put the minimum back that a surge has raised only after it was read, and whose end is cancelled now.

    One that cannot be read is put back as AWS would have done.
    """
    minimum = _minimum(workload.fleet, ports, remaining_s)
    raised = actions.surges[-1] if minimum is None else actions.holding(minimum)
    if raised is not None and raised.minimum_before != minimum:
        _surges(ports).set_minimum(workload.fleet, raised.minimum_before)


def _plan(
    workload: Workload,
    observation: Observation,
    actions: ScheduledActions,
    asked: Asked,
    ports: Ports,
    report: Report,
    remaining_s: RemainingS,
) -> Plan | Refusal:
    """The surge to put, or the first reason against it."""
    holding = holds_in_force(ports, [workload.name], first_half(remaining_s))[workload.name]
    if isinstance(holding, Unknown) and holding.defect:
        raise holding.defect
    if refusal := why_not_surged(workload, observation, holding, asked):
        return refusal
    assert isinstance(observation.capacity, Capacity)
    if _surges(ports).read(workload.fleet).surges != actions.surges:
        why = (
            f"somebody else surges {workload.name}, or ends its surge, at the same time: look, and try again"
        )
        return Refusal(reason=Reason.HELD, why=why, passes=True)
    reading = partial(_work, workload, observation, ports, report, remaining_s)
    return planned(workload, observation.capacity, actions, asked, reading, ports.now())


def _work(
    workload: Workload, observation: Observation, ports: Ports, report: Report, remaining_s: RemainingS
) -> Work | Unknown:
    tick = TickContext(
        minute=minute_of(ports.now()),
        workloads={workload.name: workload},
        observed={workload.name: observation},
        ports=ports,
        report=report,
        remaining_s=remaining_s,
    )
    assert isinstance(observation.backlog, Backlog)
    return work(workload, observation.backlog, tick)


def _surges(ports: Ports) -> Surges:
    if ports.surges is None:
        raise ConfigError("this function knows no scheduled actions: sluice.wiring makes its ports")
    return ports.surges


def _hold(workload: Workload, plan: Plan, ports: Ports, remaining_s: RemainingS) -> None:
    """Put the end, then raise the minimum; or leave everything as it was."""
    fleet, surge, surges, touched = workload.fleet, plan.surge, _surges(ports), False
    try:
        surges.schedule_end(fleet, surge)
        _give_way(workload, plan, surges)
        touched = True
        surges.set_minimum(fleet, surge.instances)
        # Only now: whoever reads in between finds the action that belongs to the minimum.
        for other in plan.actions.surges:
            if other.name != surge.name:
                surges.cancel(fleet, other)
        present = surges.read(fleet)
    except SluiceError as failure:
        _undo(workload, plan, ports, remaining_s, failure, touched=touched)
    if surge.name not in {each.name for each in present.surges}:
        _leave_to_others(workload, surge, present.in_force(ports.now()), surges)


def _give_way(workload: Workload, plan: Plan, surges: Surges) -> None:
    """Raise ConfigError if somebody else has put a surge since the actions were read: both may give way."""
    known = {each.name for each in plan.actions.surges} | {plan.surge.name}
    for other in surges.read(workload.fleet).surges:
        if other.name not in known:
            raise ConfigError(
                f"somebody else surges {workload.name} at the same time, {other}: look at it, and give the "
                "command again if it is still wanted"
            )


def _leave_to_others(workload: Workload, surge: Surge, other: Surge | None, surges: Surges) -> NoReturn:
    """Raise ConfigError: somebody has replaced or ended the surge before it had set its minimum."""
    if other is None:  # a raised minimum has its end until it is back
        surges.schedule_end(workload.fleet, surge)
        surges.set_minimum(workload.fleet, surge.minimum_before)
        surges.cancel(workload.fleet, surge)
    else:
        surges.set_minimum(workload.fleet, other.instances)
    done = "ended this surge" if other is None else f"put another one, {other},"
    raise ConfigError(
        f"somebody else has {done} of {workload.name} at the same time: look at it, and give the command "
        "again if it is still wanted"
    )


def _undo(
    workload: Workload,
    plan: Plan,
    ports: Ports,
    remaining_s: RemainingS,
    failure: SluiceError,
    *,
    touched: bool,
) -> NoReturn:
    """Put back what was there before, and raise; with what stands, if that fails too.

    `touched` is whether the minimum may have been raised: one that somebody else has raised is left alone.
    """
    fleet, surge, surges = workload.fleet, plan.surge, _surges(ports)
    before = [each for each in plan.actions.surges if each.until > ports.now()]
    try:
        # Of a call that AWS did not answer, nobody knows whether it has raised the minimum.
        present = _minimum(fleet, ports, remaining_s)
        if touched and present != plan.minimum:
            surges.set_minimum(fleet, plan.minimum)
            present = plan.minimum
        for each in before:
            surges.schedule_end(fleet, each)
        # The same request may have come twice and its other invocation raised the minimum, whose end this is.
        is_free = present is not None and present != surge.instances
        if surge.name not in {each.name for each in before} and is_free:
            surges.cancel(fleet, surge)
            if _minimum(fleet, ports, remaining_s) == surge.instances:  # raised only after the look
                surges.schedule_end(fleet, surge)
    except SluiceError as second:
        stands = f"AWS puts a minimum of {surge.minimum_before} back at {surge.until:%Y-%m-%d %H:%M} UTC"
        now = f"`sluice surge {workload.name} --end` does so at once"
        raise type(failure)(f"{failure}; {second}; {stands}, and {now}") from failure
    raise type(failure)(f"{failure}; nothing was changed") from failure


def _minimum(fleet: Fleet, ports: Ports, remaining_s: RemainingS) -> int | None:
    """The fleet's minimum now; None if it cannot be read."""
    has = ports.fleets.read([fleet], remaining_s)[fleet]
    return None if isinstance(has, Unknown) or has.bounds is None else has.bounds.min


def _refused(
    workload: Workload, observation: Observation, refusal: Refusal, trigger: Trigger, report: Report
) -> Surged:
    decision = _decision(workload, observation, trigger, refusal.reason, refusal.why)
    report.decided(decision, Outcome.HELD, workload.fleet)
    if refusal.passes and trigger is Trigger.ALARM:
        raise TransientError(f"surge of {workload.name} is held: {refusal.why}")
    return Surged(decision=decision, outcome=Outcome.HELD, refusal=refusal)


def _decision(
    workload: Workload,
    observation: Observation,
    trigger: Trigger,
    reason: Reason,
    detail: str = "",
    desired: int | None = None,
    limits: tuple[Limit, ...] = (),
) -> Decision:
    return Decision(
        workload=workload.name,
        kind=Kind.SURGE,
        trigger=trigger,
        reason=reason,
        observation=observation,
        desired=desired,
        limits=limits,
        detail=detail,
    )
