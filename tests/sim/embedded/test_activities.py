"""Scaling activities, policies and refreshes of the embedded AWS are described through boto3, as at AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import QUEUE_PROC, TRANSCRIPTION
from sluice_sim.embedded.services import DIMENSION
from tests.sim.embedded.test_embedded import ROOT, SERVICE, Idle, TrackedService, wait

GROUP = {"AutoScalingGroupName": "work"}


@pytest.fixture
def aws() -> Iterator[EmbeddedAws]:
    with embedded_aws(ROOT) as account:
        yield account


@pytest.fixture
def group(aws: EmbeddedAws) -> EmbeddedAws:
    """A group of 0 to 5 instances that boot a minute."""
    aws.create_group("work", minimum=0, maximum=5, boot_s=60, start=Idle)
    wait(aws, 30)
    return aws


def activities(aws: EmbeddedAws, name: str = "work", **asked: Any) -> list[dict[str, Any]]:
    found = aws.autoscaling.describe_scaling_activities(AutoScalingGroupName=name, **asked)
    return list(found["Activities"])


def moment(aws: EmbeddedAws) -> datetime:
    return datetime.fromtimestamp(aws.clock.now, UTC)


def text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


# ---- Groups ------------------------------------------------------------------------------------------------


def test_a_launch_names_the_request_and_ends_when_the_instance_is_in_service(group: EmbeddedAws) -> None:
    asked = moment(group)
    group.autoscaling.set_desired_capacity(**GROUP, DesiredCapacity=2)
    first, second = activities(group)
    assert (first["StatusCode"], first["StartTime"]) == ("InProgress", asked)
    assert "EndTime" not in first
    cause = (
        f"At {text(asked)} a user request explicitly set group desired capacity changing the desired "
        f"capacity from 0 to 2.  At {text(asked)} an instance was started in response to a difference "
        "between desired and actual capacity, increasing the capacity from 0 to 2."
    )
    assert first["Cause"] == second["Cause"] == cause
    wait(group, 60)
    ids = {
        instance["InstanceId"]
        for instance in group.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["Instances"]
    }
    ended = activities(group)
    assert {activity["Description"] for activity in ended} == {
        f"Launching a new EC2 instance: {instance_id}" for instance_id in ids
    }
    assert {activity["StatusCode"] for activity in ended} == {"Successful"}
    assert {activity["EndTime"] for activity in ended} == {moment(group)}


def test_a_termination_names_the_instance_that_was_selected(group: EmbeddedAws) -> None:
    group.autoscaling.set_desired_capacity(**GROUP, DesiredCapacity=2)
    wait(group, 60)
    group.autoscaling.set_desired_capacity(**GROUP, DesiredCapacity=1)
    newest = activities(group)[0]
    (instance_id,) = [newest["Description"].removeprefix("Terminating EC2 instance: ")]
    assert "shrinking the capacity from 2 to 1." in newest["Cause"]
    assert newest["Cause"].endswith(f"instance {instance_id} was selected for termination.")
    assert newest["StatusCode"] == "Successful"


def test_a_launch_that_fails_has_awss_message_and_no_instance(group: EmbeddedAws) -> None:
    group.groups.fail_launches("work", "We currently do not have sufficient g5.xlarge capacity.")
    group.autoscaling.set_desired_capacity(**GROUP, DesiredCapacity=1)
    (failed,) = activities(group)
    assert (failed["StatusCode"], failed["Description"]) == ("Failed", "Launching a new EC2 instance")
    assert failed["StatusMessage"] == "We currently do not have sufficient g5.xlarge capacity."
    assert failed["StartTime"] == failed["EndTime"] == moment(group)


def test_new_bounds_are_named_as_the_cause_of_what_they_change(group: EmbeddedAws) -> None:
    group.autoscaling.update_auto_scaling_group(**GROUP, MinSize=3, MaxSize=4, DesiredCapacity=3)
    assert (
        "a user request update of AutoScalingGroup constraints to min: 3, max: 4, desired: 3 "
        "changing the desired capacity from 0 to 3." in activities(group)[0]["Cause"]
    )


def test_an_instance_whose_worker_died_fails_its_health_check(group: EmbeddedAws) -> None:
    group.autoscaling.set_desired_capacity(**GROUP, DesiredCapacity=1)
    wait(group, 60)
    (instance,) = group.groups.fleet("work")._instances
    instance.worker.alive = False
    wait(group, 30)
    assert any("in response to an EC2 health check" in activity["Cause"] for activity in activities(group))


def test_what_is_in_progress_comes_first_then_the_newest_and_in_pages(group: EmbeddedAws) -> None:
    group.autoscaling.set_desired_capacity(**GROUP, DesiredCapacity=1)
    wait(group, 50)
    group.autoscaling.set_desired_capacity(**GROUP, DesiredCapacity=2)
    wait(group, 25)
    group.groups.fail_launches("work", "no capacity")
    group.autoscaling.set_desired_capacity(**GROUP, DesiredCapacity=3)
    found = activities(group)
    assert [activity["StatusCode"] for activity in found] == ["InProgress", "Failed", "Successful"]
    assert found[1]["StartTime"] > found[0]["StartTime"] > found[2]["StartTime"]
    paginator = group.autoscaling.get_paginator("describe_scaling_activities")
    pages = paginator.paginate(**GROUP, PaginationConfig={"PageSize": 2})
    assert [activity for page in pages for activity in page["Activities"]] == found


def test_a_policys_activity_names_the_alarm_and_the_policy(aws: EmbeddedAws) -> None:
    Demo(aws, ROOT).add_workload(TRANSCRIPTION)
    url = aws.sqs.get_queue_url(QueueName="transcription")["QueueUrl"]
    for _ in range(100):
        aws.sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"duration_s": 110}))
    wait(aws, 600)
    high = aws.cloudwatch.describe_alarms(AlarmNamePrefix="TargetTracking-transcription-AlarmHigh")
    name = high["MetricAlarms"][0]["AlarmName"]
    cause = f"a monitor alarm {name} in state ALARM triggered policy sluice-transcription-AsgTargetTracking"
    assert (
        f"{cause} changing the desired capacity from 1 to 5." in activities(aws, "transcription")[0]["Cause"]
    )
    (policy,) = aws.autoscaling.describe_policies()["ScalingPolicies"]
    assert (policy["Enabled"], policy["Alarms"][0]["AlarmName"]) == (True, name)


def test_a_disabled_policy_is_described_as_such_and_does_not_scale(aws: EmbeddedAws) -> None:
    Demo(aws, ROOT).add_workload(TRANSCRIPTION)
    (policy,) = aws.autoscaling.describe_policies()["ScalingPolicies"]
    kept = ("AutoScalingGroupName", "PolicyName", "PolicyType", "TargetTrackingConfiguration")
    put = aws.autoscaling.put_scaling_policy(**{key: policy[key] for key in kept}, Enabled=False)
    assert put["PolicyARN"] == policy["PolicyARN"]
    assert put["Alarms"] == policy["Alarms"]
    (disabled,) = aws.autoscaling.describe_policies()["ScalingPolicies"]
    assert disabled["Enabled"] is False
    url = aws.sqs.get_queue_url(QueueName="transcription")["QueueUrl"]
    for _ in range(100):
        aws.sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"duration_s": 110}))
    wait(aws, 600)
    (described,) = aws.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert described["DesiredCapacity"] == 1


def test_a_groups_metrics_are_published_until_their_collection_is_disabled(group: EmbeddedAws) -> None:
    (described,) = group.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    on = {metric["Metric"] for metric in described["EnabledMetrics"]}
    assert on == {
        "GroupDesiredCapacity",
        "GroupInServiceInstances",
        "GroupPendingInstances",
        "GroupMaxSize",
    }
    wait(group, 180)
    group.autoscaling.disable_metrics_collection(**GROUP, Metrics=["GroupInServiceInstances"])
    since = moment(group)
    wait(group, 300)

    def points(metric: str) -> list[dict[str, Any]]:
        found = group.cloudwatch.get_metric_statistics(
            Namespace="AWS/AutoScaling",
            MetricName=metric,
            Dimensions=[{"Name": "AutoScalingGroupName", "Value": "work"}],
            StartTime=since,
            EndTime=moment(group),
            Period=60,
            Statistics=["Average"],
        )
        return list(found["Datapoints"])

    assert points("GroupDesiredCapacity")
    assert not points("GroupInServiceInstances")


def test_an_instance_refresh_is_in_progress_until_every_instance_is_replaced(group: EmbeddedAws) -> None:
    group.autoscaling.set_desired_capacity(**GROUP, DesiredCapacity=2)
    wait(group, 60)
    started = group.autoscaling.start_instance_refresh(**GROUP)
    with pytest.raises(ClientError, match="InstanceRefreshInProgress"):
        group.autoscaling.start_instance_refresh(**GROUP)
    (refresh,) = group.autoscaling.describe_instance_refreshes(**GROUP)["InstanceRefreshes"]
    assert refresh["InstanceRefreshId"] == started["InstanceRefreshId"]
    assert (refresh["Status"], refresh["InstancesToUpdate"]) == ("InProgress", 2)
    wait(group, 120)
    (refresh,) = group.autoscaling.describe_instance_refreshes(**GROUP)["InstanceRefreshes"]
    assert (refresh["Status"], refresh["PercentageComplete"]) == ("Successful", 100)


# ---- Services ----------------------------------------------------------------------------------------------


def service_activities(aws: EmbeddedAws, **asked: Any) -> list[dict[str, Any]]:
    found = aws.scaling.describe_scaling_activities(ServiceNamespace="ecs", ResourceId=SERVICE, **asked)
    return list(found["ScalingActivities"])


@pytest.mark.slow
def test_a_services_activity_names_the_alarm_and_ends_when_its_tasks_run(aws: EmbeddedAws) -> None:
    service = TrackedService(aws)
    service.set_desired(1)
    assert service_activities(aws) == []  # UpdateService is none of Application Auto Scaling's
    assert service.desired_after(4, value=60) == 2
    (activity,) = service_activities(aws)
    (policy,) = aws.scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
    alarm = policy["Alarms"][0]["AlarmName"]
    assert "AlarmHigh" in alarm
    assert (
        activity["Cause"] == f"monitor alarm {alarm} in state ALARM triggered policy {policy['PolicyName']}"
    )
    assert activity["Description"] == "Setting desired count to 2."
    assert activity["StatusMessage"] == (
        "Successfully set desired count to 2. Change successfully fulfilled by ecs."
    )
    assert (activity["StatusCode"], activity["ScalableDimension"]) == ("Successful", DIMENSION)
    assert activity["EndTime"] >= activity["StartTime"]


def test_an_alarm_that_changes_nothing_is_an_activity_only_if_asked_for_and_once(aws: EmbeddedAws) -> None:
    service = TrackedService(aws)
    service.set_desired(10)
    assert service.desired_after(10, value=60) == 10
    assert service_activities(aws) == []
    (idle,) = service_activities(aws, IncludeNotScaledActivities=True)
    assert idle["NotScaledReasons"] == [{"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 10}]
    assert (idle["StatusCode"], idle["Description"]) == (
        "Failed",
        "Attempting to scale due to alarm triggered",
    )


def test_new_bounds_of_a_target_are_named_as_the_cause(aws: EmbeddedAws) -> None:
    Demo(aws, ROOT).add_workload(QUEUE_PROC)
    aws.scaling.register_scalable_target(
        ServiceNamespace="ecs", ScalableDimension=DIMENSION, ResourceId=SERVICE, MinCapacity=3, MaxCapacity=9
    )
    (activity,) = service_activities(aws)
    assert activity["Cause"] == "minimum capacity was set to 3"
    assert (activity["StatusCode"], "EndTime" in activity) == ("InProgress", False)


def test_a_services_policies_are_found_by_name_and_by_its_whole_resource_id(aws: EmbeddedAws) -> None:
    Demo(aws, ROOT).add_workload(QUEUE_PROC)

    def found(**asked: Any) -> list[str]:
        answer = aws.scaling.describe_scaling_policies(ServiceNamespace="ecs", **asked)
        return [policy["PolicyName"] for policy in answer["ScalingPolicies"]]

    assert found() == found(PolicyNames=["sluice-queue-proc", "other"]) == ["sluice-queue-proc"]
    assert found(PolicyNames=["other"]) == found(ResourceId=f"{SERVICE}-2") == []
