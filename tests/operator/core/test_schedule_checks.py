"""`sluice doctor` on schedules: each fault of theirs, and a workload whose schedules run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice.core.model import Bounds, Mode, Unknown
from sluice.core.surge import Surge
from sluice.document.schedule_lines import parsed
from sluice_operator.core.checks import fleet, policy, schedules
from sluice_operator.core.checks.facts import ScheduledAction
from sluice_operator.core.checks.finding import Outcome
from tests.operator.core.test_checks import CAPACITY, QUEUE, facts
from tests.support.builders import backlog, ecs_workload, workload

NOW = datetime(2026, 1, 15, 12, 0, 30, tzinfo=UTC)
"""A Thursday; in Berlin it is one o'clock."""
LINES = ("office-hours,MON-FRI,8:00,Europe/Berlin,3,5", "evening,SAT+SUN,18:30,Europe/Berlin,0,4")
SCHEDULES = tuple(map(parsed, LINES))
OF_GROUP = (
    ScheduledAction(
        name="stack-AsgSchedule1-1X", schedule="00 8 * * MON-FRI", min=3, max=5, desired=None,
        time_zone="Europe/Berlin",
    ),
    ScheduledAction(
        name="stack-AsgSchedule2-1Y", schedule="30 18 * * SAT,SUN", min=0, max=4, desired=None,
        time_zone="Europe/Berlin",
    ),
)  # fmt: skip
OF_SERVICE = tuple(
    replace(each, name=f"sluice-queue-proc-{name}", schedule=schedule)
    for each, name, schedule in zip(
        OF_GROUP,
        ("office-hours", "evening"),
        ("cron(00 8 ? * MON-FRI *)", "cron(30 18 ? * SAT,SUN *)"),
        strict=True,
    )
)
KINDS = {"group": (workload(), OF_GROUP), "service": (ecs_workload(), OF_SERVICE)}


@pytest.fixture(params=KINDS)
def scheduled(request):
    """`scheduled(...)`: the facts of a workload whose schedules run, with these changed."""
    served, actions = KINDS[request.param]

    def read(lines=LINES, mode=Mode.ACTIVE, **changes):
        own = replace(served, schedules=tuple(map(parsed, lines)), mode=mode)
        capacity = replace(CAPACITY, desired=3, running=3, bounds=Bounds(min=3, max=5))
        healthy = {"now": NOW, "workload": own, "scheduled_actions": actions, "capacity": capacity}
        return facts(**(healthy | changes))

    return read


def found(read):
    finding = schedules.run(read)
    return finding.outcome, finding.message, finding.fix


def test_schedules_that_run_pass_with_the_one_in_force(scheduled):
    outcome, message, fix = found(scheduled())
    assert (outcome, fix) == (Outcome.PASS, None)
    assert message == (
        "at minimum 3, maximum 5 until Sat 18:30 Europe/Berlin by schedule office-hours; then evening: "
        "minimum 0, maximum 4"
    )


def test_without_schedules_and_in_another_mode_nothing_is_checked(scheduled):
    assert found(scheduled(lines=())) == (Outcome.PASS, "it has no schedules", None)
    assert found(scheduled(mode=Mode.OBSERVE, scheduled_actions=()))[0] is Outcome.PASS


@pytest.mark.parametrize("missing", [0, 1])
def test_a_schedule_without_its_action_fails(scheduled, missing):
    actions = scheduled().scheduled_actions
    outcome, message, fix = found(scheduled(scheduled_actions=(actions[1 - missing],)))
    assert outcome is Outcome.FAIL
    assert message.startswith(f"schedule {SCHEDULES[missing].name} (minimum")
    assert "has no scheduled action" in message
    assert "update the workload's stack" in fix


@pytest.mark.parametrize(
    "change",
    [
        {"min": 2},
        {"max": 4},
        {"desired": 3},
        {"time_zone": "UTC"},
        {"schedule": "00 9 * * MON-FRI"},
        {"schedule": "cron(00 8 ? * MON *)"},
        {"schedule": "rate(1 hour)"},
    ],
)
def test_an_action_that_does_otherwise_than_the_document_is_not_the_schedules(scheduled, change):
    first, second = scheduled().scheduled_actions
    outcome, message, _ = found(scheduled(scheduled_actions=(replace(first, **change), second)))
    assert outcome is Outcome.FAIL
    assert "office-hours" in message


def test_a_services_action_is_known_by_its_name_and_compared(scheduled):
    other = (replace(OF_SERVICE[0], min=1), OF_SERVICE[1])
    served = replace(ecs_workload(), schedules=SCHEDULES)
    assert found(scheduled(workload=served, scheduled_actions=other))[1] == (
        "the scheduled action sluice-queue-proc-office-hours sets minimum 1, maximum 5 at "
        "cron(00 8 ? * MON-FRI *) Europe/Berlin, and the document has minimum 3, maximum 5 at 8:00 "
        "Europe/Berlin of MON, TUE, WED, THU, FRI"
    )


def test_a_time_zone_that_aws_refuses_is_named(scheduled):
    lines = (LINES[0].replace("Berlin", "Nowhere"), LINES[1])
    outcome, message, _ = found(scheduled(lines=lines, scheduled_actions=()))
    assert outcome is Outcome.FAIL
    assert "no time zone Europe/Nowhere is known here" in message


