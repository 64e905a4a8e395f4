"""The account of a switch: two colors of one kind on one queue, read and put in moto's own state.

moto has neither the protection of tasks nor a service's tasks, so both are answered here.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from moto.core.responses import ActionResult
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.ecs.responses import EC2ContainerServiceResponse

from sluice.core.model import AutoScalingGroup, Color, EcsService, Fleet
from sluice.core.switch_record import Switch, decoded
from tests.faults.account import (
    MAX_INSTANCES,
    NOON,
    NOT_SUSPENDED,
    STARTED_AFTER,
    STATES,
    Invocation,
    _desired,
    _moto,
    _queue,
    _scalable_target,
    invoked,
    process,
)
from tests.faults.calls import Call, Fault, FaultInjector
from tests.faults.timeline import Timeline
from tests.functions.conftest import sample
from tests.sluice.aws import account as moto_account
from tests.support.builders import document, ecs_document, queue_url
from tests.templates import stacks

KINDS = ("asg", "ecs")
PAIR = "pair"
TARGETS: Mapping[str, float] = {"blue": 10, "green": 3}
VISIBLE, IN_FLIGHT = 30, 2
LONGER_THAN_A_SWITCH_S = 12 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorState:
    """One color, as a switch may change it; `busy` of its instances are protected."""

    minimum: int
    desired: int
    busy: int
    held: frozenset[str]
    """What is suspended of AWS's own scaling, or disabled."""
    target: float

    @property
    def size(self) -> tuple[int, int]:
        """Its own minimum, and its desired instances, all of which run."""
        return self.minimum, self.desired


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything that a step of a switch reads or changes."""

    colors: tuple[ColorState, ColorState]
    """Blue, and green."""
    active: str
    draining: str
    record: str | None
    has_messages: bool

    @property
    def blue(self) -> ColorState:
        """The color that is active at first."""
        return self.colors[0]

    @property
    def green(self) -> ColorState:
        """The other one."""
        return self.colors[1]

    def of(self, color: str) -> ColorState:
        """The color with this name."""
        return self.colors[0 if color == "blue" else 1]

    def with_busy(self, blue: int, green: int) -> World:
        """The same with other counts of instances that work."""
        colors = (replace(self.blue, busy=blue), replace(self.green, busy=green))
        return replace(self, colors=colors)

    @property
    def switch(self) -> Switch | None:
        """The record as the function reads it."""
        found = None if self.record is None else decoded(self.record)
        assert found is None or isinstance(found, Switch)
        return found


def at_first(*, minimum: int = 1, blue: int = 2, has_messages: bool = True) -> World:
    """Blue serves, green is at zero."""
    of_blue = ColorState(minimum=minimum, desired=blue, busy=blue, held=frozenset(), target=TARGETS["blue"])
    of_green = ColorState(minimum=0, desired=0, busy=0, held=frozenset(), target=TARGETS["green"])
    return World(
        colors=(of_blue, of_green), active="blue", draining="none", record=None, has_messages=has_messages
    )


@dataclass(eq=False)
class Pair:
    """Two fleets of one kind, and the deployed function over them."""

    kind: str
    timeline: Timeline
    switchboard: FaultInjector
    fleets: dict[str, Fleet] = field(default_factory=dict)
    busy: dict[str, int] = field(default_factory=dict)
    """Color -> tasks that are protected."""
    _instances: dict[tuple[str, int], list[Any]] = field(default_factory=dict)
    _policies: dict[tuple[str, float, bool], Any] = field(default_factory=dict)
    _messages: list[Any] = field(default_factory=list)
    _keys: dict[str, Any] = field(default_factory=dict)

    def build(self) -> None:
        """Make both fleets, their policies, the queue and the document."""
        url = moto_account.create_queue(PAIR)
        moto_account.send(url, VISIBLE + IN_FLIGHT)
        moto_account.client("sqs").receive_message(
            QueueUrl=url, MaxNumberOfMessages=IN_FLIGHT, VisibilityTimeout=LONGER_THAN_A_SWITCH_S
        )
        self._messages = list(_queue(url)._messages)
        moto_account.create_state_table(STATES)
        moto_account.client("events").create_event_bus(Name=stacks.EVENT_BUS.rpartition("/")[2])
        is_group = self.kind == "asg"
        sections = {}
        make = document if is_group else ecs_document
        one = make(PAIR, queue_url=queue_url(PAIR))
        for color, target in TARGETS.items():
            name = f"{PAIR}-{color}"
            self.busy[color] = 0
            if is_group:
                self.fleets[color] = moto_account.create_group(name)
                arn = moto_account.create_group_policy(name, target)
            else:
                fleet = self.fleets[color] = moto_account.create_service(name)
                arn = moto_account.create_service_policy(fleet, target)
            named = {"name" if is_group else "service": name}
            sections[color] = {"fleet": one["fleet"] | named, "policy_arn": arn}
        self._keys = dict(zip(TARGETS, self._own_policies(), strict=True))
        fleet_section = {"type": "blue_green", **sections}
        capacity = {"min": 1, "max": MAX_INSTANCES, "bootstrap": 1}
        moto_account.register(one | {"fleet": fleet_section, "policy_arn": "", "capacity": capacity})
        for which, value in (("active-color", "blue"), ("draining-color", "none")):
            self._parameter(which, value)

    # ---- what there is -----------------------------------------------------------------------------------

    def world(self) -> World:
        """All of it now."""
        # moto gives a service's policy another ARN with every put, which AWS does not.
        for key, policy in self._own_policies().items():
            for color, first in self._keys.items():
                if key == first and self.kind == "ecs":
                    policy.policy_arn = self._arn(color)
        item = _moto("dynamodb").tables[STATES].items.get(DynamoType({"S": PAIR}))
        record = item and item.attrs.get("switch")
        parameters = {
            which: _moto("ssm")._parameters[f"{moto_account.PREFIX}/{PAIR}/{which}"][-1].value
            for which in ("active-color", "draining-color")
        }
        blue, green = (self._color(color) for color in TARGETS)
        return World(
            colors=(blue, green),
            active=parameters["active-color"],
            draining=parameters["draining-color"],
            record=record.value if record else None,
            has_messages=bool(_queue(queue_url(PAIR))._messages),
        )

    def put(self, world: World) -> None:
        """Bring the account into this state."""
        for color in TARGETS:
            self._put_color(color, world.of(color))
        self._parameter("active-color", world.active)
        self._parameter("draining-color", world.draining)
        _queue(queue_url(PAIR))._messages[:] = self._messages if world.has_messages else []
        dynamodb, key = moto_account.client("dynamodb"), {"workload": {"S": PAIR}}
        if world.record is None:
            dynamodb.delete_item(TableName=STATES, Key=key)
        else:
            dynamodb.put_item(TableName=STATES, Item=key | {"switch": {"S": world.record}})

    def situation(self) -> Hashable:
        """Everything that a response depends on but the table, of which no response is cached."""
        return replace(self.world(), record=None)

    def invoke(
        self, event: Mapping[str, Any], *, at_s: float, target: tuple[Call, Fault] | None = None, warm: bool
    ) -> Invocation:
        """One step, so many seconds after noon."""
        at = NOON + STARTED_AFTER + timedelta(seconds=at_s)
        asked = sample("switch") | {"workload": PAIR, "to": "green"} | event
        ended = invoked("switch", asked, self.timeline, self.switchboard, at=at, target=target, warm=warm)
        json.dumps(ended.answer)
        return ended

    # ---- in moto -----------------------------------------------------------------------------------------

    def _own_policies(self) -> dict[Any, Any]:
        service = "autoscaling" if self.kind == "asg" else "applicationautoscaling"
        policies: dict[Any, Any] = _moto(service).policies
        return policies

    def _arn(self, color: str) -> str:
        path = f"{moto_account.PREFIX}/{PAIR}"
        registered = json.loads(_moto("ssm")._parameters[path][-1].value)
        return str(registered["fleet"][color]["policy_arn"])

    def _tracking(self, color: str) -> dict[str, Any]:
        policy = self._own_policies()[self._keys[color]]
        if self.kind == "asg":
            return dict(vars(policy.target_tracking_configuration))
        return dict(policy.target_tracking_scaling_policy_configuration)

    def _color(self, color: str) -> ColorState:
        fleet, tracking = self.fleets[color], self._tracking(color)
        if isinstance(fleet, AutoScalingGroup):
            group = _moto("autoscaling").autoscaling_groups[fleet.name]
            held = {each["ProcessName"] for each in group.suspended_processes}
            held |= {"DisableScaleIn"} if tracking.get("DisableScaleIn") else set()
            minimum = group.min_size
            busy = sum(bool(state.protected_from_scale_in) for state in group.instance_states)
        else:
            assert isinstance(fleet, EcsService)
            target = _scalable_target(fleet)
            held = {name for name, is_held in (target.suspended_state or {}).items() if is_held}
            minimum, busy = target.min_capacity, self.busy[color]
        return ColorState(
            minimum=int(minimum),
            desired=_desired(fleet),
            busy=busy,
            held=frozenset(held),
            target=float(tracking["TargetValue"]),
        )

    def _put_color(self, color: str, state: ColorState) -> None:
        if self._color(color) == state:
            return
        fleet = self.fleets[color]
        if isinstance(fleet, AutoScalingGroup):
            self._put_group(fleet.name, state)
        else:
            assert isinstance(fleet, EcsService)
            service = _moto("ecs").services[f"{fleet.cluster}:{fleet.service}"]
            service.desired_count = service.running_count = state.desired
            target = _scalable_target(fleet)
            target.min_capacity = state.minimum
            target.suspended_state = {name: name in state.held for name in NOT_SUSPENDED}
            self.busy[color] = state.busy
        self._put_policy(color, state)

    def _put_group(self, name: str, state: ColorState) -> None:
        group, key = _moto("autoscaling").autoscaling_groups[name], (name, state.desired)
        if key not in self._instances:
            group.min_size = 0
            moto_account.client("autoscaling").set_desired_capacity(
                AutoScalingGroupName=name, DesiredCapacity=state.desired
            )
            self._instances[key] = list(group.instance_states)
        group.instance_states[:] = self._instances[key]
        group.desired_capacity, group.min_size = state.desired, state.minimum
        group.suspended_processes = sorted(state.held - {"DisableScaleIn"})
        for place, instance in enumerate(group.instance_states):
            instance.protected_from_scale_in = place < state.busy

    def _put_policy(self, color: str, state: ColorState) -> None:
        is_disabled = "DisableScaleIn" in state.held
        key = (color, state.target, is_disabled)
        now = self._tracking(color)
        if (now["TargetValue"], bool(now.get("DisableScaleIn"))) == key[1:]:
            self._policies[key] = self._own_policies()[self._keys[color]]
        if key not in self._policies:
            fleet = self.fleets[color]
            if isinstance(fleet, AutoScalingGroup):
                moto_account.create_group_policy(fleet.name, state.target)
            else:
                assert isinstance(fleet, EcsService)
                moto_account.create_service_policy(fleet, state.target)
            made = self._own_policies()[self._keys[color]]
            if is_disabled:
                made.target_tracking_configuration.DisableScaleIn = True
            self._policies[key] = made
        self._own_policies()[self._keys[color]] = self._policies[key]

    def _parameter(self, which: str, value: str) -> None:
        path = f"{moto_account.PREFIX}/{PAIR}/{which}"
        stored = _moto("ssm")._parameters
        if path not in stored or stored[path][-1].value != value:
            moto_account.client("ssm").put_parameter(Name=path, Value=value, Type="String", Overwrite=True)


@contextmanager
def deployed_pair(kind: str) -> Iterator[Pair]:
    """An account with a workload of two colors of this kind."""
    with process(tuple(Color)) as (timeline, switchboard, patch):
        pair = Pair(kind=kind, timeline=timeline, switchboard=switchboard)
        _answer_of_tasks(pair, patch)
        pair.build()
        switchboard.situation = pair.situation
        yield pair


def _answer_of_tasks(pair: Pair, patch: pytest.MonkeyPatch) -> None:
    def list_tasks(response: EC2ContainerServiceResponse) -> ActionResult:
        color = response._get_param("serviceName").removeprefix(f"{PAIR}-")
        running = pair.world().of(color).desired
        task = f"arn:aws:ecs:eu-west-1:123456789012:task/workers/{color}"
        return ActionResult({"taskArns": [f"{task}-{number}" for number in range(running)]})

    def get_task_protection(response: EC2ContainerServiceResponse) -> ActionResult:
        tasks = response._get_param("tasks")
        color = tasks[0].rpartition("/")[2].partition("-")[0]
        protected = [
            {"taskArn": task, "protectionEnabled": place < pair.busy[color]}
            for place, task in enumerate(tasks)
        ]
        return ActionResult({"protectedTasks": protected, "failures": []})

    patch.setattr(EC2ContainerServiceResponse, "list_tasks", list_tasks)
    patch.setattr(EC2ContainerServiceResponse, "get_task_protection", get_task_protection, raising=False)
