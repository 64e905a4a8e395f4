"""examples/fleet-asg.yaml: the Auto Scaling group to try Sluice on, and the worker on its instances."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
import pytest

from sluice_sim.template import ResolvedStack
from tests.support import systemd
from tests.support.aws_environment import (
    EmbeddedAws,
    embedded_aws,
    metadata,
)
from tests.templates import fleet_workers, stacks
from tests.templates.running_worker import RunningWorker, started
from tests.templates.stacks import of_type, resolved

INSTANCE = "i-0123456789abcdef0"
INSTALLS_S = 900  # for as long an instance tries to install its worker
WORKED_S = 1.2  # longer than between two looks at whether the worker is busy


@pytest.fixture
def fleet() -> ResolvedStack:
    return stacks.example_fleet()


def group(stack: ResolvedStack) -> dict[str, Any]:
    [properties] = of_type(stack, "AWS::AutoScaling::AutoScalingGroup").values()
    return properties


def launch(stack: ResolvedStack) -> dict[str, Any]:
    [properties] = of_type(stack, "AWS::EC2::LaunchTemplate").values()
    return properties["LaunchTemplateData"]


def hooks(stack: ResolvedStack) -> dict[str, dict[str, Any]]:
    """Transition -> its hook."""
    return {hook["LifecycleTransition"]: hook for hook in group(stack)["LifecycleHookSpecificationList"]}


def allowed_types(stack: ResolvedStack) -> list[str]:
    [override] = group(stack)["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]
    types: list[str] = override["InstanceRequirements"]["AllowedInstanceTypes"]
    return types


def test_queue_and_group_carry_the_tag_and_the_name_that_the_workload_expects(fleet: ResolvedStack) -> None:
    queue = of_type(fleet, "AWS::SQS::Queue")["Queue"]
    environment = stacks.workload_environments()["transcription"]
    assert queue["QueueName"] == environment["QueueName"]
    assert group(fleet)["AutoScalingGroupName"] == environment["AutoScalingGroupName"]
    assert str(group(fleet)["MaxSize"]) == environment["MaxCapacity"]
    assert {"Key": "sluice", "Value": "managed"} in queue["Tags"]
    assert {"Key": "sluice", "Value": "managed", "PropagateAtLaunch": False} in group(fleet)["Tags"]


def test_a_deploy_does_not_resize_the_group(fleet: ResolvedStack) -> None:
    assert "DesiredCapacity" not in group(fleet)
    assert int(group(fleet)["MinSize"]) == 0


def given_in_samconfig(environment: str, color: str) -> dict[str, str]:
    """The parameters of a color's fleet, as the comment above the workload's environment names them."""
    text = (stacks.ROOT / "samconfig.toml").read_text().partition(f"[{environment}.deploy")[0]
    comment = text.rpartition("\n\n")[2].replace("\n# ", " ")
    shared = re.findall(r"(DrainingColorParameter)=([\w/.-]*[\w])", comment)
    [own] = [part for part in comment.split("FleetName=") if f" Color={color}" in part]
    pairs = re.findall(
        r"(\w+)=([\w/.-]*[\w])", f"FleetName={own.partition(f' Color={color}')[0]} Color={color}"
    )
    return dict(shared + pairs)


@pytest.mark.parametrize("name", ["compiler-aarch64-prod", "compiler-aarch64-staging"])
def test_the_two_colors_of_the_compilers_are_two_groups_on_one_queue(name: str) -> None:
    """As samconfig.toml explains how to make them."""
    environment = stacks.workload_environments()[name]
    workload = resolved(stacks.template(stacks.WORKLOAD_TEMPLATE), environment)
    parameter = workload.resources["DrainingColor"].properties["Name"]
    groups = {"blue": "AutoScalingGroupName", "green": "GreenAutoScalingGroupName"}
    queues = []
    for color, named in groups.items():
        given = given_in_samconfig(name, color)
        stack = stacks.example_fleet(**given)
        queues += [properties["QueueName"] for properties in of_type(stack, "AWS::SQS::Queue").values()]
        assert group(stack)["AutoScalingGroupName"] == environment[named]
        assert group(stack)["MaxSize"] == environment["MaxCapacity"]
        assert allowed_types(stack) == ["r7g.medium"]
        settings, _ = fleet_workers.understood(fleet_workers.variables("asg", **given))
        assert (settings.color, settings.draining_color_parameter) == (color, parameter)
        assert [queue.name for queue in settings.queues] == [environment["QueueName"]]
    assert queues == [environment["QueueName"], f"{name}-failed.fifo"]
    sizes = [given_in_samconfig(name, color)["MinSize"] for color in groups]
    assert sizes == [environment["MinCapacity"], "0"]  # the idle one is not kept awake


def test_photo_import_gets_a_group_of_its_name_and_bounds() -> None:
    environment = stacks.workload_environments()["photo-import"]
    stack = stacks.example_fleet(FleetName="photo-import", MaxSize="40", PromiseSeconds="300")
    assert of_type(stack, "AWS::SQS::Queue")["Queue"]["QueueName"] == environment["QueueName"]
    assert group(stack)["AutoScalingGroupName"] == environment["AutoScalingGroupName"]
    assert (group(stack)["MinSize"], group(stack)["MaxSize"]) == ("0", environment["MaxCapacity"])


def test_the_group_is_spot_and_reports_every_group_metric(fleet: ResolvedStack) -> None:
    distribution = group(fleet)["MixedInstancesPolicy"]["InstancesDistribution"]
    assert distribution["SpotAllocationStrategy"] == "price-capacity-optimized"
    assert (distribution["OnDemandBaseCapacity"], distribution["OnDemandPercentageAboveBaseCapacity"]) == (
        "0",
        "0",
    )
    assert len(allowed_types(fleet)) > 1
    assert group(fleet)["MetricsCollection"] == [{"Granularity": "1Minute"}]  # no names: all of them
    assert int(group(fleet)["DefaultInstanceWarmup"]) == 180


def test_a_share_of_on_demand_instances_is_the_operators_choice() -> None:
    stack = stacks.example_fleet(OnDemandBaseCapacity="1", OnDemandPercentage="25")
    distribution = group(stack)["MixedInstancesPolicy"]["InstancesDistribution"]
    assert (distribution["OnDemandBaseCapacity"], distribution["OnDemandPercentageAboveBaseCapacity"]) == (
        "1",
        "25",
    )
    assert distribution["OnDemandAllocationStrategy"] == "lowest-price"


@pytest.mark.parametrize("types", ["r7g.medium", "t4g.small,t4g.medium", "u7i-12tb.224xlarge"])
def test_the_types_of_the_instances_are_those_that_are_named_and_one_will_do(types: str) -> None:
    stack = stacks.example_fleet(InstanceTypes=types)
    assert allowed_types(stack) == types.split(",")


def test_the_instance_types_are_limited_only_by_name(fleet: ResolvedStack) -> None:
    """AWS leaves out burstable and expensive types by default."""
    [override] = group(fleet)["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"]
    requirements = dict(override["InstanceRequirements"])
    assert "InstanceType" not in override  # AWS refuses both
    assert any(named.startswith("t4g.") for named in requirements.pop("AllowedInstanceTypes"))
    assert requirements == {
        "VCpuCount": {"Min": 1},
        "MemoryMiB": {"Min": 1},
        "BurstablePerformance": "included",
        "BareMetal": "included",
        "OnDemandMaxPricePercentageOverLowestPrice": 999999,
        "SpotMaxPricePercentageOverLowestPrice": 999999,
    }


@pytest.mark.parametrize("types", ["", "r7g", "r7g.medium,", "r7g.medium;r7g.large", "R7G.medium"])
def test_an_invalid_instance_type_is_refused(types: str) -> None:
    with pytest.raises(ValueError, match="InstanceTypes"):
        stacks.example_fleet(InstanceTypes=types)


def test_a_new_instance_has_a_health_check_grace_period(fleet: ResolvedStack) -> None:
    assert group(fleet)["HealthCheckGracePeriod"] == "240"
    assert group(stacks.example_fleet(HealthCheckGracePeriodSeconds="60"))["HealthCheckGracePeriod"] == "60"


def test_a_terminating_instance_is_kept_longer_than_the_grace_period(fleet: ResolvedStack) -> None:
    hook = hooks(fleet)["autoscaling:EC2_INSTANCE_TERMINATING"]
    assert hook["DefaultResult"] == "CONTINUE"
    assert fleet_workers.variables("asg")["SLUICE_WORKER_LIFECYCLE_HOOK"] == hook["LifecycleHookName"]
    settings, _ = fleet_workers.understood(fleet_workers.variables("asg"))
    assert hook["HeartbeatTimeout"] > settings.grace_s  # even if it never asks for more time


def test_an_instance_is_in_service_once_its_worker_receives(fleet: ResolvedStack) -> None:
    hook = hooks(fleet)["autoscaling:EC2_INSTANCE_LAUNCHING"]
    assert fleet_workers.variables("asg")["SLUICE_WORKER_LAUNCH_HOOK"] == hook["LifecycleHookName"]
    assert hook["DefaultResult"] == "ABANDON"  # without a worker it is replaced
    assert hook["HeartbeatTimeout"] >= INSTALLS_S + 300  # the last attempt takes minutes, too


def test_by_default_the_group_has_no_warm_pool(fleet: ResolvedStack) -> None:
    assert of_type(fleet, "AWS::AutoScaling::WarmPool") == {}
    assert "LaunchTemplate" not in group(fleet)
    assert "InstanceType" not in launch(fleet)


def test_a_warm_pool_holds_stopped_on_demand_instances_and_takes_them_back() -> None:
    stack = stacks.example_fleet(
        WarmPoolSize="12", OnDemandPercentage="100", InstanceTypes="m7g.medium,m6g.medium"
    )
    [pool] = of_type(stack, "AWS::AutoScaling::WarmPool").values()
    assert (pool["PoolState"], pool["InstanceReusePolicy"]) == ("Stopped", {"ReuseOnScaleIn": True})
    assert pool["MaxGroupPreparedCapacity"] == "12"
    assert "MinSize" not in pool  # it would refill the pool for each instance that leaves it
    assert "MixedInstancesPolicy" not in group(stack)  # may be Spot, which AWS refuses beside a warm pool
    assert group(stack)["LaunchTemplate"]["LaunchTemplateId"] == "LaunchTemplate.Ref"
    assert launch(stack)["InstanceType"] == "m7g.medium"
    assert "InstanceMarketOptions" not in launch(stack)


@pytest.mark.parametrize("percentage", ["0", "50", "99"])
def test_a_warm_pool_beside_spot_instances_is_refused_with_the_way_out(percentage: str) -> None:
    with pytest.raises(ValueError, match="no warm pool beside Spot instances; set OnDemandPercentage to 100"):
        stacks.example_fleet(WarmPoolSize="3", OnDemandPercentage=percentage)


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


# ---- The worker on an instance -----------------------------------------------------------------------------


def test_the_user_data_is_a_script_that_bash_can_read(fleet: ResolvedStack) -> None:
    script = fleet_workers.user_data(fleet)
    assert script.startswith("#!/bin/bash\n")
    read = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")


STUB_DNF = """#!/bin/bash
echo "dnf $*" >> calls
[ -e never ] && exit 1
[ -e tried ] || { touch tried; exit 1; } # a mirror that does not answer at once
"""
STUB_AWS = """#!/bin/bash
echo "aws $*" >> calls
[ ! -e unreachable ]
"""
STUB_CURL = """#!/bin/bash
[ -e unreachable ] && exit 28
case "$*" in
  *api/token) echo a-token ;;
  *"metadata-token: a-token"*instance-id) echo i-0123456789abcdef0 ;;
  *) exit 22 ;;
