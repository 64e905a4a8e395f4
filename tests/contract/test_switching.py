"""The contracts of `ports.Freezes`, `ports.Colors`, `ports.Occupancy` and the record of a switch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from botocore.stub import Stubber

from sluice.aws.colors import SsmColors
from sluice.aws.engine_states import DynamoDbEngineStates
from sluice.aws.freezes import AwsFreezes
from sluice.aws.occupancy import AwsOccupancy
from sluice.aws.registry import SsmRegistry
from sluice.core.model import Bounds, Capacity, Color, ColoredFleet, Fleet, Unknown
from sluice.core.pause import BOTH, Pause, encoded
from sluice.core.switch import FROZEN, IDLE, held
from sluice.core.switch_record import Step, Switch, Was
from sluice.errors import ConfigError, TransientError
from sluice.ports import Colors, EngineStates, Freezes, Occupancy, StateWrite, StoredState
from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.color_ports import SimulatedColors, SimulatedFreezes, SimulatedOccupancy
from sluice_sim.simulator.color_ports import colors as simulated_colors
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.ports import SimulatedStates
from tests.contract.test_fleets import group, service
from tests.sim.simulator.contexts import pair
from tests.sim.simulator.fleets import at, simulated_fleet
from tests.sluice.aws import account
from tests.support.builders import NOW, document, engine_state, parsed, plenty
from tests.support.fakes import FakeColors, FakeFleets, FakeFreezes, FakeOccupancy, FakeRegistry, FakeStates

SWITCH = Switch(
    to=Color.GREEN,
    by="arn:aws:sts::123456789012:assumed-role/on-call/alice",
    execution="arn:aws:states:eu-west-1:123456789012:execution:sluice-switch:one",
    since=NOW,
    step=Step.READY,
    was={
        Color.BLUE: Was(fleet="blue", minimum=1, desired=4, fields={"AlarmNotificationSuspended": False}),
        Color.GREEN: Was(fleet="green", minimum=0, desired=0, fields={"AlarmNotificationSuspended": True}),
    },
    flips_only=True,
    needed=5,
    waits_since=NOW,
    quiet_since=NOW,
    flipped_at=NOW,
    told_at=NOW,
    shows_work=False,
)
OTHER = replace(SWITCH, execution=SWITCH.execution.replace("one", "two"))


# ---- what holds AWS's own scaling -------------------------------------------------------------------------


@dataclass
class Frozen:
    port: Freezes
    colored: ColoredFleet


@pytest.fixture(
    params=[f"{which}{kind}" for which in ("fake ", "simulated ", "") for kind in ("groups", "services")]
)
def frozen(request: pytest.FixtureRequest) -> Iterator[Frozen]:
    is_group = request.param.endswith("groups")
    if request.param.startswith("simulated"):
        run = pair("transcription" if is_group else "queue-proc")
        SimulatedAws(run).create_policy()
        idle = run.deployed.workload.idle
        assert idle is not None
        yield Frozen(SimulatedFreezes(run), idle)
        return
    if request.param.startswith("fake"):
        fleet: Fleet = group("transcription") if is_group else service("transcription")
        capacity = Capacity(desired=2, running=2, bounds=Bounds(min=0, max=5))
        port = FakeFreezes(FakeFleets(capacities={fleet: capacity}))
        yield Frozen(port, ColoredFleet(color=Color.BLUE, fleet=fleet, policy_arn="blue"))
        return
    with account.account():
        made: Callable[..., Any] = account.create_group if is_group else account.create_service
        fleet = made("transcription", desired=2)
        policy = account.create_group_policy("transcription") if is_group else "blue"
        in_full = account.session().client
        yield Frozen(AwsFreezes(in_full), ColoredFleet(color=Color.BLUE, fleet=fleet, policy_arn=policy))


def test_nothing_is_held_at_first(frozen: Frozen) -> None:
    fields = dict(frozen.port.fields(frozen.colored))
    assert fields.pop("Enabled", True)
    assert set(fields.values()) == {False}


@pytest.mark.parametrize("by", [FROZEN, IDLE, {"DisableScaleIn": True, "DynamicScalingInSuspended": True}])
def test_what_is_held_is_read_back_and_released(frozen: Frozen, by: dict[str, bool]) -> None:
    before = frozen.port.fields(frozen.colored)
    frozen.port.put(frozen.colored, held(before, by))
    assert frozen.port.fields(frozen.colored) == held(before, by) != before
    frozen.port.put(frozen.colored, held(before, by))
    frozen.port.put(frozen.colored, before)
    assert frozen.port.fields(frozen.colored) == before


def test_a_fleet_that_aws_does_not_know_is_a_refusal() -> None:
    with account.account(), pytest.raises(ConfigError, match="does not exist"):
        AwsFreezes(account.client).fields(
            ColoredFleet(color=Color.BLUE, fleet=group("nowhere"), policy_arn=None)
        )


def test_an_answer_without_the_scalable_target_is_not_taken_for_nothing_to_put_back() -> None:
    with account.account():
        fleet = account.create_service("transcription", bounds=None)
        port = AwsFreezes(account.session().client)
        of = ColoredFleet(color=Color.BLUE, fleet=fleet, policy_arn="blue")
        with pytest.raises(TransientError, match="register it again"):
            port.fields(of)
        with pytest.raises(TransientError, match="register it again"):
            port.put(of, {"DynamicScalingInSuspended": False, "DynamicScalingOutSuspended": False})


# ---- the colors ------------------------------------------------------------------------------------------


@dataclass
class Colored:
    port: Colors
    active: Callable[[], Color | None]
    draining: Callable[[], str]


def colored_document() -> dict[str, Any]:
    one = document()
    fleets = {
        color: {"fleet": {"type": "asg", "name": f"transcription-{color}"}, "policy_arn": one["policy_arn"]}
        for color in ("blue", "green")
    }
    return one | {"fleet": {"type": "blue_green", **fleets}, "policy_arn": ""}


def told_in(run: ScalingContext) -> str:
    told = [
        color for color, fleet in simulated_colors(run.deployed.workload) if not run.fleets[fleet].receives
    ]
    return next(iter(told), "none")


@pytest.fixture(params=["fake", "simulated", "ssm"])
def colors(request: pytest.FixtureRequest) -> Iterator[Colored]:
    if request.param == "simulated":
        run = pair("transcription")
        yield Colored(
            SimulatedColors(run, np.random.default_rng(0)),
            lambda: run.deployed.workload.color,
            lambda: told_in(run),
        )
        return
    if request.param == "fake":
        text = colored_document()
        text["fleet"]["active"] = "blue"
        registry = FakeRegistry(registered={"transcription": parsed(text)})
        port = FakeColors(registry)
        yield Colored(
            port,
            lambda: registry.one("transcription", plenty).color,
            lambda: port.draining.get("transcription") or "none",
        )
        return
    with account.account(), account.threads() as pool:
        ssm, prefix = account.client("ssm"), account.PREFIX
        account.register(colored_document())
        for name, value in (("first-color", "blue"), ("draining-color", "none")):
            ssm.put_parameter(Name=f"{prefix}/transcription/{name}", Value=value, Type="String")
        registry_of_aws = SsmRegistry(lambda: ssm, pool, prefix)
        yield Colored(
            SsmColors(lambda: ssm, prefix),
            lambda: registry_of_aws.one("transcription", plenty).color,
            lambda: str(
                ssm.get_parameter(Name=f"{prefix}/transcription/draining-color")["Parameter"]["Value"]
            ),
        )


def test_the_active_color_is_what_the_registry_reads_next(colors: Colored) -> None:
    assert colors.active() is Color.BLUE
    for color in (Color.GREEN, Color.GREEN, Color.BLUE):
        colors.port.set_active("transcription", color)
        assert colors.active() is color


def test_the_workers_read_which_color_receives_no_more(colors: Colored) -> None:
    before = None
    for color in (Color.BLUE, None, Color.GREEN, Color.GREEN):
        assert colors.port.set_draining("transcription", color) is (color is not before)
        before = color
        assert colors.draining() == (color or "none")


def test_a_value_that_is_there_already_makes_no_new_version() -> None:
    with account.account():
        ssm = account.client("ssm")
        path = f"{account.PREFIX}/transcription"
        ssm.put_parameter(Name=f"{path}/draining-color", Value="none", Type="String")
        port = SsmColors(lambda: ssm, account.PREFIX)
        for _ in range(2):
            port.set_draining("transcription", None)
            port.set_active("transcription", Color.GREEN)
        for name in ("draining-color", "active-color"):
            assert ssm.get_parameter(Name=f"{path}/{name}")["Parameter"]["Version"] == 1


def test_a_draining_color_that_the_stack_has_not_made_is_not_made_either() -> None:
    with account.account():
        port = SsmColors(lambda: account.client("ssm"), account.PREFIX)
        with pytest.raises(ConfigError, match="draining-color"):
            port.set_draining("transcription", Color.BLUE)


# ---- who works -------------------------------------------------------------------------------------------


def test_simulated_instances_that_are_busy_are_protected_as_of_some_seconds_ago() -> None:
    subject = simulated_fleet([0.5, 20.0, 20.0], 10, maximum=3, scale_in=ScaleIn.PROTECT)
    subject.set_desired(3)
    run = pair("transcription", subject)
    port = SimulatedOccupancy(run, np.random.default_rng(0))
    port.watch()
    blue, *others = run.deployed.workload.fleets
    told = set()
    for second in range(1, 60):
        at(subject, second)
        told.add((second, port.busy([blue], plenty)[blue]))
    assert {busy for second, busy in told if second in (6, 7, 8, 9)} == {1}
    assert {busy for second, busy in told if 21 <= second <= 24} == {0, 2}, "some readings are old"
    assert {busy for second, busy in told if 26 <= second < 30} == {2}
    assert {busy for second, busy in told if second > 35} == {0}
    assert port.busy([*others, group("nowhere")], plenty)[others[0]] == 0
    assert isinstance(port.busy([group("nowhere")], plenty)[group("nowhere")], Unknown)
    assert port.refreshed([group("transcription")], plenty) == {group("transcription"): False}


@pytest.mark.parametrize("scale_in", ScaleIn)
@pytest.mark.parametrize("environment", ["transcription", "queue-proc"])
def test_simulated_groups_that_drain_let_their_instances_finish_and_services_never_do(
    environment: str, scale_in: ScaleIn
) -> None:
    run = pair(environment, simulated_fleet([], 1, scale_in=scale_in))
    occupancy = SimulatedOccupancy(run, np.random.default_rng(0))
    finishes = occupancy.finishes(run.deployed.workload.fleet, plenty)
    assert finishes is (environment == "transcription" and scale_in is ScaleIn.DRAIN)


@pytest.mark.parametrize("is_fake", [True, False])
def test_protected_instances_are_busy(is_fake: bool) -> None:
    if is_fake:
        fleet = group("transcription")
        assert FakeOccupancy(protected={fleet: 2}).busy([fleet], plenty) == {fleet: 2}
        return
    with account.account(), account.threads() as pool:
        fleet, autoscaling = account.create_group("transcription", desired=3), account.client("autoscaling")
        port = AwsOccupancy(lambda: autoscaling, lambda: account.client("ecs"), pool)
        assert port.busy([fleet], plenty) == {fleet: 0}
        in_full = account.session().client("autoscaling")
        described = in_full.describe_auto_scaling_groups(AutoScalingGroupNames=[fleet.name])
        instances = [each["InstanceId"] for each in described["AutoScalingGroups"][0]["Instances"]]
        autoscaling.set_instance_protection(
            AutoScalingGroupName=fleet.name, InstanceIds=instances[:2], ProtectedFromScaleIn=True
        )
        assert port.busy([fleet], plenty) == {fleet: 2}


@pytest.mark.parametrize("is_fake", [True, False])
def test_a_lifecycle_hook_on_termination_lets_instances_finish_and_no_other_does(is_fake: bool) -> None:
    hooked, other, queue_proc = group("transcription"), group("translation"), service("queue-proc")
    if is_fake:
        port: Occupancy = FakeOccupancy(finishing={hooked: True})
        assert [port.finishes(each, plenty) for each in (hooked, other, queue_proc)] == [True, False, False]
        return
    with account.account(), account.threads() as pool:
        autoscaling = account.session().client("autoscaling")
        for fleet, transition in ((hooked, "TERMINATING"), (other, "LAUNCHING")):
            account.create_group(fleet.name)
            autoscaling.put_lifecycle_hook(
                AutoScalingGroupName=fleet.name,
                LifecycleHookName="hook",
                LifecycleTransition=f"autoscaling:EC2_INSTANCE_{transition}",
            )
        port = AwsOccupancy(lambda: account.client("autoscaling"), lambda: account.client("ecs"), pool)
        assert [port.finishes(each, plenty) for each in (hooked, other, queue_proc)] == [True, False, False]


def test_a_lifecycle_hook_that_cannot_be_read_is_unknown() -> None:
    autoscaling = account.session().client("autoscaling")
    with Stubber(autoscaling) as stub, account.threads() as pool:
        stub.add_client_error("describe_lifecycle_hooks", "AccessDenied")
        port = AwsOccupancy(lambda: autoscaling, lambda: autoscaling, pool)
        found = port.finishes(group("transcription"), plenty)
    assert isinstance(found, Unknown)
    assert "DescribeLifecycleHooks of Auto Scaling group transcription" in found.reason


def test_whether_a_group_that_is_not_there_works_is_unknown_and_the_others_are_told() -> None:
    with account.account(), account.threads() as pool:
        fleet, autoscaling = account.create_group("transcription"), account.client("autoscaling")
        port = AwsOccupancy(lambda: autoscaling, lambda: account.client("ecs"), pool)
        found = port.busy([fleet, group("nowhere")], plenty)
        assert found[fleet] == 0
        assert isinstance(found[group("nowhere")], Unknown)
        late = port.busy([fleet], lambda: 0)
        assert late == {fleet: 0} or isinstance(late[fleet], Unknown)


def test_a_group_that_protects_every_new_instance_does_not_tell_which_ones_work() -> None:
    autoscaling = account.session().client("autoscaling")
    described = {
        "AutoScalingGroupName": "transcription",
        "MinSize": 0,
        "MaxSize": 5,
        "DesiredCapacity": 1,
        "DefaultCooldown": 300,
        "AvailabilityZones": ["eu-west-1a"],
        "HealthCheckType": "EC2",
        "CreatedTime": NOW,
        "NewInstancesProtectedFromScaleIn": True,
        "Instances": [],
    }
    with Stubber(autoscaling) as stub, account.threads() as pool:
        stub.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": [described]})
        fleet = group("transcription")
        found = AwsOccupancy(lambda: autoscaling, lambda: autoscaling, pool).busy([fleet], plenty)[fleet]
    assert isinstance(found, Unknown)
    assert "NewInstancesProtectedFromScaleIn" in found.reason


@pytest.mark.parametrize(
    ("statuses", "is_refreshed"),
    [
        ([], False),
        (["Successful"], False),
        (["InProgress"], True),
        (["Baking"], True),
        (["Cancelled"], False),
    ],
)
def test_a_refresh_that_has_not_ended_is_told(statuses: list[str], *, is_refreshed: bool) -> None:
    fleet = group("transcription")
    refreshing = {fleet} if is_refreshed else set()
    assert FakeOccupancy(refreshing=refreshing).refreshed([fleet], plenty) == {fleet: is_refreshed}
    autoscaling = account.session().client("autoscaling")
    answer = {"InstanceRefreshes": [{"Status": status} for status in statuses]}
    with Stubber(autoscaling) as stub, account.threads() as pool:
        asked = {"AutoScalingGroupName": "transcription", "MaxRecords": 1}
        stub.add_response("describe_instance_refreshes", answer, asked)
        port = AwsOccupancy(lambda: autoscaling, lambda: autoscaling, pool)
        assert port.refreshed([fleet], plenty) == {fleet: is_refreshed}
        assert port.refreshed([], plenty) == {}


TASKS = [f"arn:aws:ecs:eu-west-1:123456789012:task/workers/{number}" for number in range(3)]


def told(*protected: bool, failures: list[dict[str, str]] | None = None) -> dict[str, Any]:
    tasks = zip(TASKS, protected, strict=False)
    return {
        "protectedTasks": [{"taskArn": task, "protectionEnabled": each} for task, each in tasks],
        "failures": failures or [],
    }


@pytest.mark.parametrize(
    ("answer", "busy"),
    [
        (told(True, False, True), 2),
        (told(False, False, False), 0),
        (told(True, failures=[{"arn": TASKS[1], "reason": "MISSING"}]), 1),
        (told(False, failures=[{"arn": TASKS[1], "reason": "TASK_NOT_VALID"}]), None),
        ({"failures": []}, None),
    ],
)
def test_protected_tasks_are_busy_and_one_that_is_not_told_makes_it_unknown(
    answer: dict[str, Any], busy: int | None
) -> None:
    ecs = account.session().client("ecs")
    with Stubber(ecs) as stub, account.threads() as pool:
        stub.add_response(
            "list_tasks", {"taskArns": TASKS}, {"cluster": "workers", "serviceName": "transcription"}
        )
        stub.add_response("get_task_protection", answer, {"cluster": "workers", "tasks": TASKS})
        fleet = service("transcription")
        found = AwsOccupancy(lambda: ecs, lambda: ecs, pool).busy([fleet], plenty)[fleet]
    if busy is None:
        assert isinstance(found, Unknown)
    else:
        assert found == busy


def test_a_service_without_tasks_is_not_asked_for_their_protection() -> None:
    ecs = account.session().client("ecs")
    with Stubber(ecs) as stub, account.threads() as pool:
        stub.add_response("list_tasks", {"taskArns": []})
        fleet = service("transcription")
        assert AwsOccupancy(lambda: ecs, lambda: ecs, pool).busy([fleet], plenty) == {fleet: 0}


# ---- the record, which is the lock -----------------------------------------------------------------------


@dataclass
class Stored:
    port: EngineStates
    pause: Callable[[], None] | None = None

    def read(self) -> StoredState | None:
        found = self.port.read(["a"], plenty)["a"]
        assert not isinstance(found, Unknown)
        return found


@pytest.fixture(params=["fake", "dynamodb", "simulated"])
def stored(request: pytest.FixtureRequest) -> Iterator[Stored]:
    if request.param == "fake":
        fake = FakeStates()
        yield Stored(fake, lambda: fake.pause("a", Pause(directions=BOTH, by="bob", at=NOW)))
        return
    if request.param == "simulated":
        yield Stored(SimulatedStates())
        return
    with account.account(), account.threads() as pool:
        table, dynamodb = account.create_state_table(), account.client("dynamodb")

        def pause() -> None:
            text = encoded(Pause(directions=BOTH, by="bob", at=NOW))
            dynamodb.update_item(
                TableName=table,
                Key={"workload": {"S": "a"}},
                UpdateExpression="SET pause = :pause REMOVE expires",
                ExpressionAttributeValues={":pause": {"S": text}},
            )

        yield Stored(DynamoDbEngineStates(lambda: dynamodb, pool, table), pause)


def test_the_record_is_read_as_it_was_stored(stored: Stored) -> None:
    assert stored.port.put_switch("a", None, SWITCH)
    found = stored.read()
    assert found is not None
    assert found.switch == SWITCH


def test_a_second_switch_does_not_get_the_lock(stored: Stored) -> None:
    assert stored.port.put_switch("a", None, SWITCH)
    assert not stored.port.put_switch("a", None, OTHER)
    assert not stored.port.put_switch("a", OTHER, None)
    found = stored.read()
    assert found is not None
    assert found.switch == SWITCH


def test_the_same_write_twice_is_stored_once(stored: Stored) -> None:
    """As if the answer to the first had been lost."""
    assert stored.port.put_switch("a", None, SWITCH)
    assert stored.port.put_switch("a", None, SWITCH)
    later = replace(SWITCH, step=Step.FLIP)
    assert stored.port.put_switch("a", SWITCH, later)
    assert stored.port.put_switch("a", SWITCH, later)
    assert stored.port.put_switch("a", later, None)
    assert stored.port.put_switch("a", later, None)


def test_a_tick_leaves_the_record_and_the_record_leaves_the_state(stored: Stored) -> None:
    stored.port.put_switch("a", None, SWITCH)
    assert stored.port.write({"a": StateWrite(state=engine_state(NOW.timestamp()), replaces=None)}, plenty)[
        "a"
    ]
    found = stored.read()
    assert found is not None
    assert (found.switch, found.tick_s) == (SWITCH, NOW.timestamp())
    stored.port.put_switch("a", SWITCH, None)
    found = stored.read()
    assert found is not None
    assert (found.switch, found.tick_s) == (None, NOW.timestamp())


def test_a_pause_beside_it_stays(stored: Stored) -> None:
    if stored.pause is None:
        return
    stored.port.put_switch("a", None, SWITCH)
    stored.pause()
    assert stored.port.put_switch("a", SWITCH, replace(SWITCH, step=Step.FLIP))
    assert stored.port.put_switch("a", replace(SWITCH, step=Step.FLIP), None)
    found = stored.read()
    assert found is not None
    assert found.switch is None
    assert found.pause is not None
