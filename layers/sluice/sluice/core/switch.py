"""What each step of a switch between the colors of a blue/green workload decides.

The new color takes over only once it runs and takes messages; the old one is set to zero only once it has
received nothing for a while and is proven to work on nothing. What is unknown is never such a proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from sluice.core.bounds import clamp, effective_bounds, instances_for
from sluice.core.capacity_units import why_not_served
from sluice.core.held_fields import Fields, Holds
from sluice.core.holds import both_bounds
from sluice.core.model import (
    AutoScalingGroup,
    Backlog,
    Capacity,
    Color,
    ColoredFleet,
    Fleet,
    Mode,
    Observation,
    Reason,
    Unknown,
    Workload,
)
from sluice.core.pause import ALARM_NOTIFICATION, DISABLE_SCALE_IN, IN_SUSPENDED, OUT_SUSPENDED
from sluice.core.surge import Refusal, ScheduledActions
from sluice.core.switch_record import Switch

FROZEN: Fields = {ALARM_NOTIFICATION: True, IN_SUSPENDED: True}
"""What holds AWS's and Sluice's own scale-in of both colors: of a group, a service."""
IDLE: Fields = {**FROZEN, OUT_SUSPENDED: True}
"""What also holds the scale-out of a service's color that is not active any more."""
GROWS: Fields = {ALARM_NOTIFICATION: False, DISABLE_SCALE_IN: True, IN_SUSPENDED: True}
"""What lets AWS scale out the new color, and not in: the backlog is shared by the old one, which drains."""
SETS = FROZEN.keys() | IDLE.keys() | GROWS.keys()
SETTLING = timedelta(seconds=60)
"""The workers read the draining color every ten seconds; what was received before is busy by then."""
BETWEEN_READINGS = timedelta(seconds=10)
"""Two readings that are a proof are at least so far apart."""
ALARMS_FADE = timedelta(minutes=7)
"""An alarm of target tracking on 3 minutes looks at 5 points, and knows nothing once all are missing."""
OFTEN_S, OFTEN_FOR, SELDOM_S = 10, timedelta(minutes=10), 60
"""How long the state machine waits between two looks: an execution has 25,000 events at most."""
SUSPENDED = " is suspended"
PROTECTION = "protection from scale-in"


class Next(StrEnum):
    """What the state machine does after a step."""

    NEXT = "next"
    WAIT = "wait"
    NOTHING_TO_DO = "nothing_to_do"
    FLIP_ONLY = "flip_only"
    TIMED_OUT = "timed_out"


# --- the two colors ---------------------------------------------------------------------------------------


def colored(workload: Workload, color: Color) -> ColoredFleet:
    """The fleet of one color of a blue/green workload."""
    assert workload.idle is not None
    if workload.idle.color is color:
        return workload.idle
    return ColoredFleet(color=color, fleet=workload.fleet, policy_arn=workload.policy_arn)


def reading_of(workload: Workload, observation: Observation, color: Color) -> Capacity | Unknown:
    """What was read of this color of a blue/green workload."""
    assert observation.idle is not None
    return observation.capacity if workload.color is color else observation.idle


def seen_from(workload: Workload, observation: Observation, color: Color) -> Observation:
    """The observation with this color as the fleet that a decision is about."""
    return Observation(
        backlog=observation.backlog,
        capacity=reading_of(workload, observation, color),
        idle=reading_of(workload, observation, color.other),
    )


# --- what each step decides -------------------------------------------------------------------------------


def why_not_begun(
    workload: Workload,
    observation: Observation,
    holding: Holds | Unknown,
    surges: Mapping[Fleet, ScheduledActions],
    busy: Mapping[Color, int | Unknown],
    finishes: bool | Unknown,
    now: datetime,
) -> Refusal | None:
    """Why no switch to the idle color may begin now; None if one may.

    `surges` are the scheduled actions of both fleets, `busy` the busy instances of both colors. `finishes` is
    whether a lifecycle hook of the active one lets each instance finish before it ends.
    """
    idle, color = workload.idle, workload.color
    assert idle is not None
    assert color is not None
    if refusal := _why_held(workload, holding):
        return refusal
    unread = (observation.backlog, observation.capacity, observation.idle, *busy.values())
    if unknown := [reading.reason for reading in unread if isinstance(reading, Unknown)]:
        why = f"a reading of {workload.name} is missing, and unknown is not zero: {'; '.join(unknown)}"
        return Refusal(reason=Reason.UNKNOWN_READING, why=why, passes=True)
    old, new, backlog = observation.capacity, observation.idle, observation.backlog
    assert isinstance(old, Capacity)
    assert isinstance(new, Capacity)
    assert isinstance(backlog, Backlog)
    return (
        _why_scheduled(workload, surges, now)
        or _why_not_used(workload, colored(workload, color), old)
        or _why_not_used(workload, idle, new)
        or why_not_raised(workload, idle, old, new)
        or _why_unproven(workload, observation, busy, finishes)
    )


