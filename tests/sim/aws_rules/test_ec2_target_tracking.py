from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_sim.aws_rules.alarms import (
    AlarmError,
    State,
)
from sluice_sim.aws_rules.ec2_target_tracking import (
    LowRatio,
    PolicyError,
    TargetTracking,
    scale_in,
    scale_out,
)

NAMED = {
    "Namespace": "Sluice",
    "MetricName": "BacklogPerInstance",
    "Dimensions": [{"Name": "AutoScalingGroupName", "Value": "transcription"}],
    "Statistic": "Average",
}


def math_specification(expression: str = "visible / in_service") -> dict[str, Any]:
    """Native metric math, as a policy may write it: without periods."""

    def stat(query_id: str, namespace: str, name: str, dimension: str) -> dict[str, Any]:
        metric = {
            "Namespace": namespace,
            "MetricName": name,
            "Dimensions": [{"Name": dimension, "Value": "transcription"}],
        }
        return {"Id": query_id, "MetricStat": {"Metric": metric, "Stat": "Average"}, "ReturnData": False}

    return {
        "Metrics": [
            stat("visible", "AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName"),
            stat("in_service", "AWS/AutoScaling", "GroupInServiceInstances", "AutoScalingGroupName"),
            {"Id": "per_instance", "Expression": expression, "ReturnData": True},
        ]
    }


def policy_properties(
    specification: dict[str, Any] | None = None, target: object = 8, **changes: Any
) -> dict[str, Any]:
    configuration = {"CustomizedMetricSpecification": specification or NAMED, "TargetValue": target}
    return {
        "AutoScalingGroupName": "transcription",
        "PolicyType": "TargetTrackingScaling",
        "EstimatedInstanceWarmup": "180",
        "TargetTrackingConfiguration": configuration,
    } | changes


def policy(specification: dict[str, Any] | None = None, target: object = 8, **changes: Any) -> TargetTracking:
    return TargetTracking.from_properties(
        "AsgTargetTracking", policy_properties(specification, target, **changes)
    )


def desired_after(backlog_per_instance: float, minutes: int = 20) -> str:
    """The desired count of a group of 3 at target 8 after some minutes of one BacklogPerInstance."""
    subject = policy()
    series = {"m1": {minute * 60: backlog_per_instance for minute in range(20 - minutes, 20)}}
    now = 20 * 60
    high, low = subject.high_alarm(), subject.low_alarm(3)
    assert low is not None
    if high.next_state(high.datapoints(series, now), State.OK) is State.ALARM:
        return "out"
    return "in" if low.next_state(low.datapoints(series, now), State.OK) is State.ALARM else "hold"


@pytest.mark.parametrize(("backlog_per_instance", "answer"), [(24, "out"), (8, "hold"), (4, "in")])
def test_backlog_per_instance_24_8_and_4_against_8_means_out_hold_and_in(
    backlog_per_instance: float, answer: str
) -> None:
    assert desired_after(backlog_per_instance) == answer


def test_the_high_alarm_takes_three_minutes_and_the_low_alarm_fifteen() -> None:
    three = {"m1": {0: 24.0, 60: 24.0, 120: 24.0}}
    high = policy().high_alarm()
    assert (high.evaluation_periods, high.datapoints_to_alarm, high.period_s) == (3, 3, 60)
    assert high.next_state(high.datapoints({"m1": {0: 8.0, 60: 24.0, 120: 24.0}}, 180), State.OK) is State.OK
    assert high.next_state(high.datapoints(three, 180), State.OK) is State.ALARM
    low = policy().low_alarm(3)
    assert low is not None
    assert (low.evaluation_periods, low.datapoints_to_alarm, low.period_s) == (15, 15, 60)
    falling = {"m1": {minute * 60: (8.0 if minute < 5 else 0.0) for minute in range(20)}}
    assert low.next_state(low.datapoints(falling, 19 * 60), State.OK) is State.OK
    assert low.next_state(low.datapoints(falling, 20 * 60), State.OK) is State.ALARM


def test_without_data_a_policy_alarm_is_insufficient_and_asks_for_nothing() -> None:
    high = policy().high_alarm()
    assert high.next_state(high.datapoints({"m1": {}}, 600), State.ALARM) is State.INSUFFICIENT_DATA


def test_a_metric_equal_to_the_target_never_scales_out() -> None:
    assert policy(target=1).high_alarm().breaches(1) is False


