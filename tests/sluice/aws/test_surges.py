"""What the contract cannot show on moto: pages, recurring actions, time zones, and answers of AWS."""

from datetime import UTC, datetime
from typing import Any

import pytest

from sluice.aws.surges import AwsSurges
from sluice.core.model import AutoScalingGroup, EcsService
from sluice.core.surge import MinimumChange, ScheduledActions, Surge
from sluice.errors import ConfigError, TransientError
from tests.sluice.aws.stubs import refusal, stubbed, unchecked

GROUP = AutoScalingGroup(name="transcription")
SERVICE = EcsService(cluster="workers", service="queue-proc")
TARGET = {
    "ServiceNamespace": "ecs",
    "ResourceId": "service/workers/queue-proc",
    "ScalableDimension": "ecs:service:DesiredCount",
}
ONE = datetime(2026, 1, 15, 13, tzinfo=UTC)
SURGE = Surge(workload="transcription", instances=4, until=ONE, by="me", minimum_before=1)


def surges(client: Any, services: Any = None) -> AwsSurges:
    return AwsSurges(lambda: client, lambda: services, lambda: client)


def action(name: str, **fields: Any) -> dict[str, Any]:
    return {"ScheduledActionName": name, **fields}


def of_target(name: str, schedule: str, **fields: Any) -> dict[str, Any]:
    about = {"ScheduledActionARN": "arn", "ServiceNamespace": "ecs", "ResourceId": TARGET["ResourceId"]}
    return about | {
        "ScheduledActionName": name,
        "Schedule": schedule,
        "CreationTime": ONE,
        "ScalableTargetAction": {"MinCapacity": 3},
        **fields,
    }


def test_every_page_of_a_groups_actions_is_read() -> None:
    first = {"ScheduledUpdateGroupActions": [action("a", MinSize=1, StartTime=ONE)], "NextToken": "more"}
    rest = {"ScheduledUpdateGroupActions": [action("b", MinSize=2, StartTime=ONE), action("c", MaxSize=2)]}
    asked = {"AutoScalingGroupName": "transcription"}
    calls = [
        ("describe_scheduled_actions", asked, first),
        ("describe_scheduled_actions", asked | {"NextToken": "more"}, rest),
    ]
    with stubbed("autoscaling", *calls) as client:
        read = surges(client).read(GROUP)
    assert [other.name for other in read.others] == ["a", "b"]


def test_a_recurring_action_is_somebody_elses_whatever_its_name() -> None:
    found = action(SURGE.name, MinSize=1, StartTime=ONE, Recurrence="0 8 * * *")
    with stubbed("autoscaling", ("describe_scheduled_actions", ANY_GROUP, listed(found))) as client:
        read = surges(client).read(GROUP)
    others = (MinimumChange(name=SURGE.name, minimum=1, at=ONE),)
    assert read == ScheduledActions(others=others, taken=frozenset({ONE}))


ANY_GROUP = {"AutoScalingGroupName": "transcription"}


def listed(*actions: dict[str, Any]) -> dict[str, Any]:
    return {"ScheduledUpdateGroupActions": list(actions)}


@pytest.mark.parametrize(
    ("schedule", "fields", "at"),
    [
        ("at(2026-01-15T13:00:00)", {}, ONE),
        ("at(2026-01-15T13:00)", {}, ONE),
        ("at(2026-01-15T14:00:00)", {"Timezone": "Europe/Berlin"}, ONE),
        ("cron(0 8 * * ? *)", {}, None),
        ("rate(1 hour)", {}, None),
        ("at(2026-01-15T13:00:00)", {"Timezone": "Mars/Base"}, None),
    ],
)
def test_a_targets_action_starts_when_its_expression_says(
    schedule: str, fields: dict[str, Any], at: datetime | None
) -> None:
    answer = {"ScheduledActions": [of_target("morning", schedule, **fields)]}
    with stubbed("application-autoscaling", ("describe_scheduled_actions", TARGET, answer)) as client:
        read = surges(client).read(SERVICE)
    assert read.others == (MinimumChange(name="morning", minimum=3, at=at),)


