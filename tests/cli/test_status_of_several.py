"""`sluice status` of several accounts and regions, over moto: a role's account is the one read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import boto3
import jsonschema
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ConnectTimeoutError
from moto import mock_aws

from sluice.document.versions import RELEASE
from sluice_operator.session import AwsSession
from tests.support.builders import document

pytestmark = pytest.mark.slow

SCHEMAS = Path(__file__).resolve().parents[2] / "docs/schemas"
SCHEMA, SCHEMA_OF_ONE = (
    json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    for name in ("status-of-several.json", "status.json")
)
PRODUCTION, STAGING = "111122223333", "444455556666"
CONFIG = f"""
[profile base]
region = eu-west-1
aws_access_key_id = testing
aws_secret_access_key = testing

[profile empty]
region = eu-west-1

[profile production]
region = eu-west-1
source_profile = base
role_arn = arn:aws:iam::{PRODUCTION}:role/read

[profile production-admin]
region = eu-west-1
source_profile = base
role_arn = arn:aws:iam::{PRODUCTION}:role/admin

[profile staging]
region = eu-west-1
source_profile = base
role_arn = arn:aws:iam::{STAGING}:role/read
"""
TEMPLATE = json.dumps(
    {
        "Resources": {
            "Group": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "unused"}},
        },
        "Outputs": {
            "RegistryPrefix": {
                "Value": "/sluice/workloads",
                "Export": {"Name": {"Fn::Sub": "${AWS::StackName}-RegistryPrefix"}},
            },
            "MetricNamespace": {"Value": "Sluice"},
            "Release": {"Value": RELEASE},
        },
    }
)


@pytest.fixture
def aws(tmp_path, monkeypatch):
    """Two accounts without anything in them; three profiles reach them."""
    config = tmp_path / "config"
    config.write_text(CONFIG, encoding="utf-8")
    with mock_aws():
        for name in (
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "AWS_DEFAULT_REGION",
            "AWS_REGION",
        ):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        yield


@pytest.fixture
def deployed(aws):
    """`deployed(profile, region, *names)`: a control plane there that publishes for these workloads."""

    def deploy(profile, region, *names, release=RELEASE, stack="sluice"):
        session = boto3.Session(profile_name=profile, region_name=region)
        account = session.client("sts").get_caller_identity()["Account"]
        session.client("cloudformation").create_stack(
            StackName=stack, TemplateBody=TEMPLATE.replace(f'"{RELEASE}"', f'"{release}"')
        )
        for name in names:
            session.client("sqs").create_queue(QueueName=name)
            group(session.client("autoscaling"), name, f"{region}a")
            text = json.dumps(document(name)).replace("123456789012", account).replace("eu-west-1", region)
            session.client("ssm").put_parameter(Name=f"/sluice/workloads/{name}", Value=text, Type="String")
            publish(session.client("cloudwatch"), name)

    return deploy


def group(client, name, zone):
    client.create_launch_configuration(
        LaunchConfigurationName=name, ImageId="ami-12c6146b", InstanceType="c7g.large"
    )
    client.create_auto_scaling_group(
        AutoScalingGroupName=name,
        LaunchConfigurationName=name,
        MinSize=0,
        MaxSize=5,
        AvailabilityZones=[zone],
    )


def publish(client, name):
    value = {
        "MetricName": "BacklogPerInstance",
        "Dimensions": [{"Name": "AutoScalingGroupName", "Value": name}],
        "Timestamp": datetime.now(UTC),
        "Value": 0.0,
    }
    client.put_metric_data(Namespace="Sluice", MetricData=[value])


def fails(monkeypatch, error, *, region, operation=None):
    """Have every call, or those of one operation, fail in that region."""
    call = BaseClient._make_api_call

    def failing(self, name, parameters):
        if self.meta.region_name == region and operation in (None, name):
            raise error(name)
        return call(self, name, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", failing)


def denied(operation):
    return ClientError({"Error": {"Code": "AccessDenied", "Message": "by an SCP"}}, operation)


def hanging(operation):
    return ConnectTimeoutError(endpoint_url=f"https://{operation}")


def names(found):
    return {
        (plane["account"], plane["region"]): [workload["name"] for workload in plane["workloads"]]
        for plane in found["planes"]
    }


def read(answer):
    """The JSON of the answer, which is valid by the schemas."""
    found = json.loads(answer.stdout)
    jsonschema.validate(found, SCHEMA)
    for plane in found["planes"]:
        of_one = {key: plane[key] for key in plane if key not in ("profile", "region", "account")}
        jsonschema.validate(of_one, SCHEMA_OF_ONE)
    return found


def test_each_control_plane_of_several_profiles_and_regions_is_shown_with_its_account(sluice, deployed):
    deployed("production", "eu-west-1", "transcription")
    deployed("production", "us-east-1", "photo-import", "thumbnails")
    deployed("staging", "eu-west-1", "transcription")
    arguments = ("status", "--profile", "production,staging", "--region", "eu-west-1,us-east-1")
    found, answer = read(sluice(*arguments, "--json")), sluice(*arguments)
    assert names(found) == {
        (PRODUCTION, "eu-west-1"): ["transcription"],
        (PRODUCTION, "us-east-1"): ["photo-import", "thumbnails"],
        (STAGING, "eu-west-1"): ["transcription"],
    }
    assert found["ok"] is True
    assert found["absent"] == [{"profile": "staging", "region": "us-east-1"}]
    assert answer.exit_code == 0, answer.stdout
    lines = answer.stdout.splitlines()
    headings = [line for line in lines if "(account" in line]
    assert headings == [
        f"production, eu-west-1 (account {PRODUCTION})",
        f"production, us-east-1 (account {PRODUCTION})",
        f"staging, eu-west-1 (account {STAGING})",
    ]
    below = lines[lines.index(headings[1]) : lines.index(headings[2])]
    assert [line.split()[0] for line in below if line.startswith(("photo", "thumb"))] == [
        "photo-import",
        "thumbnails",
    ]
    assert lines[-2:] == [
        "No control plane in staging, us-east-1.",
        "3 control planes, 4 workloads: nothing is wrong.",
    ]


def test_all_regions_shows_the_control_plane_of_every_region_that_has_one(sluice, deployed, monkeypatch):
    deployed("production", "eu-west-1", "transcription")
    deployed("production", "ap-southeast-2", "photo-import")
    arguments = ("status", "--profile", "production", "--all-regions")
    found, answer = read(sluice(*arguments, "--json")), sluice(*arguments)
    assert names(found) == {
        (PRODUCTION, "ap-southeast-2"): ["photo-import"],
        (PRODUCTION, "eu-west-1"): ["transcription"],
    }
    regions = boto3.Session(profile_name="production").client("ec2").describe_regions()["Regions"]
    assert len(found["absent"]) == len(regions) - 2
    assert answer.exit_code == 0
    assert f"No control plane in {len(regions) - 2} other regions: --json names them." in answer.stdout


def test_a_role_is_assumed_once_for_all_regions(sluice, deployed, monkeypatch):
    deployed("production", "eu-west-1", "transcription")
    assumed, call = [], BaseClient._make_api_call

    def counting(self, name, parameters):
        if name == "AssumeRole":
            assumed.append(parameters["RoleArn"])
        return call(self, name, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", counting)
    assert sluice("status", "--profile", "production", "--all-regions").exit_code == 0
    assert assumed == [f"arn:aws:iam::{PRODUCTION}:role/read"]


def test_a_control_plane_that_two_profiles_reach_is_shown_once(sluice, deployed):
    deployed("production", "eu-west-1", "transcription")
    found = read(sluice("status", "--profile", "production,production-admin", "--json"))
    assert [plane["profile"] for plane in found["planes"]] == ["production"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [(denied, "AccessDenied"), (hanging, "no answer from AWS")],
)
def test_a_region_that_cannot_be_read_is_unknown_and_hides_no_other(
    sluice, deployed, monkeypatch, error, reason
):
    deployed("production", "eu-west-1", "transcription")
    deployed("production", "us-east-1", "photo-import")
    fails(monkeypatch, error, region="us-east-1")
    arguments = ("status", "--profile", "production", "--region", "us-east-1,eu-west-1")
    answer, found = sluice(*arguments), read(sluice(*arguments, "--json"))
    assert answer.exit_code == 1
    assert found["ok"] is False
    assert names(found) == {(PRODUCTION, "eu-west-1"): ["transcription"]}
    [unknown] = found["unknown"]
    assert (unknown["profile"], unknown["region"]) == ("production", "us-east-1")
    assert reason in unknown["reason"]
    [line] = [line for line in answer.stdout.splitlines() if line.startswith("? production")]
    assert line.startswith(f"? production, us-east-1: {unknown['reason'][:40]}")
    assert answer.stdout.splitlines()[-1] == "1 control plane, 1 workload, 1 place unknown."


def test_a_registry_that_cannot_be_read_makes_its_control_plane_unknown(sluice, deployed, monkeypatch):
    deployed("production", "eu-west-1", "transcription")
    deployed("production", "us-east-1", "photo-import")
    fails(monkeypatch, denied, region="us-east-1", operation="GetParametersByPath")
    answer = sluice("status", "--profile", "production", "--region", "us-east-1,eu-west-1", "--json")
    found = read(answer)
    assert answer.exit_code == 1
    assert [unknown["region"] for unknown in found["unknown"]] == ["us-east-1"]
    assert names(found) == {(PRODUCTION, "eu-west-1"): ["transcription"]}


def test_a_profile_without_credentials_is_unknown_and_hides_no_other(sluice, deployed):
    deployed("production", "eu-west-1", "transcription")
    for further in ((), ("--all-regions",)):
        answer = sluice("status", "--profile", "empty,production", *further)
        assert answer.exit_code == 1
        assert f"production, eu-west-1 (account {PRODUCTION})" in answer.stdout
        [line] = [line for line in answer.stdout.splitlines() if line.startswith("? empty")]
        assert "the profile empty: Unable to locate credentials" in line
        assert line.count("AWS_PROFILE") == 1


def test_a_profile_whose_regions_cannot_be_listed_is_unknown_and_hides_no_other(
    sluice, deployed, monkeypatch
):
    deployed("production", "eu-west-1", "transcription")
    deployed("staging", "eu-west-1", "photo-import")
    client = AwsSession.client

    def without_regions(session, service, **settings):
        if service == "ec2" and session._session.profile_name == "staging":
            raise_denied = client(session, service, **settings)
            raise_denied.meta.events.register("before-call", refuse)
            return raise_denied
        return client(session, service, **settings)

    def refuse(model, **_):
        raise denied(model.name)

    monkeypatch.setattr(AwsSession, "client", without_regions)
    answer = sluice("status", "--profile", "production,staging", "--all-regions")
    assert answer.exit_code == 1
    assert f"production, eu-west-1 (account {PRODUCTION})" in answer.stdout
    assert "? staging, all regions: " in answer.stdout


def test_what_is_wrong_in_one_region_is_counted_at_the_end(sluice, deployed):
    deployed("production", "eu-west-1", "transcription")
    deployed("production", "us-east-1", "photo-import")
    session = boto3.Session(profile_name="production", region_name="us-east-1")
    session.client("ssm").put_parameter(
        Name="/sluice/workloads/photo-import", Value="{}", Type="String", Overwrite=True
    )
    answer = sluice("status", "--profile", "production", "--region", "us-east-1,eu-west-1")
    assert answer.exit_code == 1
    assert answer.stdout.splitlines()[-1] == (
        "2 control planes, 2 workloads, 1 with a condition that is wrong."
    )


def test_the_control_planes_of_a_stack_set_are_found_by_a_pattern(sluice, deployed):
    deployed("production", "eu-west-1", "transcription", stack="StackSet-sluice-0a1b")
    deployed("staging", "eu-west-1", "photo-import", stack="StackSet-sluice-7c9d")
    deployed("staging", "us-east-1", "thumbnails")
    arguments = ("--profile", "production,staging", "--region", "eu-west-1,us-east-1", "--json")
    found = read(sluice("status", *arguments, "--stack", "StackSet-sluice-*"))
    assert names(found) == {
        (PRODUCTION, "eu-west-1"): ["transcription"],
        (STAGING, "eu-west-1"): ["photo-import"],
    }
    assert [plane["stack"] for plane in found["planes"]] == ["StackSet-sluice-0a1b", "StackSet-sluice-7c9d"]
    assert [(place["profile"], place["region"]) for place in found["absent"]] == [
        ("production", "us-east-1"),
        ("staging", "us-east-1"),
    ]
    found = read(sluice("status", *arguments, "--stack", "*"))
    assert len(found["planes"]) == 3


class TestWithNames:
    def test_the_one_control_plane_that_has_the_workload_shows_all_of_it(self, sluice, deployed):
        deployed("production", "eu-west-1", "transcription")
        deployed("production", "us-east-1", "photo-import")
        answer = sluice("status", "--profile", "production", "--all-regions", "photo-import")
        assert answer.exit_code == 0, answer.stdout + answer.stderr
        assert "https://sqs.us-east-1.amazonaws.com/111122223333/photo-import" in answer.stdout
        assert "transcription" not in answer.stdout

    def test_each_control_plane_shows_those_that_it_has(self, sluice, deployed):
        deployed("production", "eu-west-1", "transcription", "thumbnails")
        deployed("staging", "eu-west-1", "transcription", "photo-import")
        answer = sluice(
            "status", "--profile", "production,staging", "--json", "photo-import", "transcription"
        )
        assert names(read(answer)) == {
            (PRODUCTION, "eu-west-1"): ["transcription"],
            (STAGING, "eu-west-1"): ["photo-import", "transcription"],
        }

    def test_a_control_plane_of_another_release_is_named(self, sluice, deployed):
        deployed("production", "eu-west-1", "transcription")
        deployed("staging", "eu-west-1", "transcription", release="7.0.0")
        answer = sluice("status", "--profile", "production,staging")
        assert answer.exit_code == 0, answer.stdout + answer.stderr
        assert answer.stderr.startswith(f"staging, eu-west-1: Note: this command is of release {RELEASE}")
        assert answer.stderr.count("Note: ") == 1

    def test_one_that_nobody_has_is_refused(self, sluice, deployed):
        deployed("production", "eu-west-1", "transcription")
        deployed("staging", "eu-west-1", "transcription")
        answer = sluice("status", "--profile", "production,staging", "transcripts")
        assert answer.exit_code == 2
        assert answer.stderr.startswith(
            "Error: transcripts: no such workload is registered in production, eu-west-1; staging, eu-west-1"
        )

    def test_one_that_an_unknown_control_plane_may_have_is_not(self, sluice, deployed, monkeypatch):
        deployed("production", "eu-west-1", "transcription")
        deployed("production", "us-east-1", "photo-import")
        fails(monkeypatch, denied, region="us-east-1")
        answer = sluice(
            "status", "--profile", "production", "--region", "eu-west-1,us-east-1", "photo-import"
        )
        assert answer.exit_code == 1
        assert answer.stdout.splitlines()[-1] == "0 control planes, 0 workloads, 1 place unknown."


class TestRefused:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (
                ("--region", "eu-west-1,,us-east-1"),
                "--region eu-west-1,,us-east-1: an empty name beside a comma",
            ),
            (("--profile", "production,"), "--profile production,: an empty name beside a comma"),
            (("--all-regions", "--region", "eu-west-1"), "--all-regions reads every enabled region"),
            (("--profile", "production,nobody"), "The config profile (nobody) could not be found"),
            (("--embedded", "--profile", "production,staging"), "--embedded reads no account of yours"),
        ],
    )
    def test_with_the_offending_value(self, sluice, deployed, arguments, sentence):
        deployed("production", "eu-west-1", "transcription")
        answer = sluice("status", *arguments)
        assert answer.exit_code == 2
        assert sentence in " ".join(answer.stderr.split())
        assert answer.stdout == ""

    def test_where_no_region_has_a_control_plane(self, sluice, aws):
        answer = sluice("status", "--profile", "production,staging")
        assert answer.exit_code == 2
        assert "CloudFormation finds no stack sluice in any of 2 regions" in answer.stderr

    @pytest.mark.parametrize("command", [("doctor",), ("cost",), ("explain", "transcription")])
    def test_by_the_commands_that_read_one_control_plane(self, sluice, deployed, command):
        deployed("production", "eu-west-1", "transcription")
        deployed("staging", "eu-west-1", "transcription")
        answer = sluice(*command, "--profile", "production,staging")
        assert answer.exit_code == 2
        assert "The config profile (production,staging) could not be found" in answer.stderr
