"""samconfig.toml: what each environment deploys, and how carefully."""

from __future__ import annotations

import pytest
from stacks import WORKLOAD_TEMPLATE, samconfig, template, workload_environments


def test_the_plane_is_deployed_by_default_and_asks_first() -> None:
    environment = samconfig()["default"]
    assert environment["global"]["parameters"]["stack_name"] == "sluice"
    deploy = environment["deploy"]["parameters"]
    assert deploy["resolve_s3"] is True
    assert deploy["confirm_changeset"] is True
    assert deploy["capabilities"] == "CAPABILITY_IAM"
    assert "template_file" not in deploy  # what `sam build` left, not the source


def test_the_e2e_plane_uses_a_given_bucket_and_asks_nobody() -> None:
    deploy = samconfig()["e2e"]["deploy"]["parameters"]
    assert deploy["s3_bucket"] == "sluice-e2e-artifacts"
    assert "resolve_s3" not in deploy
    assert deploy["confirm_changeset"] is False


def test_no_two_environments_deploy_one_stack() -> None:
    config = samconfig()
    names = [
        environment["deploy"]["parameters"].get("stack_name")
        or environment["global"]["parameters"]["stack_name"]
        for environment in config.values()
        if isinstance(environment, dict)
    ]
    assert len(names) == len(set(names)) == 3


def test_transcription_is_a_gpu_group_of_up_to_five_with_eight_messages_each() -> None:
    assert workload_environments()["transcription"] == {
        "Name": "transcription",
        "QueueName": "transcription",
        "FleetType": "asg",
        "AutoScalingGroupName": "transcription",
        "MinCapacity": "0",
        "MaxCapacity": "5",
        "TargetType": "static",
        "MessagesPerInstance": "8",
        "InstanceWarmupSeconds": "180",
    }


@pytest.mark.parametrize("environment", sorted(workload_environments()))
def test_a_workloads_environment_knows_the_templates_parameters(environment: str) -> None:
    declared = template(WORKLOAD_TEMPLATE)["Parameters"]
    required = {name for name, body in declared.items() if "Default" not in body}
    given = set(workload_environments()[environment])
    assert required <= given <= set(declared)
