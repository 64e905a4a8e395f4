"""Target tracking of a workload: when there is a policy, what it reads, what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

from sluice_sim.aws_rules.metric_math import evaluate
from sluice_sim.template import ResolvedStack, TemplateError
from tests.templates.stacks import (
    DIMENSIONS,
    WORKLOAD_TEMPLATE,
    WORKLOADS,
    dimensions,
    document,
    of_type,
    template,
    workload,
)

ASG_POLICY = "AWS::AutoScaling::ScalingPolicy"
ECS_POLICY = "AWS::ApplicationAutoScaling::ScalingPolicy"
SCALABLE_TARGET = "AWS::ApplicationAutoScaling::ScalableTarget"
OWN_POLICY = {"asg": "AsgTargetTracking", "ecs": "EcsTargetTracking"}
PUBLISHED = ("BacklogPerInstance", "EffectiveBacklogPerInstance")


def tracking(stack: ResolvedStack) -> dict[str, Any]:
    """The target-tracking configuration of the stack's one policy."""
    [policy] = [*of_type(stack, ASG_POLICY).values(), *of_type(stack, ECS_POLICY).values()]
    assert policy["PolicyType"] == "TargetTrackingScaling"
    return policy.get("TargetTrackingConfiguration") or policy["TargetTrackingScalingPolicyConfiguration"]


def published_statistics(node: object) -> Iterator[str]:
    """Every statistic with which the control plane's metrics are read, however they are nested."""
    if isinstance(node, dict):
        if node.get("MetricName") in PUBLISHED and "Statistic" in node:
            yield node["Statistic"]
        if node.get("Metric", {}).get("MetricName") in PUBLISHED:
            yield node["Stat"]
        for child in node.values():
            yield from published_statistics(child)
    elif isinstance(node, list):
        for child in node:
            yield from published_statistics(child)


def test_only_an_active_workload_has_a_policy(fleet: str) -> None:
    policies = {
        mode: [*of_type(stack, ASG_POLICY), *of_type(stack, ECS_POLICY)]
        for mode in ("active", "observe", "paused")
        for stack in [workload(fleet, Mode=mode, CreateScalableTarget="true")]
    }
    own = {"asg": "AsgTargetTracking", "ecs": "EcsTargetTracking"}[fleet]
    assert policies == {"active": [own], "observe": [], "paused": []}


def test_the_document_carries_the_policy_where_there_is_one(fleet: str) -> None:
    assert document(workload(fleet))["policy_arn"].startswith("arn:aws:autoscaling:")
    observed = workload(fleet, Mode="observe", CreateScalableTarget="true")
    assert document(observed)["policy_arn"] == ""


DEADLINE = {"Scaling": "deadline", "ProcessingSeconds": "5"}


@pytest.mark.parametrize("mode", ["active", "observe", "paused"])
@pytest.mark.parametrize("target_type", ["static", "dynamic"])
@pytest.mark.parametrize("source", ["published", "native"])
def test_the_deadline_engine_has_no_policy_beside_it_but_its_fallback(
    fleet: str, source: str, target_type: str, mode: str
) -> None:
    stack = workload(
        fleet,
        Mode=mode,
        TargetType=target_type,
        MetricSource=source,
        TrackedMetric="effective",
        CreateScalableTarget="true",
        Fallback="false",
        **DEADLINE,
    )
    assert not {*of_type(stack, ASG_POLICY), *of_type(stack, ECS_POLICY)}
    assert document(stack)["policy_arn"] == ""
    assert document(stack)["tracking"]["metric"] == "backlog"  # nothing reads another


def test_the_deadline_engine_leaves_an_ecs_service_the_bounds_of_its_scalable_target() -> None:
    [target] = of_type(workload("ecs", MinCapacity="1", **DEADLINE), SCALABLE_TARGET).values()
    assert (int(target["MinCapacity"]), int(target["MaxCapacity"])) == (1, 5)
    assert not any(target["SuspendedState"].values())


