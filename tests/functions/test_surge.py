"""The surge function over an account in memory: a request, an alarm, and the end by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sluice.errors import ConfigError, TransientError
from sluice.events import parse_surge
from tests.functions.conftest import NOON, Plane, sample
from tests.sluice.aws import account
from tests.support.builders import alarm_arn, document, ecs_document

ALARM = {
    "alarm_arns": [alarm_arn("transcription", "depth-critical")],
    "drain_min": 30,
    "hold_min": 60,
}
FLEETS = {"asg": "transcription", "ecs": "queue-proc"}


def minimum(kind: str) -> int:
    if kind == "asg":
        described = account.client("autoscaling").describe_auto_scaling_groups()
        return int(described["AutoScalingGroups"][0]["MinSize"])
    targets = account.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")
    return int(targets["ScalableTargets"][0]["MinCapacity"])


def actions(kind: str) -> list[dict[str, Any]]:
    if kind == "asg":
        found = account.client("autoscaling").describe_scheduled_actions()
        return list(found["ScheduledUpdateGroupActions"])
    scaling = account.client("application-autoscaling")
    return list(scaling.describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"])


def decision(plane: Plane) -> dict[str, Any]:
    [line] = [line for line in plane.lines() if "decision" in line]
    return line


def arriving(queue: str, per_minute: float) -> None:
    for back in range(1, 14):
        account.client("cloudwatch").put_metric_data(
            Namespace="AWS/SQS",
            MetricData=[
                {
                    "MetricName": "NumberOfMessagesSent",
                    "Dimensions": [{"Name": "QueueName", "Value": queue}],
                    "Timestamp": NOON - timedelta(minutes=back),
                    "Value": per_minute,
                }
            ],
        )


@pytest.mark.parametrize("kind", FLEETS)
def test_a_request_raises_the_fleet_holds_it_and_answers_the_operator(plane: Plane, kind: str) -> None:
    answer = plane.invoke("surge", sample("surge") | {"workload": FLEETS[kind], "to": 4})
    assert (plane.desired(kind), minimum(kind), len(actions(kind))) == (4, 4, 1)
    assert answer["refusal"] is None
    assert answer["surge"] == {
        "instances": 4,
        "until": "2026-01-15T13:01:00+00:00",
        "by": "arn:aws:sts::123456789012:assumed-role/on-call/alice",
        "minimum_before": 0,
    }
    assert answer["message"].startswith("surge 0 -> 4: a surge raises the fleet and holds it (asked for 4")
    expected = {"trigger": "operator", "outcome": "acted", "reason": "surged", "desired": 4}
    assert decision(plane).items() >= expected.items()


@pytest.mark.parametrize("kind", FLEETS)
def test_an_end_by_hand_puts_the_minimum_back_and_leaves_no_action(plane: Plane, kind: str) -> None:
    request = sample("surge") | {"workload": FLEETS[kind], "to": 4}
    plane.invoke("surge", request)
    plane.lines()
    answer = plane.invoke("surge", request | {"end": True})
    assert (plane.desired(kind), minimum(kind), actions(kind)) == (4, 0, [])
    assert answer["message"].startswith("surge ends: the surge is ended (a surge to 4 by arn:aws:sts")
    assert decision(plane)["reason"] == "surge_ended"


@pytest.mark.parametrize("event", ["surge-alarm-direct", "surge-alarm-eventbridge"])
def test_a_critical_alarm_drains_the_backlog_in_time(plane: Plane, event: str) -> None:
    account.register(document(surge=ALARM))
    account.send(plane.queues["asg"], 100)
    arriving("transcription", 6)
    plane.processed("asg", 30)
    assert plane.invoke("surge", sample(event)) is None
    # (100 + 1800 x 0.1) x 30 s / (1800 s - 180 s) = 5.2, of which the maximum allows 5
    assert (plane.desired("asg"), minimum("asg")) == (5, 5)
    line = decision(plane)
    assert (line["trigger"], line["reason"], line["limits"]) == ("alarm", "surged", ["max_instances"])


def test_an_alarm_whose_backlog_cannot_be_sized_is_retried_by_lambda(plane: Plane) -> None:
    account.register(document(surge=ALARM))
    with pytest.raises(TransientError, match="surge of transcription is held: arrivals: no NumberOf"):
        plane.invoke("surge", sample("surge-alarm-direct"))
    assert (plane.desired("asg"), actions("asg")) == (0, [])


def test_an_alarm_that_the_document_does_not_name_is_refused(plane: Plane) -> None:
    with pytest.raises(ConfigError, match="names none for a surge"):
        plane.invoke("surge", sample("surge-alarm-direct"))


@pytest.mark.parametrize("event", ["alarm-ok", "alarm-insufficient"])
def test_any_other_state_of_an_alarm_changes_nothing(plane: Plane, event: str) -> None:
    assert plane.invoke("surge", sample(event)) is None
    assert plane.desired("asg") == 0


def test_a_refusal_is_an_answer_and_not_an_error(plane: Plane) -> None:
    answer = plane.invoke("surge", sample("surge") | {"to": 6})
    assert "give --to 5" in answer["refusal"]
    assert (answer["surge"], plane.desired("asg"), actions("asg")) == (None, 0, [])


def test_in_mode_observe_nothing_is_changed_and_the_answer_says_so(plane: Plane) -> None:
    account.register(ecs_document(mode="observe"))
    answer = plane.invoke("surge", sample("surge") | {"workload": "queue-proc", "to": 3})
    assert "Mode of queue-proc is observe, so nothing was changed; it would be 3" in answer["refusal"]
    assert plane.desired("ecs") == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"workload": ""}, "the event lacks `workload`"),
        ({"by": None}, "the event lacks `by`"),
        ({"by": "é"}, "give the ARN of the caller"),
        ({"by": "  "}, "give the ARN of the caller"),
        ({"to": 0}, "from 1 to 9999"),
        ({"to": 10_000}, "from 1 to 9999"),
        ({"to": True}, "from 1 to 9999"),
        ({"to": 2.5}, "from 1 to 9999"),
        ({"to": None}, "give one of to and drain_in_s"),
        ({"drain_in_s": 600}, "give one of to and drain_in_s"),
        ({"to": None, "drain_in_s": 59}, "drain_in_s: 59: give seconds from 60"),
        ({"to": None, "drain_in_s": "600"}, "drain_in_s: '600': give seconds"),
        ({"hold_s": None}, "hold_s: None: give seconds"),
        ({"hold_s": 604_801}, "hold_s: 604801: give seconds from 60 to 604800"),
        ({"hold_s": float("nan")}, "hold_s: nan: give seconds"),
    ],
)
def test_a_bad_request_is_refused_with_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_surge(sample("surge") | changes)
