"""The four alarms of a workload: their metrics, their thresholds, their actions."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sluice_sim.aws_rules.alarms import (
    Alarm,
    State,
)
from tests.templates.stacks import (
    DIMENSIONS,
    EXPORTS,
    TOPIC,
    WORKLOAD_TEMPLATE,
    WORKLOADS,
    dimensions,
    of_type,
    template,
    workload,
)

SHUTDOWN = "IF(visible > 0 OR FILL(in_flight, 0) > 0 OR FILL(delayed, 0) > 0, 1, visible)"


def alarm(logical_id: str, fleet: str = "asg", **overrides: str) -> dict[str, Any]:
    return dict(workload(fleet, **overrides).resources[logical_id].properties)


def queries(properties: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Metric id -> namespace, name, dimensions, statistic, period."""
    return {
        query["Id"]: (
            query["MetricStat"]["Metric"]["Namespace"],
            query["MetricStat"]["Metric"]["MetricName"],
            dimensions(query["MetricStat"]["Metric"]["Dimensions"]),
            query["MetricStat"]["Stat"],
            query["MetricStat"]["Period"],
        )
        for query in properties["Metrics"]
        if "MetricStat" in query
    }


def judged(properties: dict[str, Any]) -> tuple[Any, ...]:
    """Comparison, threshold, N, M, treatment of missing data."""
    return (
        properties["ComparisonOperator"],
        float(properties["Threshold"]),
        int(properties["EvaluationPeriods"]),
        int(properties["DatapointsToAlarm"]),
        properties["TreatMissingData"],
    )


def result(properties: dict[str, Any]) -> str | None:
    """The expression (or metric id) whose value is judged; there must be exactly one."""
    [returned] = [query for query in properties["Metrics"] if query["ReturnData"]]
    return returned.get("Expression", returned["Id"])


def sqs(name: str, queue: str) -> tuple[Any, ...]:
    return ("AWS/SQS", name, {"QueueName": queue}, "Maximum", 60)


def test_a_group_is_bootstrapped_when_messages_wait_and_desired_is_zero() -> None:
    properties = alarm("BootstrapAlarm")
    assert result(properties) == "IF(visible > 0 AND desired == 0, 1, 0)"
    assert queries(properties) == {
        "visible": sqs("ApproximateNumberOfMessagesVisible", "transcription"),
        "desired": ("AWS/AutoScaling", "GroupDesiredCapacity", DIMENSIONS["asg"], "Maximum", 60),
    }


def test_a_service_is_bootstrapped_when_messages_wait() -> None:
    properties = alarm("BootstrapAlarm", "ecs")
    assert result(properties) == "visible"
    assert queries(properties) == {"visible": sqs("ApproximateNumberOfMessagesVisible", "queue-proc")}


def test_one_minute_is_enough_to_bootstrap_a_fleet(fleet: str) -> None:
    assert judged(alarm("BootstrapAlarm", fleet)) == ("GreaterThanThreshold", 0, 1, 1, "notBreaching")


def test_a_fleet_is_shut_down_when_nothing_is_visible_in_flight_or_delayed(fleet: str) -> None:
    properties, queue = alarm("ShutdownAlarm", fleet), WORKLOADS[fleet]["QueueName"]
    assert result(properties) == SHUTDOWN
    assert queries(properties) == {
        "visible": sqs("ApproximateNumberOfMessagesVisible", queue),
        "in_flight": sqs("ApproximateNumberOfMessagesNotVisible", queue),
        "delayed": sqs("ApproximateNumberOfMessagesDelayed", queue),
    }


@pytest.mark.parametrize("idle_minutes", [1, 5, 30])
def test_a_shutdown_waits_for_every_idle_minute(fleet: str, idle_minutes: int) -> None:
    properties = alarm("ShutdownAlarm", fleet, IdleMinutes=str(idle_minutes))
    expected = ("LessThanOrEqualToThreshold", 0, idle_minutes, idle_minutes, "notBreaching")
    assert judged(properties) == expected


