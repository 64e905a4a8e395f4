"""The templates as stacks: the control plane transformed as SAM would, workloads rendered with parameters.

Owns the identities that AWS would give to their resources. Reaches no network.
"""

from __future__ import annotations

import copy
import functools
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samtranslator.translator.transform import transform

from sluice_sim.template import ResolvedStack, load, resolve

ROOT = Path(__file__).parents[2]
ACCOUNT, REGION = "123456789012", "eu-west-1"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:operators"
EVENT_BUS = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/decisions"
WORKLOAD_TEMPLATE = "workload.yaml"
WORKLOAD_TEMPLATE_BEFORE = "tests/documents/version-3-workload.yaml"
"""The last that wrote documents of the version before, as it was released or committed then."""

ASG_WORKLOAD = {
    "Name": "transcription",
    "QueueName": "transcription",
    "FleetType": "asg",
    "AutoScalingGroupName": "transcription",
    "MaxCapacity": "5",
}
ECS_WORKLOAD = {
    "Name": "queue-proc",
    "QueueName": "queue-proc",
    "FleetType": "ecs",
    "ClusterName": "workers",
    "ServiceName": "queue-proc",
    "MaxCapacity": "5",
}
WORKLOADS = {"asg": ASG_WORKLOAD, "ecs": ECS_WORKLOAD}
EXAMPLES = {"asg": "examples/fleet-asg.yaml", "ecs": "examples/fleet-ecs.yaml"}
WORKER = {
    "asg": {"ImageId": "ami-1", "WorkerWheel": "artifacts/sluice-0.1.0-py3-none-any.whl"},
    "ecs": {"Image": "images.example/sluice-worker:1"},
}
"""Where an example fleet's instances and tasks find the worker."""
DIMENSIONS = {
    "asg": {"AutoScalingGroupName": "transcription"},
    "ecs": {"ClusterName": "workers", "ServiceName": "queue-proc"},
}


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


EXPORTS = {
    f"{stack_name}-{output}": value
    for stack_name in ("sluice", "sluice-e2e")
    for output, value in {
        "MetricNamespace": "Sluice",
        "RegistryPrefix": "/sluice/workloads",
        "BootstrapFunctionArn": arn("lambda", "function:bootstrap"),
        "ShutdownFunctionArn": arn("lambda", "function:shutdown"),
        "SurgeFunctionArn": arn("lambda", "function:surge"),
    }.items()
}


def alarm_arn(name: str) -> str:
    return arn("cloudwatch", f"alarm:{name}")


