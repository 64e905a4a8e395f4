"""The embedded CloudFormation refuses what it cannot implement, and leaves nothing half created."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.deploy.inventory import inventory
from tests.deploy.server import Server
from tests.deploy.shared_deployment import SharedDeployment

GROUP = {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "/half-made", "RetentionInDays": "1"}}


def create(server: Server, resources: dict[str, Any], **outputs: Any) -> None:
    body = {"Resources": resources, "Outputs": outputs}
    server.aws("cloudformation", "CreateStack", StackName="refused", TemplateBody=json.dumps(body))


@pytest.mark.parametrize(
    ("kind", "properties", "expected"),
    [
        ("AWS::SNS::Topic", {}, r"would be ignored: Refused \(AWS::SNS::Topic\)"),
        ("AWS::Serverless::Function", {}, r"would be ignored: Refused \(AWS::Serverless::Function\)"),
        ("AWS::SSM::Parameter", {"Name": "/x", "Type": "String", "Value": "1", "Colour": "red"}, "no Colour"),
        ("AWS::SSM::Parameter", {"Name": {"Ref": "Nobody"}, "Type": "String"}, "refers to 'Nobody'"),
        ("AWS::SSM::Parameter", {"Name": {"Fn::Cidr": ["10.0.0.0/8", 1]}}, "Cidr is not simulated"),
    ],
)
def test_a_stack_with_something_unknown_fails_and_leaves_nothing(
    kind: str, properties: dict[str, Any], expected: str, server: Server, deployed: SharedDeployment
) -> None:
    before = inventory(server.aws)
    with pytest.raises(ClientError, match=expected):
        create(server, {"Known": GROUP, "Refused": {"Type": kind, "Properties": properties}})
    after = inventory(server.aws)
    after["AWS::CloudFormation::Stack"].remove("refused")
    server.aws("cloudformation", "DeleteStack", StackName="refused")
    assert after == before


def test_an_attribute_that_a_resource_does_not_give_is_refused(
    server: Server, deployed: SharedDeployment
) -> None:
    with pytest.raises(ClientError, match="AWS::Logs::LogGroup gives no Colour here; it gives Arn"):
        create(server, {"Known": GROUP}, Out={"Value": {"Fn::GetAtt": ["Known", "Colour"]}})
    server.aws("cloudformation", "DeleteStack", StackName="refused")
    assert "/half-made" not in inventory(server.aws)["AWS::Logs::LogGroup"]
