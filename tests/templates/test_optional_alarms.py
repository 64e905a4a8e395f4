"""The alarms of a workload that are off by default: by parameter, with its thresholds, to the topic alone."""

from __future__ import annotations

from typing import Any

import pytest

from sluice_operator.core.workload_alarms import KINDS, OPTIONAL_KINDS
from sluice_sim.aws_rules.alarms import Alarm
from tests.templates.stacks import DIMENSIONS, TOPIC, WORKLOADS, arn, of_type, workload

ALWAYS = {"age", "bootstrap", "shutdown", "silent"}
SWITCHES = {
    "DepthAlarms": {"depth-warning", "depth-critical"},
    "AgeAlarms": {"age-warning", "age-critical"},
    "AtMaximumAlarm": {"at-maximum"},
    "MissingInstancesAlarm": {"missing-instances"},
    "ThroughputAlarm": {"throughput"},
    "PromiseAlarm": {"promise"},
}
GIVEN = {
    "ProcessingTimeAlarmSeconds": ("12.5", {"processing-time"}),
    "DeadLetterQueueName": ("transcription-dead", {"dead-letters"}),
}
EVERY = dict.fromkeys(SWITCHES, "true") | {name: value for name, (value, _) in GIVEN.items()}
VISIBLE = ("AWS/SQS", "ApproximateNumberOfMessagesVisible")
GROUP, INSIGHTS = "AWS/AutoScaling", "ECS/ContainerInsights"


def alarms(fleet: str, **parameters: str) -> dict[str, dict[str, Any]]:
    """Properties by what follows the workload's name in the alarm's."""
    prefix = f"sluice-{WORKLOADS[fleet]['Name']}-"
    found = of_type(workload(fleet, **parameters), "AWS::CloudWatch::Alarm").values()
    return {str(one["AlarmName"]).removeprefix(prefix): dict(one) for one in found}


def every(fleet: str, **parameters: str) -> dict[str, Alarm]:
    """As CloudWatch evaluates them."""
    found = alarms(fleet, **(EVERY | parameters))
    return {name: Alarm.from_properties(name, properties) for name, properties in found.items()}


def rings_above(alarm: Alarm) -> tuple[float, int, int]:
    """The threshold; minutes of each period, and how many of them in a row ring; silence is no breach."""
    assert alarm.comparison == "GreaterThanThreshold"
    assert alarm.treatment == "notBreaching"
    assert alarm.datapoints_to_alarm == alarm.evaluation_periods
    return alarm.threshold, alarm.period_s // 60, alarm.evaluation_periods


def reads(alarm: Alarm) -> set[tuple[Any, ...]]:
    return {(one.namespace, one.name, one.stat, dict(one.dimensions).popitem()[1]) for one in alarm.queries}


def value(alarm: Alarm, **metrics: float) -> float | None:
    """What the alarm compares with its threshold in a minute in which these metrics are readable."""
    at = 36_000
    series = {query.id: {} for query in alarm.queries} | {name: {at: one} for name, one in metrics.items()}
    return alarm.values(series, [at])[at]


def test_none_of_them_exists_by_default(fleet: str) -> None:
    assert set(alarms(fleet)) == ALWAYS


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_switch_creates_its_own_alarms(fleet: str, switch: str) -> None:
    assert set(alarms(fleet, **{switch: "true"})) == ALWAYS | SWITCHES[switch]


@pytest.mark.parametrize("parameter", GIVEN)
def test_a_threshold_or_a_queue_creates_its_alarm(fleet: str, parameter: str) -> None:
    text, names = GIVEN[parameter]
    assert set(alarms(fleet, **{parameter: text})) == ALWAYS | names


def test_the_operators_commands_know_each_of_them(fleet: str) -> None:
    assert {*alarms(fleet, **EVERY)} == {*KINDS, *OPTIONAL_KINDS}


@pytest.mark.parametrize("mode", ["active", "observe", "paused"])
def test_each_notifies_the_topic_of_alarm_and_of_ok_in_every_mode_and_starts_nothing(
    fleet: str, mode: str
) -> None:
    given = EVERY | {"Mode": mode, "CreateScalableTarget": "true"}
    for name, found in alarms(fleet, NotificationTopicArn=TOPIC, **given).items():
        if name not in ALWAYS:
            assert (found["AlarmActions"], found["OKActions"]) == ([TOPIC], [TOPIC])
    for name, found in alarms(fleet, **given).items():
        if name not in ALWAYS:
            assert not found.get("AlarmActions")
            assert not {"OKActions", "InsufficientDataActions"} & set(found)


@pytest.mark.parametrize("topic", ["", TOPIC])
def test_by_parameter_the_critical_ones_also_start_a_surge(fleet: str, topic: str) -> None:
    given = EVERY | {"SurgeOnCriticalAlarms": "true", "NotificationTopicArn": topic}
    notified = [topic] if topic else []
    for name, found in alarms(fleet, **given).items():
        if name not in ALWAYS:
            starts = [arn("lambda", "function:surge")] if name.endswith("-critical") else []
            assert found.get("AlarmActions", []) == [*notified, *starts]
            assert found.get("OKActions", []) == notified