def _why_held(workload: Workload, holding: Holds | Unknown) -> Refusal | None:
    """Who or what holds the workload."""
    name = workload.name
    if workload.mode is not Mode.ACTIVE:
        why = f"the Mode of {name} is {workload.mode}: update its stack with Mode=active to switch its colors"
        return Refusal(reason=Reason.HELD, why=why)
    if isinstance(holding, Unknown):
        why = f"whether a pause or the guard holds {name} is unknown: {holding.reason}"
        return Refusal(reason=Reason.UNKNOWN_READING, why=why, passes=True)
    if holding.pause:
        why = f"{name} is {holding.pause}; `sluice resume {name}` ends the pause"
        return Refusal(reason=Reason.PAUSED, why=why)
    if workload.guard and holding.guard:
        why = f"{name} is {holding.guard}; mend the downstream first, as the new color would only fail too"
        return Refusal(reason=Reason.GUARDED, why=why)
    return None


def _why_scheduled(
    workload: Workload, surges: Mapping[Fleet, ScheduledActions], now: datetime
) -> Refusal | None:
    """Which action of AWS will set a minimum, and so start a color that is not active any more."""
    for fleet, actions in surges.items():
        if surge := actions.in_force(now):
            why = f"{fleet} is held by {surge}; `sluice surge {workload.name} --end` ends it"
            return Refusal(reason=Reason.HELD, why=why)
        due = [other.name for other in actions.others if other.at is None or other.at > now]
        if due:
            why = (
                f"the scheduled action {due[0]} sets the minimum of {fleet}, and would start a color that is "
                "not active: delete it"
            )
            return Refusal(reason=Reason.HELD, why=why)
    return None


def why_not_raised(workload: Workload, idle: ColoredFleet, old: Capacity, new: Capacity) -> Refusal | None:
    """Why the new color cannot get as many instances as the old one has."""
    which = f"{idle.color}, {idle.fleet},"
    if new.scale_out_blocked_by:
        why = f"{which} cannot be raised: {', '.join(new.scale_out_blocked_by)}; resume it first"
        return Refusal(reason=Reason.HELD, why=why)
    bounds, has = effective_bounds(workload, new)[0], max(old.running, old.desired)
    if bounds is None:
        why = f"{which} {both_bounds(workload, new)}: these bounds do not overlap, so correct one of them"
        return Refusal(reason=Reason.BOUNDS_DISJOINT, why=why)
    if bounds.max < has:
        why = (
            f"{which} may have {bounds.max} instances ({both_bounds(workload, new)}), and {idle.color.other} "
            f"has {has}: raise the maximum of {idle.fleet} first"
        )
        return Refusal(reason=Reason.BOUNDS_DISJOINT, why=why)
    return None


def shows_work(observation: Observation, busy: Mapping[Color, int | Unknown]) -> bool:
    """Whether nothing speaks against it that protection from scale-in shows which instances work.

    Without it messages are in flight that only the active color can have, and no instance is protected.
    """
    old, new, backlog = observation.capacity, observation.idle, observation.backlog
    assert isinstance(old, Capacity)
    assert isinstance(new, Capacity)
    assert isinstance(backlog, Backlog)
    return backlog.in_flight == 0 or old.running == 0 or new.running > 0 or any(busy.values())


def _why_unproven(
    workload: Workload,
    observation: Observation,
    busy: Mapping[Color, int | Unknown],
    finishes: bool | Unknown,
) -> Refusal | None:
    """Why a message could be interrupted: nothing shows when the work of the active color is done."""
    if finishes is True or shows_work(observation, busy):
        return None
    assert isinstance(observation.backlog, Backlog)
    which = f"no instance of {workload.fleet} has {PROTECTION}"
    in_flight = f"{observation.backlog.in_flight} messages are in flight, and {which}"
    if isinstance(finishes, Unknown):
        why = f"{in_flight}; whether a lifecycle hook lets them finish is unknown: {finishes.reason}"
        return Refusal(reason=Reason.UNKNOWN_READING, why=why, passes=True)
    hook = (
        ", or give the group a lifecycle hook on termination that lets an instance finish"
        if isinstance(workload.fleet, AutoScalingGroup)
        else ""
    )
    why = (
        f"{in_flight}, so nothing would show when its work is done: let its workers protect their instances, "
        f"as sluice_worker does{hook}; if they do, try again"
    )
    # It passes: a worker protects its instance within seconds of a receive.
    return Refusal(reason=Reason.UNKNOWN_READING, why=why, passes=True)


