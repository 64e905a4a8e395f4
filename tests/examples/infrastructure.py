"""Parameter sets of `workload.yaml`, in CloudFormation's words and as typed arguments, and stacks compared.

The Terraform module and the CDK construct are given the same sets.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from random import Random
from types import ModuleType
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from sluice_sim.template import ResolvedStack
from sluice_sim.template.parameters import effective
from sluice_sim.template.rules import broken
from tests.templates import stacks
from tests.templates.longest import longest
from tests.templates.stacks import ROOT, WORKLOAD_TEMPLATE, WORKLOADS, template, workload_environments
from tests.templates.test_every_allowed_parameter import parameters as every_deployment

Values = Mapping[str, str]
"""Parameter -> its text, as CloudFormation is given it."""
RANDOM_SETS_EACH = 5
"""Sets for each kind of fleet in each mode."""


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_infrastructure", ROOT / "docs/infrastructure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up the module of their annotations
    spec.loader.exec_module(module)
    return module


generator = _generator()
PARAMETERS: dict[str, dict[str, Any]] = template(WORKLOAD_TEMPLATE)["Parameters"]
INPUTS = generator.inputs(PARAMETERS)
INPUT = {each.name: each for each in INPUTS}


SET_NAMES = [
    *workload_environments(),
    *(
        f"{fleet}-{mode}-{number}"
        for fleet in ("asg", "ecs")
        for mode in PARAMETERS["Mode"]["AllowedValues"]
        for number in range(RANDOM_SETS_EACH)
    ),
    *(f"{fleet}-choices-{place}" for fleet in WORKLOADS for place in (0, -1)),
]
"""Every workload of samconfig.toml, random ones, and the first and the last choice of every parameter."""


@cache  # drawing takes seconds
def parameter_set(name: str) -> Values:
    """The set with this name."""
    if name in workload_environments():
        return workload_environments()[name]
    fleet, mode, number = name.split("-", 2)
    return _choices(fleet, int(number)) if mode == "choices" else _random_sets(fleet, mode)[int(number)]


def _choices(fleet: str, place: int) -> Values:
    left_alone = {"FleetType", "Mode", "CreateScalableTarget"}
    chosen = {
        name: declared["AllowedValues"][place]
        for name, declared in PARAMETERS.items()
        if "AllowedValues" in declared and name not in left_alone
    }
    return WORKLOADS[fleet] | chosen | {"ProcessingSeconds": "60"}


@cache
def _random_sets(fleet: str, mode: str) -> list[Values]:
    found: list[Values] = []

    @settings(max_examples=RANDOM_SETS_EACH, database=None, derandomize=True, phases=(Phase.generate,))
    @given(data=st.data())
    def draw(data: st.DataObject) -> None:
        values = data.draw(every_deployment(fleet, mode))
        found.append({name: _shortest(name, text) for name, text in values.items()})

    draw()
    return found


def _shortest(parameter: str, text: str) -> str:
    """A number without zeros at its end, as a typed number has none."""
    is_number = any(each.kind == "number" and parameter in each.parameters for each in INPUTS)
    return decimal_text(Decimal(text)) if is_number and text else text


def decimal_text(number: Decimal) -> str:
    return f"{number.normalize():f}"


def arguments(values: Values) -> dict[str, Any]:
    """The set as typed arguments: strings, Decimals, truths, and a list; what is empty is left out."""
    found: dict[str, Any] = {}
    for each in INPUTS:
        texts = [values.get(name, "") for name in each.parameters]
        if each.is_list:
            found[each.name] = texts[: max((place for place, text in enumerate(texts, 1) if text), default=0)]
        elif texts != [""]:
            [text] = texts
            found[each.name] = typed(each.kind, text)
    return found


def typed(kind: str, text: str) -> str | Decimal | bool:
    return {"string": str, "number": Decimal, "bool": lambda text: text == "true"}[kind](text)


def stack_of(body: Mapping[str, Any], values: Values) -> ResolvedStack:
    """The stack that the template makes from these parameters; raises TemplateError."""
    return stacks.resolved(body, dict(values), stack_name="sluice-workload")


def expected(values: Values) -> ResolvedStack:
    """The stack of workload.yaml."""
    return stack_of(template(WORKLOAD_TEMPLATE), values)


def differences(left: ResolvedStack, right: ResolvedStack) -> dict[str, tuple[object, object]]:
    """Resource, property or output -> its two values, for those that differ."""
    flat = [dict(_flat(stack)) for stack in (left, right)]
    places = dict.fromkeys([*flat[0], *flat[1]])
    both = {place: (flat[0].get(place), flat[1].get(place)) for place in places}
    return {place: pair for place, pair in both.items() if pair[0] != pair[1]}


def _flat(stack: ResolvedStack) -> Iterator[tuple[str, object]]:
    for logical_id, resource in stack.resources.items():
        yield logical_id, (resource.type, dict(resource.metadata))
        yield from ((f"{logical_id}.{name}", value) for name, value in resource.properties.items())
    yield from ((f"Outputs.{name}", value) for name, value in stack.outputs.items())


# ---- what is refused ---------------------------------------------------------------------------------------

TEXTS = ("", " ", "x", "X", "0", "-1", "a.b", "a:b", 'a"b', "a\\b", "a\n", "ä", "true", "None", "x" * 300)
NUMBERS = (
    *("-1", "0", "0.0000001", "0.05", "0.5", "0.999999", "1", "1.5", "2", "3", "3.1", "5", "7", "10", "50"),
    *("59", "60", "99.99", "99.999", "100", "120", "121", "1440", "1441", "9999", "10000", "99999"),
    *("1209600", "1209601", "10000000", "1000000000"),
)
CONSTRAINED = [each.name for each in INPUTS if each.kind != "bool"]


@cache
def verdicts(name: str) -> dict[str, bool]:
    """Candidate of an argument -> whether its parameter takes it."""
    each = INPUT[name]
    good = each.choices or [
        longest(each.declared["AllowedPattern"], Random(seed).choice) for seed in range(3)
    ]
    texts = NUMBERS if each.kind == "number" else (*good, *(text + "!" for text in good), *TEXTS)
    declared = {name: each.declared}
    # An argument with choices is left out instead of empty.
    return {text: not effective(declared, {name: text})[1] for text in texts if text or not each.choices}


def rounds() -> list[dict[str, Any]]:
    """Arguments that try one candidate of each at a time."""
    needed = {"name": "x", "queue_name": "x", "max_capacity": Decimal(1)}
    tried = {name: list(verdicts(name)) for name in CONSTRAINED}
    return [
        needed
        | {
            name: [text] if INPUT[name].is_list else typed(INPUT[name].kind, text)
            for name, texts in tried.items()
            for text in texts[number : number + 1]
        }
        for number in range(max(map(len, tried.values())))
    ]


CHANGES = {
    "AutoScalingGroupName": ("", ".", "..."),
    "ClusterName": ("",),
    "ServiceName": ("",),
    "Mode": ("observe", "paused"),
    "MetricSource": ("native",),
    "TrackedMetric": ("effective",),
    "ProcessingSeconds": ("60",),
    "Scaling": ("deadline",),
    "SurgeOnCriticalAlarms": ("true",),
    "DepthAlarms": ("true",),
    "CreateScalableTarget": ("true", "not-yet", "false"),
    **{f"Schedule{number}": (f"s{number},SUN-SAT,8:0{number},UTC,1,2",) for number in range(1, 6)},
    "GuardDeadLettersPerMinute": ("3",),
    "DeadLetterQueueName": ("dead",),
    "GreenAutoScalingGroupName": ("green", "transcription"),
    "GreenServiceName": ("green", "queue-proc"),
    "Fallback": ("true",),
    "AtMaximumAlarm": ("true",),
    "MissingInstancesAlarm": ("true",),
    "Dashboard": ("true",),
    "DurationNamespace": (".", "..."),
}
"""Values of the parameters that rules refuse in some combination."""


@cache
def refused_sets() -> list[tuple[Values, list[str]]]:
    """A set for each assertion of the template's rules, with all sentences that it breaks; two break none."""
    rules = template(WORKLOAD_TEMPLATE)["Rules"]
    unbroken = {each["AssertDescription"] for rule in rules.values() for each in rule["Assertions"]}
    found: list[tuple[Values, list[str]]] = [(workload, []) for workload in WORKLOADS.values()]
    for values in _combinations():
        in_force, _ = effective(PARAMETERS, values)
        refused = [problem.split(": ", 1)[1] for problem in broken(rules, in_force)]
        if unbroken & {*refused}:
            unbroken -= {*refused}
            found.append((values, refused))
    assert unbroken == set(), "no combination of CHANGES breaks these"
    return found


def _combinations() -> Iterator[Values]:
    """Each change of a workload of each kind alone, and each pair of changes."""
    changes = [{name: value} for name, values in CHANGES.items() for value in values]
    pairs = [one | other for one in changes for other in changes if one.keys() != other.keys()]
    return (workload | each for workload in WORKLOADS.values() for each in [*changes, *pairs])
