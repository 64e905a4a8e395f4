"""How many instances a surge asks for, until when, and why one is refused.

A surge never lowers anything: neither what is asked for now, nor a surge in force, nor its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sluice.core.bounds import clamp, effective_bounds
from sluice.core.drain import Work, drain_s, instances_to_drain
from sluice.core.held_fields import Holds
from sluice.core.holds import blocked_by, both_bounds, why_unserved
from sluice.core.minutes import MINUTE, minute_of
from sluice.core.model import Bounds, Capacity, Limit, Mode, Observation, Reason, Unknown, Workload
from sluice.core.pause import Direction, holds
from sluice.core.schedules import in_force_on
from sluice.core.surge import Asked, Refusal, ScheduledActions, Surge
from sluice.core.surge_end import MIN_HOLD, end_in_time, schedule_in_force, why_just_starting

BOOT_S = 180.0
"""Seconds from launch to the first message where the document does not say: the default of BootSeconds."""
EXECUTED_WITHIN = timedelta(minutes=5)
"""AWS executes a scheduled action within seconds, and up to two minutes late (documented)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A surge to be put, and what limited it."""

    surge: Surge
    minimum: int
    """The fleet's minimum now."""
    actions: ScheduledActions
    """The scheduled actions on it now."""
    replaces: Surge | None
    """The surge in force now."""
    changes_nothing: bool
    """Whether the surge in force already holds as many instances for as long, and puts the same back."""
    limits: tuple[Limit, ...]
    detail: str
    """The numbers behind the size, and what else an operator should know."""


def why_not_surged(
    workload: Workload, observation: Observation, holding: Holds | Unknown, asked: Asked
) -> Refusal | None:
    """Why this fleet is not raised now, whatever the size; None if it may be.

    `holding` is what holds the workload now. The backlog counts only where the size follows from it.
    """
    name, backlog, capacity = workload.name, observation.backlog, observation.capacity
    if workload.mode is Mode.PAUSED:
        why = f"the Mode of {name} is paused: update its stack with Mode=active to let it scale"
        return Refusal(reason=Reason.PAUSED, why=why)
    if isinstance(capacity, Unknown):
        return Refusal(
            reason=Reason.UNKNOWN_READING,
            why=f"the fleet of {name} is unknown: {capacity.reason}",
            passes=True,
        )
    if capacity.unsupported_units:
        return Refusal(reason=Reason.INSTANCE_WEIGHTS, why=why_unserved(workload, backlog, capacity)[1])
    if refusal := _why_held(workload, holding):
        return refusal
    guard = None if isinstance(holding, Unknown) else holding.guard
    if blocked := blocked_by(workload, capacity.scale_out_blocked_by, guard):
        why = f"scale-out of {name} is held: {blocked}; `sluice doctor {name}` says what to do about it"
        return Refusal(reason=Reason.HELD, why=why)
    if refusal := _why_not_held(workload, capacity):
        return refusal
    if isinstance(backlog, Unknown) and asked.to is None:
        return _unknown(f"the backlog of {name} is unknown: {backlog.reason}")
    return None


def _why_held(workload: Workload, holding: Holds | Unknown) -> Refusal | None:
    """Who or what holds the workload."""
    name = workload.name
    if isinstance(holding, Unknown):
        why = f"whether a pause or the guard holds {name} is unknown: {holding.reason}; try again"
        return Refusal(reason=Reason.UNKNOWN_READING, why=why, passes=True)
    if paused := holds(holding.pause, Direction.OUT):
        why = f"{name} is {paused}; `sluice resume {name} --out` lets it scale out again"
        return Refusal(reason=Reason.PAUSED, why=why)
    if isinstance(holding.switch, Unknown):
        why = f"whether {name} is switched to its other color is unknown: {holding.switch.reason}"
        return Refusal(reason=Reason.HELD, why=why)
    if holding.switch is not None:
        why = f"{name} is in {holding.switch}, which sizes the new color itself: try again after it"
        return Refusal(reason=Reason.HELD, why=why, passes=True)
    if workload.guard and holding.guard:
        why = (
            f"{name} is {holding.guard}; more workers would only fail more messages, so mend the downstream "
            "first. To surge all the same, update the workload's stack without a guard"
        )
        return Refusal(reason=Reason.GUARDED, why=why)
    return None


