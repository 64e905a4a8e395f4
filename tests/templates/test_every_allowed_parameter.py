"""Every value that the templates' parameter patterns allow yields a document that is accepted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sluice.core.model import AutoScalingGroup, Color, Workload
from sluice.document.parsing import (
    MAX_BYTES,
    parse,
)
from sluice_sim.template import ResolvedStack, resolve
from tests.templates.longest import longest
from tests.templates.stacks import (
    ACCOUNT,
    EXPORTS,
    REGION,
    WORKLOAD_TEMPLATE,
    WORKLOADS,
    arn,
    identity,
    template,
)

pytestmark = pytest.mark.slow

TEMPLATE = template(WORKLOAD_TEMPLATE)
PARAMETERS: dict[str, dict[str, Any]] = TEMPLATE["Parameters"]
PLANE_PARAMETERS: dict[str, dict[str, Any]] = template("template.yaml")["Parameters"]
STACK_NAME = PARAMETERS["ControlPlaneStack"]["AllowedPattern"]
STACK_NAMES = st.from_regex(STACK_NAME, fullmatch=True)
FLEET_NAMES = {"asg": ("AutoScalingGroupName",), "ecs": ("ClusterName", "ServiceName")}
"""What the template's Rules ask for."""
RANDOM = "1A2B3C4D5E6F"
"""What CloudFormation ends the name of a policy with."""
PHASES = (Phase.explicit, Phase.generate)  # shrinking thirty parameters takes minutes
CONTRADICTORY = ("MinCapacity", "MaxCapacity", "BootstrapCapacity")
MESSAGES = ("MinMessagesPerInstance", "MessagesPerInstance", "MaxMessagesPerInstance")
STANDARD_PARAMETER_BYTES = 4096
SCHEDULES = tuple(f"Schedule{place}" for place in range(1, 6))
GREEN = {"asg": "GreenAutoScalingGroupName", "ecs": "GreenServiceName"}
NOT_OF_TWO_FLEETS = {
    "MetricSource": "published",
    "Fallback": "",
    "AtMaximumAlarm": "false",
    "MissingInstancesAlarm": "false",
    "Dashboard": "false",
    **dict.fromkeys(SCHEDULES, ""),
}
"""What a blue/green workload has instead of what would scale or judge the idle color."""
FREE = sorted(
    PARAMETERS.keys()
    - {"ControlPlaneStack", "FleetType", *CONTRADICTORY, *MESSAGES, *SCHEDULES, *GREEN.values()}
    - {name for names in FLEET_NAMES.values() for name in names}
)
"""Parameters that no other one limits."""

REGISTERING = "CreateScalableTarget"

LONGEST_SCHEDULE = (
    "n" * 23,
    ",MON+TUE+WED+THU+FRI+SAT+SUN,23:5",
    ",America/Argentina/ComodRivadavia,9998,9999",
)
"""With a digit between its parts, which tells five apart: the longest line, with the longest zone of all."""


@cache  # a pattern's strategy takes longer to make than a value of it
def allowed(name: str, *, empty: bool = True) -> st.SearchStrategy[str]:
    """Values that the parameter takes; the longest ones occur together with those of any length."""
    parameter = PARAMETERS.get(name) or PLANE_PARAMETERS[name]
    if "AllowedValues" in parameter:
        return st.sampled_from(parameter["AllowedValues"])
    pattern, maximum = parameter["AllowedPattern"], parameter.get("MaxLength", 10_000)
    at_the_limit = st.builds(
        lambda seed: longest(pattern, Random(seed).choice)[:maximum], st.integers(0, 999)
    )
    texts = st.one_of(st.from_regex(pattern, fullmatch=True), at_the_limit)
    return texts.filter(lambda text: (empty or text != "") and re.fullmatch(pattern, text) is not None)


@st.composite
def schedules(draw: st.DrawFn, minimum: int, maximum: int) -> dict[str, str]:
    """Schedules with different names and minutes, and bounds within those of the workload."""
    drawn: dict[str, str] = {}
    for minute, name in enumerate(SCHEDULES):
        line = draw(allowed(name), label=name)
        if line:
            called, days, time, zone, *_ = line.split(",")
            low, high = sorted(draw(st.tuples(*[st.integers(minimum, maximum)] * 2)))
            at = f"{time[:-1]}{minute}"
            line = f"{called[:-1] or 'a'}{minute},{days},{at},{zone},{low},{max(high, 1)}"
        drawn[name] = line
    return drawn


