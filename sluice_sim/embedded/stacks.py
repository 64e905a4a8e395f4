"""CloudFormation, as far as our templates need it: resolves a template and creates its resources.

A resource type that is neither created here nor listed in WITHOUT_EFFECT is an error, so that no resource of
a template is ignored silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluice.aws.ecs import DIMENSION
from sluice_sim import template
from sluice_sim.account import (
    ACCOUNT_ID,
    REGION,
    group_policy_arn,
    identity,
    resource_name,
    service_of,
    service_policy_arn,
)
from sluice_sim.aws_rules.alarms import Alarm
from sluice_sim.aws_rules.ec2_target_tracking import TargetTracking
from sluice_sim.aws_rules.ecs_target_tracking import ServiceTracking
from sluice_sim.aws_rules.monitoring import Monitoring
from sluice_sim.aws_rules.policy_runner import (
    GroupPolicyRunner,
    ServicePolicyRunner,
)
from sluice_sim.embedded.function_logs import FunctionLogs
from sluice_sim.embedded.functions import Lambda
from sluice_sim.embedded.groups import AutoScalingGroups
from sluice_sim.embedded.scaling_target import EmbeddedScalingTarget
from sluice_sim.embedded.services import EcsServices
from sluice_sim.embedded.stack_records import StackRecords
from sluice_sim.embedded.stack_schedules import GROUP_ACTION, StackSchedules
from sluice_sim.embedded.state_machines import StateMachines

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

WITHOUT_EFFECT = frozenset(
    {
        "AWS::IAM::ManagedPolicy",  # permissions are tested on the template, not enforced here
        "AWS::IAM::Role",
        "AWS::Logs::QueryDefinition",  # a text that is saved; tests run it
        "AWS::Serverless::LayerVersion",  # the layer is this checkout's own package
        "AWS::SQS::QueuePolicy",
    }
)
STORES = frozenset(
    {
        "AWS::CloudWatch::Dashboard",
        "AWS::DynamoDB::Table",
        "AWS::Logs::LogGroup",
        "AWS::SQS::Queue",
        "AWS::Scheduler::ScheduleGroup",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The services of the account in which a stack creates its resources."""

    functions: Lambda
    machines: StateMachines
    logs: FunctionLogs
    monitoring: Monitoring
    groups: AutoScalingGroups
    services: EcsServices
    ssm: SSMClient
    sqs: SQSClient
    dynamodb: Any
    cloudwatch: CloudWatchClient
    autoscaling: AutoScalingClient
    scaling: ApplicationAutoScalingClient


