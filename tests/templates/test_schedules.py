"""Schedules of workload.yaml: the scheduled actions and the document that their lines become."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.schedules import starts
from sluice.document.schedule_lines import EXAMPLE, PATTERN, RANGES, parsed
from sluice_sim.aws_rules.cron import Cron
from sluice_sim.template import TemplateError
from tests.templates.stacks import WORKLOAD_TEMPLATE, document, template, workload

PARAMETERS = template(WORKLOAD_TEMPLATE)["Parameters"]
NAMES = tuple(f"Schedule{place}" for place in range(1, 6))
LINES = st.from_regex(f"^{PATTERN}$", fullmatch=True).filter(bool)


def of_group(line: str) -> dict[str, object]:
    """The properties of the one scheduled action of a group."""
    stack = workload("asg", Schedule3=line)
    [(name, action)] = [each for each in stack.resources.items() if "Schedule" in each[0]]
    assert (name, action.type) == ("AsgSchedule3", "AWS::AutoScaling::ScheduledAction")
    return dict(action.properties)


def of_target(**lines: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = (
        workload("ecs", **lines).resources["EcsScalableTarget"].properties["ScheduledActions"]
    )
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_takes_what_the_document_takes(name: str) -> None:
    assert PARAMETERS[name]["AllowedPattern"] == f"^{PATTERN}$"
    assert EXAMPLE in PARAMETERS[name]["ConstraintDescription"]
    assert parsed(EXAMPLE).name == "office-hours"


def test_a_line_becomes_a_scheduled_action_of_the_group() -> None:
    assert of_group("weekend,SAT+SUN,8:05,Europe/Berlin,0,3") == {
        "AutoScalingGroupName": "transcription",
        "Recurrence": "05 8 * * SAT,SUN",
        "TimeZone": "Europe/Berlin",
        "MinSize": "0",
        "MaxSize": "3",
    }


def test_lines_become_scheduled_actions_of_the_scalable_target() -> None:
    office, night = of_target(
        Schedule1="office-hours,MON-FRI,8:00,Europe/Berlin,3,5", Schedule4="night,SUN-SAT,18:30,UTC,0,5"
    )
    assert office == {
        "ScheduledActionName": "sluice-queue-proc-office-hours",
        "Schedule": "cron(00 8 ? * MON-FRI *)",
        "Timezone": "Europe/Berlin",
        "ScalableTargetAction": {"MinCapacity": "3", "MaxCapacity": "5"},
    }
    assert (night["Schedule"], night["Timezone"]) == ("cron(30 18 ? * SUN-SAT *)", "UTC")


@settings(max_examples=60, deadline=None)
@given(line=LINES)
def test_both_notations_of_cron_name_the_minutes_of_the_line(line: str) -> None:
    schedule = parsed(line)
    five = Cron.five_fields(str(of_group(line)["Recurrence"]))
    [action] = of_target(Schedule1=line)
    six = Cron.six_fields(str(action["Schedule"])[len("cron(") : -1])
    for cron in (five, six):
        assert [(each.hour, each.minute) for each in cron.times] == [(schedule.hour, schedule.minute)]
        assert {day - 1 for day in cron.weekdays} == schedule.weekdays


@pytest.mark.parametrize(
    "line",
    [
        "office-hours,MON-FRI,8:00,Europe/Berlin,3,5",
        "batch,SUN-SAT,2:30,Europe/Berlin,3,5",
        "batch,SUN,2:30,America/New_York,3,5",
        "batch,SAT+SUN,2:05,Australia/Lord_Howe,3,5",
        "midnight,SUN-SAT,0:00,America/Scoresbysund,3,5",
    ],
)
def test_what_aws_runs_over_a_year_is_what_sluice_takes_to_be_in_force(line: str) -> None:
    """With both changes of the clock."""
    schedule, first = parsed(line), datetime(2026, 1, 1, tzinfo=UTC)
    last, zone = first + timedelta(days=365), ZoneInfo(schedule.time_zone)
    expected = list(starts(schedule, first, last))
    [action] = of_target(Schedule1=line)
    of_service = Cron.six_fields(str(action["Schedule"])[len("cron(") : -1])
    for cron in (Cron.five_fields(str(of_group(line)["Recurrence"])), of_service):
        runs, run = [], cron.next_after(first, zone)
        while run is not None and run <= last:
            runs.append(run)
            run = cron.next_after(run, zone)
        assert runs == expected


def test_every_range_of_weekdays_is_one_that_both_crons_know() -> None:
    for days, span in RANGES.items():
        assert {day - 1 for day in Cron.five_fields(f"0 0 * * {days}").weekdays} == span
        assert {day - 1 for day in Cron.six_fields(f"0 0 ? * {days} *").weekdays} == span


@pytest.mark.parametrize("fleet", ["asg", "ecs"])
def test_without_schedules_neither_document_nor_fleet_has_any(fleet: str) -> None:
    stack = workload(fleet)
    assert "schedules" not in document(stack)
    assert not [name for name in stack.resources if "Schedule" in name]
    if fleet == "ecs":
        assert "ScheduledActions" not in stack.resources["EcsScalableTarget"].properties


@pytest.mark.parametrize("mode", ["observe", "paused"])
def test_in_another_mode_the_document_has_the_schedules_and_the_fleet_has_no_actions(mode: str) -> None:
    line = "office-hours,MON-FRI,8:00,Europe/Berlin,3,5"
    group = workload("asg", Mode=mode, Schedule1=line)
    assert not [name for name in group.resources if "Schedule" in name]
    assert line in document(group)["schedules"]
    service = workload("ecs", Mode=mode, CreateScalableTarget="true", Schedule1=line)
    assert service.resources["EcsScalableTarget"].properties["ScheduledActions"] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_of_a_target_that_another_stack_registers_is_refused(name: str) -> None:
    line = {name: "office-hours,MON-FRI,8:00,Europe/Berlin,3,5"}
    way_out = f"the scheduled action of {name} belongs to the scalable target, so put it into the stack"
    with pytest.raises(TemplateError, match=re.escape(way_out)):
        workload("ecs", CreateScalableTarget="false", **line)
    assert workload("asg", CreateScalableTarget="false", **line)
    assert workload("ecs", CreateScalableTarget="false")
