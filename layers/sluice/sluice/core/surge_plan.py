"""How many instances a surge asks for, until when, and why one is refused.

A surge never lowers anything: neither what is asked for now, nor a surge in force, nor its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sluice.core.bounds import clamp, effective_bounds
from sluice.core.drain import Work, drain_s, instances_to_drain
from sluice.core.held_fields import Holds
from sluice.core.holds import blocked_by, both_bounds, why_unserved
from sluice.core.minutes import MINUTE, minute_of
from sluice.core.model import Bounds, Capacity, Limit, Mode, Observation, Reason, Unknown, Workload
from sluice.core.pause import Direction, holds
from sluice.core.surge import Asked, Refusal, ScheduledActions, Surge

BOOT_S = 180.0
"""Seconds from launch to the first message where the document does not say: the default of BootSeconds."""
MIN_HOLD = timedelta(minutes=5)
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
    limits: tuple[Limit, ...]
    detail: str
    """The numbers behind the size, and what else an operator should know."""

    @property
    def changes_nothing(self) -> bool:
        """Whether the surge in force already holds as many instances for as long."""
        return self.replaces is not None and _stands(
            self.replaces, self.minimum, self.surge.instances, self.surge.until
        )


def _stands(current: Surge, minimum: int, instances: int, until: datetime) -> bool:
    """Whether this surge is what is wanted, and its minimum is really held: a stack may have put it back."""
    return minimum >= instances and (current.instances, current.until) == (instances, until)


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
    bounds, limits = effective_bounds(workload, capacity)
    assert bounds is not None
    assert capacity.bounds is not None
    minimum = capacity.bounds.min
    current = actions.in_force(now)
    holding = _holding(workload, actions, minimum, now)
    if holding is not None and holding.until <= now < holding.until + EXECUTED_WITHIN:
        why = f"{holding} is just ending, and AWS puts the minimum back within two minutes: try again then"
        return Refusal(reason=Reason.HELD, why=why, passes=True)
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
    stands = current is not None and _stands(current, minimum, instances, until)
    cut = (until, "") if stands else _cut(actions, now, until)
    if isinstance(cut, Refusal):
        return cut
    until, notes = cut
    surge = Surge(
        workload=workload.name,
        instances=instances,
        until=until,
        by=asked.by,
        minimum_before=minimum if holding is None else holding.minimum_before,
    )
    return Plan(
        surge=surge,
        minimum=minimum,
        actions=actions,
        replaces=current,
        limits=limits + clamps,
        detail="; ".join(filter(None, (detail, f"held until {until:%Y-%m-%d %H:%M} UTC", notes))),
    )


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


def _cut(actions: ScheduledActions, now: datetime, until: datetime) -> tuple[datetime, str] | Refusal:
    """The end, before the next scheduled action that sets the minimum itself; and what to know of the others.

    Whoever has scheduled it wants its minimum from then on: the surge must not put an older one back.
    """
    known = [other for other in actions.others if other.at is not None and now < other.at <= until]
    notes = [
        f"the scheduled action {other.name} sets the minimum to {other.minimum} by an expression of its own"
        for other in actions.others
        if other.at is None
    ]
    step = MINUTE
    if known:
        first = min(known, key=lambda other: other.at or until)
        assert first.at is not None
        said = (
            f"the scheduled action {first.name} sets the minimum to {first.minimum} at {first.at:%H:%M} UTC"
        )
        until, step = _free(actions, minute_of(first.at) - MINUTE, -MINUTE), -MINUTE
        if until - now < MIN_HOLD - MINUTE:
            why = f"{said}, so a surge would end at once: try again after it, or delete it"
            return Refusal(reason=Reason.HELD, why=why, passes=True)
        notes.insert(0, f"{said}, so the surge ends before it")
    return _free(actions, until, step), "; ".join(notes)


def _free(actions: ScheduledActions, moment: datetime, step: timedelta) -> datetime:
    """The first moment from this one on at which no action of the fleet starts."""
    while moment in actions.taken:
        moment += step
    return moment


def _holding(workload: Workload, actions: ScheduledActions, minimum: int, now: datetime) -> Surge | None:
    """The surge that holds this minimum.

    An action of a service stays listed once AWS has executed it: if the stack then sets the same number as
    its own minimum, no surge holds it.
    """
    holding = actions.holding(minimum)
    if holding is None or now < holding.until + EXECUTED_WITHIN or workload.bounds.min < minimum:
        return holding
    return None


def ended(workload: Workload, actions: ScheduledActions, capacity: Capacity, now: datetime) -> int | None:
    """The minimum to put back when a surge is ended by hand; None if something else has set it meanwhile."""
    if capacity.bounds is None:
        return None
    holding = _holding(workload, actions, capacity.bounds.min, now)
    return None if holding is None else holding.minimum_before
