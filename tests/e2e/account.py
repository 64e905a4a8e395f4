"""The account that the built functions find: one workload on an Auto Scaling group, one on an ECS service.

Owns the seeding and the looking. Everything a workload's stack would create is taken from workload.yaml.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config

from sluice_sim.embedded.account import ENVIRONMENT, REGION
from sluice_sim.template import ResolvedStack, load
from tests.e2e.build import ROOT, stack

GROUP = "transcription"
CLUSTER, SERVICE = "workers", "queue-proc"
RESOURCE = f"service/{CLUSTER}/{SERVICE}"
WORKLOADS: Mapping[str, Mapping[str, str]] = {
    "transcription": {
        "FleetType": "asg",
        "AutoScalingGroupName": GROUP,
        "MaxCapacity": "5",
        "MessagesPerInstance": "8",
    },
    "queue-proc": {
        "FleetType": "ecs",
        "ClusterName": CLUSTER,
        "ServiceName": SERVICE,
        "MaxCapacity": "5",
        "TargetType": "dynamic",
        "AcceptableLatencySeconds": "600",
        "MessagesPerInstance": "10",
    },
}
SERVICES = ("application-autoscaling", "autoscaling", "cloudwatch", "ecs", "sqs", "ssm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One published data point, its dimensions complete."""

    dimensions: Mapping[str, str]
    at: datetime
    value: float


