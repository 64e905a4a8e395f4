import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.bounds import (
    clamp,
    effective_bounds,
    instances_for,
)
from sluice.core.model import Bounds, Limit
from tests.support.builders import (
    capacity,
    workload,
)


def plan(messages: int, target_per_instance: float, bounds: Bounds) -> int:
    """The complete calculation: demand, then bounds."""
    return clamp(instances_for(messages, target_per_instance), bounds)[0]


TARGETS = st.floats(min_value=1e-6, max_value=1e12)
MESSAGES = st.integers(min_value=0, max_value=1_000_000)
BOUNDS = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(
    lambda ends: Bounds(min=min(ends), max=max(ends))
)


def test_fifteen_messages_on_two_instances_at_target_three_ask_for_five() -> None:
    backlog_per_instance, instances = 15 / 2, 2
    assert instances_for(instances * backlog_per_instance, 3) == 5
    assert plan(15, 3, Bounds(min=1, max=10)) == 5


def test_six_messages_on_five_instances_at_target_three_ask_for_two() -> None:
    backlog_per_instance, instances = 6 / 5, 5
    assert instances_for(instances * backlog_per_instance, 3) == 2
    assert plan(6, 3, Bounds(min=1, max=10)) == 2


@pytest.mark.parametrize(("stage", "minimum"), [("production", 1), ("staging", 0)])
def test_an_empty_queue_asks_for_the_minimum(stage: str, minimum: int) -> None:
    assert plan(0, 3, Bounds(min=minimum, max=10)) == minimum


@pytest.mark.parametrize(("messages", "instances"), [(8, 1), (16, 2), (24, 3), (32, 4), (40, 5)])
def test_at_target_eight_every_eight_messages_ask_for_one_more(messages: int, instances: int) -> None:
    assert plan(messages, 8, Bounds(min=0, max=5)) == instances


def test_one_message_beyond_the_target_asks_for_one_more_instance() -> None:
    assert instances_for(17, 8) == 3


@pytest.mark.parametrize(("messages", "target", "instances"), [(21, 0.7, 30), (42, 1.4, 30), (42, 2.8, 15)])
def test_rounding_errors_do_not_cost_an_instance(messages: int, target: float, instances: int) -> None:
    assert math.ceil(messages / target) == instances + 1  # the result of a plain ceil
    assert instances_for(messages, target) == instances


@given(MESSAGES.filter(bool), TARGETS)
def test_any_message_asks_for_at_least_one_instance(messages: int, target: float) -> None:
    assert instances_for(messages, target) >= 1


@given(MESSAGES, TARGETS)
def test_the_answer_is_the_fewest_that_holds_the_target(messages: int, target: float) -> None:
    instances = instances_for(messages, target)
    assert instances * target >= messages * (1 - 1e-9)
    assert instances == 0 or (instances - 1) * target < messages


@given(MESSAGES, TARGETS, BOUNDS)
def test_a_plan_is_always_within_bounds(messages: int, target: float, bounds: Bounds) -> None:
    assert bounds.min <= plan(messages, target, bounds) <= bounds.max


@given(MESSAGES, MESSAGES, TARGETS, BOUNDS)
def test_more_messages_never_plan_fewer_instances(
    one: int, other: int, target: float, bounds: Bounds
) -> None:
    fewer, more = sorted((one, other))
    assert plan(fewer, target, bounds) <= plan(more, target, bounds)


@pytest.mark.parametrize(
    ("instances", "expected", "limits"),
    [
        (0, 1, (Limit.MIN_INSTANCES,)),
        (1, 1, ()),
        (3, 3, ()),
        (5, 5, ()),
        (6, 5, (Limit.MAX_INSTANCES,)),
    ],
)
def test_a_clamp_names_the_limit_that_applied(
    instances: int, expected: int, limits: tuple[Limit, ...]
) -> None:
    assert clamp(instances, Bounds(min=1, max=5)) == (expected, limits)


@pytest.mark.parametrize(
    ("fleet", "expected", "limits"),
    [
        (None, Bounds(min=1, max=5), ()),
        (Bounds(min=1, max=5), Bounds(min=1, max=5), ()),
        (Bounds(min=0, max=9), Bounds(min=1, max=5), (Limit.BOUNDS_DIFFER,)),
        (Bounds(min=2, max=3), Bounds(min=2, max=3), (Limit.BOUNDS_DIFFER,)),
        (Bounds(min=5, max=9), Bounds(min=5, max=5), (Limit.BOUNDS_DIFFER,)),
        (Bounds(min=0, max=0), None, (Limit.BOUNDS_DIFFER,)),
        (Bounds(min=6, max=9), None, (Limit.BOUNDS_DIFFER,)),
    ],
)
def test_the_bounds_in_force_are_those_both_the_document_and_the_fleet_allow(
    fleet: Bounds | None, expected: Bounds | None, limits: tuple[Limit, ...]
) -> None:
    assert effective_bounds(workload(min_instances=1, max_instances=5), capacity(bounds=fleet)) == (
        expected,
        limits,
    )