@pytest.mark.parametrize("target_type", ["static", "dynamic"])
def test_a_change_of_the_way_of_scaling_creates_or_removes_the_policy_alone(
    fleet: str, target_type: str
) -> None:
    parameters = {"TargetType": target_type, "ProcessingSeconds": "5"}
    tracked = workload(fleet, Scaling="target_tracking", **parameters)
    planned = workload(fleet, Scaling="deadline", Fallback="false", **parameters)
    own = {"asg": "AsgTargetTracking", "ecs": "EcsTargetTracking"}[fleet]
    assert set(tracked.resources) - set(planned.resources) == {own}
    assert set(planned.resources) <= set(tracked.resources)
    changed = {
        name
        for name, resource in planned.resources.items()
        if resource.properties != tracked.resources[name].properties
    }
    assert changed <= {"Registration", "SilenceAlarm", "OldestMessageAgeAlarm"}


@pytest.mark.parametrize("fallback", ["", "true", "false"])
@pytest.mark.parametrize("mode", ["active", "observe", "paused"])
def test_an_active_group_has_a_fallback_unless_refused_and_an_active_service_if_asked_for(
    fleet: str, mode: str, fallback: str
) -> None:
    stack = workload(fleet, Mode=mode, Fallback=fallback, CreateScalableTarget="true", **DEADLINE)
    found = {*of_type(stack, ASG_POLICY), *of_type(stack, ECS_POLICY)}
    wanted = mode == "active" and (fallback == "true" or (fallback == "" and fleet == "asg"))
    assert found == ({OWN_POLICY[fleet]} if wanted else set())
    assert bool(document(stack)["policy_arn"]) == wanted


def test_a_fallback_reads_the_workloads_own_points_beside_awss_metrics(fleet: str) -> None:
    stack = workload(
        fleet, Fallback="true", AcceptableLatencySeconds="240", MessagesPerInstance="8", **DEADLINE
    )
    configuration = tracking(stack)
    assert (float(configuration["TargetValue"]), configuration["DisableScaleIn"]) == (240, True)
    read = {
        query["Id"]: query["MetricStat"]
        for query in configuration["CustomizedMetricSpecification"]["Metrics"]
        if "MetricStat" in query
    }
    assert read.keys() == {"own", "visible", "sent", "in_service"}
    own = read["own"]["Metric"]
    assert (own["Namespace"], own["MetricName"]) == ("Sluice", "BacklogPerInstance")
    assert dimensions(own["Dimensions"]) == DIMENSIONS[fleet]
    [silence] = [resource.properties for name, resource in stack.resources.items() if name == "SilenceAlarm"]
    assert (silence["Namespace"], silence["MetricName"]) == (own["Namespace"], own["MetricName"])


def test_a_change_of_the_way_of_scaling_changes_the_policy_in_place(fleet: str) -> None:
    """So that no second policy is put on the service, and the former one is not deleted after it."""
    tracked, planned = (
        workload(fleet, Scaling=scaling, Fallback="true", ProcessingSeconds="5").resources
        for scaling in ("target_tracking", "deadline")
    )
    assert tracked.keys() == planned.keys()
    policies = [resources[OWN_POLICY[fleet]].properties for resources in (tracked, planned)]
    names = [{key: value for key, value in each.items() if not key.startswith("Target")} for each in policies]
    assert names[0] == names[1]


COUNTED = {
    ("static", "", ""): False,
    ("static", "", "60"): True,
    ("static", "effective", "60"): True,
    ("static", "backlog", "60"): False,
    ("dynamic", "", ""): True,
    ("dynamic", "effective", ""): True,
    ("dynamic", "backlog", ""): False,
}
"""(TargetType, TrackedMetric, ProcessingSeconds) -> whether what arrives is counted."""


@pytest.mark.parametrize(
    ("target_type", "tracked", "seconds", "metric_name"),
    [(*key, PUBLISHED[counted]) for key, counted in COUNTED.items()]
    + [("static", "effective", "", "EffectiveBacklogPerInstance")],
)
def test_the_published_metric_is_tracked_under_the_fleets_own_dimensions(
    fleet: str, target_type: str, tracked: str, seconds: str, metric_name: str
) -> None:
    parameters = {"TargetType": target_type, "TrackedMetric": tracked, "ProcessingSeconds": seconds}
    stack = workload(fleet, MetricSource="published", **parameters)
    metric = tracking(stack)["CustomizedMetricSpecification"]
    assert (metric["Namespace"], metric["MetricName"]) == ("Sluice", metric_name)
    counted = metric_name == "EffectiveBacklogPerInstance"
    assert document(stack)["tracking"]["metric"] == ("effective" if counted else "backlog")
    assert dimensions(metric["Dimensions"]) == DIMENSIONS[fleet]
    assert metric["Statistic"] == "Average"