def test_a_time_zone_that_aws_knows_and_this_machine_does_not_is_unknown(scheduled):
    actions = tuple(replace(each, time_zone="Europe/Nowhere") for each in scheduled().scheduled_actions)
    lines = [line.replace("Berlin", "Nowhere") for line in LINES]
    outcome, message, fix = found(scheduled(lines=lines, scheduled_actions=actions))
    assert outcome is Outcome.UNKNOWN
    assert "this machine knows no time zone Europe/Nowhere" in message
    assert "tzdata" in fix


def test_suspended_actions_fail_with_the_command_that_resumes_them(scheduled):
    suspended = replace(scheduled().capacity, schedules_suspended=True)
    outcome, message, fix = found(scheduled(capacity=suspended))
    assert outcome is Outcome.FAIL
    assert "no schedule starts, and no surge ends" in message
    assert "resume-processes" in fix or "ScheduledScalingSuspended=false" in fix


def test_other_bounds_than_those_in_force_fail_with_who_to_ask_and_the_command_that_puts_them(scheduled):
    other = replace(scheduled().capacity, bounds=Bounds(min=0, max=5))
    outcome, message, fix = found(scheduled(capacity=other))
    assert outcome is Outcome.FAIL
    assert message.startswith("the fleet has minimum 0, maximum 5; schedule office-hours, in force since Thu")
    assert "CloudTrail's event " in message
    assert "--min-size 3 --max-size 5" in fix or "--min-capacity 3 --max-capacity 5" in fix


def test_a_minimum_that_a_surge_holds_is_none_of_the_faults(scheduled):
    read = scheduled()
    surge = Surge(workload="x", instances=5, until=NOW + timedelta(hours=1), by="alice", minimum_before=3)
    end = ScheduledAction(name=surge.name, schedule="2026", min=3, max=None, desired=None)
    raised = replace(read.capacity, bounds=Bounds(min=5, max=5))
    assert schedules.run(scheduled(capacity=raised)).outcome is Outcome.FAIL
    with_end = scheduled(capacity=raised, scheduled_actions=(*read.scheduled_actions, end))
    assert schedules.run(with_end).outcome is Outcome.PASS
    assert policy.scheduled_actions(with_end).outcome is Outcome.PASS


def test_two_of_different_time_zones_that_start_at_once_are_a_warning():
    """New York is six hours behind Berlin, and five in three weeks of March: its clocks change first."""
    lines = ("one,SUN-SAT,14:00,Europe/Berlin,1,5", "other,SUN-SAT,9:00,America/New_York,3,5")
    own = tuple(map(parsed, lines))
    actions = tuple(
        ScheduledAction(
            name=each.name,
            schedule=f"00 {each.hour} * * SUN-SAT",
            min=each.bounds.min,
            max=5,
            desired=None,
            time_zone=each.time_zone,
        )
        for each in own
    )
    served = replace(workload(), schedules=own)
    capacity = replace(CAPACITY, bounds=Bounds(min=3, max=5))
    read = facts(
        now=datetime(2026, 1, 15, 20, tzinfo=UTC),
        workload=served,
        scheduled_actions=actions,
        capacity=capacity,
    )
    outcome, message, fix = found(read)
    assert outcome is Outcome.WARN
    assert message.startswith("schedules one and other both start at 2026-03-08 13:00 UTC")
    assert "let other start a minute earlier or later" in fix


@pytest.mark.parametrize("unread", ["scheduled_actions", "capacity"])
def test_what_cannot_be_read_is_unknown(scheduled, unread):
    assert schedules.run(scheduled(**{unread: Unknown(reason="throttled")})).outcome is Outcome.UNKNOWN


def test_somebody_elses_action_on_the_bounds_fights_with_schedules(scheduled):
    read = scheduled()
    assert policy.scheduled_actions(read).outcome is Outcome.PASS
    other = ScheduledAction(name="batch", schedule="0 3 * * *", min=2, max=None, desired=None)
    fought = policy.scheduled_actions(scheduled(scheduled_actions=(*read.scheduled_actions, other)))
    assert fought.outcome is Outcome.WARN
    assert fought.message == "the scheduled action batch sets min 2 at 0 3 * * *"
    assert "give the workload's stack schedules" in fought.fix


def test_a_fleet_at_the_maximum_of_a_schedule_is_told_which_and_how_to_raise_it(scheduled):
    read = scheduled(now=datetime(2026, 1, 17, 18, tzinfo=UTC))
    evening = replace(read.capacity, desired=4, running=4, bounds=Bounds(min=0, max=4))
    full = {"now": read.now, "capacity": evening, "queue": replace(QUEUE, backlog=backlog(400))}
    found = fleet.below_maximum(scheduled(**full))
    assert found.outcome is Outcome.FAIL
    assert found.message.endswith("as schedule evening until Mon 8:00 Europe/Berlin holds this maximum")
    assert "--min-size 0 --max-size 5" in found.fix or "--min-capacity 0 --max-capacity 5" in found.fix
    assert "MaxCapacity" in fleet.below_maximum(scheduled(lines=(), **full)).fix


def test_bounds_that_schedules_set_agree_with_the_document_unless_they_do_not_overlap(scheduled):
    agreeing = fleet.bounds(scheduled())
    assert agreeing.outcome is Outcome.PASS
    assert agreeing.message.startswith("its schedules set the fleet's own bounds: document 0..5, fleet 3..5")
    apart = replace(scheduled().capacity, bounds=Bounds(min=6, max=9))
    assert fleet.bounds(scheduled(capacity=apart)).outcome is Outcome.FAIL
    assert fleet.bounds(scheduled(lines=())).outcome is Outcome.WARN