@pytest.mark.parametrize(
    ("size", "threshold"),
    [(0, 7.0), (1, 7.0), (6, 7.0), (7, 8.5), (9, 8.5), (10, 9.0), (100, 9.0)],
)
def test_the_low_alarm_stands_nearer_to_the_target_in_a_larger_group(size: int, threshold: float) -> None:
    low = policy(target=10).low_alarm(size)
    assert low is not None
    assert low.threshold == pytest.approx(threshold)
    assert low.breaches(low.threshold) is False


def test_the_observed_ratios_can_be_changed() -> None:
    low = policy(target=10).low_alarm(2, LowRatio(small=0.5))
    assert low is not None
    assert low.threshold == pytest.approx(5)


def test_a_policy_with_scale_in_disabled_has_no_low_alarm() -> None:
    configuration = policy_properties()["TargetTrackingConfiguration"] | {"DisableScaleIn": "true"}
    assert policy(TargetTrackingConfiguration=configuration).low_alarm(3) is None


def test_a_retune_moves_both_alarms_and_nothing_else() -> None:
    before = policy()
    after = before.with_target(16)
    low = after.low_alarm(3)
    assert low is not None
    assert after.high_alarm().threshold == 16
    assert low.threshold == pytest.approx(11.2)
    assert after.with_target(8) == before
    assert before.target == 8


def test_a_policy_on_a_named_metric_reads_it_once_a_minute() -> None:
    (query,) = policy().high_alarm().metric_queries()
    assert (query.namespace, query.name, query.stat, query.period_s) == (
        "Sluice",
        "BacklogPerInstance",
        "Average",
        60,
    )
    assert query.dimensions == (("AutoScalingGroupName", "transcription"),)


def test_a_policy_on_metric_math_evaluates_it_and_has_no_point_at_zero_instances() -> None:
    high = policy(math_specification()).high_alarm()
    series = {"visible": {0: 24.0, 60: 24.0}, "in_service": {0: 0.0, 60: 2.0}}
    assert high.datapoints(series, 120)[-2:] == [None, 12.0]


def test_a_policy_may_ask_for_a_shorter_period() -> None:
    assert policy(NAMED | {"Period": 10}).high_alarm().period_s == 10
    math = math_specification()
    for entry in math["Metrics"][:2]:
        entry["MetricStat"]["Period"] = 30
    assert policy(math).high_alarm().period_s == 30


def test_a_policy_knows_its_group_target_and_warm_up() -> None:
    subject = policy(target="7.5")
    assert (subject.group, subject.target, subject.instance_warmup_s) == ("transcription", 7.5, 180)
    assert policy(EstimatedInstanceWarmup=None).instance_warmup_s is None


def test_15_messages_on_2_instances_at_target_3_ask_for_5() -> None:
    assert scale_out(desired=2, warmed=2, metric=15 / 2, target=3, maximum=10) == 5


def test_6_messages_on_5_instances_at_target_3_ask_for_2() -> None:
    assert scale_in(desired=5, warming=0, metric=6 / 5, target=3, minimum=0) == 2


@pytest.mark.parametrize(("messages", "instances"), [(8, 1), (16, 2), (24, 3), (32, 4), (40, 5), (41, 5)])
def test_8_to_40_messages_ask_for_1_to_5_instances_at_target_8(messages: int, instances: int) -> None:
    assert scale_out(desired=1, warmed=1, metric=messages, target=8, maximum=5) == instances


def test_a_fraction_of_an_instance_is_rounded_up() -> None:
    assert scale_out(desired=1, warmed=1, metric=9, target=8, maximum=5) == 2
    assert scale_in(desired=5, warming=0, metric=0.1, target=8, minimum=0) == 1


@pytest.mark.parametrize(("minimum", "left"), [(1, 1), (0, 0)])
def test_an_empty_queue_goes_to_the_minimum(minimum: int, left: int) -> None:
    assert scale_in(desired=5, warming=0, metric=0, target=3, minimum=minimum) == left


def test_a_breach_repeated_while_instances_warm_up_adds_nothing() -> None:
    first = scale_out(desired=1, warmed=1, metric=24, target=8, maximum=5)
    assert first == 3
    assert scale_out(desired=first, warmed=1, metric=24, target=8, maximum=5) == first


def test_a_group_at_zero_counts_as_one_instance_for_scale_out_and_stays_at_zero_for_scale_in() -> None:
    assert scale_out(desired=0, warmed=0, metric=24, target=8, maximum=5) == 3
    assert scale_in(desired=0, warming=0, metric=0, target=8, minimum=1) == 0


