"""Queues, tables, logs, parameters, alarms, dashboards and scaling."""

from __future__ import annotations

import json

from sluice_sim.account import ACCOUNT_ID, REGION
from tests.deploy.cloudformation.calls import (
    Aws,
    tag_map,
    text,
)
from tests.deploy.cloudformation.kinds import (
    CreatedResource,
    Kind,
    Properties,
    without,
)


class Queue:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        queue_name = properties.get("QueueName", name)
        attributes = {
            key: text(value) for key, value in properties.items() if key not in ("QueueName", "Tags")
        }
        if old is not None and old.attributes["QueueName"] == queue_name:
            aws("sqs", "SetQueueAttributes", QueueUrl=old.ref, Attributes=attributes)
            return old
        tags = tag_map(properties.get("Tags", []))
        aws("sqs", "CreateQueue", QueueName=queue_name, Attributes=attributes, tags=tags)
        # As AWS writes it: a server on this machine would name its own port.
        url = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT_ID}/{queue_name}"
        answer = aws("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=["QueueArn"])
        return CreatedResource(
            ref=url, attributes={"Arn": answer["Attributes"]["QueueArn"], "QueueName": queue_name}
        )

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("sqs", "DeleteQueue", QueueUrl=made.ref)


class Table:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        expiring = properties["TimeToLiveSpecification"]
        if old is None:
            settings = without(properties, "TimeToLiveSpecification")
            made = aws("dynamodb", "CreateTable", TableName=name, **settings)["TableDescription"]
            old = CreatedResource(ref=name, attributes={"Arn": made["TableArn"]})
            aws("dynamodb", "UpdateTimeToLive", TableName=name, TimeToLiveSpecification=expiring)
        return old

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("dynamodb", "DeleteTable", TableName=made.ref)


class LogGroup:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        group = properties["LogGroupName"]
        if old is None or old.ref != group:
            aws("logs", "CreateLogGroup", logGroupName=group)
        days = properties["RetentionInDays"]
        aws("logs", "PutRetentionPolicy", logGroupName=group, retentionInDays=days)
        (found,) = aws("logs", "DescribeLogGroups", logGroupNamePrefix=group)["logGroups"]
        return CreatedResource(ref=group, attributes={"Arn": found["arn"]})

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("logs", "DeleteLogGroup", logGroupName=made.ref)


class QueryDefinition:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        known = {"QueryDefinitionId": old.ref} if old else {}
        return CreatedResource(
            ref=aws("logs", "PutQueryDefinition", **properties, **known)["queryDefinitionId"]
        )

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("logs", "DeleteQueryDefinition", queryDefinitionId=made.ref)


class Parameter:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        known = old is not None and old.ref == properties["Name"]
        aws("ssm", "PutParameter", Overwrite=known, **properties)
        return CreatedResource(ref=properties["Name"])

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("ssm", "DeleteParameter", Name=made.ref)


class Alarm:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        parameters = {"AlarmName": name, **properties}
        aws("cloudwatch", "PutMetricAlarm", **parameters)
        (alarm,) = aws("cloudwatch", "DescribeAlarms", AlarmNames=[parameters["AlarmName"]])["MetricAlarms"]
        return CreatedResource(ref=alarm["AlarmName"], attributes={"Arn": alarm["AlarmArn"]})

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("cloudwatch", "DeleteAlarms", AlarmNames=[made.ref])


class Dashboard:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        answer = aws("cloudwatch", "PutDashboard", **properties)
        assert not answer.get("DashboardValidationMessages")
        return CreatedResource(ref=properties["DashboardName"])

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("cloudwatch", "DeleteDashboards", DashboardNames=[made.ref])


class GroupScalingPolicy:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        aws("autoscaling", "PutScalingPolicy", PolicyName=name, **properties)
        group = properties["AutoScalingGroupName"]
        found = aws("autoscaling", "DescribePolicies", AutoScalingGroupName=group, PolicyNames=[name])
        return CreatedResource(ref=found["ScalingPolicies"][0]["PolicyARN"])

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        group = made.ref.split("autoScalingGroupName/")[1].split(":")[0]
        name = made.ref.split("policyName/")[1]
        aws("autoscaling", "DeletePolicy", AutoScalingGroupName=group, PolicyName=name)


class GroupScheduledAction:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        aws("autoscaling", "PutScheduledUpdateGroupAction", ScheduledActionName=name, **properties)
        return CreatedResource(ref=name, attributes={"Group": properties["AutoScalingGroupName"]})

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        group = made.attributes["Group"]
        aws("autoscaling", "DeleteScheduledAction", AutoScalingGroupName=group, ScheduledActionName=made.ref)


class ScalableTarget:
    """moto forgets a scalable target's tags, which permissions ask for; they are kept here.

    As at AWS a target that is registered already takes no tags, and what hangs on a target goes with it.
    """

    tags: dict[str, dict[str, str]] = {}  # noqa: RUF012 - one account, one memory
    KEY = ("ServiceNamespace", "ResourceId", "ScalableDimension")
    HANGS_ON_IT = (
        ("ScalingPolicies", "ScalingPolicy", "PolicyName"),
        ("ScheduledActions", "ScheduledAction", "ScheduledActionName"),
    )

    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        if old is None and properties.get("Tags") and registered(aws, properties["ResourceId"]):
            raise ValueError("The scalable target that you tried to tag already exists.")
        own = without(properties, "Tags", "ScheduledActions")
        aws("application-autoscaling", "RegisterScalableTarget", **own)
        self.tags[properties["ResourceId"]] = tag_map(properties.get("Tags", []))
        place = {key: properties[key] for key in self.KEY}
        actions = {each["ScheduledActionName"]: each for each in properties.get("ScheduledActions", [])}
        for action in actions.values():
            aws("application-autoscaling", "PutScheduledAction", **place, **action)
        before = json.loads(old.attributes["ScheduledActions"]) if old else []
        for gone in sorted(set(before) - set(actions)):
            aws("application-autoscaling", "DeleteScheduledAction", **place, ScheduledActionName=gone)
        return CreatedResource(
            ref="|".join(properties[key] for key in ("ResourceId", "ScalableDimension", "ServiceNamespace")),
            attributes={"ScheduledActions": json.dumps(sorted(actions))},
        )

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        place = target_place(made.ref)
        for listing, what, name in self.HANGS_ON_IT:
            found = aws("application-autoscaling", f"Describe{listing}", ServiceNamespace="ecs")[listing]
            for each in found:
                if each["ResourceId"] == place["ResourceId"]:
                    aws("application-autoscaling", f"Delete{what}", **place, **{name: each[name]})
        aws("application-autoscaling", "DeregisterScalableTarget", **place)
        del self.tags[place["ResourceId"]]


def registered(aws: Aws, resource_id: str) -> bool:
    """Whether the service is a scalable target already."""
    answer = aws("application-autoscaling", "DescribeScalableTargets", ServiceNamespace="ecs")
    return resource_id in [target["ResourceId"] for target in answer["ScalableTargets"]]


def target_place(ref: str) -> dict[str, str]:
    """A scalable target's three names from its Ref."""
    resource, dimension, namespace = ref.split("|")
    return {"ServiceNamespace": namespace, "ResourceId": resource, "ScalableDimension": dimension}


class TargetScalingPolicy:
    """As at AWS, a service has one target-tracking policy for a metric."""

    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        parameters = without(properties, "ScalingTargetId")
        if "ScalingTargetId" in properties:
            parameters |= target_place(properties["ScalingTargetId"])
        self._refuse_a_second(aws, parameters)
        return CreatedResource(
            ref=aws("application-autoscaling", "PutScalingPolicy", **parameters)["PolicyARN"]
        )

    def _refuse_a_second(self, aws: Aws, parameters: Properties) -> None:
        if not registered(aws, parameters["ResourceId"]):
            raise ValueError(f"No scalable target registered for {parameters['ResourceId']}")
        found = aws("application-autoscaling", "DescribeScalingPolicies", ServiceNamespace="ecs")
        others = [
            policy
            for policy in found["ScalingPolicies"]
            if policy["ResourceId"] == parameters["ResourceId"]
            and policy["PolicyName"] != parameters["PolicyName"]
        ]
        if others:
            raise ValueError(
                "Only one TargetTrackingScaling policy for a given metric specification is allowed."
            )

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        policies = aws("application-autoscaling", "DescribeScalingPolicies", ServiceNamespace="ecs")
        (policy,) = [each for each in policies["ScalingPolicies"] if each["PolicyARN"] == made.ref]
        place = {key: policy[key] for key in ("PolicyName", *ScalableTarget.KEY)}
        aws("application-autoscaling", "DeleteScalingPolicy", **place)


WORKLOAD_KINDS: dict[str, Kind] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": ScalableTarget(),
    "AWS::ApplicationAutoScaling::ScalingPolicy": TargetScalingPolicy(),
    "AWS::AutoScaling::ScalingPolicy": GroupScalingPolicy(),
    "AWS::AutoScaling::ScheduledAction": GroupScheduledAction(),
    "AWS::CloudWatch::Alarm": Alarm(),
    "AWS::CloudWatch::Dashboard": Dashboard(),
    "AWS::DynamoDB::Table": Table(),
    "AWS::Logs::LogGroup": LogGroup(),
    "AWS::Logs::QueryDefinition": QueryDefinition(),
    "AWS::SQS::Queue": Queue(),
    "AWS::SSM::Parameter": Parameter(),
}