@st.composite
def parameters(draw: st.DrawFn, fleet: str, mode: str) -> dict[str, str]:
    """One of all the ways to deploy a workload; what contradicts itself across parameters is left out."""
    drawn = {name: draw(allowed(name), label=name) for name in FREE}
    drawn |= {name: draw(allowed(name, empty=False), label=name) for name in FLEET_NAMES[fleet]}
    minimum, maximum = sorted(int(draw(allowed(name))) for name in ("MinCapacity", "MaxCapacity"))
    bootstrap_size = st.integers(max(minimum, 1), max(maximum, 1)).map(str)
    drawn |= {
        "MinCapacity": str(minimum),
        "MaxCapacity": str(maximum),
        "BootstrapCapacity": draw(st.one_of(st.sampled_from(["", "backlog"]), bootstrap_size)),
    }
    messages = [draw(allowed(name)) for name in MESSAGES]
    if drawn["TargetType"] == "dynamic":
        messages = sorted(messages, key=float)
    # Nor may schedules contradict each other, or the bounds.
    drawn |= draw(schedules(minimum, maximum))
    # What the rules refuse: a service that is not active must say whether it was.
    refused = {"not-yet"} if mode == "active" else {""}
    registering = [each for each in PARAMETERS[REGISTERING]["AllowedValues"] if each not in refused]
    drawn |= {"FleetType": fleet, "Mode": mode, REGISTERING: draw(st.sampled_from(registering))}
    if fleet == "ecs" and drawn[REGISTERING] == "false":
        drawn |= dict.fromkeys(SCHEDULES, "")
    # Two fleets are of one kind, with different names.
    drawn |= dict.fromkeys(GREEN.values(), "")
    if draw(st.booleans(), label="blue/green"):
        own = draw(
            allowed(GREEN[fleet], empty=False).filter(lambda green: green != drawn[FLEET_NAMES[fleet][-1]])
        )
        drawn |= {GREEN[fleet]: own, **NOT_OF_TWO_FLEETS}
    # And AWS's own metrics do not tell how long a message takes.
    if (drawn["MetricSource"], drawn["TrackedMetric"], drawn["TargetType"]) == (
        "native",
        "effective",
        "static",
    ):
        drawn["ProcessingSeconds"] = draw(allowed("ProcessingSeconds", empty=False))
    # Nor can the deadline engine plan without it, or with a margin that leaves nothing of the promise.
    if drawn["Scaling"] == "deadline":
        drawn["ProcessingSeconds"] = draw(allowed("ProcessingSeconds", empty=False))
        most_margin = min(math.ceil(float(drawn["AcceptableLatencySeconds"])) - 1, 9999)
        drawn["MarginSeconds"] = str(draw(st.integers(0, most_margin)))
    # A dashboard cannot show names of dots alone.
    if {drawn.get("AutoScalingGroupName"), drawn["DurationNamespace"]} & {".", "..."}:
        drawn["Dashboard"] = "false"
    # A surge needs an alarm that starts it, and is held until the backlog is drained.
    if drawn["SurgeOnCriticalAlarms"] == "true":
        drawn[draw(st.sampled_from(["DepthAlarms", "AgeAlarms"]))] = "true"
        drawn["SurgeHoldMinutes"] = str(draw(st.integers(max(5, int(drawn["SurgeDrainMinutes"])), 9999)))
    # Nor does the guard know the growth of a queue without a name.
    if drawn["GuardDeadLettersPerMinute"] != "0":
        drawn["DeadLetterQueueName"] = draw(allowed("DeadLetterQueueName", empty=False))
    return {**drawn, **dict(zip(MESSAGES, messages, strict=True))}


def deployed(values: Mapping[str, str], *, stack_name: str, namespace: str) -> ResolvedStack:
    """The stack, its policies named as CloudFormation and EC2 name them."""

    def named(logical_id: str, kind: str, properties: Mapping[str, Any], attribute: str) -> str:
        if kind == "AWS::AutoScaling::ScalingPolicy":
            group, policy = properties["AutoScalingGroupName"], f"{stack_name}-{logical_id}-{RANDOM}"
            return arn(
                "autoscaling",
                f"scalingPolicy:8f9e2f6a-4b1c-4d7e-9a51-0c3d2e1f4a5b"
                f":autoScalingGroupName/{group}:policyName/{policy}",
            )
        return identity(logical_id, kind, properties, attribute)

    return resolve(
        TEMPLATE,
        values,
        identity=named,
        imports=EXPORTS | {"sluice-MetricNamespace": namespace},
        account_id=ACCOUNT,
        region=REGION,
        stack_name=stack_name,
    )


def accepted(stack: ResolvedStack) -> Workload:
    return parse(stack.resources["Registration"].properties["Value"], active=Color.BLUE)