def _why_not_held(workload: Workload, capacity: Capacity) -> Refusal | None:
    """Why AWS cannot hold a minimum of this fleet and put it back."""
    if capacity.bounds is None:
        why = (
            f"{workload.fleet} has no scalable target, so it has no minimum to hold: register it "
            "(CreateScalableTarget of workload.yaml)"
        )
        # One that was just registered may be missing from a stale answer.
        return Refusal(reason=Reason.NOT_HANDED_BACK, why=why, passes=True)
    if capacity.schedules_suspended:
        why = (
            f"scheduled actions of {workload.fleet} are suspended, so AWS would not end the surge: resume "
            "them first (ScheduledActions of a group, ScheduledScalingSuspended of a scalable target)"
        )
        return Refusal(reason=Reason.NOT_HANDED_BACK, why=why)
    if effective_bounds(workload, capacity)[0] is None:
        why = f"{both_bounds(workload, capacity)}: these bounds do not overlap, so correct one of them"
        return Refusal(reason=Reason.BOUNDS_DISJOINT, why=why)
    return None


def planned(
    workload: Workload,
    capacity: Capacity,
    actions: ScheduledActions,
    asked: Asked,
    work: Callable[[], Work | Unknown],
    now: datetime,
) -> Plan | Refusal:
    """The surge for what is asked, of a fleet that may be raised (`why_not_surged`).

    `work` reads what the queue asks of the fleet, if the size follows from it.
    """
    bounds, limits = effective_bounds(workload, capacity, in_force_on(workload, capacity.bounds, now))
    assert bounds is not None
    assert capacity.bounds is not None
    minimum = capacity.bounds.min
    current = actions.in_force(now)
    holding = _holding(workload, actions, minimum, now)
    if holding is not None and holding.until <= now < holding.until + EXECUTED_WITHIN:
        why = f"{holding} is just ending, and AWS puts the minimum back within two minutes: try again then"
        return Refusal(reason=Reason.HELD, why=why, passes=True)
    if starting := why_just_starting(workload, now):
        return starting
    sized = _sized(workload, capacity, bounds, asked, work)
    if isinstance(sized, Refusal):
        return sized
    instances, clamps, detail = sized
    until = _end(now, asked)
    if current is not None:
        instances, until = max(instances, current.instances), max(until, current.until)
        instances, more = clamp(instances, bounds)
        clamps = clamps or more
    if instances < capacity.desired:
        why = (
            f"{workload.name} may have {bounds.max} instances ({both_bounds(workload, capacity)}), and is "
            f"asked for {capacity.desired} already: raise MaxCapacity first"
        )
        return Refusal(reason=Reason.OUT_OF_RANGE, why=why)
    before, put_back = _put_back(workload, capacity.bounds, holding, now)
    surge = Surge(
        workload=workload.name, instances=instances, until=until, by=asked.by, minimum_before=before
    )
    stands = current is not None and _stands(current, minimum, surge, is_scheduled=bool(put_back))
    # A surge that stands is not moved by its own action.
    taken = actions.taken - {until} if stands else actions.taken
    cut = end_in_time(workload, replace(actions, taken=taken), now, until)
    if isinstance(cut, Refusal):
        return cut
    end, notes = cut
    return Plan(
        surge=replace(surge, until=end),
        minimum=minimum,
        actions=actions,
        replaces=current,
        changes_nothing=stands and end == until,
        limits=limits + clamps,
        detail="; ".join(filter(None, (detail, f"held until {end:%Y-%m-%d %H:%M} UTC{put_back}", notes))),
    )


def _put_back(workload: Workload, bounds: Bounds, holding: Surge | None, now: datetime) -> tuple[int, str]:
    """The minimum that the end of a surge puts back, and where it is a schedule's, the end of a sentence.

    A surge ends before the next schedule starts: the one in force at its end is the one of now. What the
    fleet had before is an older one, or is not the owner's.
    """
    schedule = schedule_in_force(workload, now)
    if schedule is None:
        return (bounds.min if holding is None else holding.minimum_before), ""
    minimum = min(schedule.bounds.min, bounds.max)
    return minimum, f", then at the minimum of schedule {schedule.name}, {minimum}"


def _stands(current: Surge, minimum: int, wanted: Surge, *, is_scheduled: bool) -> bool:
    """Whether this surge is what is wanted, and its minimum is really held: a stack may have put it back."""
    puts_back = not is_scheduled or current.minimum_before == wanted.minimum_before
    alike = (current.instances, current.until) == (wanted.instances, wanted.until)
    return minimum >= wanted.instances and alike and puts_back