def _why_not_used(workload: Workload, of: ColoredFleet, capacity: Capacity) -> Refusal | None:
    """Why this color can be neither raised nor retired."""
    if capacity.unsupported_units:
        own = replace(workload, fleet=of.fleet)
        return Refusal(reason=Reason.INSTANCE_WEIGHTS, why=why_not_served(own, capacity))
    if capacity.bounds is None:
        why = (
            f"{of.color}, {of.fleet}, has no scalable target, so nothing can hold it: register it "
            "(CreateScalableTarget of workload.yaml)"
        )
        return Refusal(reason=Reason.HELD, why=why)
    if changes := why_changing(capacity):
        why = f"{of.color}, {of.fleet}, is changing: {changes}; wait for its end, and try again"
        return Refusal(reason=Reason.HELD, why=why)
    return None


def why_changing(capacity: Capacity) -> str:
    """What AWS does with the fleet by itself, a deployment or a deletion; empty for nothing."""
    return ", ".join(block for block in capacity.scale_in_blocked_by if not block.endswith(SUSPENDED))


def is_at_zero(fleet: Capacity) -> bool:
    """Whether no instance is left, not even one that finishes a message before it ends."""
    return fleet.desired == 0 and fleet.running == 0 and fleet.ending == 0


def only_flips(old: Capacity, backlog: Backlog) -> bool:
    """Whether nothing has to be moved: nothing runs, and no message is in the queue."""
    return is_at_zero(old) and backlog.total == 0


