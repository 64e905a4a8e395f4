"""Scheduled actions of an embedded scalable target run as those of Application Auto Scaling."""

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
TARGET: Any = {
    "ServiceNamespace": "ecs",
    "ResourceId": "service/workers/service",
    "ScalableDimension": "ecs:service:DesiredCount",
}


@pytest.fixture
def aws() -> Iterator[EmbeddedAws]:
    """An account with a service whose scalable target has 0 to 10 tasks, at 0."""
    with embedded_aws(ROOT) as account:
        account.create_service("workers", "service", boot_s=30, start=BusyWorker)
        register(account, minimum=0, maximum=10)
        yield account


def register(aws: EmbeddedAws, *, minimum: int, maximum: int, **suspended: bool) -> None:
    aws.scaling.register_scalable_target(
        **TARGET, MinCapacity=minimum, MaxCapacity=maximum, SuspendedState=suspended
    )


def put(aws: EmbeddedAws, schedule: str, name: str = "action", **asked: Any) -> None:
    sizes = {key: asked.pop(key) for key in ("MinCapacity", "MaxCapacity") if key in asked}
    aws.scaling.put_scheduled_action(
        **TARGET | asked, ScheduledActionName=name, Schedule=schedule, ScalableTargetAction=sizes
    )


def once(moment: datetime) -> str:
    return f"at({moment:%Y-%m-%dT%H:%M:%S})"


def sizes(aws: EmbeddedAws) -> tuple[int, int, int]:
    """(minimum, desired, maximum)."""
    [target] = aws.scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    [service] = aws.ecs.describe_services(cluster="workers", services=["service"])["services"]
    return target["MinCapacity"], service["desiredCount"], target["MaxCapacity"]


def set_desired(aws: EmbeddedAws, desired: int) -> None:
    aws.ecs.update_service(cluster="workers", service="service", desiredCount=desired)