@pytest.mark.parametrize("mode", ["active", "observe", "paused"])
@pytest.mark.parametrize(
    ("logical_id", "function"),
    [("BootstrapAlarm", "BootstrapFunctionArn"), ("ShutdownAlarm", "ShutdownFunctionArn")],
)
def test_an_alarm_starts_its_own_function_in_every_mode(
    fleet: str, mode: str, logical_id: str, function: str
) -> None:
    properties = alarm(logical_id, fleet, Mode=mode, CreateScalableTarget="true")
    assert properties["AlarmActions"] == [EXPORTS[f"sluice-{function}"]]
    assert not {"OKActions", "InsufficientDataActions", "ActionsEnabled"} & set(properties)


def test_an_alarm_is_found_by_its_prefix_and_names_its_workload_first(fleet: str) -> None:
    name = WORKLOADS[fleet]["Name"]
    alarms = of_type(workload(fleet), "AWS::CloudWatch::Alarm").values()
    assert sorted(properties["AlarmName"] for properties in alarms) == [
        f"sluice-{name}-age",
        f"sluice-{name}-bootstrap",
        f"sluice-{name}-shutdown",
        f"sluice-{name}-silent",
    ]
    for logical_id in ("BootstrapAlarm", "ShutdownAlarm", "OldestMessageAgeAlarm"):
        assert alarm(logical_id, fleet)["AlarmDescription"].startswith(f"Sluice workload {name}: ")


def test_silence_is_notified_on_the_change_to_missing_data_and_on_nothing_else(fleet: str) -> None:
    properties = alarm("SilenceAlarm", fleet, NotificationTopicArn=TOPIC)
    assert properties["InsufficientDataActions"] == [TOPIC]
    assert not {"AlarmActions", "OKActions"} & set(properties)
    assert properties["TreatMissingData"] == "missing"


def test_silence_is_never_an_alarm_because_no_backlog_is_below_zero(fleet: str) -> None:
    properties = alarm("SilenceAlarm", fleet)
    assert (properties["ComparisonOperator"], properties["Threshold"]) == ("LessThanThreshold", 0)
    assert properties["Statistic"] == "Average"


@pytest.mark.parametrize(
    ("parameters", "metric"),
    [
        ({}, "BacklogPerInstance"),
        ({"ProcessingSeconds": "60"}, "EffectiveBacklogPerInstance"),
        ({"TargetType": "dynamic"}, "EffectiveBacklogPerInstance"),
        ({"TargetType": "dynamic", "TrackedMetric": "backlog"}, "BacklogPerInstance"),
        # The policy reads AWS's own metrics: the plane publishes the plain one.
        ({"TargetType": "dynamic", "MetricSource": "native"}, "BacklogPerInstance"),
        # The deadline engine reads no metric, and the shutdown's proof reads the plain one.
        ({"Scaling": "deadline", "ProcessingSeconds": "60"}, "BacklogPerInstance"),
        (
            {"Scaling": "deadline", "ProcessingSeconds": "60", "TargetType": "dynamic"},
            "BacklogPerInstance",
        ),
        (
            {"Scaling": "deadline", "ProcessingSeconds": "60", "TrackedMetric": "effective"},
            "BacklogPerInstance",
        ),
    ],
    ids=str,
)
def test_silence_is_five_missing_minutes_of_the_published_metric_that_is_tracked(
    fleet: str, parameters: dict[str, str], metric: str
) -> None:
    properties = alarm("SilenceAlarm", fleet, **parameters)
    assert (properties["Namespace"], properties["MetricName"]) == ("Sluice", metric)
    assert f"no {metric} for 5 minutes" in properties["AlarmDescription"]
    assert dimensions(properties["Dimensions"]) == DIMENSIONS[fleet]
    attempted = properties["EvaluationPeriods"] + 2  # what CloudWatch reads for 3 periods
    assert properties["Period"] * attempted == 300


def test_silence_is_not_notified_without_a_topic(fleet: str) -> None:
    assert "InsufficientDataActions" not in alarm("SilenceAlarm", fleet, NotificationTopicArn="")


# ---- The age of the oldest message -------------------------------------------------------------------------


def goes_to_alarm_at(age_s: float, fleet: str = "asg", **overrides: str) -> bool:
    """Whether the deployed alarm goes to ALARM if the oldest message stays at this age."""
    deployed = Alarm.from_properties("age", alarm("OldestMessageAgeAlarm", fleet, **overrides))
    points = deployed.datapoints({"age": dict.fromkeys(range(0, 1200, 60), age_s)}, now=1200.0)
    return deployed.next_state(points, State.OK) is State.ALARM


