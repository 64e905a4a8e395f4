"""Two blue/green workloads beside the others: two groups on a FIFO queue, and two services on a queue.

The groups are those of the first such environment of samconfig.toml; each color is a stack of an example
fleet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sluice.core.switch_record import Switch, decoded, encoded
from sluice_sim.account import ACCOUNT_ID, REGION
from tests.deploy.cloudformation.calls import Aws
from tests.deploy.deployment import PLANE, Deployment
from tests.deploy.server import Server
from tests.templates.stacks import workload_environments

REGISTRY = "/sluice/workloads"
COLORS = ("blue", "green")
CLUSTER = "workers"
RETUNED = 7.0
"""The target of blue's policy."""
CONFIGURATION = {"asg": "TargetTrackingConfiguration", "ecs": "TargetTrackingScalingPolicyConfiguration"}
CONFIG = """
version = 0.1

[{name}.deploy.parameters]
template_file = "workload.yaml"
resolve_s3 = true
stack_name = "sluice-{name}"
parameter_overrides = {overrides}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One workload's parameters, and what both stacks of its fleets are given; `fleets` are as COLORS."""

    parameters: Mapping[str, str]
    own: Mapping[str, str]

    @property
    def workload(self) -> str:
        return self.parameters["Name"]

    @property
    def kind(self) -> str:
        return self.parameters["FleetType"]

    @property
    def queue(self) -> str:
        return self.parameters["QueueName"]

    @property
    def fleets(self) -> tuple[str, str]:
        named = "AutoScalingGroupName" if self.kind == "asg" else "ServiceName"
        return self.parameters[named], self.parameters[f"Green{named}"]


EXAMPLE = next(each for each in workload_environments().values() if each.get("GreenAutoScalingGroupName"))
SERVICES = {
    "Name": "translation",
    "QueueName": "translation",
    "FleetType": "ecs",
    "ClusterName": CLUSTER,
    "ServiceName": "translation",
    "GreenServiceName": "translation-green",
    "MaxCapacity": "5",
    "TargetType": "static",
    "MessagesPerInstance": "4",
}
PAIRS = (
    Pair(parameters=EXAMPLE, own={"MaxSize": EXAMPLE["MaxCapacity"]}),
    Pair(parameters=SERVICES, own={"CreateCluster": "false"}),
)


@contextmanager
def deployed_pairs(deployment: Deployment, folder: Path) -> Iterator[None]:
    """Deploy both workloads with their fleets; they are deleted at the end."""
    aws, stacks = deployment.server.aws, []
    for pair in PAIRS:
        for number, color in enumerate(COLORS):
            stacks.append(f"sluice-{pair.fleets[number]}-fleet")
            deployment.deploy_fleet(stacks[-1], f"fleet-{pair.kind}.yaml", _of_color(pair, number, color))
    for pair in PAIRS:
        given = {"ControlPlaneStack": PLANE, **pair.parameters}
        overrides = json.dumps([f"{name}={value}" for name, value in given.items()])
        config = folder / f"{pair.workload}.toml"
        config.write_text(CONFIG.format(name=pair.workload, overrides=overrides), encoding="utf-8")
        deployment.deploy_workload_of(config, pair.workload)
    yield
    for pair in PAIRS:
        deployment.delete(f"sluice-{pair.workload}")
        # Made by the first switch, and not the stack's.
        aws("ssm", "DeleteParameters", Names=[f"{REGISTRY}/{pair.workload}/active-color"])
        for fleet in pair.fleets if pair.kind == "ecs" else ():
            # The stack leaves the targets, which others may use.
            aws("application-autoscaling", "DeregisterScalableTarget", **_target(fleet))
    for stack in reversed(stacks):
        aws("cloudformation", "DeleteStack", StackName=stack)