def listed(aws: EmbeddedAws, **asked: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = aws.scaling.describe_scheduled_actions(ServiceNamespace="ecs", **asked)[
        "ScheduledActions"
    ]
    return found


def names(aws: EmbeddedAws, **asked: Any) -> list[str]:
    return [action["ScheduledActionName"] for action in listed(aws, **asked)]


def run_until(aws: EmbeddedAws, moment: datetime) -> None:
    aws.clock.run_until(moment.timestamp())


def run_past(aws: EmbeddedAws, moment: datetime) -> None:
    """Until an action that is due at that moment has run, however late."""
    run_until(aws, moment + timedelta(seconds=MAX_LATENESS_S))


# ---- bounds ------------------------------------------------------------------------------------------------


def test_a_raised_minimum_raises_a_lower_desired_count(aws: EmbeddedAws) -> None:
    put(aws, once(SOON), MinCapacity=3)
    run_until(aws, SOON)
    assert sizes(aws) == (0, 0, 10)
    run_past(aws, SOON)
    assert sizes(aws) == (3, 3, 10)
    run_past(aws, SOON + MINUTE)
    assert aws.services.fleet(TARGET["ResourceId"]).size().running == 3


def test_a_lowered_minimum_leaves_the_desired_count(aws: EmbeddedAws) -> None:
    register(aws, minimum=6, maximum=10)
    put(aws, once(SOON), MinCapacity=0)
    run_past(aws, SOON)
    assert sizes(aws) == (0, 6, 10)


def test_a_lowered_maximum_lowers_a_higher_desired_count(aws: EmbeddedAws) -> None:
    set_desired(aws, 6)
    put(aws, once(SOON), MinCapacity=1, MaxCapacity=4)
    run_past(aws, SOON)
    assert sizes(aws) == (1, 4, 4)


def test_the_activities_name_the_action_before_what_it_changed(aws: EmbeddedAws) -> None:
    put(aws, once(SOON), "surge", MinCapacity=3, MaxCapacity=8)
    run_past(aws, SOON)
    scaled, bounds = aws.scaling.describe_scaling_activities(**TARGET)["ScalingActivities"]
    assert (bounds["Description"], bounds["Cause"], bounds["StatusCode"]) == (
        "Setting min capacity to 3 and max capacity to 8",
        "scheduled action name surge was triggered",
        "Successful",
    )
    assert (scaled["Description"], scaled["Cause"]) == (
        "Setting desired count to 3.",
        "minimum capacity was set to 3",
    )
    run_past(aws, SOON + MINUTE)
    scaled, _ = aws.scaling.describe_scaling_activities(**TARGET)["ScalingActivities"]
    assert (
        scaled["StatusMessage"]
        == "Successfully set desired count to 3. Change successfully fulfilled by ecs."
    )


def test_bounds_that_contradict_the_targets_change_nothing_and_fail(aws: EmbeddedAws) -> None:
    put(aws, once(SOON), MinCapacity=11)
    run_past(aws, SOON)
    assert sizes(aws) == (0, 0, 10)
    [failed] = aws.scaling.describe_scaling_activities(**TARGET)["ScalingActivities"]
    assert failed["StatusCode"] == "Failed"


# ---- schedules ---------------------------------------------------------------------------------------------


def test_a_one_time_action_runs_once_and_stays_listed_until_it_is_deleted(aws: EmbeddedAws) -> None:
    put(aws, once(SOON), MinCapacity=3)
    run_past(aws, SOON)
    register(aws, minimum=0, maximum=10)
    run_past(aws, SOON + 30 * MINUTE)
    assert sizes(aws) == (0, 3, 10)
    assert names(aws) == ["action"]
    aws.scaling.delete_scheduled_action(**TARGET, ScheduledActionName="action")
    assert names(aws) == []


def test_at_and_cron_are_read_in_the_actions_time_zone(aws: EmbeddedAws) -> None:
    put(aws, "at(2026-01-15T18:00:00)", "up", Timezone="Asia/Kolkata", MinCapacity=3)
    put(aws, "cron(0 19 ? * MON-FRI *)", "down", Timezone="Asia/Kolkata", MinCapacity=1)
    assert {action["Timezone"] for action in listed(aws)} == {"Asia/Kolkata"}
    run_past(aws, START.replace(hour=12, minute=30))
    assert sizes(aws)[0] == 3
    run_past(aws, START.replace(hour=13, minute=30))
    assert sizes(aws)[0] == 1


def test_a_rate_counts_from_when_the_action_was_put(aws: EmbeddedAws) -> None:
    put(aws, "rate(10 minutes)", MinCapacity=2)
    for due in (SOON, SOON + 10 * MINUTE):
        run_until(aws, due)
        assert sizes(aws)[0] == 0
        run_past(aws, due)
        assert sizes(aws)[0] == 2
        register(aws, minimum=0, maximum=10)


@pytest.mark.slow
def test_a_recurring_action_runs_at_its_start_too_and_never_after_its_end(aws: EmbeddedAws) -> None:
    put(aws, "cron(0 * * * ? *)", StartTime=SOON, EndTime=SOON + 60 * MINUTE, MinCapacity=2)
    for due, expected in ((SOON, 2), (SOON + 30 * MINUTE, 2), (SOON + 90 * MINUTE, 0)):
        run_past(aws, due)
        assert sizes(aws)[0] == expected
        register(aws, minimum=0, maximum=10)


def test_actions_of_a_target_run_in_the_order_in_which_they_are_due(aws: EmbeddedAws) -> None:
    for second in range(10):
        put(aws, once(SOON + timedelta(seconds=second)), f"to-{second}", MinCapacity=second)
    run_past(aws, SOON + MINUTE)
    assert sizes(aws)[0] == 9


def test_what_is_due_while_scheduled_scaling_is_suspended_never_runs(aws: EmbeddedAws) -> None:
    put(aws, once(SOON), MinCapacity=3)
    register(aws, minimum=0, maximum=10, ScheduledScalingSuspended=True)
    run_past(aws, SOON)
    register(aws, minimum=0, maximum=10, ScheduledScalingSuspended=False)
    run_past(aws, SOON + 10 * MINUTE)
    assert sizes(aws) == (0, 0, 10)


def test_deregistering_a_target_deletes_its_actions(aws: EmbeddedAws) -> None:
    put(aws, once(SOON), MinCapacity=3)
    aws.scaling.deregister_scalable_target(**TARGET)
    register(aws, minimum=0, maximum=10)
    assert names(aws) == []
    run_past(aws, SOON)
    assert sizes(aws) == (0, 0, 10)


# ---- requests ----------------------------------------------------------------------------------------------


def test_an_update_keeps_what_it_leaves_out_but_deletes_start_and_end(aws: EmbeddedAws) -> None:
    put(aws, "rate(1 hour)", StartTime=SOON, EndTime=SOON + 60 * MINUTE, MinCapacity=3)
    [before] = listed(aws)
    run_until(aws, START + MINUTE)
    aws.scaling.put_scheduled_action(
        **TARGET, ScheduledActionName="action", ScalableTargetAction={"MinCapacity": 4}
    )
    [after] = listed(aws)
    assert (before["StartTime"], before["EndTime"]) == (SOON, SOON + 60 * MINUTE)
    assert not {"StartTime", "EndTime"} & after.keys()
    assert after["Schedule"] == "rate(1 hour)"
    assert after["ScalableTargetAction"] == {"MinCapacity": 4}
    assert after["CreationTime"] == before["CreationTime"] == START
    run_past(aws, SOON)
    assert sizes(aws)[0] == 0


def test_actions_are_described_by_target_and_name_and_page_by_page(aws: EmbeddedAws) -> None:
    for number in range(3):
        put(aws, once(SOON), f"number-{number}", MinCapacity=1)
    assert names(aws, ResourceId=TARGET["ResourceId"]) == ["number-0", "number-1", "number-2"]
    assert names(aws, ResourceId="service/workers/other") == []
    assert names(aws, ScheduledActionNames=["number-1", "unknown"]) == ["number-1"]
    first = aws.scaling.describe_scheduled_actions(ServiceNamespace="ecs", MaxResults=2)
    assert names(aws, MaxResults=2, NextToken=first["NextToken"]) == ["number-2"]
    [action] = listed(aws, ScheduledActionNames=["number-0"])
    assert action["ScheduledActionARN"].endswith(
        ":resource/ecs/service/workers/service:scheduledActionName/number-0"
    )
    assert {key: action[key] for key in TARGET} == TARGET
    assert aws.scaling.describe_scheduled_actions(ServiceNamespace="dynamodb")["ScheduledActions"] == []


@pytest.mark.parametrize(
    ("schedule", "asked", "words"),
    [
        (once(START - MINUTE), {"MinCapacity": 1}, "is in the past"),
        ("at(tomorrow)", {"MinCapacity": 1}, r"Invalid schedule: at\(tomorrow\)"),
        ("0 8 * * *", {"MinCapacity": 1}, r"write at\(yyyy-mm-ddThh:mm:ss\), rate"),
        ("cron(0 8 * * *)", {"MinCapacity": 1}, "has 5 fields, not 6"),
        ("rate(0 minutes)", {"MinCapacity": 1}, r"Invalid schedule: rate\(0 minutes\)"),
        ("rate(1 hour)", {"MinCapacity": 1, "Timezone": "Mars/Base"}, "Invalid timezone: Mars/Base"),
        ("rate(1 hour)", {"MinCapacity": 1, "Timezone": "Europe"}, "Invalid timezone: Europe"),
        ("rate(1 hour)", {}, "Either minimum capacity or maximum capacity"),
        ("rate(1 hour)", {"MinCapacity": 3, "MaxCapacity": 2}, "cannot be less than minimum capacity"),
        (
            "rate(1 hour)",
            {"MinCapacity": 1, "StartTime": SOON, "EndTime": SOON - MINUTE},
            "must be before end time",
        ),
    ],
)
def test_a_request_that_aws_refuses_is_refused_and_leaves_nothing(
    schedule: str, asked: dict[str, Any], words: str, aws: EmbeddedAws
) -> None:
    with pytest.raises(ClientError, match=words) as refused:
        put(aws, schedule, **asked)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert listed(aws) == []


def test_a_new_action_needs_a_schedule(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match="must have a schedule"):
        aws.scaling.put_scheduled_action(
            **TARGET, ScheduledActionName="action", ScalableTargetAction={"MinCapacity": 4}
        )


def test_an_unknown_target_or_action_is_not_found(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match=r"ObjectNotFoundException.*No scalable target registered"):
        put(aws, once(SOON), ResourceId="service/workers/other", MinCapacity=1)
    with pytest.raises(ClientError, match=r"ObjectNotFoundException.*No scheduled action found"):
        aws.scaling.delete_scheduled_action(**TARGET, ScheduledActionName="unknown")


def test_times_are_described_in_utc(aws: EmbeddedAws) -> None:
    put(aws, "rate(1 hour)", StartTime="2026-01-15T13:30:00+01:00", MinCapacity=1)
    [action] = listed(aws)
    assert action["StartTime"] == datetime(2026, 1, 15, 12, 30, tzinfo=UTC)