def test_the_age_is_that_of_the_oldest_message_that_sqs_reports(fleet: str) -> None:
    age = {"age": sqs("ApproximateAgeOfOldestMessage", WORKLOADS[fleet]["QueueName"])}
    for target in ("static", "dynamic"):
        assert queries(alarm("OldestMessageAgeAlarm", fleet, TargetType=target)) == age


def test_with_a_static_target_the_alarm_fires_beyond_fifteen_minutes(fleet: str) -> None:
    assert not goes_to_alarm_at(900, fleet)
    assert goes_to_alarm_at(901, fleet)
    # It promises nothing, whatever the other target's parameter says.
    assert goes_to_alarm_at(901, fleet, AcceptableLatencySeconds="3600")


@pytest.mark.parametrize(
    ("promise_s", "limit_s"), [("600", 1800), ("300", 900), ("60", 900), ("0.5", 900), ("301.5", 904.5)]
)
@pytest.mark.parametrize(
    "promising",
    [
        {"TargetType": "dynamic"},
        {"TargetType": "static", "Scaling": "deadline", "ProcessingSeconds": "5"},
        {"TargetType": "dynamic", "Scaling": "deadline", "ProcessingSeconds": "5"},
    ],
    ids=["dynamic", "deadline, static", "deadline, dynamic"],
)
def test_with_a_latency_the_alarm_fires_beyond_three_times_it_and_no_sooner_than_fifteen_minutes(
    fleet: str, promising: dict[str, str], promise_s: str, limit_s: float
) -> None:
    promised = {"AcceptableLatencySeconds": promise_s, **promising}
    assert not goes_to_alarm_at(limit_s, fleet, **promised)
    assert goes_to_alarm_at(limit_s + 1, fleet, **promised)


@pytest.mark.parametrize("target", ["static", "dynamic"])
@pytest.mark.parametrize("limit_s", ["60", "14400"])
@pytest.mark.parametrize("scaling", ["target_tracking", "deadline"])
def test_an_age_that_is_given_is_used_as_it_is(fleet: str, scaling: str, target: str, limit_s: str) -> None:
    parameters = {
        "TargetType": target,
        "OldestMessageAgeSeconds": limit_s,
        "Scaling": scaling,
        "ProcessingSeconds": "5",
    }
    assert not goes_to_alarm_at(float(limit_s), fleet, **parameters)
    assert goes_to_alarm_at(float(limit_s) + 1, fleet, **parameters)


def test_three_old_minutes_raise_the_alarm_and_missing_data_does_not(fleet: str) -> None:
    for target in ("static", "dynamic"):
        properties = alarm("OldestMessageAgeAlarm", fleet, TargetType=target)
        assert judged(properties) == ("GreaterThanThreshold", 900, 3, 3, "notBreaching")


@pytest.mark.parametrize("mode", ["active", "observe", "paused"])
def test_the_topic_is_notified_of_an_old_message_and_of_its_end_in_every_mode(fleet: str, mode: str) -> None:
    parameters = {"Mode": mode, "CreateScalableTarget": "true"}
    properties = alarm("OldestMessageAgeAlarm", fleet, NotificationTopicArn=TOPIC, **parameters)
    assert (properties["AlarmActions"], properties["OKActions"]) == ([TOPIC], [TOPIC])
    quiet = alarm("OldestMessageAgeAlarm", fleet, NotificationTopicArn="", **parameters)
    assert not {"AlarmActions", "OKActions", "InsufficientDataActions", "ActionsEnabled"} & set(quiet)


@pytest.mark.parametrize("value", ["0", "059", "1.5", "59", "-1", "1209601", "abc"])
def test_an_age_is_whole_seconds_from_a_minute_to_the_longest_retention(value: str) -> None:
    allowed = template(WORKLOAD_TEMPLATE)["Parameters"]["OldestMessageAgeSeconds"]["AllowedPattern"]
    assert re.match(allowed, value) is None
    assert all(re.match(allowed, fine) for fine in ("", "60", "900", "14400", "1209600"))
