"""An AWS account in memory, with the resources that a user creates."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult

from sluice.aws import clients
from sluice.core.model import AutoScalingGroup, EcsService
from sluice_sim.embedded.moto_shortcuts import install_shortcuts

PREFIX = "/sluice/workloads"
ECS_DIMENSION = "ecs:service:DesiredCount"


@contextmanager
def account() -> Iterator[None]:
    install_shortcuts()
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        # moto has no instance refreshes.
        none = ActionResult({"InstanceRefreshes": []})
        patch.setattr(AutoScalingResponse, "describe_instance_refreshes", lambda _: none, raising=False)
        yield


@contextmanager
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


@cache
def session() -> boto3.Session:
    """One for all tests: parsing the services' models anew for each would take most of their time."""
    return boto3.Session()


@cache
def client(service: str) -> Any:
    """As the functions make it."""
    return clients.client(session(), service)


def create_queue(name: str) -> str:
    attributes = {"FifoQueue": "true"} if name.endswith(".fifo") else {}
    return str(client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])


def send(queue_url: str, count: int = 1, *, delay_s: int = 0) -> None:
    for index in range(count):
        client("sqs").send_message(QueueUrl=queue_url, MessageBody=str(index), DelaySeconds=delay_s)


def receive(queue_url: str, count: int = 1) -> list[str]:
    """Receipt handles of messages that are now in flight; ten at most."""
    if count == 0:
        return []
    answer = client("sqs").receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=count, VisibilityTimeout=600
    )
    return [message["ReceiptHandle"] for message in answer.get("Messages", [])]


def create_state_table(name: str = "states") -> str:
    """A table as template.yaml makes it."""
    client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "workload", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "workload", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def create_group(name: str, *, desired: int = 0, min_size: int = 0, max_size: int = 5) -> AutoScalingGroup:
    autoscaling = client("autoscaling")
    autoscaling.create_launch_configuration(
        LaunchConfigurationName=name, ImageId="ami-12345678", InstanceType="t3.micro"
    )
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchConfigurationName=name,
        MinSize=min_size,
        MaxSize=max_size,
        DesiredCapacity=desired,
        AvailabilityZones=["eu-west-1a"],
    )
    return AutoScalingGroup(name=name)


def create_service(
    name: str,
    *,
    cluster: str = "workers",
    desired: int = 0,
    bounds: tuple[int, int] | None = (0, 5),
    controller: str = "ECS",
) -> EcsService:
    ecs = client("ecs")
    ecs.create_cluster(clusterName=cluster)
    ecs.register_task_definition(
        family=name, containerDefinitions=[{"name": "worker", "image": "worker", "memory": 64}]
    )
    ecs.create_service(
        cluster=cluster,
        serviceName=name,
        taskDefinition=name,
        desiredCount=0,
        deploymentController={"type": controller},
    )
    if desired:  # a service created at 0 has finished its first deployment
        ecs.update_service(cluster=cluster, service=name, desiredCount=desired)
    if bounds:
        client("application-autoscaling").register_scalable_target(
            ServiceNamespace="ecs",
            ResourceId=f"service/{cluster}/{name}",
            ScalableDimension=ECS_DIMENSION,
            MinCapacity=bounds[0],
            MaxCapacity=bounds[1],
        )
    return EcsService(cluster=cluster, service=name)


def desired_of(fleet: AutoScalingGroup | EcsService) -> int:
    if isinstance(fleet, AutoScalingGroup):
        answer = client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[fleet.name])
        return int(answer["AutoScalingGroups"][0]["DesiredCapacity"])
    answer = client("ecs").describe_services(cluster=fleet.cluster, services=[fleet.service])
    return int(answer["services"][0]["desiredCount"])


METRIC = {"MetricName": "BacklogPerInstance", "Namespace": "Sluice", "Statistic": "Average"}


def create_group_policy(group: str, target: float = 10) -> str:
    """A target-tracking policy; the answer is its ARN."""
    autoscaling = client("autoscaling")
    autoscaling.put_scaling_policy(
        AutoScalingGroupName=group,
        PolicyName=f"sluice-{group}",  # moto distinguishes policies by name only
        PolicyType="TargetTrackingScaling",
        EstimatedInstanceWarmup=180,
        TargetTrackingConfiguration={"TargetValue": target, "CustomizedMetricSpecification": METRIC},
    )
    return policy_arn_of(AutoScalingGroup(name=group))


def create_service_policy(fleet: EcsService, target: float = 10) -> str:
    answer = client("application-autoscaling").put_scaling_policy(
        PolicyName="sluice",
        ServiceNamespace="ecs",
        ResourceId=f"service/{fleet.cluster}/{fleet.service}",
        ScalableDimension=ECS_DIMENSION,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": target,
            "CustomizedMetricSpecification": METRIC,
            "ScaleInCooldown": 60,
            "ScaleOutCooldown": 30,
        },
    )
    return str(answer["PolicyARN"])


def policy_arn_of(fleet: AutoScalingGroup | EcsService) -> str:
    """The ARN of the fleet's one policy now: moto gives a service's policy a new one with every put."""
    if isinstance(fleet, AutoScalingGroup):
        answer = client("autoscaling").describe_policies(AutoScalingGroupName=fleet.name)
    else:
        answer = client("application-autoscaling").describe_scaling_policies(
            ServiceNamespace="ecs", ResourceId=f"service/{fleet.cluster}/{fleet.service}"
        )
    [policy] = answer["ScalingPolicies"]
    return str(policy["PolicyARN"])


def register(document: Mapping[str, Any] | str, name: str | None = None) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    parameter = name or json.loads(text)["name"]
    client("ssm").put_parameter(Name=f"{PREFIX}/{parameter}", Value=text, Type="String", Overwrite=True)
