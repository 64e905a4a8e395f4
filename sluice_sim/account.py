"""The simulated account: its id and region, its ARNs, and the values of Ref and GetAtt."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

ACCOUNT_ID = "123456789012"
REGION = "eu-west-1"

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "embedded",
    "AWS_SECRET_ACCESS_KEY": "embedded",
    "AWS_SESSION_TOKEN": "embedded",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Invalid credentials: AWS would reject a request that escaped the embedded account."""

NAMED_BY: Mapping[str, str] = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::SSM::Parameter": "Name",
    "AWS::Scheduler::ScheduleGroup": "Name",
}
"""The property of a type that holds the name to which Ref resolves."""


ARNS: Mapping[str, tuple[str, str]] = {
    "AWS::Serverless::Function": ("lambda", "function:"),
    "AWS::DynamoDB::Table": ("dynamodb", "table/"),
}
"""Service, and what is before the name, in the ARN of a type; others have the type's service, and nothing."""


def arn(service: str, resource: str) -> str:
    """The ARN of a resource of this account."""
    return f"arn:aws:{service}:{REGION}:{ACCOUNT_ID}:{resource}"


def resource_name(stack_name: str, logical_id: str) -> str:
    """The physical name of a resource for which the template gives none."""
    return f"{stack_name}-{logical_id}"


def service_of(properties: Mapping[str, Any]) -> str:
    """The resource id of the service that a scaling policy scales; a scalable target's Ref begins with it."""
    named: str = properties.get("ResourceId") or properties["ScalingTargetId"].split("|")[0]
    return named


def service_policy_arn(resource_id: str, policy_name: str) -> str:
    """The ARN of a service's scaling policy; it is the same after every PutScalingPolicy."""
    unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{resource_id}/{policy_name}")
    return arn("autoscaling", f"scalingPolicy:{unique}:resource/ecs/{resource_id}:policyName/{policy_name}")


def identity(
    stack_name: str, logical_id: str, kind: str, properties: Mapping[str, Any], attribute: str
) -> str:
    """The value of Ref (attribute "Ref") or GetAtt for a resource of the stack."""
    name = resource_name(stack_name, logical_id)
    match kind, attribute:
        case "AWS::CloudWatch::Alarm", "Arn":
            return arn("cloudwatch", f"alarm:{properties['AlarmName']}")
        case "AWS::Serverless::StateMachine", "Ref":
            return arn("states", f"stateMachine:{properties['Name']}")
        case "AWS::IAM::Role", "Arn":
            return f"arn:aws:iam::{ACCOUNT_ID}:role/{name}"
        case "AWS::SQS::Queue", "Ref":
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT_ID}/{name}"
        case "AWS::AutoScaling::ScalingPolicy", "Ref":
            return group_policy_arn(properties["AutoScalingGroupName"], name)
        case "AWS::ApplicationAutoScaling::ScalableTarget", "Ref":
            return f"{properties['ResourceId']}|{properties['ScalableDimension']}|ecs"
        case "AWS::ApplicationAutoScaling::ScalingPolicy", "Ref":
            return service_policy_arn(service_of(properties), properties["PolicyName"])
        case _, "Arn":
            service, before = ARNS.get(kind, (kind.split("::")[1].lower(), ""))
            return arn(service, f"{before}{name}")
        case _:
            return str(properties.get(NAMED_BY.get(kind, ""), name))


def group_policy_arn(group: str, policy_name: str) -> str:
    """The ARN as moto builds it: with the same unique part for every policy."""
    unique = "c322761b-3172-4d56-9a21-0ed9d6161d67"
    return arn("autoscaling", f"scalingPolicy:{unique}:autoScalingGroupName/{group}:policyName/{policy_name}")
