"""The switch function over an account in memory: a whole switch of two groups and of two services."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from sluice.aws.occupancy import AwsOccupancy
from sluice.core.model import AutoScalingGroup, EcsService
from sluice.errors import ConfigError
from sluice.events import parse_switch
from tests.functions.conftest import NOON, Plane, sample
from tests.sluice.aws import account
from tests.support.builders import document, ecs_document

STEPS = ("begin", "freeze", "raise", "ready", "flip", "drain", "retire", "finish")
NAMES = {"asg": "transcription", "ecs": "queue-proc"}


def register_colors(kind: str) -> AutoScalingGroup | EcsService:
    """Register the workload with two colors; the green fleet, at zero, is the answer."""
    name, named = NAMES[kind], f"{NAMES[kind]}-green"
    one = document(name) if kind == "asg" else ecs_document(name)
    green: AutoScalingGroup | EcsService
    if kind == "asg":
        green = account.create_group(named)
        blue_arn = account.policy_arn_of(AutoScalingGroup(name=name))
        green_arn = account.create_group_policy(named, target=3)
    else:
        green = account.create_service(named)
        blue_arn = account.policy_arn_of(EcsService(cluster="workers", service=name))
        green_arn = account.create_service_policy(green, target=3)
    other = one["fleet"] | {"name" if kind == "asg" else "service": named}
    fleets = {
        "blue": {"fleet": one["fleet"], "policy_arn": blue_arn},
        "green": {"fleet": other, "policy_arn": green_arn},
    }
    account.register(one | {"fleet": {"type": "blue_green", **fleets}, "policy_arn": ""})
    for parameter, value in (("active-color", "blue"), ("draining-color", "none")):
        put = {"Name": f"{account.PREFIX}/{name}/{parameter}", "Value": value, "Type": "String"}
        account.client("ssm").put_parameter(**put)
    return green


def parameter(kind: str, name: str) -> str:
    path = f"{account.PREFIX}/{NAMES[kind]}/{name}"
    return str(account.client("ssm").get_parameter(Name=path)["Parameter"]["Value"])


def is_held(fleet: AutoScalingGroup | EcsService) -> bool:
    if isinstance(fleet, AutoScalingGroup):
        found = account.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[fleet.name])
        return bool(found["AutoScalingGroups"][0].get("SuspendedProcesses"))
    found = account.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="ecs", ResourceIds=[f"service/{fleet.cluster}/{fleet.service}"]
    )
    return any(found["ScalableTargets"][0].get("SuspendedState", {}).values())


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> dict[Any, int]:
    """Fleet -> busy instances: moto has no protection of tasks."""
    found: dict[Any, int] = {}
    monkeypatch.setattr(
        AwsOccupancy, "busy", lambda _, fleets, __: {fleet: found.get(fleet, 0) for fleet in fleets}
    )
    return found


def step(plane: Plane, kind: str, name: str, **changes: Any) -> dict[str, Any]:
    event = sample("switch") | {"step": name, "workload": NAMES[kind]} | changes
    answer = plane.invoke("switch", event)
    assert json.loads(json.dumps(answer)) == answer
    return dict(answer)


@pytest.mark.parametrize("kind", NAMES)
def test_a_switch_ends_with_green_in_charge_and_blue_at_zero(
    plane: Plane, busy: dict[Any, int], kind: str
) -> None:
    green, blue, now = register_colors(kind), plane.fleets[kind], NOON
    plane.ask_for(kind, 2)
    account.send(plane.queues[kind], 30)
    account.receive(plane.queues[kind], 2)
    busy[blue] = 2
    seen = []
    for name in STEPS:
        while (answer := step(plane, kind, name))["outcome"] == "wait":
            now += timedelta(seconds=answer["wait_s"])
            plane.at(now)
            busy[blue] = 0
        seen.append(answer["outcome"])
        if name == "freeze":
            assert is_held(blue)
            assert is_held(green)
        if name == "raise":
            busy[green] = 1
    assert seen == ["next"] * len(STEPS)
    assert (parameter(kind, "active-color"), parameter(kind, "draining-color")) == ("green", "none")
    assert (account.desired_of(blue), account.desired_of(green)) == (0, 3)
    assert not is_held(blue)
    assert not is_held(green)
    logged = [line for line in plane.lines() if line.get("decision") == "switch"]
    assert {line["reason"] for line in logged} >= {"switch_begun", "color_flipped", "switch_finished"}


@pytest.mark.parametrize("kind", NAMES)
def test_an_execution_that_was_stopped_is_restored(plane: Plane, busy: dict[Any, int], kind: str) -> None:
    green, blue = register_colors(kind), plane.fleets[kind]
    plane.ask_for(kind, 2)
    account.send(plane.queues[kind], 30)
    for name in ("begin", "freeze", "raise"):
        step(plane, kind, name)
    detail, now = sample("switch-execution-status")["detail"], NOON
    asked = json.loads(detail["input"]) | {"execution": detail["executionArn"], "workload": NAMES[kind]}
    while (answer := plane.invoke("switch", asked | {"step": "restore"}))["outcome"] == "wait":
        now += timedelta(seconds=answer["wait_s"])
        plane.at(now)
    assert answer["outcome"] == "next"
    assert (parameter(kind, "active-color"), parameter(kind, "draining-color")) == ("blue", "none")
    assert (account.desired_of(blue), account.desired_of(green)) == (2, 0)
    assert not is_held(blue)
    assert not is_held(green)
    again = plane.invoke("switch", asked | {"step": "restore"})
    assert again["outcome"] == "nothing_to_do"


def test_what_was_refused_is_the_invocations_failure(plane: Plane) -> None:
    with pytest.raises(ConfigError, match="has one fleet only"):
        step(plane, "asg", "begin")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"step": "flop"}, "step: 'flop': give one of begin"),
        ({"to": "red"}, "to: 'red': give blue or green, or null"),
        ({"by": ""}, "lacks `by`"),
        ({"execution": None}, "lacks `execution`"),
        ({"ready_minutes": "soon"}, "ready_minutes: 'soon': give minutes"),
        ({"ready_minutes": True}, "ready_minutes: True"),
        ({"drain_minutes": 721}, "drain_minutes: 721: give minutes, up to 720"),
        ({"drain_minutes": "nan"}, "drain_minutes: 'nan'"),
        ({"drain_minutes": 0}, "drain_minutes: 0"),
    ],
)
def test_a_malformed_step_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_switch(sample("switch") | changes)


def test_a_step_without_times_has_the_defaults() -> None:
    asked = {key: value for key, value in sample("switch").items() if not key.endswith("minutes")}
    assert parse_switch(asked | {"to": None}).ready_s == 1800
    assert parse_switch(asked).drain_s == 3600