def _of_color(pair: Pair, number: int, color: str) -> dict[str, str]:
    parameters = {
        **pair.own,
        "FleetName": pair.fleets[number],
        "Color": color,
        "DrainingColorParameter": f"{REGISTRY}/{pair.workload}/draining-color",
    }
    if color == "green":
        return parameters | {"ExistingQueueName": pair.queue}
    is_fifo = pair.queue.endswith(".fifo")
    assert pair.queue == pair.fleets[0] + ".fifo" * is_fifo  # which the stack of its fleet makes
    return parameters | {"Fifo": str(is_fifo).lower()}


def _target(service: str) -> dict[str, str]:
    return {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/{CLUSTER}/{service}",
        "ScalableDimension": "ecs:service:DesiredCount",
    }


@dataclass(slots=True, kw_only=True)
class ColoredAccount:
    """One pair in the account, and its workers."""

    server: Server
    pair: Pair

    @property
    def _aws(self) -> Aws:
        return self.server.aws

    # ---- the work, and who does it -----------------------------------------------------------------------

    def at_first(self, *, messages: int) -> None:
        """So many messages wait. Blue is active and runs two instances, one of them busy; green runs none."""
        url = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT_ID}/{self.pair.queue}"
        self._aws("sqs", "PurgeQueue", QueueUrl=url)
        grouped = {"MessageGroupId": "gcc"} if self.pair.queue.endswith(".fifo") else {}
        for number in range(messages):
            self._aws("sqs", "SendMessage", QueueUrl=url, MessageBody=f"message {number}", **grouped)
        for name, value in (("active-color", "blue"), ("draining-color", "none")):
            self._aws(
                "ssm",
                "PutParameter",
                Name=f"{REGISTRY}/{self.pair.workload}/{name}",
                Value=value,
                Type="String",
                Overwrite=True,
            )
        for color in COLORS:
            self.work(color, 0)
        self._size("blue", minimum=1, desired=2)
        self._size("green", minimum=0, desired=0)
        self.work("blue", 1)
        self._retune("blue", RETUNED)
        self._retune("green", RETUNED + 1)

    def work(self, color: str, busy: int) -> None:
        """So many instances of the color work on messages, and are protected from scale-in."""
        fleet = self.fleet(color)
        if self.pair.kind == "ecs":
            self.server.tasks.protected[fleet] = busy
            return
        instances = [each["InstanceId"] for each in self._group(color)["Instances"]]
        for protected, some in ((True, instances[:busy]), (False, instances[busy:])):
            if some:
                self._aws(
                    "autoscaling",
                    "SetInstanceProtection",
                    AutoScalingGroupName=fleet,
                    InstanceIds=some,
                    ProtectedFromScaleIn=protected,
                )

    def pass_time(self, seconds: float) -> None:
        """Let the switch in progress have begun that much earlier: the functions have the wall clock."""
        (table,) = self._aws("dynamodb", "ListTables")["TableNames"]
        key = {"workload": {"S": self.pair.workload}}
        item = self._aws("dynamodb", "GetItem", TableName=table, Key=key)["Item"]
        older = _older(decoded(item["switch"]["S"]), timedelta(seconds=seconds))
        self._aws("dynamodb", "PutItem", TableName=table, Item=item | {"switch": {"S": encoded(older)}})

    def _retune(self, color: str, target: float) -> None:
        policy, service = self._policy(color)
        kept = ("AutoScalingGroupName", "PolicyName", "PolicyType", CONFIGURATION[self.pair.kind])
        kept += ("ServiceNamespace", "ResourceId", "ScalableDimension")
        settings = {key: policy[key] for key in kept if key in policy}
        settings[CONFIGURATION[self.pair.kind]]["TargetValue"] = target
        self._aws(service, "PutScalingPolicy", **settings)

    # ---- what is there -----------------------------------------------------------------------------------

    def fleet(self, color: str) -> str:
        """The name of the color's fleet."""
        return self.pair.fleets[COLORS.index(color)]

    def parameter(self, name: str) -> str:
        """The value of a parameter below the workload's name."""
        path = f"{REGISTRY}/{self.pair.workload}/{name}"
        return str(self._aws("ssm", "GetParameter", Name=path)["Parameter"]["Value"])

    def document(self) -> dict[str, Any]:
        """The workload's document."""
        path = f"{REGISTRY}/{self.pair.workload}"
        found: dict[str, Any] = json.loads(self._aws("ssm", "GetParameter", Name=path)["Parameter"]["Value"])
        return found

    def record(self) -> str | None:
        """What is stored of a switch in progress."""
        (table,) = self._aws("dynamodb", "ListTables")["TableNames"]
        key = {"workload": {"S": self.pair.workload}}
        item = self._aws("dynamodb", "GetItem", TableName=table, Key=key).get("Item", {})
        return item["switch"]["S"] if "switch" in item else None

    def state(self) -> dict[str, Any]:
        """The two parameters and the record; of each color its minimum, its size and whether it is held."""
        parameters = {name: self.parameter(name) for name in ("active-color", "draining-color")}
        return {**parameters, "record": self.record(), **{color: self._of(color) for color in COLORS}}

    def target(self, color: str) -> float:
        """The target of the color's policy."""
        return float(self._policy(color)[0][CONFIGURATION[self.pair.kind]]["TargetValue"])

    def _policy(self, color: str) -> tuple[dict[str, Any], str]:
        """The color's policy, and the service that keeps it."""
        fleet, service = self.fleet(color), "autoscaling"
        named = {"AutoScalingGroupName": fleet}
        if self.pair.kind == "ecs":
            service = "application-autoscaling"
            named = {"ServiceNamespace": "ecs", "ResourceId": f"service/{CLUSTER}/{fleet}"}
        operation = "DescribePolicies" if self.pair.kind == "asg" else "DescribeScalingPolicies"
        found = self._aws(service, operation, **named)["ScalingPolicies"]
        # moto also finds the policies of a service whose name begins this one's.
        (policy,) = [each for each in found if named.items() <= each.items()]
        return policy, service

    def _of(self, color: str) -> tuple[int, int, bool]:
        if self.pair.kind == "asg":
            group = self._group(color)
            return group["MinSize"], group["DesiredCapacity"], bool(group.get("SuspendedProcesses"))
        found = self._aws("ecs", "DescribeServices", cluster=CLUSTER, services=[self.fleet(color)])
        (target,) = self._aws(
            "application-autoscaling",
            "DescribeScalableTargets",
            ServiceNamespace="ecs",
            ResourceIds=[f"service/{CLUSTER}/{self.fleet(color)}"],
        )["ScalableTargets"]
        held = any(target.get("SuspendedState", {}).values())
        return target["MinCapacity"], found["services"][0]["desiredCount"], held

    def _group(self, color: str) -> dict[str, Any]:
        named = [self.fleet(color)]
        found = self._aws("autoscaling", "DescribeAutoScalingGroups", AutoScalingGroupNames=named)
        group: dict[str, Any] = found["AutoScalingGroups"][0]
        return group

    def _size(self, color: str, *, minimum: int, desired: int) -> None:
        fleet = self.fleet(color)
        if self.pair.kind == "asg":
            self._aws(
                "autoscaling",
                "UpdateAutoScalingGroup",
                AutoScalingGroupName=fleet,
                MinSize=minimum,
                DesiredCapacity=desired,
            )
            return
        self._aws("application-autoscaling", "RegisterScalableTarget", **_target(fleet), MinCapacity=minimum)
        self._aws("ecs", "UpdateService", cluster=CLUSTER, service=fleet, desiredCount=desired)


def _older(switch: Any, by: timedelta) -> Switch:
    assert isinstance(switch, Switch), switch
    moments = {one.name: getattr(switch, one.name) for one in fields(switch)}
    return replace(switch, **{name: at - by for name, at in moments.items() if isinstance(at, datetime)})