class Stacks:
    """The account's stacks and their exports."""

    def __init__(self, root: Path, account: Account, records: StackRecords) -> None:
        self._root, self._account, self.records = root, account, records
        self._exports: dict[str, str] = {}
        self._schedules = StackSchedules(account.autoscaling, account.scaling)
        self._targets: dict[str, Mapping[str, Any]] = {}
        """Physical name of each scalable target -> its properties."""

    def deploy(self, template_file: str, stack_name: str, parameters: Mapping[str, str]) -> None:
        """Create or update the stack, then send its CREATE_COMPLETE event."""
        resolved = template.resolve(
            _with_globals(template.load(self._root / template_file)),
            parameters,
            identity=lambda *about: identity(stack_name, *about),
            imports=self._exports,
            account_id=ACCOUNT_ID,
            region=REGION,
            stack_name=stack_name,
        )
        # Functions first: a permission refers to an existing function.
        for logical_id, resource in sorted(
            resolved.resources.items(), key=lambda item: item[1].type != "AWS::Serverless::Function"
        ):
            self._put(stack_name, logical_id, resource.type, resource.properties)
        self._schedules.deploy(stack_name, resolved.resources)
        self._exports |= resolved.exports
        self.records.deployed(stack_name, resolved)
        self._account.functions.on_event(
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

    def _put(self, stack_name: str, logical_id: str, kind: str, properties: Mapping[str, Any]) -> None:
        match kind:
            case "AWS::Serverless::Function" | "AWS::Serverless::StateMachine":
                self._run(resource_name(stack_name, logical_id), kind, properties)
            case "AWS::Lambda::Permission":
                self._account.functions.permit(
                    properties["FunctionName"], properties["Principal"], properties["SourceArn"]
                )
            case "AWS::SSM::Parameter":
                self._account.ssm.put_parameter(
                    Name=properties["Name"], Type="String", Value=properties["Value"], Overwrite=True
                )
            case _ if kind in STORES:
                self._store(resource_name(stack_name, logical_id), kind, properties)
            case "AWS::CloudWatch::Alarm":
                named = {"AlarmName": resource_name(stack_name, logical_id)} | dict(properties)
                self._account.monitoring.add_alarm(Alarm.from_properties(logical_id, named))
            case "AWS::AutoScaling::ScalingPolicy":
                self._track_group(resource_name(stack_name, logical_id), logical_id, properties)
            case "AWS::ApplicationAutoScaling::ScalableTarget":
                self._register_target(resource_name(stack_name, logical_id), properties)
            case "AWS::ApplicationAutoScaling::ScalingPolicy":
                self._track_service(logical_id, properties)
            case _ if kind not in {*WITHOUT_EFFECT, GROUP_ACTION}:
                raise ValueError(f"{logical_id}: resources of type {kind} are not simulated")

    def _run(self, name: str, kind: str, properties: Mapping[str, Any]) -> None:
        """Create a function or a state machine."""
        if kind == "AWS::Serverless::Function":
            self._account.functions.create(name, properties, self._root)
        else:
            self._account.machines.deploy(properties)

    def _store(self, name: str, kind: str, properties: Mapping[str, Any]) -> None:
        """Put a dashboard; create a group of logs or schedules, a queue, or a table, unless it exists."""
        account = self._account
        if kind == "AWS::Scheduler::ScheduleGroup":
            account.functions.schedules.create_group(properties["Name"])
        elif kind == "AWS::SQS::Queue":
            attributes: Any = {key: str(value).lower() for key, value in properties.items()}
            account.sqs.create_queue(QueueName=name, Attributes=attributes)
        elif kind == "AWS::Logs::LogGroup":
            account.logs.create_group(properties["LogGroupName"], int(properties["RetentionInDays"]))
        elif kind == "AWS::CloudWatch::Dashboard":
            account.cloudwatch.put_dashboard(**properties)
        elif name not in account.dynamodb.list_tables()["TableNames"]:
            kept = {key: value for key, value in properties.items() if key != "TimeToLiveSpecification"}
            account.dynamodb.create_table(TableName=name, **kept)

    def _register_target(self, name: str, properties: Mapping[str, Any]) -> None:
        """Register a scalable target with the template's bounds, unless an update leaves it unchanged.

        Assumption: a change of its scheduled actions is one of the resource, so that these bounds replace
        those that an action has set.
        """
        if self._targets.get(name) == properties:
            return
        self._targets[name] = properties
        target = self._account.scaling.register_scalable_target(
            ServiceNamespace="ecs",
            ScalableDimension=DIMENSION,
            ResourceId=properties["ResourceId"],
            MinCapacity=int(properties["MinCapacity"]),
            MaxCapacity=int(properties["MaxCapacity"]),
            SuspendedState=properties["SuspendedState"],
        )
        tags = {tag["Key"]: tag["Value"] for tag in properties["Tags"]}
        self._account.scaling.tag_resource(ResourceARN=target["ScalableTargetARN"], Tags=tags)

    def _track_group(self, policy_name: str, logical_id: str, properties: Mapping[str, Any]) -> None:
        policy = TargetTracking.from_properties(logical_id, properties)
        request: dict[str, Any] = {
            "AutoScalingGroupName": policy.group,
            "PolicyName": policy_name,
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingConfiguration": {
                **properties["TargetTrackingConfiguration"],
                "TargetValue": policy.target,
            },
        }
        if policy.instance_warmup_s is not None:
            request["EstimatedInstanceWarmup"] = policy.instance_warmup_s
        account = self._account
        account.autoscaling.put_scaling_policy(**request)
        fleet = EmbeddedScalingTarget(account.groups, policy.group)

        def read_target() -> float | None:
            answer = account.autoscaling.describe_policies(
                AutoScalingGroupName=policy.group, PolicyNames=[policy_name]
            )
            for found in answer["ScalingPolicies"]:
                fleet.enabled = found["Enabled"]
                fleet.scale_in_disabled = found["TargetTrackingConfiguration"].get("DisableScaleIn", False)
                return found["TargetTrackingConfiguration"]["TargetValue"]
            return None

        account.monitoring.add_policy(
            GroupPolicyRunner(policy, fleet, read_target, group_policy_arn(policy.group, policy_name))
        )

    def _track_service(self, logical_id: str, properties: Mapping[str, Any]) -> None:
        policy = ServiceTracking.from_properties(logical_id, properties)
        resource_id = service_of(properties)
        configuration: Any = dict(properties["TargetTrackingScalingPolicyConfiguration"])
        configuration["TargetValue"] = policy.target
        for cooldown in configuration.keys() & {"ScaleOutCooldown", "ScaleInCooldown"}:
            configuration[cooldown] = int(configuration[cooldown])
        account, name = self._account, properties["PolicyName"]
        account.scaling.put_scaling_policy(
            PolicyName=name,
            ServiceNamespace="ecs",
            ResourceId=resource_id,
            ScalableDimension=DIMENSION,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=configuration,
        )
        fleet = EmbeddedScalingTarget(account.services, resource_id)

        def read_target() -> float | None:
            answer = account.scaling.describe_scaling_policies(
                ServiceNamespace="ecs", ResourceId=resource_id, PolicyNames=[name]
            )
            found = answer["ScalingPolicies"]
            return found[0]["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] if found else None

        account.monitoring.add_policy(
            ServicePolicyRunner(policy, fleet, read_target, service_policy_arn(resource_id, name))
        )


def _with_globals(loaded: Mapping[str, Any]) -> dict[str, Any]:
    """Apply SAM's Globals.Function: a function's own value overrides it, and mappings are merged."""
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
