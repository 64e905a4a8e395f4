"""The authorization request of a call: the action, each resource, the condition keys that AWS sets.

Owns the table of the operations that our functions, workers and commands call. Refuses an operation that is
not in it: an unreviewed call is an unreviewed permission.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.aws_rules.iam_policies import Request
from tests.privileges import catalog

Parameters = Mapping[str, Any]
Tags = Mapping[str, Mapping[str, str]]
"""ARN -> the tags that resource carries; one that is not there carries none."""

IAM_PREFIXES = {"monitoring": "cloudwatch"}
"""Signing names that are not the prefix of their actions."""
AUTHORIZED_AS = {
    "lambda:Invoke": "lambda:InvokeFunction",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}
"""Operations that have no action of their own."""
HERE = {"Partition": "aws", "Region": REGION, "Account": ACCOUNT_ID}


class UnknownOperationError(LookupError):
    """A call that the table does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call as boto3 makes it."""

    signing_name: str
    operation: str
    parameters: Parameters


def opaque_id(name: str) -> str:
    """What AWS would make up for a resource; the same for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def _queue(parameters: Parameters) -> list[dict[str, str]]:
    host, account, name = parameters["QueueUrl"].removeprefix("https://").split("/")
    _, region, *_ = host.split(".")
    return [{"Region": region, "Account": account, "QueueName": name}]


def _dead_letter_queue(parameters: Parameters) -> list[dict[str, str]]:
    *_, region, account, name = parameters["SourceArn"].split(":")
    return [{"Region": region, "Account": account, "QueueName": name}]


def _group(parameters: Parameters) -> list[dict[str, str]]:
    name = parameters["AutoScalingGroupName"]
    return [{"GroupId": opaque_id(name), "GroupFriendlyName": name}]


def _services(parameters: Parameters) -> list[dict[str, str]]:
    names = parameters.get("services") or [parameters["service"]]
    return [{"ClusterName": parameters["cluster"], "ServiceName": name} for name in names]


def _clusters(parameters: Parameters) -> list[dict[str, str]]:
    return [{"ClusterName": name} for name in parameters["clusters"]]


def _tasks(parameters: Parameters) -> list[dict[str, str]]:
    arns = [task.rsplit("/", 2) for task in parameters["tasks"]]
    return [{"ClusterName": cluster, "TaskId": task_id} for _, cluster, task_id in arns]


def _container_instances(parameters: Parameters) -> list[dict[str, str]]:
    """A listing of a cluster's tasks takes any of its container instances; those of Fargate are on none."""
    return [{"ClusterName": parameters["cluster"], "ContainerInstanceId": "any"}]


def _scalable_target(parameters: Parameters) -> list[dict[str, str]]:
    return [{"ResourceId": opaque_id(parameters["ResourceId"])}]


def _parameter(parameters: Parameters) -> list[dict[str, str]]:
    paths = parameters.get("Names") or [parameters.get("Name") or parameters["Path"]]
    return [{"ParameterNameWithoutLeadingSlash": path.removeprefix("/")} for path in paths]


def _tables(parameters: Parameters) -> list[dict[str, str]]:
    names = parameters.get("RequestItems") or [parameters["TableName"]]
    return [{"TableName": name} for name in names]


def _stack(parameters: Parameters) -> list[dict[str, str]]:
    """Without a name, every stack is asked for."""
    name = parameters.get("StackName", "*")
    if name.startswith("arn:"):
        _, name, stack_id = name.split("/")
        return [{"StackName": name, "Id": stack_id}]
    return [{"StackName": name, "Id": opaque_id(name)}]


def _alarms(parameters: Parameters) -> list[dict[str, str]]:
    return [
        {"AlarmName": name} for name in parameters.get("AlarmNames") or [parameters.get("AlarmName", "*")]
    ]


def _function(parameters: Parameters) -> list[dict[str, str]]:
    return [{"FunctionName": parameters["FunctionName"].rpartition(":")[2]}]