def test_each_names_its_workload_first_and_says_where_the_steps_are(fleet: str) -> None:
    for name, found in alarms(fleet, **EVERY).items():
        if name not in ALWAYS:
            text = str(found["AlarmDescription"])
            assert text.startswith(f"Sluice workload {WORKLOADS[fleet]['Name']}: ")
            assert text.endswith("docs/operations.md has the steps.")


def test_a_deep_queue_warns_at_half_a_million_and_is_critical_at_a_million(fleet: str) -> None:
    queue, found = WORKLOADS[fleet]["QueueName"], every(fleet)
    assert rings_above(found["depth-warning"]) == (500_000, 1, 3)
    assert rings_above(found["depth-critical"]) == (1_000_000, 1, 3)
    for name in ("depth-warning", "depth-critical"):
        assert reads(found[name]) == {(*VISIBLE, "Maximum", queue)}
    other = every(fleet, WarningDepthMessages="7", CriticalDepthMessages="9")
    assert (other["depth-warning"].threshold, other["depth-critical"].threshold) == (7, 9)


def test_an_old_message_warns_after_five_minutes_and_is_critical_after_ten(fleet: str) -> None:
    queue, found = WORKLOADS[fleet]["QueueName"], every(fleet)
    assert rings_above(found["age-warning"]) == (300, 1, 3)
    assert rings_above(found["age-critical"]) == (600, 1, 3)
    for name in ("age-warning", "age-critical"):
        assert reads(found[name]) == {("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum", queue)}
    other = every(fleet, WarningAgeSeconds="60", CriticalAgeSeconds="61")
    assert (other["age-warning"].threshold, other["age-critical"].threshold) == (60, 61)


def test_slow_messages_ring_at_their_mean_over_a_quarter_of_an_hour(fleet: str) -> None:
    (query,) = every(fleet)["processing-time"].queries
    assert rings_above(every(fleet)["processing-time"]) == (12.5, 5, 3)
    assert (query.namespace, query.name, query.stat) == ("Sluice", "MsgProcessingDuration", "Average")
    assert dict(query.dimensions) == DIMENSIONS[fleet]
    (own,) = every(fleet, DurationNamespace="Media/Workers")["processing-time"].queries
    assert own.namespace == "Media/Workers"


def test_one_message_in_the_dead_letter_queue_rings(fleet: str) -> None:
    found = every(fleet)["dead-letters"]
    assert rings_above(found) == (0, 1, 1)
    assert reads(found) == {(*VISIBLE, "Maximum", "transcription-dead")}


def test_a_fleet_at_its_maximum_rings_while_messages_wait_for_a_quarter_of_an_hour(fleet: str) -> None:
    found = every(fleet)["at-maximum"]
    assert rings_above(found) == (0, 1, 15)
    assert {query.namespace for query in found.queries} == {
        "AWS/SQS",
        {"asg": GROUP, "ecs": INSIGHTS}[fleet],
    }
    group = {"max_size": 10} if fleet == "asg" else {}
    assert value(found, visible=1, desired=5, **group) == 1
    assert value(found, visible=1, desired=4, **group) == 0
    assert value(found, visible=0, desired=5, **group) == 0
    if fleet == "asg":  # the group's own maximum is lower than the document's
        assert value(found, visible=1, desired=3, max_size=3) == 1
        assert value(found, visible=1, desired=3) == 0
    assert value(found, visible=1) is None


def test_instances_that_are_asked_for_and_do_not_run_ring_after_twenty_minutes(fleet: str) -> None:
    found = every(fleet)["missing-instances"]
    assert rings_above(found) == (0, 1, 20)
    running = {"asg": "in_service", "ecs": "running"}[fleet]
    assert {query.namespace for query in found.queries} == {{"asg": GROUP, "ecs": INSIGHTS}[fleet]}
    assert value(found, desired=3, **{running: 2}) == 1
    assert value(found, desired=3, **{running: 3}) == 0
    assert value(found, desired=3, **{running: 4}) == 0
    assert value(found, desired=3) == 0
    assert value(found, **{running: 2}) is None


def test_a_throughput_below_the_arrivals_rings_after_an_hour_of_it(fleet: str) -> None:
    queue, found = WORKLOADS[fleet]["QueueName"], every(fleet)["throughput"]
    assert rings_above(found) == (0, 5, 12)
    assert reads(found) == {
        ("AWS/SQS", "NumberOfMessagesSent", "Sum", queue),
        ("AWS/SQS", "NumberOfMessagesDeleted", "Sum", queue),
    }
    assert value(found, sent=10, deleted=9) == 1
    assert value(found, sent=10, deleted=10) == 0


def test_a_promise_that_was_missed_for_an_hour_rings(fleet: str) -> None:
    found = every(fleet, AcceptableLatencySeconds="300", PromisePercent="99.5")["promise"]
    (query,) = found.queries
    assert (query.name, query.stat, query.period_s) == ("MsgWaitDuration", "PR(:300)", 3600)
    assert dict(query.dimensions) == DIMENSIONS[fleet]
    assert (found.comparison, found.threshold, found.evaluation_periods) == ("LessThanThreshold", 99.5, 1)
    assert found.treatment == "notBreaching"
