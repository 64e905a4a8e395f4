from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sluice.aws.asg import AutoScalingGroups
from sluice.core.model import AutoScalingGroup, Bounds, Capacity, Unknown
from sluice.errors import ConfigError, TransientError
from tests.sluice.aws import account
from tests.sluice.aws.stubs import (
    Call,
    refusal,
    stubbed,
    unchecked,
)
from tests.support.builders import plenty

GROUP = AutoScalingGroup(name="transcription")


def described(name: str = "transcription", *states: str, **changes: Any) -> dict[str, Any]:
    """One group as DescribeAutoScalingGroups describes it, with an instance in each of the states."""
    instances = [
        {
            "InstanceId": f"i-{index}",
            "AvailabilityZone": "eu-west-1a",
            "LifecycleState": state,
            "HealthStatus": "Healthy",
            "ProtectedFromScaleIn": False,
        }
        for index, state in enumerate(states)
    ]
    return {
        "AutoScalingGroupName": name,
        "MinSize": 0,
        "MaxSize": 5,
        "DesiredCapacity": len(states),
        "DefaultCooldown": 300,
        "AvailabilityZones": ["eu-west-1a"],
        "HealthCheckType": "EC2",
        "CreatedTime": 0,
        "Instances": instances,
        "SuspendedProcesses": [],
    } | changes


def describe(names: list[str], *groups: Mapping[str, Any]) -> Call:
    parameters = {"AutoScalingGroupNames": names, "MaxRecords": 100}
    return ("describe_auto_scaling_groups", parameters, {"AutoScalingGroups": list(groups)})


def read_one(group: Mapping[str, Any], pool: ThreadPoolExecutor) -> Capacity:
    with stubbed("autoscaling", describe(["transcription"], group)) as client:
        observed = AutoScalingGroups(lambda: client, pool).read([GROUP], plenty)[GROUP]
    assert isinstance(observed, Capacity)
    return observed


def test_a_hundred_and_one_groups_are_two_calls(pool: ThreadPoolExecutor) -> None:
    names = [f"g{index:03}" for index in range(101)]
    calls = [
        describe(names[:100], *(described(name, "InService") for name in names[:100])),
        describe(names[100:], described(names[100], "InService", "InService")),
    ]
    with stubbed("autoscaling", *calls) as client:
        observed = AutoScalingGroups(lambda: client, pool).read(
            [AutoScalingGroup(name=name) for name in names], plenty
        )
    assert len(observed) == 101
    last = observed[AutoScalingGroup(name="g100")]
    assert isinstance(last, Capacity)
    assert last.running == 2


def test_every_page_of_an_answer_is_read(pool: ThreadPoolExecutor) -> None:
    one, other = AutoScalingGroup(name="one"), AutoScalingGroup(name="other")
    request = {"AutoScalingGroupNames": ["one", "other"], "MaxRecords": 100}
    first = {"AutoScalingGroups": [described("one")], "NextToken": "more"}
    rest = {"AutoScalingGroups": [described("other")]}
    calls = [
        ("describe_auto_scaling_groups", request, first),
        ("describe_auto_scaling_groups", request | {"NextToken": "more"}, rest),
    ]
    with stubbed("autoscaling", *calls) as client:
        observed = AutoScalingGroups(lambda: client, pool).read([one, other], plenty)
    assert all(isinstance(reading, Capacity) for reading in observed.values())


@pytest.mark.parametrize(
    "state",
    [
        "Pending",
        "Pending:Wait",
        "Pending:Proceed",
        "Terminating",
        "Terminating:Wait",
        "Terminated",
        "Standby",
        "EnteringStandby",
        "Detaching",
        "Quarantined",
        "Warmed:Stopped",
        "Warmed:Running",
    ],
)
def test_only_instances_in_service_are_running(state: str, pool: ThreadPoolExecutor) -> None:
    observed = read_one(described("transcription", "InService", state, "InService"), pool)
    assert (observed.desired, observed.running, observed.bounds) == (3, 2, Bounds(min=0, max=5))


@pytest.mark.parametrize("state", ["Pending", "Pending:Wait", "Pending:Proceed"])
def test_an_instance_boots_from_its_launch_until_it_is_in_service(
    state: str, pool: ThreadPoolExecutor
) -> None:
    observed = read_one(described("transcription", "InService", state, state, "Terminating"), pool)
    assert (observed.running, observed.booting) == (1, 2)


@pytest.mark.parametrize("state", ["Warmed:Pending", "Warmed:Pending:Wait", "Warmed:Stopped", "Terminating"])
def test_an_instance_of_the_warm_pool_does_not_boot_for_work(state: str, pool: ThreadPoolExecutor) -> None:
    assert read_one(described("transcription", "InService", state), pool).booting == 0


def test_protected_are_the_instances_in_service_that_scale_in_must_leave(pool: ThreadPoolExecutor) -> None:
    group = described("transcription", "InService", "InService", "InService", "Terminating:Wait", "Standby")
    for instance in group["Instances"][1:]:
        instance["ProtectedFromScaleIn"] = True
    assert read_one(group, pool).protected == 2