class Account:
    """An empty account behind `endpoint`, seeded on demand."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        session = boto3.Session(
            ENVIRONMENT["AWS_ACCESS_KEY_ID"], ENVIRONMENT["AWS_SECRET_ACCESS_KEY"], region_name=REGION
        )
        # No proxy of the machine stands between a test and its own embedded AWS.
        settings = Config(proxies={}, connect_timeout=5, read_timeout=20)
        self._clients: dict[str, Any] = {
            service: session.client(service, endpoint_url=endpoint, config=settings) for service in SERVICES
        }

    def close(self) -> None:
        """Close every connection."""
        for client in self._clients.values():
            client.close()

    def empty(self) -> None:
        """Forget every resource."""
        connection = http.client.HTTPConnection(self.endpoint.removeprefix("http://"), timeout=20)
        try:
            connection.request("POST", "/moto-api/reset")
            if connection.getresponse().status != 200:
                raise AssertionError("the embedded AWS did not let itself be emptied")
        finally:
            connection.close()

    def seed(self, exports: Mapping[str, str]) -> None:
        """Both workloads as their stacks would leave them; queues empty and fleets at zero."""
        self._create_group()
        self._create_service()
        for name, parameters in WORKLOADS.items():
            self._clients["sqs"].create_queue(QueueName=name)
            given = {"Name": name, "QueueName": name, **parameters}
            resolved = stack(load(ROOT / "workload.yaml"), f"sluice-{name}", exports, **given)
            put = self._put_group_policy if parameters["FleetType"] == "asg" else self._put_service_policy
            self._register(resolved, policy_arn=put(resolved))

    # ---- Making things happen

    def send(self, queue: str, messages: int) -> None:
        """Messages that a worker would take."""
        url = self._queue_url(queue)
        for index in range(messages):
            self._clients["sqs"].send_message(QueueUrl=url, MessageBody=f"message {index}")

    def size(self, workload: str, instances: int) -> None:
        """Bring a fleet to this many instances, all of them running."""
        if workload == GROUP:
            self._clients["autoscaling"].set_desired_capacity(
                AutoScalingGroupName=GROUP, DesiredCapacity=instances
            )
        else:
            self._clients["ecs"].update_service(cluster=CLUSTER, service=SERVICE, desiredCount=instances)

    def publish(
        self, namespace: str, metric: str, dimensions: Mapping[str, str], values: Mapping[datetime, float]
    ) -> None:
        """Data points as a worker, or an earlier tick, would have published them."""
        data = [
            {"MetricName": metric, "Dimensions": _pairs(dimensions), "Timestamp": at, "Value": value}
            for at, value in values.items()
        ]
        self._clients["cloudwatch"].put_metric_data(Namespace=namespace, MetricData=data)

    # ---- Looking

    def desired(self, workload: str) -> int:
        """The fleet's desired count."""
        if workload == GROUP:
            groups = self._clients["autoscaling"].describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])
            return int(groups["AutoScalingGroups"][0]["DesiredCapacity"])
        services = self._clients["ecs"].describe_services(cluster=CLUSTER, services=[SERVICE])
        return int(services["services"][0]["desiredCount"])

    def points(self, namespace: str, metric: str) -> list[Point]:
        """Every data point of a metric in the last hour, in the order of their dimensions and times."""
        now = datetime.now(UTC)
        client, found = self._clients["cloudwatch"], []
        for listed in client.list_metrics(Namespace=namespace, MetricName=metric)["Metrics"]:
            answer = client.get_metric_statistics(
                Namespace=namespace,
                MetricName=metric,
                Dimensions=listed["Dimensions"],
                StartTime=now - timedelta(hours=1),
                EndTime=now + timedelta(minutes=2),
                Period=1,
                Statistics=["Sum"],  # two points at one time would show as their sum
            )
            dimensions = {pair["Name"]: pair["Value"] for pair in listed["Dimensions"]}
            found += [
                Point(dimensions=dimensions, at=point["Timestamp"], value=point["Sum"])
                for point in answer["Datapoints"]
            ]
        return sorted(found, key=lambda point: (sorted(point.dimensions), point.at))

    def group_target(self) -> float:
        """The target that the group's policy holds."""
        return float(self._group_policy()["TargetTrackingConfiguration"]["TargetValue"])

    def service_policy(self) -> dict[str, Any]:
        """The service's policy, its target and everything else."""
        answer = self._clients["application-autoscaling"].describe_scaling_policies(
            ServiceNamespace="ecs", ResourceId=RESOURCE
        )
        (policy,) = answer["ScalingPolicies"]
        configuration: dict[str, Any] = policy["TargetTrackingScalingPolicyConfiguration"]
        return configuration

    def bodies(self, queue: str) -> list[str]:
        """Every message of a queue, received until none is left."""
        url, found = self._queue_url(queue), []
        while (
            messages := self._clients["sqs"]
            .receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            .get("Messages")
        ):
            found += [message["Body"] for message in messages]
        return found

    # ---- As the stacks would

    def _create_group(self) -> None:
        client = self._clients["autoscaling"]
        client.create_launch_configuration(
            LaunchConfigurationName=GROUP, ImageId="ami-12c6146b", InstanceType="g5.xlarge"
        )
        client.create_auto_scaling_group(
            AutoScalingGroupName=GROUP,
            LaunchConfigurationName=GROUP,
            MinSize=0,
            MaxSize=5,
            DesiredCapacity=0,
            AvailabilityZones=[f"{REGION}a"],
        )

    def _create_service(self) -> None:
        client = self._clients["ecs"]
        client.create_cluster(clusterName=CLUSTER)
        task = [{"name": "worker", "image": "worker", "memory": 128}]
        client.register_task_definition(family=SERVICE, containerDefinitions=task)
        client.create_service(cluster=CLUSTER, serviceName=SERVICE, taskDefinition=SERVICE, desiredCount=0)

    def _put_group_policy(self, resolved: ResolvedStack) -> str:
        properties = resolved.resources["AsgTargetTracking"].properties
        configuration = _numbers(properties["TargetTrackingConfiguration"])
        self._clients["autoscaling"].put_scaling_policy(
            AutoScalingGroupName=properties["AutoScalingGroupName"],
            PolicyName="AsgTargetTracking",
            PolicyType=properties["PolicyType"],
            TargetTrackingConfiguration=configuration,
        )
        return str(self._group_policy()["PolicyARN"])

    def _put_service_policy(self, resolved: ResolvedStack) -> str:
        client = self._clients["application-autoscaling"]
        target = resolved.resources["EcsScalableTarget"].properties
        policy = resolved.resources["EcsTargetTracking"].properties
        place = {key: target[key] for key in ("ServiceNamespace", "ScalableDimension", "ResourceId")}
        client.register_scalable_target(
            **place, MinCapacity=int(target["MinCapacity"]), MaxCapacity=int(target["MaxCapacity"])
        )
        answer = client.put_scaling_policy(
            **place,
            PolicyName=policy["PolicyName"],
            PolicyType=policy["PolicyType"],
            TargetTrackingScalingPolicyConfiguration=_numbers(
                policy["TargetTrackingScalingPolicyConfiguration"]
            ),
        )
        return str(answer["PolicyARN"])

    def _group_policy(self) -> dict[str, Any]:
        answer = self._clients["autoscaling"].describe_policies(AutoScalingGroupName=GROUP)
        policy: dict[str, Any]
        (policy,) = answer["ScalingPolicies"]
        return policy

    def _register(self, resolved: ResolvedStack, *, policy_arn: str) -> None:
        """Only the policy's ARN is AWS's own making; all the rest of the document is the template's."""
        registration = resolved.resources["Registration"].properties
        document = {**json.loads(registration["Value"]), "policy_arn": policy_arn}
        self._clients["ssm"].put_parameter(
            Name=registration["Name"], Type=registration["Type"], Value=json.dumps(document)
        )

    def _queue_url(self, queue: str) -> str:
        return str(self._clients["sqs"].get_queue_url(QueueName=queue)["QueueUrl"])


def _pairs(dimensions: Mapping[str, str]) -> Sequence[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in dimensions.items()]


def _numbers(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A policy's configuration with the numbers that CloudFormation would make of the parameters' text."""
    kinds = {"TargetValue": float, "ScaleOutCooldown": int, "ScaleInCooldown": int}
    return {name: kinds[name](value) if name in kinds else value for name, value in configuration.items()}