def _identities(logical_id: str, properties: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Type -> attribute -> value, for the types whose identity a test reads."""
    unique = "8f9e2f6a-4b1c-4d7e-9a51-0c3d2e1f4a5b"
    alarm = properties.get("AlarmName", logical_id)
    group = properties.get("AutoScalingGroupName")
    logs = properties.get("LogGroupName")
    queue = properties.get("QueueName", logical_id)
    target = properties.get("ResourceId")
    return {
        "AWS::CloudWatch::Alarm": {"Ref": alarm, "Arn": alarm_arn(alarm)},
        "AWS::CloudWatch::Dashboard": {"Ref": properties.get("DashboardName", "")},
        "AWS::AutoScaling::ScalingPolicy": {
            "Ref": arn(
                "autoscaling", f"scalingPolicy:{unique}:autoScalingGroupName/{group}:policyName/{logical_id}"
            )
        },
        "AWS::ApplicationAutoScaling::ScalableTarget": {"Ref": f"{target}|ecs:service:DesiredCount|ecs"},
        "AWS::ApplicationAutoScaling::ScalingPolicy": {
            "Ref": arn(
                "autoscaling",
                f"scalingPolicy:{unique}:resource/ecs/{target}:policyName/{properties.get('PolicyName')}",
            )
        },
        "AWS::SSM::Parameter": {"Ref": properties.get("Name", "")},
        "AWS::Logs::LogGroup": {"Ref": logs or "", "Arn": arn("logs", f"log-group:{logs}:*")},
        "AWS::Lambda::Function": {"Ref": logical_id, "Arn": arn("lambda", f"function:{logical_id}")},
        "AWS::SQS::Queue": {
            "Ref": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{queue}",
            "Arn": arn("sqs", queue),
            "QueueName": queue,
        },
        "AWS::StepFunctions::StateMachine": {
            "Ref": arn("states", f"stateMachine:{properties.get('StateMachineName')}")
        },
        "AWS::DynamoDB::Table": {"Ref": logical_id, "Arn": arn("dynamodb", f"table/{logical_id}")},
        "AWS::Scheduler::ScheduleGroup": {
            "Ref": properties.get("Name", ""),
            "Arn": arn("scheduler", f"schedule-group/{properties.get('Name')}"),
        },
        "AWS::ECS::Cluster": {"Ref": properties.get("ClusterName", "")},
    }


def identity(logical_id: str, resource_type: str, properties: Mapping[str, Any], attribute: str) -> str:
    """The values of Ref and GetAtt; a marker of logical id and attribute if no test reads the value."""
    known = _identities(logical_id, properties).get(resource_type)
    return known[attribute] if known is not None else f"{logical_id}.{attribute}"


def resolved(
    body: Mapping[str, Any], parameters: Mapping[str, str], *, stack_name: str = "sluice"
) -> ResolvedStack:
    return resolve(
        body,
        parameters,
        identity=identity,
        imports=EXPORTS,
        account_id=ACCOUNT,
        region=REGION,
        stack_name=stack_name,
    )


class _NoManagedPolicies:
    """Replaces samtranslator's lookup of AWS managed policies, as the template uses none."""

    def load(self) -> dict[str, str]:
        return {}


@functools.cache
def template(path: str) -> dict[str, Any]:
    """A template as written, read once and not changed."""
    return load(ROOT / path)


@functools.cache
def transformed_plane() -> dict[str, Any]:
    """template.yaml after the SAM transform, its code as if packaged."""
    source_template = copy.deepcopy(template("template.yaml"))
    for resource in source_template["Resources"].values():
        for source in ("CodeUri", "ContentUri"):
            if source in resource["Properties"]:
                resource["Properties"][source] = "s3://artifacts/code"
    return transform(source_template, {}, _NoManagedPolicies())


def plane(*, stack_name: str = "sluice", **parameters: str) -> ResolvedStack:
    """The control plane as deployed."""
    return resolved(transformed_plane(), parameters, stack_name=stack_name)


def workload(fleet: str = "asg", **overrides: str) -> ResolvedStack:
    """A workload of that fleet type as deployed."""
    return resolved(
        template(WORKLOAD_TEMPLATE), {**WORKLOADS[fleet], **overrides}, stack_name="sluice-workload"
    )


def written_before(fleet: str = "asg", **overrides: str) -> str:
    """A document of the version before, as its workload.yaml writes it."""
    stack = resolved(
        load(ROOT / WORKLOAD_TEMPLATE_BEFORE),
        {**WORKLOADS[fleet], **overrides},
        stack_name="sluice-workload",
    )
    return str(stack.resources["Registration"].properties["Value"])


def example_fleet(fleet: str = "asg", **overrides: str) -> ResolvedStack:
    """An example fleet as deployed; Base64 is left out, which only wraps a group's user data."""
    body = copy.deepcopy(template(EXAMPLES[fleet]))
    parameters = {"VpcId": "vpc-1", "SubnetIds": "subnet-1,subnet-2", **WORKER[fleet]}
    if fleet == "asg":
        launch = body["Resources"]["LaunchTemplate"]["Properties"]["LaunchTemplateData"]
        launch["UserData"] = launch["UserData"]["Fn::Base64"]
    return resolved(body, {**parameters, **overrides}, stack_name="fleet")


def document(stack: ResolvedStack) -> dict[str, Any]:
    """The workload document that a workload's stack registers."""
    return json.loads(stack.resources["Registration"].properties["Value"])


def samconfig() -> dict[str, Any]:
    return tomllib.loads((ROOT / "samconfig.toml").read_text())


def workload_environments() -> dict[str, dict[str, str]]:
    """samconfig's environments that deploy workload.yaml, with their parameters."""
    deployments = {
        name: environment.get("deploy", {}).get("parameters", {})
        for name, environment in samconfig().items()
        if isinstance(environment, dict)
    }
    return {
        name: dict(override.split("=", 1) for override in deployment["parameter_overrides"])
        for name, deployment in deployments.items()
        if deployment.get("template_file") == WORKLOAD_TEMPLATE
    }


def of_type(stack: ResolvedStack, resource_type: str) -> dict[str, dict[str, Any]]:
    """Logical id -> properties of every resource of that type."""
    return {
        logical_id: dict(resource.properties)
        for logical_id, resource in stack.resources.items()
        if resource.type == resource_type
    }


def dimensions(pairs: list[dict[str, str]]) -> dict[str, str]:
    return {pair["Name"]: pair["Value"] for pair in pairs}