@pytest.mark.parametrize("fleet", sorted(FLEET_NAMES))
@pytest.mark.parametrize("mode", PARAMETERS["Mode"]["AllowedValues"])
@settings(max_examples=40, deadline=None, phases=PHASES)
@given(data=st.data())
def test_the_document_accepts_whatever_the_stack_allows(mode: str, fleet: str, data: st.DataObject) -> None:
    values = data.draw(parameters(fleet, mode))
    stack = deployed(
        values,
        stack_name=data.draw(STACK_NAMES),
        namespace=data.draw(allowed("MetricNamespace")),
    )
    served = accepted(stack)
    assert (served.name, served.mode) == (values["Name"], mode)
    assert served.queue_name == values["QueueName"]
    assert list(served.fleet.dimensions.values()) == [values[name] for name in FLEET_NAMES[fleet]]
    tracked = values["Scaling"] == "target_tracking"
    assert (served.deadline is None) == tracked
    green = values[GREEN[fleet]]
    assert [list(each.dimensions.values())[-1] for each in served.fleets[1:]] == ([green] if green else [])
    by_default = values["Fallback"] == "" and fleet == "asg" and not green
    held = values["Fallback"] == "true" or by_default
    assert (served.policy_arn is not None) == (mode == "active" and (tracked or held))


@pytest.mark.parametrize("name", ["batch workers", " a", "a ", "x/y=z(1)+#@. _-"])
def test_a_group_with_any_allowed_name_is_served_in_mode_active(name: str) -> None:
    values = {**WORKLOADS["asg"], "AutoScalingGroupName": name}
    served = accepted(deployed(values, stack_name="sluice-x", namespace="Sluice"))
    assert served.fleet == AutoScalingGroup(name=name)
    assert served.policy_arn is not None
    assert f"autoScalingGroupName/{name}:policyName/" in served.policy_arn


@pytest.mark.parametrize("scaling", PARAMETERS["Scaling"]["AllowedValues"])
@pytest.mark.parametrize("fleet", sorted(FLEET_NAMES))
@pytest.mark.parametrize("is_blue_green", [False, True])
def test_names_at_their_limits_stay_within_what_aws_takes(
    fleet: str, scaling: str, is_blue_green: bool
) -> None:
    names = (
        "Name",
        "QueueName",
        "DurationNamespace",
        "DeadLetterQueueName",
        "GuardFailedPercent",
        "GuardDeadLettersPerMinute",
        "GuardAlarmName",
        *FLEET_NAMES[fleet],
    )
    values = {
        **WORKLOADS[fleet],
        **{name: longest(PARAMETERS[name]["AllowedPattern"], max) for name in names},
        "TargetType": "dynamic",
        "Scaling": scaling,
        "ProcessingSeconds": "5",
        "MaxCapacity": "9999",
        **{name: f"{place}".join(LONGEST_SCHEDULE) for place, name in enumerate(SCHEDULES)},
    }
    if is_blue_green:
        values |= {GREEN[fleet]: "g" * len(values[FLEET_NAMES[fleet][-1]]), **NOT_OF_TWO_FLEETS}
    stack_name = longest(STACK_NAME, max)
    stack = deployed(values, stack_name=stack_name, namespace="Sluice")
    assert (len(values["Name"]), len(stack_name)) == (64, 128)
    registration = stack.resources["Registration"].properties
    room = {"Standard": STANDARD_PARAMETER_BYTES, "Intelligent-Tiering": MAX_BYTES}[registration["Tier"]]
    assert len(registration["Value"].encode()) <= room
    assert accepted(stack).name == values["Name"]
    # CreateAlarm, PutParameter, PutScalingPolicy and RegisterScalableTarget, in characters.
    limits = {
        "AlarmName": 255,
        "AlarmDescription": 1024,
        "Description": 1024,
        "PolicyName": 255,
        "ResourceId": 1600,
    }
    lengths = {
        f"{logical_id}.{key}": (len(value), limits[key])
        for logical_id, resource in stack.resources.items()
        for key, value in resource.properties.items()
        if key in limits
    }
    assert {"BootstrapAlarm.AlarmName", "Registration.Description"} <= lengths.keys()
    assert {where: length for where, (length, maximum) in lengths.items() if length > maximum} == {}


def test_the_longest_path_of_a_document_is_one_that_the_parameter_store_takes() -> None:
    prefix = PLANE_PARAMETERS["RegistryPrefix"]
    assert prefix["MaxLength"] + len("/") + 64 + len(arn("ssm", "parameter")) <= 1011
    for taken, path in [(True, "/a" * 14), (False, "/a" * 15), (False, "/aws/x"), (False, "/SSMs/x")]:
        assert bool(re.fullmatch(prefix["AllowedPattern"], path)) is taken, path


@pytest.mark.parametrize(("namespace", "taken"), [(":Acme", False), ("Acme: Workers", True)])
def test_a_namespace_that_cloudwatch_refuses_is_refused_at_deployment(namespace: str, taken: bool) -> None:
    # GetMetricData refuses the queries of every other workload together with one such namespace.
    assert bool(re.fullmatch(PARAMETERS["DurationNamespace"]["AllowedPattern"], namespace)) is taken