def _schedule(parameters: Parameters) -> list[dict[str, str]]:
    return [{"GroupName": parameters.get("GroupName", "default"), "ScheduleName": parameters["Name"]}]


def _quota(parameters: Parameters) -> list[dict[str, str]]:
    return [{name: parameters[name] for name in ("ServiceCode", "QuotaCode")}]


def _machine(parameters: Parameters) -> list[dict[str, str]]:
    return [{"StateMachineName": parameters["stateMachineArn"].rpartition(":")[2]}]


def _execution(parameters: Parameters) -> list[dict[str, str]]:
    *_, machine, execution = parameters["executionArn"].split(":")
    return [{"StateMachineName": machine, "ExecutionId": execution}]


def _key(parameters: Parameters) -> list[dict[str, str]]:
    return [{"KeyId": parameters["KeyId"].rsplit("/", 1)[-1]}]


def _role(parameters: Parameters) -> list[dict[str, str]]:
    return [{"RoleNameWithPath": parameters["PolicySourceArn"].split("/", 1)[-1]}]


def _instance_profile(parameters: Parameters) -> list[dict[str, str]]:
    return [{"InstanceProfileNameWithPath": parameters["InstanceProfileName"]}]


def _mute_rule(parameters: Parameters) -> list[dict[str, str]]:
    return [{"AlarmMuteRuleName": parameters.get("AlarmMuteRuleName", "*")}]


def _event_buses(parameters: Parameters) -> list[dict[str, str]]:
    buses = []
    for arn in sorted({entry["EventBusName"] for entry in parameters["Entries"]}):
        *_, region, account, resource = arn.split(":")
        name = resource.removeprefix("event-bus/")
        buses.append({"Region": region, "Account": account, "EventBusName": name})
    return buses


def _log_groups(parameters: Parameters) -> list[dict[str, str]]:
    """A query's answer names no group, but takes one as its resource."""
    return [{"LogGroupName": name} for name in parameters.get("logGroupNames") or ["*"]]