@pytest.mark.parametrize(("target_type", "tracked", "seconds"), COUNTED)
def test_native_metrics_count_what_arrives_within_the_promise_beside_what_is_visible(
    fleet: str, target_type: str, tracked: str, seconds: str
) -> None:
    """T x rho = promise x arrivals: of a static target, T x seconds / concurrency is the promise."""
    stack = workload(
        fleet,
        MetricSource="native",
        TargetType=target_type,
        TrackedMetric=tracked,
        ProcessingSeconds=seconds,
        MessagesPerInstance="8",
        ConcurrencyPerInstance="2",
        AcceptableLatencySeconds="240",
    )
    metrics = tracking(stack)["CustomizedMetricSpecification"]["Metrics"]
    [returned] = [query for query in metrics if query["ReturnData"]]
    series = {
        query["Id"]: {0: value}
        for query in metrics
        for value in [{"visible": 24, "in_service": 3, "sent": 30}.get(query["Id"])]
        if value is not None
    }
    counted = COUNTED[target_type, tracked, seconds]
    assert evaluate(returned["Expression"], series) == {0: (24 + 240 * 30 / 60 * counted) / 3}
    read = {query["Id"]: query["MetricStat"] for query in metrics if "MetricStat" in query}
    instances = {
        "asg": ("AWS/AutoScaling", "GroupInServiceInstances"),
        "ecs": ("ECS/ContainerInsights", "RunningTaskCount"),
    }[fleet]
    queue = {"QueueName": WORKLOADS[fleet]["QueueName"]}
    expected = {
        "visible": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue, "Average"),
        "in_service": (*instances, DIMENSIONS[fleet], "Average"),
    }
    if counted:
        expected["sent"] = ("AWS/SQS", "NumberOfMessagesSent", queue, "Sum")
    assert {
        query_id: (
            stat["Metric"]["Namespace"],
            stat["Metric"]["MetricName"],
            dimensions(stat["Metric"]["Dimensions"]),
            stat["Stat"],
        )
        for query_id, stat in read.items()
    } == expected


@pytest.mark.parametrize(
    "parameters",
    [{}, {"ProcessingSeconds": "60"}, {"Scaling": "deadline", "ProcessingSeconds": "5", "Fallback": "true"}],
)
@pytest.mark.parametrize("source", ["published", "native"])
def test_the_published_metric_is_never_summed(fleet: str, source: str, parameters: dict[str, str]) -> None:
    stack = workload(fleet, MetricSource=source, **parameters)
    read = [
        statistic
        for resource in stack.resources.values()
        for statistic in published_statistics(resource.properties)
    ]
    assert read  # the silence alarm reads it whatever the policy does
    assert set(read) <= {"Average", "Maximum"}


@pytest.mark.parametrize("target_type", ["static", "dynamic"])
@pytest.mark.parametrize("source", ["published", "native"])
def test_a_policy_begins_at_messages_per_instance(fleet: str, target_type: str, source: str) -> None:
    stack = workload(fleet, TargetType=target_type, MetricSource=source, MessagesPerInstance="8.5")
    assert float(tracking(stack)["TargetValue"]) == 8.5
    target = document(stack)["target"]
    key = {"static": "messages_per_instance", "dynamic": "fallback_messages_per_instance"}[target_type]
    assert target[key] == 8.5


def test_target_tracking_never_has_its_scale_in_switched_off(fleet: str) -> None:
    assert "DisableScaleIn" not in tracking(workload(fleet))


def test_an_asg_policy_knows_how_long_an_instance_warms_up() -> None:
    policy = workload(InstanceWarmupSeconds="180").resources["AsgTargetTracking"].properties
    assert int(policy["EstimatedInstanceWarmup"]) == 180
    assert policy["AutoScalingGroupName"] == "transcription"


def test_an_ecs_policy_has_both_cooldowns() -> None:
    configuration = tracking(workload("ecs", ScaleOutCooldownSeconds="45", ScaleInCooldownSeconds="400"))
    cooldowns = (int(configuration["ScaleOutCooldown"]), int(configuration["ScaleInCooldown"]))
    assert cooldowns == (45, 400)


