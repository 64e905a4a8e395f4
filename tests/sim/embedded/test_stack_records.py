"""The stacks of the embedded AWS are described through boto3, as CloudFormation does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import pytest
from botocore.exceptions import ClientError

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import TRANSCRIPTION
from tests.sim.embedded.test_embedded import ROOT, wait

WORKLOAD = "sluice-transcription"


@pytest.fixture
def demo() -> Iterator[Demo]:
    with embedded_aws(ROOT) as account:
        deployed = Demo(account, ROOT)
        deployed.add_workload(TRANSCRIPTION)
        yield deployed


def moment(aws: EmbeddedAws) -> datetime:
    return datetime.fromtimestamp(aws.clock.now, UTC)


def test_a_stack_has_its_parameters_and_outputs_and_exports_them(demo: Demo) -> None:
    cloudformation = boto3.client("cloudformation")
    (stack,) = cloudformation.describe_stacks(StackName="sluice")["Stacks"]
    assert (stack["StackStatus"], stack["CreationTime"]) == ("CREATE_COMPLETE", moment(demo.aws))
    outputs = {output["OutputKey"]: output for output in stack["Outputs"]}
    assert outputs["RegistryPrefix"]["OutputValue"] == "/sluice/workloads"
    assert {parameter["ParameterKey"] for parameter in stack["Parameters"]} >= {"MetricNamespace"}
    exports = {export["Name"]: export["Value"] for export in cloudformation.list_exports()["Exports"]}
    assert exports[outputs["MetricNamespace"]["ExportName"]] == "Sluice"
    (workload,) = cloudformation.describe_stacks(StackName=WORKLOAD)["Stacks"]
    by_id = cloudformation.describe_stacks(StackName=workload["StackId"])["Stacks"]
    assert [found["StackName"] for found in by_id] == [WORKLOAD]
    assert len(cloudformation.describe_stacks()["Stacks"]) == 2


def test_a_stacks_resources_are_those_that_the_account_has(demo: Demo) -> None:
    cloudformation = boto3.client("cloudformation")
    resources = cloudformation.describe_stack_resources(StackName=WORKLOAD)["StackResources"]
    alarms = {
        resource["PhysicalResourceId"]
        for resource in resources
        if resource["ResourceType"] == "AWS::CloudWatch::Alarm"
    }
    described = demo.aws.cloudwatch.describe_alarms(AlarmNamePrefix="sluice-transcription-")["MetricAlarms"]
    assert alarms == {alarm["AlarmName"] for alarm in described}
    listed = cloudformation.list_stack_resources(StackName=WORKLOAD)["StackResourceSummaries"]
    assert {resource["LogicalResourceId"] for resource in listed} == {
        resource["LogicalResourceId"] for resource in resources
    }


def test_an_update_is_told_by_events_newest_first_and_keeps_the_creation_time(demo: Demo) -> None:
    created = moment(demo.aws)
    wait(demo.aws, 60)
    demo.deploy(demo.runs[0])
    cloudformation = boto3.client("cloudformation")
    (stack,) = cloudformation.describe_stacks(StackName=WORKLOAD)["Stacks"]
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert (stack["CreationTime"], stack["LastUpdatedTime"]) == (created, moment(demo.aws))
    events = cloudformation.describe_stack_events(StackName=WORKLOAD)["StackEvents"]
    own = [event["ResourceStatus"] for event in events if event["LogicalResourceId"] == WORKLOAD]
    assert own == ["UPDATE_COMPLETE", "UPDATE_IN_PROGRESS", "CREATE_COMPLETE", "CREATE_IN_PROGRESS"]
    assert (events[0]["Timestamp"], events[-1]["Timestamp"]) == (moment(demo.aws), created)


def test_a_stack_that_does_not_exist_is_a_validation_error(demo: Demo) -> None:
    with pytest.raises(ClientError, match="Stack with id other does not exist") as refused:
        boto3.client("cloudformation").describe_stacks(StackName="other")
    assert refused.value.response["Error"]["Code"] == "ValidationError"


def test_functions_and_their_schedules_are_listed_as_sam_transforms_them(demo: Demo) -> None:
    cloudformation = boto3.client("cloudformation")
    listed = cloudformation.list_stack_resources(StackName="sluice")["StackResourceSummaries"]
    kinds = {resource["LogicalResourceId"]: resource["ResourceType"] for resource in listed}
    assert kinds["PublishBacklogFunction"] == "AWS::Lambda::Function"
    assert kinds["PublishBacklogFunctionEveryMinute"] == "AWS::Scheduler::Schedule"


def test_one_resource_is_found_by_its_logical_id(demo: Demo) -> None:
    found = boto3.client("cloudformation").describe_stack_resources(
        StackName="sluice", LogicalResourceId="FailureQueue"
    )
    (queue,) = found["StackResources"]
    url = demo.aws.sqs.get_queue_url(QueueName="sluice-FailureQueue")["QueueUrl"]
    assert queue["PhysicalResourceId"] == url


def test_an_update_replaces_the_parameters(demo: Demo) -> None:
    demo.aws.stacks.deploy("template.yaml", "sluice", {"LogLevel": "DEBUG"})
    (stack,) = boto3.client("cloudformation").describe_stacks(StackName="sluice")["Stacks"]
    given = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    assert given["LogLevel"] == "DEBUG"
