"""CloudFormation, as far as our templates need it: resolve a template, then make its resources live.

Owns which resource types mean something here. Refuses every other type with a sentence, so that nothing a
template says is passed over in silence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice_sim import template
from sluice_sim.alarms import Alarm
from sluice_sim.embedded.account import ACCOUNT_ID, REGION, arn
from sluice_sim.embedded.functions import Lambda
from sluice_sim.embedded.monitoring import Monitoring
from sluice_sim.target_tracking import TargetTracking

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_ssm import SSMClient

WITHOUT_EFFECT = frozenset(
    {
        "AWS::IAM::ManagedPolicy",  # permissions are tested on the template, not played
        "AWS::IAM::Role",
        "AWS::Logs::LogGroup",
        "AWS::Serverless::LayerVersion",  # the layer is this checkout's own package
        "AWS::SQS::Queue",  # the failure queue: failures are in the log
        "AWS::SQS::QueuePolicy",
    }
)


class Stacks:
    """The account's stacks and their exports."""

    def __init__(
        self,
        root: Path,
        functions: Lambda,
        monitoring: Monitoring,
        ssm: SSMClient,
        autoscaling: AutoScalingClient,
    ) -> None:
        self._root, self._functions, self._monitoring = root, functions, monitoring
        self._ssm, self._autoscaling = ssm, autoscaling
        self._exports: dict[str, str] = {}

    def deploy(self, template_file: str, stack_name: str, parameters: Mapping[str, str]) -> None:
        """Create the stack, then tell the event bus that it is complete."""
        resolved = template.resolve(
            _with_globals(template.load(self._root / template_file)),
            parameters,
            identity=lambda *about: _identity(stack_name, *about),
            imports=self._exports,
            account_id=ACCOUNT_ID,
            region=REGION,
            stack_name=stack_name,
        )
        # Functions first: permissions name them.
        for logical_id, resource in sorted(
            resolved.resources.items(), key=lambda item: item[1].type != "AWS::Serverless::Function"
        ):
            self._create(stack_name, logical_id, resource.type, resource.properties)
        self._exports |= resolved.exports
        self._functions.on_event(
            {
                "source": "aws.cloudformation",
                "detail-type": "CloudFormation Stack Status Change",
                "resources": [template.stack_id(ACCOUNT_ID, REGION, stack_name)],
                "detail": {
                    "stack-id": template.stack_id(ACCOUNT_ID, REGION, stack_name),
                    "status-details": {"status": "CREATE_COMPLETE", "status-reason": ""},
                },
            }
        )

    def _create(self, stack_name: str, logical_id: str, kind: str, properties: Mapping[str, Any]) -> None:
        match kind:
            case "AWS::Serverless::Function":
                self._functions.create(_name(stack_name, logical_id), properties, self._root)
            case "AWS::Lambda::Permission":
                self._functions.permit(
                    properties["FunctionName"], properties["Principal"], properties["SourceArn"]
                )
            case "AWS::SSM::Parameter":
                self._ssm.put_parameter(
                    Name=properties["Name"], Type="String", Value=properties["Value"], Overwrite=True
                )
            case "AWS::CloudWatch::Alarm":
                self._monitoring.watch(Alarm.from_properties(logical_id, properties))
            case "AWS::AutoScaling::ScalingPolicy":
                self._track(_name(stack_name, logical_id), logical_id, properties)
            case _ if kind not in WITHOUT_EFFECT:
                raise ValueError(f"{logical_id}: resources of type {kind} are not simulated")

    def _track(self, policy_name: str, logical_id: str, properties: Mapping[str, Any]) -> None:
        policy = TargetTracking.from_properties(logical_id, properties)
        configuration = json.loads(json.dumps(properties["TargetTrackingConfiguration"]))
        configuration["TargetValue"] = policy.target
        request: dict[str, Any] = {
            "AutoScalingGroupName": policy.group,
            "PolicyName": policy_name,
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingConfiguration": configuration,
        }
        if policy.instance_warmup_s is not None:
            request["EstimatedInstanceWarmup"] = policy.instance_warmup_s
        self._autoscaling.put_scaling_policy(**request)
        self._monitoring.track(policy, policy_name)


def _with_globals(loaded: Mapping[str, Any]) -> dict[str, Any]:
    """SAM's Globals.Function, as it means them: what a function says itself wins, mappings are joined."""
    shared = loaded.get("Globals", {}).get("Function", {})
    return {
        **loaded,
        "Resources": {
            logical_id: {**body, "Properties": _joined(shared, body["Properties"])}
            if body["Type"] == "AWS::Serverless::Function"
            else body
            for logical_id, body in loaded["Resources"].items()
        },
    }


def _joined(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    both = {key for key in shared.keys() & own.keys() if isinstance(shared[key], dict)}
    return {**shared, **own, **{key: _joined(shared[key], own[key]) for key in both}}


def _name(stack_name: str, logical_id: str) -> str:
    return f"{stack_name}-{logical_id}"


def _identity(
    stack_name: str, logical_id: str, kind: str, properties: Mapping[str, Any], attribute: str
) -> str:
    """What Ref (attribute "Ref") and GetAtt give for a resource of the stack."""
    name = _name(stack_name, logical_id)
    match kind, attribute:
        case "AWS::CloudWatch::Alarm", "Arn":
            return arn("cloudwatch", f"alarm:{properties['AlarmName']}")
        case "AWS::Serverless::Function", "Arn":
            return arn("lambda", f"function:{name}")
        case "AWS::AutoScaling::ScalingPolicy", "Ref":
            return _policy_arn(properties["AutoScalingGroupName"], name)
        case _, "Arn":
            return arn(kind.split("::")[1].lower(), name)
        case _:
            return name


def _policy_arn(group: str, policy_name: str) -> str:
    """As moto forms it: every policy has the same unique part there."""
    unique = "c322761b-3172-4d56-9a21-0ed9d6161d67"
    return arn("autoscaling", f"scalingPolicy:{unique}:autoScalingGroupName/{group}:policyName/{policy_name}")