@pytest.mark.parametrize("mode", ["observe", "paused"])
def test_nothing_is_registered_before_the_first_active_as_that_resizes_the_service(mode: str) -> None:
    stack = workload("ecs", MinCapacity="1", Mode=mode, CreateScalableTarget="not-yet")
    assert of_type(stack, SCALABLE_TARGET) == {}


@pytest.mark.parametrize(
    ("mode", "choice", "suspended"),
    [
        ("active", "", False),
        ("active", "true", False),
        ("observe", "true", True),
        ("paused", "true", True),
    ],
)
def test_a_registered_target_stays_and_only_its_dynamic_scaling_is_suspended(
    mode: str, choice: str, suspended: bool
) -> None:
    [target] = of_type(workload("ecs", Mode=mode, CreateScalableTarget=choice), SCALABLE_TARGET).values()
    assert target["SuspendedState"] == {
        "DynamicScalingInSuspended": suspended,
        "DynamicScalingOutSuspended": suspended,
        "ScheduledScalingSuspended": False,
    }


@pytest.mark.parametrize("mode", ["observe", "paused"])
def test_a_mode_without_a_policy_must_say_whether_the_service_was_registered_before(mode: str) -> None:
    with pytest.raises(TemplateError) as refused:
        workload("ecs", Mode=mode)
    for choice in (
        "CreateScalableTarget is empty",
        "true if it has been active before",
        "not-yet if it never was",
        "false if another stack",
    ):
        assert choice in str(refused.value)
    assert workload("asg", Mode=mode).resources


def test_an_active_service_cannot_be_left_unregistered() -> None:
    with pytest.raises(TemplateError, match=r"CreateScalableTarget is not-yet.*CreateScalableTarget=true"):
        workload("ecs", CreateScalableTarget="not-yet")


def test_no_change_of_a_stack_deregisters_a_target_as_others_scheduled_actions_would_go_with_it() -> None:
    body = template(WORKLOAD_TEMPLATE)["Resources"]["EcsScalableTarget"]
    assert (body["DeletionPolicy"], body["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")


def test_the_scalable_target_is_tagged_for_sluice_and_bounded() -> None:
    [target] = of_type(workload("ecs", MinCapacity="1"), SCALABLE_TARGET).values()
    assert target["Tags"] == [{"Key": "sluice", "Value": "managed"}]
    assert target["ResourceId"] == "service/workers/queue-proc"
    assert (target["ServiceNamespace"], target["ScalableDimension"]) == ("ecs", "ecs:service:DesiredCount")
    assert (int(target["MinCapacity"]), int(target["MaxCapacity"])) == (1, 5)


@pytest.mark.parametrize("owner", ["true", "false"])
def test_an_ecs_policy_names_the_service_whichever_stack_registered_it(owner: str) -> None:
    policy = workload("ecs", CreateScalableTarget=owner).resources["EcsTargetTracking"].properties
    assert "ScalingTargetId" not in policy
    assert policy["ResourceId"] == "service/workers/queue-proc"
    assert (policy["ServiceNamespace"], policy["ScalableDimension"]) == ("ecs", "ecs:service:DesiredCount")


def test_an_ecs_policy_is_put_after_the_scalable_target_of_its_stack() -> None:
    body = template(WORKLOAD_TEMPLATE)["Resources"]["EcsTargetTracking"]
    own = body["Metadata"]["PutAfter"]["Fn::If"]
    assert own == ["OwnsScalableTarget", {"Ref": "EcsScalableTarget"}, ""]


def test_another_stacks_scalable_target_is_left_to_it() -> None:
    assert of_type(workload("ecs", CreateScalableTarget="false"), SCALABLE_TARGET) == {}


@pytest.mark.parametrize("changed", [{"Name": "renamed"}, {"CreateScalableTarget": "false"}])
def test_no_change_of_the_workload_beside_its_service_replaces_the_ecs_policy(
    changed: dict[str, str],
) -> None:
    """AWS refuses a second target-tracking policy on the same metric, which a replacement begins with."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("eu-west-1", ECS_POLICY).schema
    fixed = {path.removeprefix("/properties/") for path in schema["createOnlyProperties"]}
    before, after = (
        {key: value for key, value in stack.resources["EcsTargetTracking"].properties.items() if key in fixed}
        for stack in (workload("ecs"), workload("ecs", **changed))
    )
    assert before == after


def test_an_asg_has_no_scalable_target() -> None:
    assert of_type(workload("asg"), SCALABLE_TARGET) == {}
