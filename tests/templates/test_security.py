"""No template makes anything public, unencrypted or retained for ever, or skips a check without a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.templates import stacks
from tests.templates.stacks import ROOT

HOOK = "examples/ecs-lifecycle-hook/template.yaml"
TEMPLATES = ["template.yaml", "workload.yaml", *stacks.EXAMPLES.values(), HOOK]
DELIVERY = ["examples/pipeline.yaml", "examples/stackset.yaml", "examples/stackset/code-bucket.yaml"]
"""Their policies of a topic and of buckets are proved in tests/examples."""
SCANNED = [*TEMPLATES, *DELIVERY, "examples/Dockerfile", "examples/compose.yaml"]
EXPOSING = {
    "AWS::ApiGateway::RestApi",
    "AWS::ApiGatewayV2::Api",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::Lambda::LayerVersionPermission",
    "AWS::Lambda::Url",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
    "AWS::Serverless::Api",
    "AWS::Serverless::HttpApi",
}
SUPPRESSION = re.compile(r"checkov:skip=(?P<check>[^:\s]*)(?::(?P<reason>.*))?")


def resources(path: str) -> dict[str, dict[str, Any]]:
    return stacks.template(path)["Resources"]


def properties_of_type(path: str, resource_type: str) -> dict[str, dict[str, Any]]:
    found = {
        name: resource for name, resource in resources(path).items() if resource["Type"] == resource_type
    }
    return {name: resource["Properties"] for name, resource in found.items()}


def values(node: object, key: str) -> Iterator[Any]:
    """Every value under that key, at any depth."""
    if isinstance(node, dict):
        for name, inner in node.items():
            if name == key:
                yield inner
            yield from values(inner, key)
    elif isinstance(node, list):
        for inner in node:
            yield from values(inner, key)


def suppressions(path: str) -> list[re.Match[str]]:
    return list(SUPPRESSION.finditer((ROOT / path).read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", TEMPLATES)
def test_no_template_opens_a_network_entry(path: str) -> None:
    assert not EXPOSING & {resource["Type"] for resource in resources(path).values()}
    assert not list(values(resources(path), "FunctionUrlConfig"))
    assert not list(values(resources(path), "SecurityGroupIngress"))


@pytest.mark.parametrize("path", [*TEMPLATES, *DELIVERY])
def test_no_bucket_is_unencrypted_or_public(path: str) -> None:
    for name, bucket in properties_of_type(path, "AWS::S3::Bucket").items():
        assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"], name
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, name
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4, name


@pytest.mark.parametrize("path", DELIVERY)
def test_what_everybody_may_do_is_narrowed_to_an_organization(path: str) -> None:
    for statement in (each for found in values(resources(path), "Statement") for each in found):
        if statement.get("Principal") == "*" and statement["Effect"] == "Allow":
            assert "aws:PrincipalOrgID" in statement["Condition"]["StringEquals"]


@pytest.mark.parametrize("path", TEMPLATES)
def test_no_role_or_permission_is_for_everybody(path: str) -> None:
    for principal in values(resources(path), "Principal"):
        named = principal if isinstance(principal, str) else principal.get("Service", "")
        assert re.fullmatch(r"[a-z0-9.-]+\.amazonaws\.com", named), principal
    assert not list(values(resources(path), "NotPrincipal"))


@pytest.mark.parametrize("path", TEMPLATES)
def test_every_queue_is_encrypted(path: str) -> None:
    queues = properties_of_type(path, "AWS::SQS::Queue")
    assert [name for name, queue in queues.items() if queue.get("SqsManagedSseEnabled") is not True] == []


@pytest.mark.parametrize("path", TEMPLATES)
def test_every_disk_is_encrypted(path: str) -> None:
    disks = list(values(resources(path), "Ebs"))
    assert [disk for disk in disks if disk.get("Encrypted") is not True] == []


@pytest.mark.parametrize("path", [*TEMPLATES, *DELIVERY])
def test_every_log_group_has_a_retention(path: str) -> None:
    groups = properties_of_type(path, "AWS::Logs::LogGroup")
    assert [name for name, group in groups.items() if "RetentionInDays" not in group] == []


@pytest.mark.parametrize("path", SCANNED)
def test_every_silenced_check_says_why(path: str) -> None:
    for suppression in suppressions(path):
        reason = suppression["reason"] or ""
        assert re.fullmatch(r"CKV_[A-Z]+_\d+", suppression["check"]), suppression[0]
        assert len(reason.split()) >= 5, f"{path}: {suppression[0]} gives no reason"


def test_a_check_is_silenced_beside_its_resource_and_nowhere_else() -> None:
    assert sum(len(suppressions(path)) for path in SCANNED) > 0
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert not re.search(r"--(skip-(check|path|framework)|soft-fail|baseline)\b", recipe)
    assert not [*ROOT.glob(".checkov.y*ml"), *ROOT.glob("scan/*.y*ml")]
    assert not any("checkov" in str(stacks.template(path).get("Metadata", {})) for path in TEMPLATES)