@pytest.mark.parametrize(
    ("process", "out", "into"),
    [
        ("Launch", ("Launch is suspended",), ()),
        ("Terminate", (), ("Terminate is suspended",)),
        ("AlarmNotification", (), ("AlarmNotification is suspended",)),
        ("AZRebalance", (), ()),
        ("HealthCheck", (), ()),
    ],
)
def test_a_suspended_process_holds_the_direction_that_needs_it(
    process: str, out: tuple[str, ...], into: tuple[str, ...], pool: ThreadPoolExecutor
) -> None:
    suspended = [{"ProcessName": process, "SuspensionReason": "User suspended at 2026-01-15T11:00:00Z"}]
    observed = read_one(described(SuspendedProcesses=suspended), pool)
    assert (observed.scale_out_blocked_by, observed.scale_in_blocked_by) == (out, into)


def test_every_reason_that_holds_a_direction_is_named(pool: ThreadPoolExecutor) -> None:
    both = [{"ProcessName": name} for name in ("Terminate", "AlarmNotification")]
    observed = read_one(described(SuspendedProcesses=both), pool)
    assert observed.scale_in_blocked_by == ("AlarmNotification is suspended", "Terminate is suspended")


def test_a_group_that_is_being_deleted_is_held_both_ways(pool: ThreadPoolExecutor) -> None:
    observed = read_one(described(Status="Delete in progress"), pool)
    assert (observed.scale_out_blocked_by, observed.scale_in_blocked_by) == (("Delete in progress",),) * 2


def test_a_refused_batch_is_unknown_for_its_own_groups_alone(pool: ThreadPoolExecutor) -> None:
    fleets = [AutoScalingGroup(name=f"g{index:03}") for index in range(101)]
    names = [fleet.name for fleet in fleets]
    request = {"AutoScalingGroupNames": names[:100], "MaxRecords": 100}
    calls = [
        ("describe_auto_scaling_groups", request, refusal("Throttling", "slow down")),
        describe(names[100:], described(names[100])),
    ]
    with stubbed("autoscaling", *calls) as client:
        observed = AutoScalingGroups(lambda: client, pool).read(fleets, plenty)
    throttled = Unknown(reason="DescribeAutoScalingGroups of 100 groups: AWS answered Throttling: slow down")
    assert {observed[fleet] for fleet in fleets[:100]} == {throttled}
    assert isinstance(observed[fleets[100]], Capacity)


@pytest.mark.parametrize(
    "group",
    [
        {key: value for key, value in described().items() if key != "DesiredCapacity"},
        {key: value for key, value in described().items() if key != "Instances"},
        {key: value for key, value in described().items() if key != "MaxSize"},
        described(Instances=None),
        described(Instances=[{}]),
    ],
)
def test_a_malformed_answer_is_unknown_and_never_a_number(
    group: Mapping[str, Any], pool: ThreadPoolExecutor
) -> None:
    with unchecked("autoscaling", DescribeAutoScalingGroups={"AutoScalingGroups": [group]}) as client:
        observed = AutoScalingGroups(lambda: client, pool).read([GROUP], plenty)[GROUP]
    assert isinstance(observed, Unknown)
    assert "AWS's answer cannot be read" in observed.reason


def test_setting_waits_for_no_cooldown() -> None:
    request = {"AutoScalingGroupName": "transcription", "DesiredCapacity": 3, "HonorCooldown": False}
    with stubbed("autoscaling", ("set_desired_capacity", request, {})) as client, account.threads() as pool:
        AutoScalingGroups(lambda: client, pool).set_desired(GROUP, 3)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ValidationError", 400, ConfigError),
        ("ScalingActivityInProgress", 400, TransientError),
        ("ResourceContention", 500, TransientError),
    ],
)
def test_a_refused_count_raises_and_names_the_group_and_the_count(
    code: str, status: int, kind: type[Exception], pool: ThreadPoolExecutor
) -> None:
    reply = "New SetDesiredCapacity value 9 is above max value 5 for the AutoScalingGroup."
    request = {"AutoScalingGroupName": "transcription", "DesiredCapacity": 9, "HonorCooldown": False}
    with (
        stubbed("autoscaling", ("set_desired_capacity", request, refusal(code, reply, status))) as client,
        pytest.raises(kind) as raised,
    ):
        AutoScalingGroups(lambda: client, pool).set_desired(GROUP, 9)
    assert str(raised.value) == (
        f"SetDesiredCapacity of Auto Scaling group transcription to 9: AWS answered {code}: {reply}"
    )


@pytest.mark.usefixtures("in_account")
def test_a_group_with_suspended_processes_reads_as_held(pool: ThreadPoolExecutor) -> None:
    group = account.create_group("transcription", desired=1)
    autoscaling = account.client("autoscaling")
    autoscaling.suspend_processes(AutoScalingGroupName=group.name, ScalingProcesses=["Launch", "Terminate"])
    observed = AutoScalingGroups(lambda: autoscaling, pool).read([group], plenty)[group]
    assert isinstance(observed, Capacity)
    assert (observed.scale_out_blocked_by, observed.scale_in_blocked_by) == (
        ("Launch is suspended",),
        ("Terminate is suspended",),
    )


