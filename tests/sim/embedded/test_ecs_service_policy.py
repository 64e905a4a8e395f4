import math
from pathlib import Path
from typing import Any

import pytest

from sluice_sim.aws_rules.alarms import (
    AlarmError,
    State,
)
from sluice_sim.aws_rules.ecs_target_tracking import ServiceTracking
from sluice_sim.aws_rules.target_tracking_alarms import PolicyError
from sluice_sim.template import load, resolve

SERVICE = "service/workers/bulk-consumer"
NAMED: dict[str, Any] = {
    "Namespace": "Sluice",
    "MetricName": "BacklogPerInstance",
    "Dimensions": [
        {"Name": "ClusterName", "Value": "workers"},
        {"Name": "ServiceName", "Value": "bulk-consumer"},
    ],
    "Statistic": "Average",
}


def policy_properties(configuration: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """bulk-consumer as workload.yaml resolves it: every number is text."""
    tracking = {
        "CustomizedMetricSpecification": NAMED,
        "TargetValue": "100",
        "ScaleOutCooldown": "60",
        "ScaleInCooldown": "300",
    }
    properties = {
        "PolicyName": "sluice-bulk-consumer",
        "PolicyType": "TargetTrackingScaling",
        "ServiceNamespace": "ecs",
        "ScalableDimension": "ecs:service:DesiredCount",
        "ResourceId": SERVICE,
        "TargetTrackingScalingPolicyConfiguration": tracking | (configuration or {}),
    } | changes
    return {key: value for key, value in properties.items() if value is not None}


def policy(configuration: dict[str, Any] | None = None, **changes: Any) -> ServiceTracking:
    return ServiceTracking.from_properties("EcsTargetTracking", policy_properties(configuration, **changes))


BULK = policy()


@pytest.mark.parametrize("owns_target", ["true", "false"])
@pytest.mark.parametrize("source", ["published", "native"])
def test_the_policy_that_the_workload_template_makes_is_understood(owns_target: str, source: str) -> None:
    stack = resolve(
        load(Path(__file__).parents[3] / "workload.yaml"),
        {
            "Name": "bulk-consumer",
            "QueueName": "bulk",
            "FleetType": "ecs",
            "Mode": "active",
            "ClusterName": "workers",
            "ServiceName": "bulk-consumer",
            "MinCapacity": "10",
            "MaxCapacity": "30",
            "TargetType": "static",
            "MessagesPerInstance": "100",
            "CreateScalableTarget": owns_target,
            "MetricSource": source,
        },
        identity=lambda logical_id, kind, properties, attribute: (
            f"{properties['ResourceId']}|ecs:service:DesiredCount|ecs"
            if kind.endswith("ScalableTarget")
            else logical_id
        ),
        imports={
            f"sluice-{name}": name
            for name in (
                "MetricNamespace",
                "RegistryPrefix",
                "BootstrapFunctionArn",
                "ShutdownFunctionArn",
            )
        },
        account_id="123456789012",
        region="eu-west-1",
        stack_name="sluice-bulk",
    )
    subject = ServiceTracking.from_properties(
        "EcsTargetTracking", stack.resources["EcsTargetTracking"].properties
    )
    assert (subject.policy_name, subject.resource_id) == ("sluice-bulk", SERVICE)
    assert subject.scaling_target_id is None
    assert (subject.target, subject.scale_out_cooldown_s, subject.scale_in_cooldown_s) == (100, 60, 300)
    assert {query.period_s for query in subject.high_alarm().metric_queries()} == {60}


def test_a_policy_may_name_its_service_by_the_scalable_targets_ref() -> None:
    names = {"ServiceNamespace": None, "ScalableDimension": None, "ResourceId": None}
    at_aws = policy(ScalingTargetId=f"{SERVICE}|ecs:service:DesiredCount|ecs", **names)
    assert at_aws.resource_id == SERVICE
    opaque = policy(ScalingTargetId="stack-EcsScalableTarget", **names)
    assert (opaque.resource_id, opaque.scaling_target_id) == ("stack-EcsScalableTarget",) * 2


def test_both_cooldowns_are_300_s_where_the_policy_gives_none() -> None:
    configuration = policy_properties()["TargetTrackingScalingPolicyConfiguration"]
    bare = {key: value for key, value in configuration.items() if not key.endswith("Cooldown")}
    subject = policy(TargetTrackingScalingPolicyConfiguration=bare)
    assert (subject.scale_out_cooldown_s, subject.scale_in_cooldown_s) == (300, 300)


def test_the_high_alarm_takes_three_minutes_above_the_target() -> None:
    alarm = BULK.high_alarm()
    assert (alarm.evaluation_periods, alarm.datapoints_to_alarm, alarm.period_s) == (3, 3, 60)
    assert [alarm.breaches(value) for value in (100, 100.1)] == [False, True]
    assert alarm.next_state([100, 100, 100, 101, 101], State.OK) is State.OK
    assert alarm.next_state([100, 100, 101, 101, 101], State.OK) is State.ALARM
    assert alarm.next_state([None] * 5, State.ALARM) is State.INSUFFICIENT_DATA


def test_the_low_alarm_takes_fifteen_minutes_below_nine_tenths_of_the_target() -> None:
    alarm = BULK.low_alarm()
    assert alarm is not None
    assert (alarm.evaluation_periods, alarm.datapoints_to_alarm, alarm.period_s) == (15, 15, 60)
    assert [alarm.breaches(value) for value in (90, 89.9)] == [False, True]
    assert alarm.next_state([90] * 3 + [89] * 14, State.OK) is State.OK
    assert alarm.next_state([90] * 2 + [89] * 15, State.OK) is State.ALARM


def test_a_policy_with_scale_in_disabled_has_no_low_alarm() -> None:
    subject = policy({"DisableScaleIn": "true"})
    assert subject.low_alarm() is None


def test_a_retune_moves_both_alarms_and_nothing_else() -> None:
    after = BULK.with_target(200)
    low_alarm = after.low_alarm()
    assert low_alarm is not None
    assert (after.high_alarm().threshold, low_alarm.threshold) == (200, 180)
    assert after.with_target(100) == BULK
    with pytest.raises(PolicyError, match=r"bulk-consumer\.TargetValue = nan"):
        BULK.with_target(math.nan)


@pytest.mark.parametrize(
    ("properties", "sentence"),
    [
        (policy_properties(PolicyType="StepScaling"), r"EcsTargetTracking\.PolicyType = 'StepScaling'"),
        (policy_properties(PolicyName=""), "PolicyName = ''"),
        (policy_properties(PolicyName=None), "PolicyName is missing"),
        (policy_properties(Cooldown=60), "Cooldown = 60"),
        (policy_properties(ScalingTargetId="id"), r"ResourceId = .*beside ScalingTargetId"),
        (policy_properties(ResourceId=None), "ResourceId is missing"),
        (policy_properties(ResourceId="service/workers"), "ResourceId = 'service/workers'.*<cluster>"),
        (policy_properties(ResourceId="table/a/b"), "ResourceId = 'table/a/b'"),
        (policy_properties(ServiceNamespace="dynamodb"), "ServiceNamespace = 'dynamodb'"),
        (policy_properties(ScalableDimension="ecs:x"), "ScalableDimension = 'ecs:x'"),
        (policy_properties({"TargetValue": 0}), r"TargetValue = 0: .*positive"),
        (policy_properties({"ScaleInCooldown": "-1"}), r"ScaleInCooldown = '-1': .*from 0 on"),
        (policy_properties({"ScaleOutCooldown": 1.5}), r"ScaleOutCooldown = 1\.5"),
        (policy_properties({"DisableScaleIn": "maybe"}), "DisableScaleIn = 'maybe'"),
        (policy_properties({"PredefinedMetricSpecification": {}}), "PredefinedMetricSpecification"),
        (policy_properties({"CustomizedMetricSpecification": NAMED | {"Unit": "Count"}}), "Unit = 'Count'"),
        (
            policy_properties({"CustomizedMetricSpecification": NAMED | {"Period": "10"}}),
            r"Specification: Period = 10: .*60 s metrics only",
        ),
    ],
)
def test_a_policy_that_is_not_simulated_is_refused(properties: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PolicyError, match=sentence):
        ServiceTracking.from_properties("EcsTargetTracking", properties)


def test_a_metric_that_its_alarms_could_not_read_is_refused() -> None:
    nameless = {key: value for key, value in NAMED.items() if key != "MetricName"}
    with pytest.raises(AlarmError, match="MetricName is missing"):
        policy({"CustomizedMetricSpecification": nameless})
