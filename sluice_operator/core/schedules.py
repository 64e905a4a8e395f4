"""A workload's schedules in words: which is in force, until when, and whether the fleet has its bounds."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from shlex import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sluice.core.model import AutoScalingGroup, Bounds, Capacity, Fleet, Mode, Schedule, Unknown, Workload
from sluice.core.pause import Direction, Pause
from sluice.core.schedules import LONGEST, InForce, in_force, starts, time_zone
from sluice.core.surge_end import LATEST, action_name
from sluice_operator.core.events import Activity

WEEKDAYS = timedelta(days=6)
"""A weekday alone names a day this far ahead at most."""
PROCESS = "ScheduledActions"
"""The process of a group that executes its scheduled actions."""
EXECUTED_WITHIN = timedelta(minutes=10)
"""Within which an activity of a group follows the start that has led to it."""
OF_SERVICE = re.compile(r"scheduled action name (\S+) was triggered")
BOUNDS_OF_SERVICE = re.compile(r"min capacity to (\d+) and max capacity to (\d+)")
BOUNDS_OF_GROUP = re.compile(
    r"scheduled action update of AutoScalingGroup constraints to min: (\d+), max: (\d+)"
)
"""As AWS writes the cause of an activity, or the description of one of a service."""
OTHER_BOUNDS = (
    "an update of a stack or a person has set others since then, or the schedule has not started since it "
    "was deployed"
)
"""Why a fleet may lack the bounds of the schedule in force."""


def unknown_zone(schedules: Collection[Schedule]) -> Schedule | None:
    """The first schedule whose time zone is not in the database of this machine."""
    for each in schedules:
        try:
            time_zone(each.time_zone)
        except ZoneInfoNotFoundError:
            return each
    return None


def schedule_in_force(workload: Workload, now: datetime) -> InForce | Unknown | None:
    """The schedule in force; None without schedules, and in a mode in which AWS has no action for them."""
    if workload.mode is not Mode.ACTIVE or not workload.schedules:
        return None
    if (unknown := unknown_zone(workload.schedules)) is not None:
        return Unknown(reason=f"schedule {unknown.name}: this machine knows no time zone {unknown.time_zone}")
    return in_force(workload.schedules, now)


def local(moment: datetime, schedule: Schedule, now: datetime) -> str:
    """A moment of the next weeks by the schedule's clock, such as `Thu 18:00 Europe/Berlin`."""
    there = moment.astimezone(ZoneInfo(schedule.time_zone))
    day = f"{there:%a}" if abs(moment - now) <= WEEKDAYS else f"{there:%a %Y-%m-%d}"
    return f"{day} {there.hour}:{there:%M} {schedule.time_zone}"


def limits(schedule: Schedule) -> str:
    """The bounds of a schedule in words."""
    return f"minimum {schedule.bounds.min}, maximum {schedule.bounds.max}"


def described(held: InForce, now: datetime) -> str:
    """Which schedule holds which bounds, until when by the clock of the next one, and what that sets."""
    then = f"; then {held.next.name}: {limits(held.next)}" if held.next else "; no other schedule ends it"
    return f"at {limits(held.schedule)}{until(held, now)} by schedule {held.schedule.name}{then}"


def until(held: InForce, now: datetime) -> str:
    """When the schedule ends, by the clock of the one that follows; empty if none does."""
    if held.until is None or held.next is None:
        return ""
    return f" until {local(held.until, held.next, now)}"


def limits_maximum(workload: Workload, maximum: int, now: datetime) -> str:
    """Which schedule holds the fleet at this maximum and until when; empty if the document or nobody does."""
    held = schedule_in_force(workload, now)
    if not isinstance(held, InForce) or not held.schedule.bounds.max == maximum < workload.bounds.max:
        return ""
    return f"schedule {held.schedule.name}{until(held, now)}"


def why_not_held(held: InForce, fleet: Bounds | None, surges: Collection[int], now: datetime) -> str | None:
    """Why the fleet's own bounds are not those of the schedule in force.

    None if they are, or if AWS may yet set them. `surges` are the minimums that surges hold.
    """
    schedule, wanted = held.schedule, held.schedule.bounds
    began = local(held.since, schedule, now)
    since = f"schedule {schedule.name}, in force since {began}, sets {limits(schedule)}"
    if fleet is None:
        return f"{since}, and the service is no scalable target"
    is_surged = fleet.min in surges and fleet.min > wanted.min
    if (fleet.max == wanted.max and (fleet.min == wanted.min or is_surged)) or now - held.since < LATEST:
        return None
    return f"the fleet has minimum {fleet.min}, maximum {fleet.max}; {since}: {OTHER_BOUNDS}"