def test_a_time_that_is_none_is_a_malformed_answer() -> None:
    answer = {"ScheduledActions": [of_target("morning", "at(2026-13-15T13:00:00)")]}
    with (
        stubbed("application-autoscaling", ("describe_scheduled_actions", TARGET, answer)) as client,
        pytest.raises(TransientError, match="cannot be read"),
    ):
        surges(client).read(SERVICE)


def test_an_action_without_a_name_is_a_malformed_answer() -> None:
    answers = {"DescribeScheduledActions": listed({"MinSize": 1})}
    with unchecked("autoscaling", **answers) as client, pytest.raises(TransientError, match="is missing"):
        surges(client).read(GROUP)


@pytest.mark.parametrize(
    ("fleet", "service", "gone"),
    [
        (GROUP, "autoscaling", refusal("ValidationError", "Scheduled action name not found")),
        (
            SERVICE,
            "application-autoscaling",
            refusal("ObjectNotFoundException", "No scheduled action found"),
        ),
    ],
    ids=["group", "service"],
)
def test_an_action_that_aws_has_ended_meanwhile_is_cancelled(fleet: Any, service: str, gone: Any) -> None:
    parameters = {**(ANY_GROUP if fleet is GROUP else TARGET), "ScheduledActionName": SURGE.name}
    with stubbed(service, ("delete_scheduled_action", parameters, gone)) as client:
        surges(client).cancel(fleet, SURGE)


def test_any_other_refusal_of_a_deletion_is_one() -> None:
    parameters = {**ANY_GROUP, "ScheduledActionName": SURGE.name}
    denied = refusal("ValidationError", "AutoScalingGroup name is wrong")
    with (
        stubbed("autoscaling", ("delete_scheduled_action", parameters, denied)) as client,
        pytest.raises(ConfigError, match="DeleteScheduledAction of Auto Scaling group transcription"),
    ):
        surges(client).cancel(GROUP, SURGE)


def test_a_service_that_has_more_tasks_already_is_not_lowered() -> None:
    registered = ("register_scalable_target", {**TARGET, "MinCapacity": 4}, {})
    described = (
        "describe_services",
        {"cluster": "workers", "services": ["queue-proc"]},
        {"services": [{"desiredCount": 9}]},
    )
    with stubbed("application-autoscaling", registered) as scaling, stubbed("ecs", described) as ecs:
        AwsSurges(lambda: scaling, lambda: ecs, lambda: scaling).set_minimum(SERVICE, 4)


@pytest.mark.parametrize(
    ("fleet", "service", "method"),
    [
        (GROUP, "autoscaling", "update_auto_scaling_group"),
        (SERVICE, "application-autoscaling", "register_scalable_target"),
    ],
    ids=["group", "service"],
)
def test_a_minimum_that_aws_refuses_names_the_fleet(fleet: Any, service: str, method: str) -> None:
    size = (
        {"AutoScalingGroupName": "transcription", "MinSize": 4}
        if fleet is GROUP
        else {**TARGET, "MinCapacity": 4}
    )
    with (
        stubbed(service, (method, size, refusal("AccessDenied", "no"))) as client,
        pytest.raises(ConfigError, match="a minimum of 4: AWS answered AccessDenied"),
    ):
        surges(client).set_minimum(fleet, 4)


def test_a_time_that_somebody_else_has_taken_meanwhile_says_what_to_do() -> None:
    put = {**ANY_GROUP, "ScheduledActionName": SURGE.name, "StartTime": ONE, "MinSize": 1}
    taken = refusal("AlreadyExists", "Scheduled action with this scheduled start time already exists")
    with (
        stubbed("autoscaling", ("put_scheduled_update_group_action", put, taken)) as client,
        pytest.raises(ConfigError, match="perhaps by somebody else's surge: look at it"),
    ):
        surges(client).schedule_end(GROUP, SURGE)