RESOURCES: Mapping[str, Callable[[Parameters], list[dict[str, str]]]] = {
    "application-autoscaling:PutScalingPolicy": _scalable_target,
    "application-autoscaling:DeleteScheduledAction": _scalable_target,
    "application-autoscaling:PutScheduledAction": _scalable_target,
    "application-autoscaling:RegisterScalableTarget": _scalable_target,
    "autoscaling:CompleteLifecycleAction": _group,
    "autoscaling:PutScalingPolicy": _group,
    "autoscaling:RecordLifecycleActionHeartbeat": _group,
    "autoscaling:ResumeProcesses": _group,
    "autoscaling:DeleteScheduledAction": _group,
    "autoscaling:PutScheduledUpdateGroupAction": _group,
    "autoscaling:SetDesiredCapacity": _group,
    "autoscaling:UpdateAutoScalingGroup": _group,
    "autoscaling:SetInstanceProtection": _group,
    "autoscaling:SuspendProcesses": _group,
    "cloudformation:DescribeStackEvents": _stack,
    "cloudformation:DescribeStacks": _stack,
    "cloudformation:ListStackResources": _stack,
    "cloudwatch:DescribeAlarmHistory": _alarms,
    "cloudwatch:DescribeAlarms": _alarms,
    "cloudwatch:GetAlarmMuteRule": _mute_rule,
    "cloudwatch:ListAlarmMuteRules": _mute_rule,
    "dynamodb:BatchGetItem": _tables,
    "dynamodb:GetItem": _tables,
    "dynamodb:UpdateItem": _tables,
    "ecs:DescribeClusters": _clusters,
    "ecs:DescribeServices": _services,
    "ecs:GetTaskProtection": _tasks,
    "ecs:ListTasks": _container_instances,
    "ecs:UpdateService": _services,
    "ecs:UpdateTaskProtection": _tasks,
    "events:PutEvents": _event_buses,
    "iam:GetInstanceProfile": _instance_profile,
    "iam:SimulatePrincipalPolicy": _role,
    "kms:DescribeKey": _key,
    "kms:GetKeyPolicy": _key,
    "lambda:GetFunctionConcurrency": _function,
    "lambda:GetFunctionConfiguration": _function,
    "lambda:InvokeFunction": _function,
    "logs:GetQueryResults": _log_groups,
    "logs:StartQuery": _log_groups,
    "scheduler:CreateSchedule": _schedule,
    "scheduler:DeleteSchedule": _schedule,
    "scheduler:GetSchedule": _schedule,
    "scheduler:UpdateSchedule": _schedule,
    "servicequotas:GetServiceQuota": _quota,
    "sqs:ChangeMessageVisibility": _queue,
    "sqs:DeleteMessage": _queue,
    "sqs:GetQueueAttributes": _queue,
    "sqs:ListDeadLetterSourceQueues": _queue,
    "sqs:ListMessageMoveTasks": _dead_letter_queue,
    "sqs:ListQueueTags": _queue,
    "sqs:ReceiveMessage": _queue,
    "sqs:SendMessage": _queue,
    "sqs:StartMessageMoveTask": _dead_letter_queue,
    "ssm:GetParameter": _parameter,
    "ssm:GetParameters": _parameter,
    "ssm:GetParametersByPath": _parameter,
    "ssm:PutParameter": _parameter,
    "states:DescribeExecution": _execution,
    "states:GetExecutionHistory": _execution,
    "states:ListExecutions": _machine,
    "states:StartExecution": _machine,
    "states:StopExecution": _execution,
}
"""Action -> what names its resources among the parameters, as the placeholders of AWS's ARN formats."""
CONDITION_KEYS: Mapping[str, Mapping[str, str]] = {
    "application-autoscaling:PutScalingPolicy": {
        "application-autoscaling:service-namespace": "ServiceNamespace",
        "application-autoscaling:scalable-dimension": "ScalableDimension",
    },
    "application-autoscaling:RegisterScalableTarget": {
        "application-autoscaling:service-namespace": "ServiceNamespace",
        "application-autoscaling:scalable-dimension": "ScalableDimension",
    },
    "application-autoscaling:PutScheduledAction": {
        "application-autoscaling:service-namespace": "ServiceNamespace",
        "application-autoscaling:scalable-dimension": "ScalableDimension",
    },
    "application-autoscaling:DeleteScheduledAction": {
        "application-autoscaling:service-namespace": "ServiceNamespace",
        "application-autoscaling:scalable-dimension": "ScalableDimension",
    },
    "cloudwatch:PutMetricData": {"cloudwatch:namespace": "Namespace"},
}
"""Action -> condition key -> the parameter that gives it its value."""


def requests(call: Call, tags: Tags) -> list[Request]:
    """One request per resource: AWS refuses the whole call if it refuses one."""
    name = f"{IAM_PREFIXES.get(call.signing_name, call.signing_name)}:{call.operation}"
    action = catalog.action(AUTHORIZED_AS.get(name, name))
    context = {
        key: str(call.parameters[parameter])
        for key, parameter in CONDITION_KEYS.get(action.name, {}).items()
        if parameter in call.parameters
    }
    if not action.arn_formats:
        return [Request(action=action.name, resource="*", context=context)]
    if action.name not in RESOURCES:
        raise UnknownOperationError(
            f"{name} takes a resource ({', '.join(action.arn_formats)}), but which of its parameters "
            f"{sorted(call.parameters)} names it is not in the table of {__name__}"
        )
    return [
        request(action.name, arn, tags, **context)
        for arn in (action.arn(HERE | named) for named in RESOURCES[action.name](call.parameters))
    ]


def request(action: str, arn: str, tags: Tags, **context: str) -> Request:
    """A request on one resource, with its tags if AWS looks at them for this action."""
    carried = {f"aws:ResourceTag/{key}": value for key, value in tags.get(arn, {}).items()}
    known = {key: value for key, value in carried.items() if catalog.action(action).knows(key)}
    return Request(action=action, resource=arn, context=context | known)
