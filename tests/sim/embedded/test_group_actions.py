"""Scheduled actions of an embedded Auto Scaling group run as those of EC2 Auto Scaling."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sluice_sim.aws_rules.action_runs import MAX_LATENESS_S
from sluice_sim.embedded.cloud import START, EmbeddedAws, embedded_aws
from tests.sim.embedded.test_fleets import ROOT, BusyWorker

MINUTE = timedelta(minutes=1)
SOON = START + 10 * MINUTE
"""START is Thursday 15 January 2026, 12:20 UTC."""


@pytest.fixture
def aws() -> Iterator[EmbeddedAws]:
    """An account with two groups of 0 to 10 instances, at 0."""
    with embedded_aws(ROOT) as account:
        for name in ("group", "other"):
            account.create_group(name, minimum=0, maximum=10, boot_s=30, start=BusyWorker)
        yield account


def put(aws: EmbeddedAws, name: str = "action", *, group: str = "group", **asked: Any) -> None:
    aws.autoscaling.put_scheduled_update_group_action(
        AutoScalingGroupName=group, ScheduledActionName=name, **asked
    )


def sizes(aws: EmbeddedAws, group: str = "group") -> tuple[int, int, int]:
    """(minimum, desired, maximum)."""
    [found] = aws.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
    return found["MinSize"], found["DesiredCapacity"], found["MaxSize"]


def listed(aws: EmbeddedAws, **asked: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = aws.autoscaling.describe_scheduled_actions(**asked)[
        "ScheduledUpdateGroupActions"
    ]
    return found


def names(aws: EmbeddedAws, **asked: Any) -> list[str]:
    return [action["ScheduledActionName"] for action in listed(aws, **asked)]


def run_until(aws: EmbeddedAws, moment: datetime) -> None:
    aws.clock.run_until(moment.timestamp())


def run_past(aws: EmbeddedAws, moment: datetime) -> None:
    """Until an action that is due at that moment has run, however late."""
    run_until(aws, moment + timedelta(seconds=MAX_LATENESS_S))


def causes(aws: EmbeddedAws) -> list[str]:
    found = aws.autoscaling.describe_scaling_activities(AutoScalingGroupName="group")["Activities"]
    return [activity["Cause"] for activity in found]


# ---- one-time actions --------------------------------------------------------------------------------------


def test_a_one_time_action_is_listed_until_it_ran_and_is_gone_then(aws: EmbeddedAws) -> None:
    put(aws, StartTime=SOON, MinSize=2, MaxSize=8, DesiredCapacity=5)
    [action] = listed(aws)
    assert action["StartTime"] == SOON
    assert [action[size] for size in ("MinSize", "MaxSize", "DesiredCapacity")] == [2, 8, 5]
    assert action["ScheduledActionARN"].endswith(":autoScalingGroupName/group:scheduledActionName/action")
    run_until(aws, SOON)
    assert sizes(aws) == (0, 0, 10)
    run_past(aws, SOON)
    assert sizes(aws) == (2, 5, 8)
    assert listed(aws) == []


def test_the_activities_of_an_action_name_it(aws: EmbeddedAws) -> None:
    put(aws, "surge-ends", StartTime=SOON, DesiredCapacity=1)
    run_past(aws, SOON)
    [cause] = causes(aws)
    assert "a scheduled action update of AutoScalingGroup constraints to min: 0, max: 10, desired: 1" in cause
    assert "the scheduled action surge-ends executed. Setting desired capacity from 0 to 1." in cause


def test_a_raised_minimum_raises_a_lower_desired_capacity(aws: EmbeddedAws) -> None:
    put(aws, StartTime=SOON, MinSize=3)
    run_past(aws, SOON)
    assert sizes(aws) == (3, 3, 10)


def test_a_lowered_minimum_leaves_the_desired_capacity(aws: EmbeddedAws) -> None:
    aws.autoscaling.update_auto_scaling_group(AutoScalingGroupName="group", MinSize=6)
    assert sizes(aws) == (6, 6, 10)
    put(aws, StartTime=SOON, MinSize=0)
    run_past(aws, SOON)
    assert sizes(aws) == (0, 6, 10)


def test_a_lowered_maximum_lowers_a_higher_desired_capacity(aws: EmbeddedAws) -> None:
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="group", DesiredCapacity=6)
    put(aws, StartTime=SOON, MaxSize=4)
    run_past(aws, SOON)
    assert sizes(aws) == (0, 4, 4)


@pytest.mark.parametrize("contradiction", [{"MinSize": 11}, {"DesiredCapacity": 11}])
def test_sizes_that_contradict_the_groups_change_nothing(
    contradiction: dict[str, int], aws: EmbeddedAws
) -> None:
    put(aws, StartTime=SOON, **contradiction)
    run_past(aws, SOON)
    assert sizes(aws) == (0, 0, 10)


def test_a_bound_that_is_updated_by_request_moves_the_desired_capacity_and_not_the_instances_count(
    aws: EmbeddedAws,
) -> None:
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="group", DesiredCapacity=5)
    aws.groups.fail_launches("group", "no capacity")
    aws.autoscaling.update_auto_scaling_group(AutoScalingGroupName="group", MinSize=2)
    assert sizes(aws) == (2, 5, 10)


# ---- recurring actions -------------------------------------------------------------------------------------


def test_recurring_actions_run_in_their_time_zone_and_are_described_with_their_next_run(
    aws: EmbeddedAws,
) -> None:
    put(aws, "office-hours", Recurrence="0 18 * * *", TimeZone="Asia/Kolkata", MinSize=3)
    put(aws, "night", Recurrence="0 19 * * *", TimeZone="Asia/Kolkata", MinSize=0, DesiredCapacity=0)
    day = [START.replace(hour=hour, minute=30) for hour in (12, 13)]
    assert [action["StartTime"] for action in listed(aws)] == day
    assert {action["TimeZone"] for action in listed(aws)} == {"Asia/Kolkata"}
    run_past(aws, day[0])
    assert sizes(aws)[:2] == (3, 3)
    run_past(aws, day[1])
    assert sizes(aws)[:2] == (0, 0)
    assert [action["StartTime"] for action in listed(aws)] == [each + timedelta(days=1) for each in day]


def test_a_recurring_action_runs_at_its_start_too_and_never_after_its_end(aws: EmbeddedAws) -> None:
    put(aws, Recurrence="0 * * * *", StartTime=SOON, EndTime=SOON + 60 * MINUTE, DesiredCapacity=2)
    run_past(aws, SOON)
    assert sizes(aws)[1] == 2
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="group", DesiredCapacity=0)
    run_past(aws, SOON.replace(hour=13, minute=0))
    assert sizes(aws)[1] == 2
    assert listed(aws) == []
    aws.autoscaling.set_desired_capacity(AutoScalingGroupName="group", DesiredCapacity=0)
    run_past(aws, SOON.replace(hour=14, minute=0))
    assert sizes(aws)[1] == 0


# ---- lateness, order, suspension ---------------------------------------------------------------------------


@pytest.mark.slow
def test_an_action_runs_late_by_up_to_two_minutes_and_as_the_seed_says() -> None:
    def latenesses_s(seed: int) -> list[float]:
        with embedded_aws(ROOT, seed=seed) as aws:
            aws.create_group("group", minimum=0, maximum=100, boot_s=30, start=BusyWorker)
            due = [START + number * 10 * MINUTE for number in range(1, 21)]
            for number, moment in enumerate(due, 1):
                put(aws, f"to-{number}", StartTime=moment, DesiredCapacity=number)
            run_past(aws, due[-1])
            launched = aws.autoscaling.describe_scaling_activities(AutoScalingGroupName="group")["Activities"]
            started = sorted(activity["StartTime"] for activity in launched)
            return [(at - moment).total_seconds() for at, moment in zip(started, due, strict=True)]

    first = latenesses_s(0)
    assert first == latenesses_s(0) != latenesses_s(1)
    assert all(0 < lateness_s <= MAX_LATENESS_S for lateness_s in first)


def test_the_actions_of_a_group_run_in_the_order_in_which_they_are_due(aws: EmbeddedAws) -> None:
    for second in range(20):
        put(aws, f"to-{second}", StartTime=SOON + timedelta(seconds=second), DesiredCapacity=second % 2)
    put(aws, "last", StartTime=SOON + timedelta(seconds=20), DesiredCapacity=7)
    run_past(aws, SOON + MINUTE)
    assert sizes(aws)[1] == 7


def test_what_is_due_while_scheduled_actions_are_suspended_never_runs(aws: EmbeddedAws) -> None:
    put(aws, "once", StartTime=SOON, DesiredCapacity=4)
    put(aws, "hourly", Recurrence="0 * * * *", DesiredCapacity=6)
    aws.autoscaling.suspend_processes(AutoScalingGroupName="group", ScalingProcesses=["ScheduledActions"])
    run_past(aws, SOON)
    aws.autoscaling.resume_processes(AutoScalingGroupName="group", ScalingProcesses=["ScheduledActions"])
    run_past(aws, SOON + 10 * MINUTE)
    assert (sizes(aws)[1], names(aws)) == (0, ["hourly"])
    run_past(aws, SOON.replace(hour=13, minute=0))
    assert sizes(aws)[1] == 6


def test_a_deleted_action_does_not_run_even_if_it_is_due_already(aws: EmbeddedAws) -> None:
    put(aws, StartTime=SOON, DesiredCapacity=4)
    run_until(aws, SOON)
    aws.autoscaling.delete_scheduled_action(AutoScalingGroupName="group", ScheduledActionName="action")
    run_past(aws, SOON)
    assert (sizes(aws)[1], listed(aws)) == (0, [])


def test_the_actions_of_a_deleted_group_are_gone(aws: EmbeddedAws) -> None:
    put(aws, group="other", StartTime=SOON, DesiredCapacity=4)
    aws.autoscaling.delete_auto_scaling_group(AutoScalingGroupName="other", ForceDelete=True)
    run_past(aws, SOON)
    assert listed(aws) == []


# ---- requests ----------------------------------------------------------------------------------------------


def test_an_action_that_is_put_again_replaces_the_earlier_one_of_its_group_alone(aws: EmbeddedAws) -> None:
    put(aws, StartTime=SOON, DesiredCapacity=4)
    put(aws, group="other", StartTime=SOON, DesiredCapacity=3)
    put(aws, StartTime=SOON + MINUTE, DesiredCapacity=5)
    assert [action["DesiredCapacity"] for action in listed(aws, AutoScalingGroupName="group")] == [5]
    run_past(aws, SOON + MINUTE)
    assert (sizes(aws)[1], sizes(aws, "other")[1]) == (5, 3)


def test_a_batch_puts_and_deletes_what_it_can_and_names_what_it_cannot(aws: EmbeddedAws) -> None:
    wanted = [
        {"ScheduledActionName": "up", "StartTime": SOON, "MinSize": 4},
        {"ScheduledActionName": "none", "StartTime": SOON + MINUTE},
    ]
    [failed] = aws.autoscaling.batch_put_scheduled_update_group_action(
        AutoScalingGroupName="group", ScheduledUpdateGroupActions=wanted
    )["FailedScheduledUpdateGroupActions"]
    assert (failed["ScheduledActionName"], failed["ErrorCode"]) == ("none", "ValidationError")
    assert names(aws) == ["up"]
    [failed] = aws.autoscaling.batch_delete_scheduled_action(
        AutoScalingGroupName="group", ScheduledActionNames=["up", "unknown"]
    )["FailedScheduledActions"]
    assert (failed["ScheduledActionName"], failed["ErrorMessage"]) == (
        "unknown",
        "Scheduled action name not found",
    )
    assert names(aws) == []


def test_actions_are_described_by_group_name_and_time_and_page_by_page(aws: EmbeddedAws) -> None:
    for number in range(3):
        put(aws, f"in-{number}", StartTime=SOON + number * MINUTE, MinSize=1)
    put(aws, "other-in-0", group="other", StartTime=SOON, MinSize=1)
    assert names(aws) == ["in-0", "in-1", "in-2", "other-in-0"]
    assert names(aws, AutoScalingGroupName="other") == ["other-in-0"]
    assert names(aws, ScheduledActionNames=["in-1", "unknown"]) == ["in-1"]
    assert names(aws, StartTime=SOON + MINUTE, EndTime=SOON + MINUTE) == ["in-1"]
    first = aws.autoscaling.describe_scheduled_actions(MaxRecords=3)
    assert len(first["ScheduledUpdateGroupActions"]) == 3
    assert names(aws, MaxRecords=3, NextToken=first["NextToken"]) == ["other-in-0"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"StartTime": START - MINUTE, "MinSize": 1}, "Given start time is in the past"),
        (
            {"Recurrence": "0 8 * * *", "EndTime": START - MINUTE, "MinSize": 1},
            "Given end time is in the past",
        ),
        ({"StartTime": SOON, "EndTime": SOON - MINUTE, "MinSize": 1}, "end time is before start time"),
        ({"StartTime": SOON}, "At least one of MinSize"),
        ({"MinSize": 1}, "Either StartTime or Recurrence"),
        (
            {"StartTime": SOON, "MinSize": 3, "MaxSize": 2},
            "Max bound, 2, must be greater than or equal to min",
        ),
        ({"StartTime": SOON, "MinSize": 3, "DesiredCapacity": 2}, "Desired capacity:2 must be between"),
        ({"Recurrence": "cron(0 8 * * ? *)", "MinSize": 1}, r"recurrence string: cron\(0 8"),
        (
            {"Recurrence": "0 8 * * *", "TimeZone": "Mars/Base", "MinSize": 1},
            "time zone: Mars/Base is invalid",
        ),
        ({"Recurrence": "0 8 * * *", "TimeZone": "Europe", "MinSize": 1}, "time zone: Europe is invalid"),
        ({"Recurrence": "0 8 * * *", "TimeZone": "Europe/", "MinSize": 1}, "time zone: Europe/ is invalid"),
        ({"StartTime": SOON, "MinSize": 1, "group": "none"}, "AutoScalingGroup name not found"),
    ],
)
def test_a_request_that_aws_refuses_is_refused_and_leaves_nothing(
    asked: dict[str, Any], words: str, aws: EmbeddedAws
) -> None:
    with pytest.raises(ClientError, match=words) as refused:
        put(aws, **asked)
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    assert listed(aws) == []


def test_two_actions_of_a_group_cannot_be_due_at_the_same_time(aws: EmbeddedAws) -> None:
    put(aws, "first", Recurrence="30 12 * * *", MinSize=1)
    with pytest.raises(ClientError, match=r"AlreadyExists.*this scheduled start time already exists"):
        put(aws, "second", StartTime=SOON, MinSize=2)
    put(aws, "first", StartTime=SOON, MinSize=2)
    put(aws, "second", group="other", StartTime=SOON, MinSize=2)
    assert names(aws) == ["first", "second"]


def test_a_group_has_at_most_125_actions(aws: EmbeddedAws) -> None:
    for minute in range(125):
        put(aws, f"in-{minute}", StartTime=SOON + minute * MINUTE, MinSize=1)
    with pytest.raises(ClientError, match="LimitExceeded"):
        put(aws, "one-more", StartTime=SOON - MINUTE, MinSize=1)
    put(aws, "in-0", StartTime=SOON - MINUTE, MinSize=1)


def test_deleting_an_unknown_action_is_an_error(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match="Scheduled action name not found"):
        aws.autoscaling.delete_scheduled_action(AutoScalingGroupName="group", ScheduledActionName="none")


def test_a_time_is_read_in_the_zone_that_it_names(aws: EmbeddedAws) -> None:
    put(aws, StartTime="2026-01-15T13:30:00+01:00", MinSize=1)
    [action] = listed(aws)
    assert action["StartTime"] == datetime(2026, 1, 15, 12, 30, tzinfo=UTC)
