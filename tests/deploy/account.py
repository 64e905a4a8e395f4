"""The account of the deployed functions: one workload on an Auto Scaling group, one on an ECS service.

Reads it, changes it, and resets it with both fleets at zero.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends

from sluice_sim.account import ACCOUNT_ID, REGION
from tests.deploy.cloudformation.calls import Aws

GROUP = "transcription"
CLUSTER, SERVICE = "workers", "queue-proc"
REGISTRY = "/sluice/workloads"
RESOURCE = f"service/{CLUSTER}/{SERVICE}"
QUEUES = (GROUP, SERVICE)
DIMENSIONS: Mapping[str, Mapping[str, str]] = {
    GROUP: {"AutoScalingGroupName": GROUP},
    SERVICE: {"ClusterName": CLUSTER, "ServiceName": SERVICE},
}
"""Workload -> the dimensions of its metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One published data point, its dimensions complete."""

    dimensions: Mapping[str, str]
    at: datetime
    value: float


class Account:
    """Two queues, two fleets, their policies and their metrics."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._documents_at_first = {queue: self._document(queue) for queue in QUEUES}
        self._group_policy_at_first = self._group_policy()
        self._service_policy_at_first = self._service_policy()

    def reset(self) -> None:
        """Empty queues, metrics and tables, set the fleets to zero, and restore what the stacks made."""
        self._hand_back()
        for queue in QUEUES:
            self._aws("sqs", "PurgeQueue", QueueUrl=self._queue_url(queue))
            self.set_desired(queue, 0)
        pool = self._aws("autoscaling", "DescribeWarmPool", AutoScalingGroupName=GROUP)
        if pool.get("WarmPoolConfiguration"):
            self._aws("autoscaling", "DeleteWarmPool", AutoScalingGroupName=GROUP, ForceDelete=True)
        cloudwatch_backends[ACCOUNT_ID][REGION].metric_data.clear()  # no call of AWS's deletes metrics
        for table in self._aws("dynamodb", "ListTables")["TableNames"]:
            for item in self._aws("dynamodb", "Scan", TableName=table)["Items"]:
                self._aws("dynamodb", "DeleteItem", TableName=table, Key={"workload": item["workload"]})
        for workload, text in self._documents_at_first.items():
            if self._document(workload) != text:
                self._register(workload, text)
        if self._group_policy() != self._group_policy_at_first:
            self._put_group_policy()
        if self._service_policy() != self._service_policy_at_first:
            self._put_service_policy()

    # ---- Changes

    def send(self, queue: str, messages: int) -> None:
        """Send messages that a worker would receive."""
        for index in range(messages):
            self._aws("sqs", "SendMessage", QueueUrl=self._queue_url(queue), MessageBody=f"message {index}")

    def add_warm_pool(self) -> None:
        """Give the group a warm pool, which the embedded AWS never fills."""
        self._aws("autoscaling", "PutWarmPool", AutoScalingGroupName=GROUP, MinSize=1)

    def set_desired(self, workload: str, instances: int) -> None:
        """Set a fleet to this many instances, all of them running."""
        if workload == GROUP:
            self._aws(
                "autoscaling",
                "SetDesiredCapacity",
                AutoScalingGroupName=GROUP,
                DesiredCapacity=instances,
            )
        else:
            self._aws("ecs", "UpdateService", cluster=CLUSTER, service=SERVICE, desiredCount=instances)

    def scale_by_deadline(self, *workloads: str) -> dict[str, str]:
        """Hand these fleets, or both, to the deadline engine; returns the new documents by workload."""
        documents = {}
        for workload in workloads or self._documents_at_first:
            document = json.loads(self._documents_at_first[workload])
            document |= {
                "scaling": {"type": "deadline", "promise_s": 300, "boot_s": 180},
                "tracking": document["tracking"] | {"processing_s": 5},
            }
            documents[workload] = json.dumps(document)
            self._register(workload, documents[workload])
        return documents

    def guard(self) -> None:
        """Give both workloads a downstream guard that watches every signal."""
        watched = {"failed_percent": 50, "dead_letters_per_minute": 1, "dead_letter_queue": "dead"}
        for workload, text in self._documents_at_first.items():
            guarded = json.loads(text) | {"guard": watched | {"alarm_name": "database"}}
            self._register(workload, json.dumps(guarded))

    def remember(self, **attributes: str) -> None:
        """Replace what the table of states has of both workloads."""
        (table,) = self._aws("dynamodb", "ListTables")["TableNames"]
        for workload in QUEUES:
            item = {key: {"S": text} for key, text in {"workload": workload, **attributes}.items()}
            self._aws("dynamodb", "PutItem", TableName=table, Item=item)

    def publish(
        self, namespace: str, metric: str, dimensions: Mapping[str, str], values: Mapping[datetime, float]
    ) -> None:
        """Publish data points as a worker or an earlier tick would."""
        pairs = [{"Name": name, "Value": value} for name, value in dimensions.items()]
        data = [
            {"MetricName": metric, "Dimensions": pairs, "Timestamp": at, "Value": value}
            for at, value in values.items()
        ]
        self._aws("cloudwatch", "PutMetricData", Namespace=namespace, MetricData=data)

    # ---- Reads

    def desired(self, workload: str) -> int:
        """The fleet's desired count."""
        if workload == GROUP:
            found = self._aws("autoscaling", "DescribeAutoScalingGroups", AutoScalingGroupNames=[GROUP])
            return int(found["AutoScalingGroups"][0]["DesiredCapacity"])
        services = self._aws("ecs", "DescribeServices", cluster=CLUSTER, services=[SERVICE])
        return int(services["services"][0]["desiredCount"])

    def points(self, namespace: str, metric: str) -> list[Point]:
        """Every data point of a metric in the last hour, in the order of their dimensions and times."""
        now = datetime.now(UTC)
        found = []
        metrics = self._aws("cloudwatch", "ListMetrics", Namespace=namespace, MetricName=metric)["Metrics"]
        # moto lists some metrics more than once.
        for listed in {json.dumps(listed["Dimensions"]): listed for listed in metrics}.values():
            answer = self._aws(
                "cloudwatch",
                "GetMetricStatistics",
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

    def samples(self, metric: str) -> list[Point]:
        """Every sample as it was put, also several at one time; moto's statistics mix other dimensions in."""
        data = cloudwatch_backends[ACCOUNT_ID][REGION].metric_data
        return [
            Point(
                dimensions={dimension.name: dimension.value for dimension in datum.dimensions},
                at=datum.timestamp.replace(tzinfo=UTC),
                value=datum.value,
            )
            for datum in data
            if datum.name == metric
        ]

    def group_target(self) -> float:
        """The target of the group's policy."""
        return float(self._group_policy()["TargetTrackingConfiguration"]["TargetValue"])

    def service_policy(self) -> dict[str, Any]:
        """The configuration of the service's policy: its target and everything else."""
        configuration: dict[str, Any] = self._service_policy()["TargetTrackingScalingPolicyConfiguration"]
        return configuration

    def holds_scale_out(self, workload: str) -> bool:
        """Whether the fleet's own policy is held, so that it does not scale out."""
        if workload == GROUP:
            return self._group_policy().get("Enabled") is False
        return bool(self._suspended_state().get("DynamicScalingOutSuspended"))

    def bodies(self, queue: str) -> list[str]:
        """Every message of a queue, received until none is left."""
        url, found = self._queue_url(queue), []
        receive = partial(self._aws, "sqs", "ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)
        while messages := receive().get("Messages"):
            found += [message["Body"] for message in messages]
        return found

    # ---- The policies

    def _hand_back(self) -> None:
        """End the surges and the holds: the minimum is 0 again, nothing is suspended or scheduled."""
        named = {"AutoScalingGroupName": GROUP}
        self._aws("autoscaling", "ResumeProcesses", **named)
        for schedule in self._aws("scheduler", "ListSchedules")["Schedules"]:
            if schedule["GroupName"] != "default":  # there are those of the functions
                place = {"Name": schedule["Name"], "GroupName": schedule["GroupName"]}
                self._aws("scheduler", "DeleteSchedule", **place)
        for action in self._aws("autoscaling", "DescribeScheduledActions", **named)[
            "ScheduledUpdateGroupActions"
        ]:
            name = action["ScheduledActionName"]
            self._aws("autoscaling", "DeleteScheduledAction", **named, ScheduledActionName=name)
        self._aws("autoscaling", "UpdateAutoScalingGroup", **named, MinSize=0)
        target = {
            "ServiceNamespace": "ecs",
            "ResourceId": f"service/{CLUSTER}/{SERVICE}",
            "ScalableDimension": "ecs:service:DesiredCount",
        }
        for action in self._aws("application-autoscaling", "DescribeScheduledActions", **target)[
            "ScheduledActions"
        ]:
            name = action["ScheduledActionName"]
            self._aws("application-autoscaling", "DeleteScheduledAction", **target, ScheduledActionName=name)
        self._aws("application-autoscaling", "RegisterScalableTarget", **target, MinCapacity=0)
        if any(self._suspended_state().values()):
            released = dict.fromkeys(self._suspended_state(), False)
            self._aws("application-autoscaling", "RegisterScalableTarget", **target, SuspendedState=released)

    def _suspended_state(self) -> dict[str, bool]:
        found = self._aws("application-autoscaling", "DescribeScalableTargets", ServiceNamespace="ecs")
        return dict(found["ScalableTargets"][0].get("SuspendedState") or {})

    def _group_policy(self) -> dict[str, Any]:
        policy: dict[str, Any]
        found = self._aws("autoscaling", "DescribePolicies", AutoScalingGroupName=GROUP)
        (policy,) = found["ScalingPolicies"]
        return policy

    def _put_group_policy(self) -> None:
        settings = ("AutoScalingGroupName", "PolicyName", "PolicyType", "TargetTrackingConfiguration")
        self._aws(
            "autoscaling", "PutScalingPolicy", **{key: self._group_policy_at_first[key] for key in settings}
        )

    def _service_policy(self) -> dict[str, Any]:
        policy: dict[str, Any]
        found = self._aws(
            "application-autoscaling", "DescribeScalingPolicies", ServiceNamespace="ecs", ResourceId=RESOURCE
        )
        (policy,) = found["ScalingPolicies"]
        return policy

    def _put_service_policy(self) -> None:
        read_only = ("PolicyARN", "CreationTime", "Alarms")
        settings = {
            key: value for key, value in self._service_policy_at_first.items() if key not in read_only
        }
        self._aws("application-autoscaling", "PutScalingPolicy", **settings)

    # ---- The documents

    def _document(self, workload: str) -> str:
        parameter = self._aws("ssm", "GetParameter", Name=f"{REGISTRY}/{workload}")["Parameter"]
        return str(parameter["Value"])

    def _register(self, workload: str, text: str) -> None:
        name = f"{REGISTRY}/{workload}"
        self._aws("ssm", "PutParameter", Name=name, Value=text, Type="String", Overwrite=True)

    def _queue_url(self, queue: str) -> str:
        return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT_ID}/{queue}"