def test_scale_in_waits_for_warming_instances() -> None:
    assert scale_in(desired=5, warming=1, metric=0, target=8, minimum=0) == 5


def test_fractions_that_floats_cannot_hold_ask_for_no_instance_too_many() -> None:
    assert 3 * 0.1 / 0.3 > 1
    assert scale_out(desired=0, warmed=3, metric=0.1, target=0.3, maximum=9) == 1
    assert scale_in(desired=3, warming=0, metric=0.1, target=0.3, minimum=0) == 1


@pytest.mark.parametrize(
    ("metric", "target"), [(float("nan"), 8), (float("inf"), 8), (-1, 8), (8, 0), (8, -1), (8, float("nan"))]
)
def test_numbers_no_policy_can_work_with_are_refused(metric: float, target: float) -> None:
    with pytest.raises(PolicyError, match=r"is (nan|inf|-1|0);"):
        scale_out(desired=1, warmed=1, metric=metric, target=target, maximum=5)
    with pytest.raises(PolicyError, match=r"is (nan|inf|-1|0);"):
        scale_in(desired=1, warming=0, metric=metric, target=target, minimum=0)


sizes = st.integers(0, 50)
metrics = st.floats(0, 1e6)
targets = st.floats(0.01, 1e4)


@given(desired=sizes, warmed=sizes, metric=metrics, target=targets, room=sizes)
def test_scale_out_never_lowers_and_never_passes_the_maximum(
    desired: int, warmed: int, metric: float, target: float, room: int
) -> None:
    result = scale_out(desired=desired, warmed=warmed, metric=metric, target=target, maximum=desired + room)
    assert desired <= result <= desired + room


@given(desired=sizes, warming=sizes, metric=metrics, target=targets, minimum=sizes)
def test_scale_in_never_raises_and_stops_at_the_minimum(
    desired: int, warming: int, metric: float, target: float, minimum: int
) -> None:
    result = scale_in(desired=desired, warming=warming, metric=metric, target=target, minimum=minimum)
    assert min(desired, minimum) <= result <= desired


@given(desired=st.integers(1, 50), less=metrics, more=metrics, target=targets)
def test_a_larger_backlog_never_asks_for_less(desired: int, less: float, more: float, target: float) -> None:
    less, more = sorted((less, more))
    assert scale_out(desired=desired, warmed=desired, metric=less, target=target, maximum=100) <= scale_out(
        desired=desired, warmed=desired, metric=more, target=target, maximum=100
    )
    assert scale_in(desired=desired, warming=0, metric=less, target=target, minimum=0) <= scale_in(
        desired=desired, warming=0, metric=more, target=target, minimum=0
    )


@pytest.mark.parametrize(
    ("properties", "sentence"),
    [
        (policy_properties(PolicyType="StepScaling"), r"AsgTargetTracking\.PolicyType = 'StepScaling'"),
        (policy_properties(target=0), r"TargetValue = 0.*positive"),
        (policy_properties(target="nan"), r"TargetValue = 'nan'"),
        (policy_properties(target=None), r"TargetValue = None"),
        (policy_properties(AutoScalingGroupName=""), "AutoScalingGroupName = ''"),
        (policy_properties(EstimatedInstanceWarmup=-1), "EstimatedInstanceWarmup = -1"),
        (policy_properties(Cooldown=60), "Cooldown = 60"),
        (policy_properties(TargetTrackingConfiguration=None), "TargetTrackingConfiguration = None"),
        (
            policy_properties(
                TargetTrackingConfiguration={"PredefinedMetricSpecification": {}, "TargetValue": 50}
            ),
            "PredefinedMetricSpecification",
        ),
        (policy_properties(NAMED | {"Unit": "Count"}), "Unit = 'Count'"),
        (
            policy_properties(
                TargetTrackingConfiguration={
                    "CustomizedMetricSpecification": NAMED,
                    "TargetValue": 8,
                    "DisableScaleIn": "maybe",
                }
            ),
            "DisableScaleIn = 'maybe'",
        ),
    ],
)
def test_a_policy_that_is_not_simulated_is_refused(properties: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PolicyError, match=sentence):
        TargetTracking.from_properties("AsgTargetTracking", properties)


def test_a_metric_that_its_alarms_could_not_read_is_refused() -> None:
    with pytest.raises(AlarmError, match="Statistic"):
        policy({key: value for key, value in NAMED.items() if key != "Statistic"})
