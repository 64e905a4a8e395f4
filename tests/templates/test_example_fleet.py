"""examples/fleet-asg.yaml: the fleet a trial is made on, and the worker on its instances."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import stacks
from stacks import of_type, resolved

from sluice_sim.template import ResolvedStack


@pytest.fixture
def fleet() -> ResolvedStack:
    return stacks.example_fleet()


def group(stack: ResolvedStack) -> dict[str, Any]:
    [properties] = of_type(stack, "AWS::AutoScaling::AutoScalingGroup").values()
    return properties


def launch(stack: ResolvedStack) -> dict[str, Any]:
    [properties] = of_type(stack, "AWS::EC2::LaunchTemplate").values()
    return properties["LaunchTemplateData"]


def test_queue_and_group_carry_the_tag_and_the_name_that_the_workload_expects(fleet: ResolvedStack) -> None:
    queue = of_type(fleet, "AWS::SQS::Queue")["Queue"]
    environment = stacks.workload_environments()["transcription"]
    assert queue["QueueName"] == environment["QueueName"]
    assert group(fleet)["AutoScalingGroupName"] == environment["AutoScalingGroupName"]
    assert str(group(fleet)["MaxSize"]) == environment["MaxCapacity"]
    assert {"Key": "sluice", "Value": "managed"} in queue["Tags"]
    assert {"Key": "sluice", "Value": "managed", "PropagateAtLaunch": False} in group(fleet)["Tags"]


def test_a_deploy_leaves_the_size_of_the_group_alone(fleet: ResolvedStack) -> None:
    assert "DesiredCapacity" not in group(fleet)
    assert int(group(fleet)["MinSize"]) == 0


@pytest.mark.parametrize("name", ["compiler-aarch64-prod", "compiler-aarch64-staging"])
def test_the_compilers_get_a_group_of_their_names_and_bounds(name: str) -> None:
    environment = stacks.workload_environments()[name]
    stack = stacks.example_fleet(
        FleetName=name,
        Fifo="true",
        MinSize=environment["MinCapacity"],
        MaxSize=environment["MaxCapacity"],
        WarmupSeconds=environment["InstanceWarmupSeconds"],
    )
    assert of_type(stack, "AWS::SQS::Queue")["Queue"]["QueueName"] == environment["QueueName"]
    assert group(stack)["AutoScalingGroupName"] == environment["AutoScalingGroupName"]
    assert (group(stack)["MinSize"], group(stack)["MaxSize"]) == (
        environment["MinCapacity"],
        environment["MaxCapacity"],
    )


def test_the_group_is_spot_and_reports_every_group_metric(fleet: ResolvedStack) -> None:
    distribution = group(fleet)["MixedInstancesPolicy"]["InstancesDistribution"]
    assert distribution["SpotAllocationStrategy"] == "price-capacity-optimized"
    assert distribution["OnDemandPercentageAboveBaseCapacity"] == distribution["OnDemandBaseCapacity"] == 0
    assert len(group(fleet)["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]) > 1
    assert group(fleet)["MetricsCollection"] == [{"Granularity": "1Minute"}]  # no names: all of them
    assert int(group(fleet)["DefaultInstanceWarmup"]) == 180


def test_an_instance_is_waited_for_before_it_goes(fleet: ResolvedStack) -> None:
    [hook] = group(fleet)["LifecycleHookSpecificationList"]
    assert hook["LifecycleTransition"] == "autoscaling:EC2_INSTANCE_TERMINATING"
    assert hook["DefaultResult"] == "CONTINUE"
    assert f"--lifecycle-hook-name {hook['LifecycleHookName']}" in worker(fleet)


def test_an_instance_is_closed_to_the_network_and_to_its_metadata(fleet: ResolvedStack) -> None:
    [firewall] = of_type(fleet, "AWS::EC2::SecurityGroup").values()
    assert "SecurityGroupIngress" not in firewall
    assert [(rule["FromPort"], rule["ToPort"]) for rule in firewall["SecurityGroupEgress"]] == [(443, 443)]
    assert not {"AWS::EC2::SecurityGroupIngress"} & {resource.type for resource in fleet.resources.values()}
    assert launch(fleet)["MetadataOptions"]["HttpTokens"] == "required"
    assert [device["Ebs"]["Encrypted"] for device in launch(fleet)["BlockDeviceMappings"]] == [True]
    assert "KeyName" not in launch(fleet)


def test_two_fleets_share_no_name() -> None:
    naming = {"AutoScalingGroupName", "QueueName", "RoleName", "InstanceProfileName", "LaunchTemplateName"}
    first, second = (
        {
            value
            for resource in stacks.example_fleet(FleetName=name).resources.values()
            for key, value in resource.properties.items()
            if key in naming
        }
        for name in ("one", "two")
    )
    assert (first, second) == ({"one"}, {"two"})


def worker(stack: ResolvedStack) -> str:
    """The script that the user data leaves on an instance."""
    found = re.search(r"<<'WORKER'\n(.*)^WORKER$", launch(stack)["UserData"], re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


STUB_AWS = """#!/bin/bash
echo "$@" >> "$CALLS"
[ "$2" = receive-message ] && cat "$MESSAGE"
exit 0
"""
# The second look at the metadata of the instance's state says that it is to go.
STUB_CURL = """#!/bin/bash
case "$*" in
  *api/token*) echo token ;;
  *instance-id*) echo i-0123456789abcdef0 ;;
  *target-lifecycle-state*)
    if [ -e "$SEEN" ]; then echo Terminated; else touch "$SEEN"; echo InService; fi ;;
esac
"""


def run_worker(stack: ResolvedStack, folder: Path, message: str) -> list[str]:
    """The AWS calls of a worker that finds one answer, then is to go."""
    for name, script in (("aws", STUB_AWS), ("curl", STUB_CURL), ("worker", worker(stack))):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    (folder / "message").write_text(message)
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "CALLS": str(folder / "calls"),
        "MESSAGE": str(folder / "message"),
        "SEEN": str(folder / "seen"),
    }
    subprocess.run(
        ["bash", str(folder / "worker")], env=environment, check=True, timeout=30, capture_output=True
    )
    return (folder / "calls").read_text().splitlines()


def test_a_worker_works_deletes_reports_and_leaves_when_told(fleet: ResolvedStack, tmp_path: Path) -> None:
    calls = run_worker(fleet, tmp_path, r'["handle", "{\"duration_s\": 0.2}"]')
    assert [" ".join(call.split()[:2]) for call in calls] == [
        "sqs receive-message",
        "sqs change-message-visibility",
        "sqs delete-message",
        "cloudwatch put-metric-data",
        "autoscaling complete-lifecycle-action",
    ]
    reported = re.search(r"--namespace Sluice --metric-name MsgProcessingDuration .*--value (\S+)", calls[3])
    assert reported is not None
    assert 0.2 <= float(reported[1]) < 5
    assert "--dimensions AutoScalingGroupName=transcription" in calls[3]
    assert "--receipt-handle handle" in calls[2]


@pytest.mark.parametrize("message", ["null", "", r'["handle", "not a test message"]', r'["handle", "{}"]'])
def test_a_worker_deletes_nothing_it_did_not_work_on(
    fleet: ResolvedStack, tmp_path: Path, message: str
) -> None:
    calls = run_worker(fleet, tmp_path, message)
    assert [call.split()[1] for call in calls] == ["receive-message", "complete-lifecycle-action"]


def test_the_example_asks_for_its_network() -> None:
    template = stacks.template("examples/fleet-asg.yaml")
    with pytest.raises(ValueError, match="VpcId"):
        resolved(template, {})