esac
"""
STUBS = {
    "dnf": STUB_DNF,
    "aws": STUB_AWS,
    "curl": STUB_CURL,
    "python3.13": '#!/bin/bash\necho "python3.13 $*" >> calls\n',
}
# Bash counts SECONDS by itself; here time passes only while the script sleeps or an attempt runs.
PASSING_TIME = """
pip() { echo "/opt/worker/bin/pip $*" >> calls; }
sleep() { echo "sleep $1" >> calls; SECONDS=$((SECONDS + $1)); }
"""
PIP = "/opt/worker/bin/pip"


def installed(
    fleet: ResolvedStack, folder: Path, *, without: tuple[str, ...] = ()
) -> tuple[int, list[str], str]:
    """The first half of the user data in a folder of stubs: exit status, calls, and what it says."""
    for name, script in STUBS.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    for absent in without:
        (folder / absent).touch()
    installing, _, _ = fleet_workers.user_data(fleet).partition("cat > /etc/systemd")
    ran = subprocess.run(
        ["bash", "-c", PASSING_TIME + installing.replace(PIP, "pip")],
        cwd=folder,
        env={"PATH": f"{folder}:{os.environ['PATH']}"},
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )
    return ran.returncode, (folder / "calls").read_text().splitlines(), ran.stdout


def test_an_instance_tries_until_it_has_the_worker_from_the_one_wheel(
    fleet: ResolvedStack, tmp_path: Path
) -> None:
    status, calls, _ = installed(fleet, tmp_path)
    wheel = stacks.WORKER["asg"]["WorkerWheel"]
    assert status == 0
    assert calls == [
        "dnf install -y python3.13",
        "sleep 15",
        "dnf install -y python3.13",
        f"aws s3 cp --only-show-errors s3://{wheel} /root/",
        "python3.13 -m venv /opt/worker",
        f"{PIP} install --no-cache-dir /root/{wheel.rsplit('/', 1)[-1]}[worker]",
    ]


SUSPENDS = (
    "aws autoscaling suspend-processes --auto-scaling-group-name transcription --scaling-processes Launch"
)
ENDS_ITSELF = (
    "aws autoscaling complete-lifecycle-action --auto-scaling-group-name transcription "
    f"--lifecycle-hook-name start-worker --instance-id {INSTANCE} --lifecycle-action-result ABANDON"
)


def test_an_instance_that_cannot_install_its_worker_terminates_without_a_replacement(
    fleet: ResolvedStack, tmp_path: Path
) -> None:
    status, calls, output = installed(fleet, tmp_path, without=("never",))
    tries = ["dnf install -y python3.13", "sleep 15"] * (INSTALLS_S // 15)
    assert calls == [*tries, "dnf install -y python3.13", SUSPENDS, ENDS_ITSELF]
    assert status == 1
    assert "could not be installed in 90" in output
    assert "aws autoscaling resume-processes --auto-scaling-group-name transcription" in output


def test_an_instance_without_a_route_to_aws_is_left_to_its_launch_hook_and_logs_it(
    fleet: ResolvedStack, tmp_path: Path
) -> None:
    status, calls, output = installed(fleet, tmp_path, without=("never", "unreachable"))
    assert calls.count("dnf install -y python3.13") == 61
    assert calls[-1] == SUSPENDS
    assert status == 1
    assert "could not be told: it replaces this instance once the launch hook times out" in output
    assert "this instance ends" not in output.lower()


def test_an_instance_may_stop_the_launches_of_only_its_own_group(fleet: ResolvedStack) -> None:
    [role] = of_type(fleet, "AWS::IAM::Role").values()
    statements = role["Policies"][0]["PolicyDocument"]["Statement"]
    [on_the_group] = [each for each in statements if "autoscaling:SuspendProcesses" in each["Action"]]
    assert "autoscaling:CompleteLifecycleAction" in on_the_group["Action"]
    assert on_the_group["Resource"].endswith("autoScalingGroup:*:autoScalingGroupName/transcription")


def test_systemd_accepts_the_unit(fleet: ResolvedStack, tmp_path: Path) -> None:
    assert systemd.complaints(fleet_workers.unit_in(fleet_workers.user_data(fleet)), tmp_path) == []


def test_a_worker_that_fails_is_started_again_and_one_that_drained_is_not(fleet: ResolvedStack) -> None:
    unit = fleet_workers.unit(fleet)
    assert unit["Service.Restart"] == ["on-failure"]
    assert unit["Unit.StartLimitIntervalSec"] == ["0"]  # however often
    assert unit["Install.WantedBy"] == ["multi-user.target"]  # and after a reboot


def test_the_unit_runs_the_worker_as_an_unprivileged_user(fleet: ResolvedStack) -> None:
    unit = fleet_workers.unit(fleet)
    assert unit["Service.DynamicUser"] == ["yes"]
    assert unit["Service.CapabilityBoundingSet"] == [""]
    assert unit["Service.ExecStart"] == ["/opt/worker/bin/python -m sluice_worker"]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedAws, RunningWorker]]:
    """A worker that processed one test message, received three others, and saw its instance terminated."""
    variables = fleet_workers.variables("asg")
    bodies = [json.dumps({"duration_s": WORKED_S}), "not a test message", "{}", '{"duration_s": null}']
    with ExitStack() as contexts:
        aws = contexts.enter_context(embedded_aws())
        url = variables["SLUICE_WORKER_QUEUE"]
        sqs = boto3.client("sqs", endpoint_url=aws.endpoint, region_name=stacks.REGION)
        sqs.create_queue(QueueName=url.rsplit("/", 1)[-1])
        for body in bodies:
            sqs.send_message(QueueUrl=url, MessageBody=body)
        sqs.close()
        metadata_service = contexts.enter_context(metadata(instance_id=INSTANCE))
        metadata_service.items["autoscaling/target-lifecycle-state"] = "InService"
        variables |= {
            "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata_service.endpoint,
            "SLUICE_WORKER_GRACE_S": "2",  # an idle worker waits for its long polls
        }
        log = tmp_path_factory.mktemp("instance") / "worker.log"
        worker = contexts.enter_context(started(variables, aws.endpoint, log))
        aws.calls.wait_for(lambda: len(settled(aws)) == len(bodies))
        metadata_service.items["autoscaling/target-lifecycle-state"] = "Terminated"
        worker.ended()
        yield aws, worker


def settled(aws: EmbeddedAws) -> list[str]:
    """What became of each message: it was deleted, or hidden for a while."""
    operations = ("DeleteMessageBatch", "ChangeMessageVisibilityBatch")
    return [
        operation for operation in operations for request in aws.of(operation) for _ in request["Entries"]
    ]


@pytest.mark.slow
def test_a_worker_processes_deletes_reports_and_stops_on_request(
    ended: tuple[EmbeddedAws, RunningWorker], fleet: ResolvedStack
) -> None:
    aws, worker = ended
    assert worker.process.returncode == 0
    assert settled(aws).count("DeleteMessageBatch") == 1
    own = [{"Name": "AutoScalingGroupName", "Value": "transcription"}]
    [reported] = [
        (request["Namespace"], datum)
        for request in aws.of("PutMetricData")
        for datum in request["MetricData"]
        if datum["Dimensions"] == own
    ]
    namespace, datum = reported
    assert (namespace, datum["MetricName"], datum["Unit"]) == ("Sluice", "MsgProcessingDuration", "Seconds")
    assert float(datum["Values"][0]) >= WORKED_S
    assert aws.of("CompleteLifecycleAction") == [
        {
            "AutoScalingGroupName": group(fleet)["AutoScalingGroupName"],
            "LifecycleHookName": hooks(fleet)[f"autoscaling:EC2_INSTANCE_{transition}"]["LifecycleHookName"],
            "InstanceId": INSTANCE,
            "LifecycleActionResult": "CONTINUE",
        }
        for transition in ("LAUNCHING", "TERMINATING")
    ]


def test_a_worker_deletes_nothing_it_did_not_work_on(ended: tuple[EmbeddedAws, RunningWorker]) -> None:
    aws, worker = ended
    assert settled(aws).count("ChangeMessageVisibilityBatch") == 3
    assert worker.last_report()["messagesFailed"] == 3


def test_a_worker_leaves_no_protection_behind(ended: tuple[EmbeddedAws, RunningWorker]) -> None:
    aws, _ = ended
    protected = [request["ProtectedFromScaleIn"] for request in aws.of("SetInstanceProtection")]
    assert [str(one).lower() for one in protected] == ["true", "false"]
    assert {tuple(request["InstanceIds"]) for request in aws.of("SetInstanceProtection")} == {(INSTANCE,)}


def test_the_commands_name_the_wheel_that_is_built() -> None:
    version = tomllib.loads((stacks.ROOT / "pyproject.toml").read_text())["project"]["version"]
    for page in ("docs/deploy.md", stacks.EXAMPLES["asg"]):
        named = set(re.findall(r"[\w.-]+-py3-none-any\.whl", (stacks.ROOT / page).read_text()))
        assert named == {f"sluice-{version}-py3-none-any.whl"}


@pytest.mark.parametrize("uri", ["s3://bucket/sluice-0.1.0-py3-none-any.whl", "bucket/worker.whl", "bucket/"])
def test_a_wheel_is_named_as_it_was_built_and_without_a_scheme(uri: str) -> None:
    allowed = stacks.template(stacks.EXAMPLES["asg"])["Parameters"]["WorkerWheel"]["AllowedPattern"]
    assert re.match(allowed, uri) is None
    assert re.match(allowed, stacks.WORKER["asg"]["WorkerWheel"])


def test_the_example_asks_for_its_network() -> None:
    template = stacks.template("examples/fleet-asg.yaml")
    with pytest.raises(ValueError, match="VpcId"):
        resolved(template, {})