def mixed(*weights: str | None) -> dict[str, Any]:
    """A mixed instances policy with these weights, by instance type."""
    types = [
        {"InstanceType": f"c5.{index}xlarge"} | ({"WeightedCapacity": weight} if weight else {})
        for index, weight in enumerate(weights)
    ]
    specification = {"LaunchTemplateId": "lt-0123456789abcdef0"}
    return {"LaunchTemplate": {"LaunchTemplateSpecification": specification, "Overrides": types}}


@pytest.mark.parametrize(
    ("changes", "unsupported_units"),
    [
        ({}, ()),
        ({"MixedInstancesPolicy": mixed(None, None)}, ()),
        # Every unit is an instance.
        ({"MixedInstancesPolicy": mixed("1", "1")}, ()),
        ({"MixedInstancesPolicy": mixed("2", "2")}, ("WeightedCapacity 2",)),
        ({"MixedInstancesPolicy": mixed("1", "4", "2")}, ("WeightedCapacity 2", "WeightedCapacity 4")),
        ({"MixedInstancesPolicy": {"InstancesDistribution": {}}}, ()),
        ({"DesiredCapacityType": "units"}, ()),
        ({"DesiredCapacityType": "vcpu"}, ("DesiredCapacityType vcpu",)),
        ({"DesiredCapacityType": "memory-mib"}, ("DesiredCapacityType memory-mib",)),
    ],
)
def test_sizes_that_are_not_counted_in_instances_are_marked(
    changes: dict[str, Any], unsupported_units: tuple[str, ...], pool: ThreadPoolExecutor
) -> None:
    assert (
        read_one(described("transcription", "InService", **changes), pool).unsupported_units
        == unsupported_units
    )


@pytest.mark.parametrize(("weight", "unsupported_units"), [("1", ()), ("8", ("WeightedCapacity 8",))])
def test_an_instance_keeps_the_weight_that_its_policy_no_longer_has(
    weight: str, unsupported_units: tuple[str, ...], pool: ThreadPoolExecutor
) -> None:
    group = described("transcription", "InService")
    group["Instances"][0]["WeightedCapacity"] = weight
    assert read_one(group, pool).unsupported_units == unsupported_units


def test_a_group_with_a_warm_pool_says_so(pool: ThreadPoolExecutor) -> None:
    assert not read_one(described(), pool).has_warm_pool
    assert read_one(described(WarmPoolConfiguration={"PoolState": "Stopped"}), pool).has_warm_pool


def test_only_initialised_instances_of_a_warm_pool_can_be_started(pool: ThreadPoolExecutor) -> None:
    states = [
        "Warmed:Stopped",
        "Warmed:Pending",
        "Warmed:Pending:Wait",
        "Warmed:Terminating",
        "Warmed:Hibernated",
    ]
    members = described("transcription", *states)["Instances"]
    first, rest = {"Instances": members[:2], "NextToken": "more"}, {"Instances": members[2:]}
    request = {"AutoScalingGroupName": "transcription"}
    calls = [
        ("describe_warm_pool", request, first),
        ("describe_warm_pool", {**request, "NextToken": "more"}, rest),
    ]
    with stubbed("autoscaling", *calls) as client:
        assert AutoScalingGroups(lambda: client, pool).ready([GROUP], plenty) == {GROUP: 2}


def test_a_warm_pool_that_cannot_be_read_is_unknown_and_never_empty(pool: ThreadPoolExecutor) -> None:
    request = {"AutoScalingGroupName": "transcription"}
    with stubbed(
        "autoscaling", ("describe_warm_pool", request, refusal("Throttling", "slow down"))
    ) as client:
        found = AutoScalingGroups(lambda: client, pool).ready([GROUP], plenty)[GROUP]
    assert found == Unknown(reason="DescribeWarmPool of transcription: AWS answered Throttling: slow down")


def test_an_embedded_groups_warm_pool_is_seen_and_read(pool: ThreadPoolExecutor) -> None:
    """moto keeps the pool's configuration, and puts no instances into it."""
    with account.account():
        group, client = account.create_group("transcription", desired=1), account.client("autoscaling")
        subject = AutoScalingGroups(lambda: client, pool)
        before = subject.read([group], plenty)[group]
        client.put_warm_pool(AutoScalingGroupName=group.name, MinSize=2)
        after = subject.read([group], plenty)[group]
        assert isinstance(before, Capacity)
        assert isinstance(after, Capacity)
        assert (before.has_warm_pool, after.has_warm_pool) == (False, True)
        assert subject.ready([group], plenty) == {group: 0}


def test_instances_that_still_finish_before_they_end_are_counted_apart(pool: ThreadPoolExecutor) -> None:
    states = ("InService", "Terminating:Wait", "Terminating:Proceed", "Terminating", "Terminated")
    observed = read_one(described("transcription", *states), pool)
    assert (observed.running, observed.ending) == (1, 3)
