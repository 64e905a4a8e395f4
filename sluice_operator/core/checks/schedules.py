"""Whether AWS runs the workload's schedules, and the fleet has the bounds of the one in force."""

from __future__ import annotations

import re
from collections.abc import Collection

from sluice.core.model import AutoScalingGroup, Mode, Schedule, Unknown, Workload
from sluice.core.schedules import coinciding_start
from sluice.core.surge import NAME as SURGE_NAME
from sluice.core.surge_end import action_name
from sluice_operator.core.checks.facts import Facts, ScheduledAction
from sluice_operator.core.checks.finding import Check, Finding, failed, passed, unknown, warned
from sluice_operator.core.checks.judging import judges, known
from sluice_operator.core.schedules import (
    described,
    limits,
    schedule_in_force,
    set_bounds_command,
    suspend_command,
    unknown_zone,
    why_not_held,
)

CRON = re.compile(r"(?:cron\()?(\d{1,2}) (\d{1,2}) [*?] \* (\S+?)(?: \*\))?")
"""Of a group with five fields, of a service with six: minute, hour and weekdays."""
DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
"""As `date.weekday` numbers them."""
RANGES = {"MON-FRI": frozenset(range(5)), "SUN-SAT": frozenset(range(7))}


@judges(Check.SCHEDULES)
def run(check: Check, facts: Facts) -> Finding:
    """Each schedule has its scheduled action, and the fleet has the bounds of the one in force."""
    workload, now = facts.workload, facts.now
    if not workload.schedules:
        return passed(check, "it has no schedules")
    if workload.mode is not Mode.ACTIVE:
        return passed(check, f"mode {workload.mode}: its schedules exist in mode active alone")
    actions, capacity = known(facts.scheduled_actions), known(facts.capacity)
    lacking = [why for each in workload.schedules if (why := _why_lacking(workload, each, actions))]
    if lacking:
        return failed(
            check,
            "; ".join(lacking),
            "update the workload's stack, which puts them (`sam deploy`); `sluice validate` checks the lines",
        )
    if (nowhere := unknown_zone(workload.schedules)) is not None:
        return unknown(
            check,
            f"this machine knows no time zone {nowhere.time_zone}, by which schedule {nowhere.name} starts",
            "update the time zone database of this machine (the package tzdata)",
        )
    if capacity.schedules_suspended:
        return failed(
            check,
            f"scheduled actions of {workload.fleet} are suspended: no schedule starts, and no surge ends",
            suspend_command(workload.fleet, suspend=False),
        )
    held = schedule_in_force(workload, now)
    assert held is not None
    assert not isinstance(held, Unknown)
    if why_not := why_not_held(held, capacity.bounds, surged(actions), now):
        return failed(
            check,
            f"{why_not}; CloudTrail's event {_event(workload)} names who",
            set_bounds_command(workload.fleet, held.schedule.bounds),
        )
    if twice := coinciding_start(workload.schedules, now):
        one, other, at = twice
        return warned(
            check,
            f"schedules {one.name} and {other.name} both start at {at:%Y-%m-%d %H:%M} UTC, and AWS sets the "
            "bounds of one of them",
            f"let {other.name} start a minute earlier or later, in the workload's stack",
        )
    return passed(check, described(held, now))


def surged(actions: Collection[ScheduledAction]) -> list[int]:
    """The minimums that surges hold until their scheduled actions."""
    return [int(found[1]) for action in actions if (found := SURGE_NAME.fullmatch(action.name))]


def foreign(workload: Workload, actions: Collection[ScheduledAction]) -> list[ScheduledAction]:
    """The actions that are neither those of the workload's schedules nor a surge's end."""
    own = workload.schedules if workload.mode is Mode.ACTIVE else ()
    return [
        action
        for action in actions
        if not any(_is_of(workload, each, action) for each in own) and not SURGE_NAME.fullmatch(action.name)
    ]


def _why_lacking(workload: Workload, schedule: Schedule, actions: Collection[ScheduledAction]) -> str | None:
    """Why AWS does not run the schedule as its document has it; None if it does."""
    if any(_is_of(workload, schedule, action) for action in actions):
        return None
    named = next((each for each in actions if each.name == action_name(workload, schedule)), None)
    if named is not None:
        return (
            f"the scheduled action {named.name} sets minimum {named.min}, maximum {named.max} at "
            f"{named.schedule} {named.time_zone}, and the document has {limits(schedule)} at "
            f"{schedule.hour}:{schedule.minute:02} {schedule.time_zone} of {_days(schedule)}"
        )
    why = f"schedule {schedule.name} ({limits(schedule)}) has no scheduled action of {workload.fleet}"
    if unknown_zone([schedule]) is not None:
        why += f", and no time zone {schedule.time_zone} is known here: AWS refuses one that it does not know"
    return why


def _is_of(workload: Workload, schedule: Schedule, action: ScheduledAction) -> bool:
    """Whether it is the schedule's action: AWS names that of a group, workload.yaml that of a service."""
    is_group = isinstance(workload.fleet, AutoScalingGroup)
    bounds = (action.min, action.max, action.desired) == (schedule.bounds.min, schedule.bounds.max, None)
    is_named = is_group or action.name == action_name(workload, schedule)
    return bounds and is_named and action.time_zone == schedule.time_zone and _starts_with(schedule, action)


def _starts_with(schedule: Schedule, action: ScheduledAction) -> bool:
    found = CRON.fullmatch(action.schedule)
    if found is None:
        return False
    minute, hour, days = found.groups()
    weekdays = RANGES.get(days) or {DAYS.index(day) for day in days.split(",") if day in DAYS}
    return (int(minute), int(hour), weekdays) == (schedule.minute, schedule.hour, schedule.weekdays)


def _days(schedule: Schedule) -> str:
    return ", ".join(DAYS[day] for day in sorted(schedule.weekdays))


def _event(workload: Workload) -> str:
    is_group = isinstance(workload.fleet, AutoScalingGroup)
    return "UpdateAutoScalingGroup" if is_group else "RegisterScalableTarget"