def set_bounds_command(fleet: Fleet, bounds: Bounds) -> str:
    """The command that gives the fleet these bounds."""
    if isinstance(fleet, AutoScalingGroup):
        return (
            f"aws autoscaling update-auto-scaling-group --auto-scaling-group-name {quote(fleet.name)} "
            f"--min-size {bounds.min} --max-size {bounds.max}"
        )
    return f"{_register(fleet)} --min-capacity {bounds.min} --max-capacity {bounds.max}"


def suspend_command(fleet: Fleet, *, suspend: bool) -> str:
    """The command that suspends the fleet's scheduled actions, or resumes them."""
    if isinstance(fleet, AutoScalingGroup):
        verb = "suspend" if suspend else "resume"
        return (
            f"aws autoscaling {verb}-processes --auto-scaling-group-name {quote(fleet.name)} "
            f"--scaling-processes {PROCESS}"
        )
    return f"{_register(fleet)} --suspended-state ScheduledScalingSuspended={str(suspend).lower()}"


def _register(fleet: Fleet) -> str:
    assert not isinstance(fleet, AutoScalingGroup)
    return (
        "aws application-autoscaling register-scalable-target --service-namespace ecs --scalable-dimension "
        f"ecs:service:DesiredCount --resource-id {quote(f'service/{fleet.cluster}/{fleet.service}')}"
    )


def executed(workload: Workload, activity: Activity) -> str | None:
    """What a scaling activity says in the words of the schedule that led to it; None for any other cause.

    Application Auto Scaling names its action, EC2 Auto Scaling the bounds that it set.
    """
    if of_service := OF_SERVICE.fullmatch(activity.cause):
        named = [each for each in workload.schedules if action_name(workload, each) == of_service[1]]
        numbers = BOUNDS_OF_SERVICE.search(activity.description)
    else:
        numbers = BOUNDS_OF_GROUP.search(activity.cause)
        held = schedule_in_force(workload, activity.at) if numbers else None
        is_recent = isinstance(held, InForce) and activity.at - held.since < EXECUTED_WITHIN
        named = [held.schedule] if is_recent and isinstance(held, InForce) else []
    if not named or numbers is None:
        return None
    low, high = map(int, numbers.groups())
    if isinstance(workload.fleet, AutoScalingGroup) and Bounds(min=low, max=high) != named[0].bounds:
        return None
    return f"schedule {named[0].name} set minimum {low}, maximum {high}"


def resized_in_spite_of(
    pause: Pause, workload: Workload, capacity: Capacity | Unknown, now: datetime
) -> str | None:
    """The first start within a pause that resizes the fleet all the same, and how to keep it off.

    A schedule is the owner's bound, and a pause does not hold it. A fleet that could not be read may have any
    size. One whose scale-in is not held may be at its minimum by then.
    """
    is_suspended = isinstance(capacity, Capacity) and capacity.schedules_suspended
    if is_suspended or not isinstance(schedule_in_force(workload, now), InForce):
        return None
    end = min(pause.until or now + LONGEST, now + LONGEST)
    coming = sorted(
        ((start, each) for each in workload.schedules for start in starts(each, now, end)),
        key=lambda pair: pair[0],
    )
    least = _least(pause, capacity)
    for start, schedule in coming:
        resizes = _resizes(pause, schedule, capacity, least)
        least = min(least, schedule.bounds.min) if Direction.IN not in pause.directions else least
        if resizes:
            return (
                f"schedule {schedule.name} {resizes} at {local(start, schedule, now)} all the same, as a "
                "pause does not hold schedules: to keep it off, update the workload's stack with "
                f"Mode=paused, or `{suspend_command(workload.fleet, suspend=True)}`"
            )
    return None


def _least(pause: Pause, capacity: Capacity | Unknown) -> int:
    """The fewest instances that may be desired at the first start; 0 if nothing is known."""
    if isinstance(capacity, Unknown):
        return 0
    if Direction.IN in pause.directions:
        return capacity.desired
    return min(capacity.desired, capacity.bounds.min if capacity.bounds else 0)


def _resizes(pause: Pause, schedule: Schedule, capacity: Capacity | Unknown, least: int) -> str:
    """What a start would do to the fleet against the pause; empty for nothing.

    `least` are the fewest instances that may be desired then.
    """
    low, high = schedule.bounds.min, schedule.bounds.max
    now = None if isinstance(capacity, Unknown) else capacity.desired
    if Direction.OUT in pause.directions and low > least:
        if now is None:
            return f"raises the minimum to {low}"
        which = "that are desired" if least == now else "that may be desired by then"
        return f"raises the minimum to {low}, above the {least} {which},"
    if Direction.IN in pause.directions and (now is None or high < now):
        return f"lowers the maximum to {high}" + (
            "" if now is None else f", below the {now} that are desired,"
        )
    return ""