def _sized(
    workload: Workload,
    capacity: Capacity,
    bounds: Bounds,
    asked: Asked,
    work: Callable[[], Work | Unknown],
) -> tuple[int, tuple[Limit, ...], str] | Refusal:
    """How many instances, what limited them, and the numbers behind them."""
    now = max(capacity.desired, capacity.running)
    if asked.to is not None:
        if asked.to > bounds.max:
            why = (
                f"--to {asked.to} is above the maximum of {workload.name}, {bounds.max} "
                f"({both_bounds(workload, capacity)}): give --to {bounds.max}, or raise MaxCapacity and the "
                "fleet's own maximum first"
            )
            return Refusal(reason=Reason.OUT_OF_RANGE, why=why)
        if asked.to < capacity.desired:
            why = (
                f"--to {asked.to} is below the {capacity.desired} instances that {workload.name} is asked "
                f"for now, and a surge never lowers: give at least --to {capacity.desired}"
            )
            return Refusal(reason=Reason.OUT_OF_RANGE, why=why)
        if asked.to < bounds.min:
            why = (
                f"--to {asked.to} is below the minimum of {workload.name}, {bounds.min} "
                f"({both_bounds(workload, capacity)}), and a surge never lowers: give at least "
                f"--to {bounds.min}"
            )
            return Refusal(reason=Reason.OUT_OF_RANGE, why=why)
        return asked.to, (), f"asked for {asked.to}"
    assert asked.drain_in_s is not None
    has = work()
    if isinstance(has, Unknown):
        return _unknown(has.reason)
    boot_s = boot_time_s(workload)
    needed = instances_to_drain(has, asked.drain_in_s, running=capacity.running, boot_s=boot_s)
    # No number is enough where a launch takes longer than the time: the maximum comes closest.
    instances, clamps = clamp(max(bounds.max + 1 if needed is None else needed, now), bounds)
    if instances == 0:
        why = f"nothing waits in the queue of {workload.name} and nothing arrives: there is nothing to drain"
        return Refusal(reason=Reason.NO_WORK, why=why)
    takes_s = drain_s(has, instances, running=capacity.running, boot_s=boot_s)
    drained = f"drained in {takes_s / 60:.0f} min" if math.isfinite(takes_s) else "never drained"
    detail = (
        f"{has.backlog:.0f} messages, {has.arrivals_per_s:.4g} arrivals/s x {has.processing_s:.4g} s / "
        f"{has.concurrency_per_instance:g}, boot {boot_s:g} s: {drained}, "
        f"{asked.drain_in_s / 60:.0f} min asked"
    )
    return instances, clamps, detail


def boot_time_s(workload: Workload) -> float:
    """Seconds from an instance's launch to its first message, as planned."""
    return BOOT_S if workload.deadline is None else workload.deadline.boot_s


def _unknown(what: str) -> Refusal:
    why = f"{what}; without it no size can be computed, so give one: --to N"
    return Refusal(reason=Reason.UNKNOWN_READING, why=why, passes=True)


def _end(now: datetime, asked: Asked) -> datetime:
    """On a minute, rounded up: AWS refuses a start in the past."""
    end = now + max(timedelta(seconds=asked.hold_s), MIN_HOLD)
    return end if end == minute_of(end) else minute_of(end) + MINUTE


def _holding(workload: Workload, actions: ScheduledActions, minimum: int, now: datetime) -> Surge | None:
    """The surge that holds this minimum.

    An action of a service stays listed once AWS has executed it: if the stack or a schedule then sets the
    same number as its own minimum, no surge holds it.
    """
    holding, schedule = actions.holding(minimum), schedule_in_force(workload, now)
    own = schedule.bounds.min if schedule else workload.bounds.min
    if holding is None or now < holding.until + EXECUTED_WITHIN or own < minimum:
        return holding
    return None


def ended(workload: Workload, actions: ScheduledActions, capacity: Capacity, now: datetime) -> int | None:
    """The minimum to put back when a surge is ended by hand; None if something else has set it meanwhile."""
    if capacity.bounds is None:
        return None
    holding = _holding(workload, actions, capacity.bounds.min, now)
    return None if holding is None else _put_back(workload, capacity.bounds, holding, now)[0]
