"""The authorization request of each call that our functions make; unreviewed calls fail."""

from __future__ import annotations

from typing import Any

import pytest

from tests.privileges import catalog, inventory
from tests.privileges.authorization import (
    AUTHORIZED_AS,
    CONDITION_KEYS,
    RESOURCES,
    Call,
    UnknownOperationError,
    opaque_id,
    requests,
)
from tests.templates import stacks
from tests.templates.stacks import arn

QUEUE_URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/transcription"
GROUP_ARN = arn(
    "autoscaling", f"autoScalingGroup:{opaque_id('transcription')}:autoScalingGroupName/transcription"
)
SERVICE = "service/workers/queue-proc"


@pytest.mark.parametrize(
    ("signing_name", "operation", "parameters", "expected"),
    [
        (
            "sqs",
            "GetQueueAttributes",
            {"QueueUrl": QUEUE_URL, "AttributeNames": ["All"]},
            [("sqs:GetQueueAttributes", arn("sqs", "transcription"))],
        ),
        (
            "sqs",
            "SendMessageBatch",
            {"QueueUrl": "https://sqs.us-east-1.amazonaws.com/210987654321/other.fifo"},
            [("sqs:SendMessage", "arn:aws:sqs:us-east-1:210987654321:other.fifo")],
        ),
        (
            "sqs",
            "DeleteMessageBatch",
            {"QueueUrl": QUEUE_URL, "Entries": []},
            [("sqs:DeleteMessage", arn("sqs", "transcription"))],
        ),
        (
            "sqs",
            "ChangeMessageVisibilityBatch",
            {"QueueUrl": QUEUE_URL, "Entries": []},
            [("sqs:ChangeMessageVisibility", arn("sqs", "transcription"))],
        ),
        (
            "ecs",
            "UpdateTaskProtection",
            {"cluster": "workers", "tasks": [arn("ecs", "task/workers/1f2e3d")]},
            [("ecs:UpdateTaskProtection", arn("ecs", "task/workers/1f2e3d"))],
        ),
        (
            "autoscaling",
            "SetInstanceProtection",
            {"AutoScalingGroupName": "transcription", "InstanceIds": ["i-1"]},
            [("autoscaling:SetInstanceProtection", GROUP_ARN)],
        ),
        (
            "autoscaling",
            "SetDesiredCapacity",
            {"AutoScalingGroupName": "transcription", "DesiredCapacity": 1},
            [("autoscaling:SetDesiredCapacity", GROUP_ARN)],
        ),
        (
            "autoscaling",
            "DescribeAutoScalingGroups",
            {"AutoScalingGroupNames": ["transcription"]},
            [("autoscaling:DescribeAutoScalingGroups", "*")],
        ),
        (
            "autoscaling",
            "DescribeScalingActivities",
            {"AutoScalingGroupName": "transcription"},
            [("autoscaling:DescribeScalingActivities", "*")],
        ),
        (
            "ecs",
            "DescribeServices",
            {"cluster": "workers", "services": ["one", "two"]},
            [
                ("ecs:DescribeServices", arn("ecs", "service/workers/one")),
                ("ecs:DescribeServices", arn("ecs", "service/workers/two")),
            ],
        ),
        (
            "ecs",
            "UpdateService",
            {"cluster": "workers", "service": "queue-proc", "desiredCount": 1},
            [("ecs:UpdateService", arn("ecs", SERVICE))],
        ),
        (
            "application-autoscaling",
            "PutScalingPolicy",
            {"ResourceId": SERVICE, "ServiceNamespace": "ecs"},
            [
                (
                    "application-autoscaling:PutScalingPolicy",
                    arn("application-autoscaling", f"scalable-target/{opaque_id(SERVICE)}"),
                )
            ],
        ),
        (
            "ssm",
            "GetParametersByPath",
            {"Path": "/sluice/workloads"},
            [("ssm:GetParametersByPath", arn("ssm", "parameter/sluice/workloads"))],
        ),
        (
            "ssm",
            "GetParameter",
            {"Name": "/sluice/workloads/one"},
            [("ssm:GetParameter", arn("ssm", "parameter/sluice/workloads/one"))],
        ),
        ("monitoring", "GetMetricData", {"MetricDataQueries": []}, [("cloudwatch:GetMetricData", "*")]),
    ],
)
def test_a_call_asks_for_its_action_on_each_of_its_resources(
    signing_name: str, operation: str, parameters: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    call = Call(signing_name=signing_name, operation=operation, parameters=parameters)
    assert [(request.action, request.resource) for request in requests(call, {})] == expected


def test_the_parameters_that_are_condition_keys_have_their_values() -> None:
    put = Call(signing_name="monitoring", operation="PutMetricData", parameters={"Namespace": "Sluice"})
    assert [request.context for request in requests(put, {})] == [{"cloudwatch:namespace": "Sluice"}]
    policy = Call(
        signing_name="application-autoscaling",
        operation="PutScalingPolicy",
        parameters={"ResourceId": SERVICE, "ServiceNamespace": "ecs"},
    )
    tags = {arn("application-autoscaling", f"scalable-target/{opaque_id(SERVICE)}"): {"sluice": "managed"}}
    assert [request.context for request in requests(policy, tags)] == [
        {"application-autoscaling:service-namespace": "ecs", "aws:ResourceTag/sluice": "managed"}
    ]


def test_tags_are_those_of_the_resource_that_is_called() -> None:
    tags = {arn("sqs", "transcription"): {"sluice": "managed", "team": "media"}}

    def context_of(name: str) -> Any:
        url = QUEUE_URL.replace("transcription", name)
        call = Call(signing_name="sqs", operation="GetQueueAttributes", parameters={"QueueUrl": url})
        [request] = requests(call, tags)
        return request.context

    assert context_of("transcription") == {
        "aws:ResourceTag/sluice": "managed",
        "aws:ResourceTag/team": "media",
    }
    assert context_of("other") == {}


@pytest.mark.parametrize(
    ("operation", "error", "sentence"),
    [
        ("PurgeQueue", UnknownOperationError, "sqs:PurgeQueue takes a resource .queue., but which of its"),
        ("PurgeQueueBatch", LookupError, "sqs:PurgeQueueBatch is no action"),
    ],
)
def test_an_unreviewed_call_fails_loudly(operation: str, error: type[Exception], sentence: str) -> None:
    call = Call(signing_name="sqs", operation=operation, parameters={"QueueUrl": QUEUE_URL})
    with pytest.raises(error, match=sentence):
        requests(call, {})


def test_the_tables_say_nothing_that_aws_does_not_list() -> None:
    several = {action for action in RESOURCES if len(catalog.action(action).arn_formats) != 1}
    assert several == {
        "iam:SimulatePrincipalPolicy",  # of users, groups and roles
        "states:DescribeExecution",  # of standard and express executions
        "states:ListExecutions",  # of state machines and map runs
    }
    for action, keys in CONDITION_KEYS.items():
        assert [key for key in keys if not catalog.action(action).knows(key)] == []
    for operation, action in AUTHORIZED_AS.items():
        assert catalog.is_action(action)
        assert not catalog.is_action(operation)


def test_the_templates_tag_what_the_functions_act_on() -> None:
    carried = inventory.tags([stacks.example_fleet(), stacks.example_fleet("ecs"), stacks.workload("ecs")])
    managed = {name.split(":", 5)[-1] for name, tags in carried.items() if tags.get("sluice") == "managed"}
    assert managed == {
        "transcription",
        GROUP_ARN.split(":", 5)[-1],
        "queue-proc",
        SERVICE,
        f"scalable-target/{opaque_id(SERVICE)}",
    }
    assert {} in carried.values()  # the dead-letter queues are not Sluice's