def needed(workload: Workload, observation: Observation, target: float) -> int:
    """Instances for the new, idle color: as many as the old has or the backlog asks for, within its bounds.

    Nothing is lowered. `observation` is known, as `why_not_begun` has it.
    """
    old, new, backlog = observation.capacity, observation.idle, observation.backlog
    assert isinstance(old, Capacity)
    assert isinstance(new, Capacity)
    assert isinstance(backlog, Backlog)
    bounds = effective_bounds(workload, new)[0]
    wanted = max(old.running, old.desired, instances_for(backlog.total, target))
    return max(new.desired, clamp(wanted, bounds)[0] if bounds else wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Whether a step is done, goes on waiting, or has waited for too long; `switch` is what to remember."""

    next: Next
    reason: Reason
    detail: str
    switch: Switch
    wait_s: int = 0


def ready(
    switch: Switch,
    backlog: Backlog | Unknown,
    new: Capacity | Unknown,
    busy: int | Unknown,
    now: datetime,
    limit_s: float,
) -> Wait:
    """Whether the new color runs what it was raised to, and takes messages.

    A queue that is empty at two readings stands for that: there is nothing to take. So do workers that do not
    show what they take, once they have run for a minute.
    """
    needs = switch.needed or 0
    unread = [reading.reason for reading in (backlog, new, busy) if isinstance(reading, Unknown)]
    lacks = ""
    if isinstance(new, Capacity):
        if changes := why_changing(new):
            lacks = changes
        elif new.running < needs:
            lacks = f"{new.running} of {needs} instances run"
    if lacks or isinstance(new, Unknown):
        return _waiting(
            replace(switch, quiet_since=None),
            now,
            limit_s,
            (Reason.COLOR_NOT_READY, Reason.COLOR_NOT_READY),
            "; ".join(filter(None, (lacks, *unread))),
        )
    if isinstance(busy, int) and busy > 0:
        detail = f"{new.running} of {needs} instances run, {busy} of them busy"
        return Wait(next=Next.NEXT, reason=Reason.COLOR_READY, detail=detail, switch=switch)
    if not switch.shows_work:
        return _ready_unseen(switch, new, now, limit_s)
    is_empty = isinstance(backlog, Backlog) and backlog.total == 0
    quiet = _quiet(switch, is_quiet=is_empty, now=now)
    if _is_proven(quiet, now):
        detail = f"{new.running} of {needs} instances run, and the queue is empty"
        return Wait(next=Next.NEXT, reason=Reason.COLOR_READY, detail=detail, switch=quiet)
    lacks = "the queue is empty at one reading" if is_empty else f"no instance of it has {PROTECTION}"
    return _waiting(
        quiet, now, limit_s, (Reason.COLOR_NOT_READY, Reason.COLOR_NOT_READY), "; ".join((lacks, *unread))
    )


def _ready_unseen(switch: Switch, new: Capacity, now: datetime, limit_s: float) -> Wait:
    """Whether a color whose workers do not show what they take has run for long enough."""
    running = _quiet(switch, is_quiet=True, now=now)
    detail = f"{new.running} of {switch.needed or 0} instances run; whether they take messages does not show"
    if running.quiet_since is not None and now >= running.quiet_since + SETTLING:
        return Wait(next=Next.NEXT, reason=Reason.COLOR_READY, detail=detail, switch=running)
    return _waiting(running, now, limit_s, (Reason.COLOR_NOT_READY, Reason.COLOR_NOT_READY), detail)


def drained(
    switch: Switch, fleet: Capacity | Unknown, busy: int | Unknown, now: datetime, limit_s: float
) -> Wait:
    """Whether a color that receives no more is proven to work on nothing.

    None of the waiting counts before its workers know.
    """
    if isinstance(fleet, Capacity) and is_at_zero(fleet) and busy == 0:
        return Wait(
            next=Next.NEXT, reason=Reason.COLOR_DRAINED, detail="no instance of it runs", switch=switch
        )
    is_settled = switch.told_at is not None and now >= switch.told_at + SETTLING
    is_quiet = is_settled and isinstance(fleet, Capacity) and isinstance(busy, int) and busy == 0
    quiet = _quiet(switch, is_quiet=is_quiet, now=now)
    if _is_proven(quiet, now):
        finishes = "" if switch.shows_work else "; the lifecycle hook lets each finish what it has"
        return Wait(
            next=Next.NEXT,
            reason=Reason.COLOR_DRAINED,
            detail=f"no instance of it has {PROTECTION}{finishes}",
            switch=quiet,
        )
    unread = [reading.reason for reading in (fleet, busy) if isinstance(reading, Unknown)]
    said = f"{busy} of its instances have {PROTECTION}" if isinstance(busy, int) else ""
    if busy == 0:
        said = f"no instance of it has {PROTECTION} at one reading, and the next one may prove it idle"
    if not is_settled:
        said = "its workers may not have read yet that they receive no more"
    return _waiting(
        quiet,
        now,
        limit_s,
        (Reason.COLOR_BUSY, Reason.COLOR_STAYS),
        "; ".join(filter(None, (said, *unread))),
    )


def _quiet(switch: Switch, *, is_quiet: bool, now: datetime) -> Switch:
    if not is_quiet:
        return replace(switch, quiet_since=None)
    return switch if switch.quiet_since is not None else replace(switch, quiet_since=now)


def _is_proven(switch: Switch, now: datetime) -> bool:
    return switch.quiet_since is not None and now >= switch.quiet_since + BETWEEN_READINGS


def _waiting(
    switch: Switch, now: datetime, limit_s: float, reasons: tuple[Reason, Reason], detail: str
) -> Wait:
    """Wait on, for the first reason, or no more, for the second."""
    waited = now - (switch.waits_since or now)
    if waited >= timedelta(seconds=limit_s):
        detail = f"{detail}; waited for {limit_s / 60:g} min"
        return Wait(next=Next.TIMED_OUT, reason=reasons[1], detail=detail, switch=switch)
    wait_s = OFTEN_S if waited < OFTEN_FOR else SELDOM_S
    return Wait(next=Next.WAIT, reason=reasons[0], detail=detail, switch=switch, wait_s=wait_s)


def fades_in_s(switch: Switch, now: datetime) -> int:
    """Seconds until AWS's alarms of the old color know nothing any more; 0 if they may be let go.

    Such an alarm, while it sees the last points of the color, would start the color again.
    """
    if switch.flipped_at is None or switch.flips_only:
        return 0
    return _left_s(switch.flipped_at + ALARMS_FADE, now)


def undone_fades_in_s(switch: Switch, now: datetime) -> int:
    """The same of a new color that was active, and is not any more since the switch is being undone."""
    if switch.flipped_at is None or switch.waits_since is None:
        return 0
    return _left_s(switch.waits_since + ALARMS_FADE, now)


def _left_s(until: datetime, now: datetime) -> int:
    return max(0, min(SELDOM_S, -(-(until - now) // timedelta(seconds=1))))


def thawed(switch: Switch, color: Color, now: Fields) -> Fields:
    """The fields of a color as they were before the switch; what it has not set stays as it is."""
    before = switch.was[color].fields
    return {name: before.get(name, value) if name in SETS else value for name, value in now.items()}


def growing(switch: Switch, now: Fields) -> Fields:
    """The fields of the new color while the old one drains; what was suspended before stays so."""
    before = switch.was[switch.to].fields
    return {name: before.get(name, False) or GROWS.get(name, value) for name, value in now.items()}


def held(now: Fields, by: Fields = FROZEN) -> Fields:
    """The fields of a color with these set."""
    return {name: by.get(name, value) for name, value in now.items()}
