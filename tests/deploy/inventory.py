"""Everything that a stack of ours can leave in an account, by kind and name.

Owns the list of what is looked for. One listing for all types that `ALL_KINDS` makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.deploy.cloudformation.calls import Aws

Listing = Callable[[Aws], list[str]]


def _names(service: str, operation: str, key: str, name: str, **parameters: Any) -> Listing:
    return lambda aws: [each[name] for each in aws(service, operation, **parameters)[key]]


def _has_warm_pool(aws: Aws, group: str) -> bool:
    described = aws("autoscaling", "DescribeWarmPool", AutoScalingGroupName=group)
    return bool(described.get("WarmPoolConfiguration"))


def _services(aws: Aws) -> list[str]:
    """Those that are not deleted: moto lists an inactive one too."""
    found = []
    for cluster in aws("ecs", "ListClusters")["clusterArns"]:
        for service in aws("ecs", "ListServices", cluster=cluster)["serviceArns"]:
            (described,) = aws("ecs", "DescribeServices", cluster=cluster, services=[service])["services"]
            found += [service] if described["status"] != "INACTIVE" else []
    return found


LISTINGS: Mapping[str, Listing] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": _names(
        "application-autoscaling",
        "DescribeScalableTargets",
        "ScalableTargets",
        "ResourceId",
        ServiceNamespace="ecs",
    ),
    "AWS::ApplicationAutoScaling::ScalingPolicy": _names(
        "application-autoscaling",
        "DescribeScalingPolicies",
        "ScalingPolicies",
        "PolicyName",
        ServiceNamespace="ecs",
    ),
    "AWS::AutoScaling::AutoScalingGroup": _names(
        "autoscaling", "DescribeAutoScalingGroups", "AutoScalingGroups", "AutoScalingGroupName"
    ),
    "AWS::AutoScaling::ScalingPolicy": _names(
        "autoscaling", "DescribePolicies", "ScalingPolicies", "PolicyName"
    ),
    "AWS::AutoScaling::ScheduledAction": _names(
        "autoscaling", "DescribeScheduledActions", "ScheduledUpdateGroupActions", "ScheduledActionName"
    ),
    "AWS::AutoScaling::WarmPool": lambda aws: [
        group["AutoScalingGroupName"]
        for group in aws("autoscaling", "DescribeAutoScalingGroups")["AutoScalingGroups"]
        if _has_warm_pool(aws, group["AutoScalingGroupName"])
    ],
    "AWS::CloudFormation::Export": _names("cloudformation", "ListExports", "Exports", "Name"),
    "AWS::CloudFormation::Stack": _names("cloudformation", "DescribeStacks", "Stacks", "StackName"),
    "AWS::CloudWatch::Alarm": _names("cloudwatch", "DescribeAlarms", "MetricAlarms", "AlarmName"),
    "AWS::CloudWatch::Dashboard": _names("cloudwatch", "ListDashboards", "DashboardEntries", "DashboardName"),
    "AWS::DynamoDB::Table": lambda aws: aws("dynamodb", "ListTables")["TableNames"],
    "AWS::EC2::LaunchTemplate": _names(
        "ec2", "DescribeLaunchTemplates", "LaunchTemplates", "LaunchTemplateName"
    ),
    "AWS::EC2::SecurityGroup": _names("ec2", "DescribeSecurityGroups", "SecurityGroups", "GroupName"),
    "AWS::ECS::Cluster": lambda aws: aws("ecs", "ListClusters")["clusterArns"],
    "AWS::ECS::Service": _services,
    "AWS::ECS::TaskDefinition": lambda aws: aws("ecs", "ListTaskDefinitions")["taskDefinitionArns"],
    "AWS::Events::Rule": _names("events", "ListRules", "Rules", "Name"),
    "AWS::IAM::InstanceProfile": _names(
        "iam", "ListInstanceProfiles", "InstanceProfiles", "InstanceProfileName"
    ),
    "AWS::IAM::ManagedPolicy": _names("iam", "ListPolicies", "Policies", "PolicyName", Scope="Local"),
    "AWS::IAM::Role": _names("iam", "ListRoles", "Roles", "RoleName"),
    "AWS::Lambda::EventSourceMapping": _names(
        "lambda", "ListEventSourceMappings", "EventSourceMappings", "UUID"
    ),
    "AWS::Lambda::Function": _names("lambda", "ListFunctions", "Functions", "FunctionName"),
    "AWS::Lambda::LayerVersion": _names("lambda", "ListLayers", "Layers", "LayerName"),
    "AWS::Logs::LogGroup": _names("logs", "DescribeLogGroups", "logGroups", "logGroupName"),
    "AWS::Logs::QueryDefinition": _names("logs", "DescribeQueryDefinitions", "queryDefinitions", "name"),
    "AWS::SQS::Queue": lambda aws: aws("sqs", "ListQueues").get("QueueUrls", []),
    "AWS::SSM::Parameter": _names("ssm", "DescribeParameters", "Parameters", "Name"),
    "AWS::StepFunctions::StateMachine": _names("stepfunctions", "ListStateMachines", "stateMachines", "name"),
    "AWS::Scheduler::Schedule": _names("scheduler", "ListSchedules", "Schedules", "Name"),
    "AWS::Scheduler::ScheduleGroup": lambda aws: [
        group["Name"]
        for group in aws("scheduler", "ListScheduleGroups")["ScheduleGroups"]
        if group["Name"] != "default"  # every account has it
    ],
}
PART_OF_A_FUNCTION = frozenset({"AWS::Lambda::EventInvokeConfig", "AWS::Lambda::Permission"})
"""They go with it."""


def inventory(aws: Aws) -> dict[str, list[str]]:
    """Type -> names of what the account holds, sorted."""
    return {kind: sorted(listed(aws)) for kind, listed in LISTINGS.items()}
