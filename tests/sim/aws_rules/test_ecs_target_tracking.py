import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_sim.aws_rules.ecs_target_tracking import (
    Cooldowns,
    Scaling,
    ServiceTracking,
    scale,
)
from sluice_sim.aws_rules.target_tracking_alarms import PolicyError

BULK = ServiceTracking(
    policy_name="sluice-bulk-consumer",
    resource_id="service/workers/bulk-consumer",
    scaling_target_id=None,
    target=100,
    metric={},
    scale_out_cooldown_s=60,
    scale_in_cooldown_s=300,
    disable_scale_in=False,
)
NOW = 1_000_000.0


def cooldowns(*, out_left: float = 0, out_to: int = 0, in_left: float = 0) -> Cooldowns:
    return Cooldowns(out_until=NOW + out_left, out_to=out_to, in_until=NOW + in_left)


def high(metric: float = 150, *, running: int = 10, tracking: ServiceTracking = BULK, **more: Any) -> Scaling:
    """One evaluation with AlarmHigh in ALARM; by default 10 of 10..30 run, and nothing blocks it."""
    return _evaluated(tracking, metric, running, high_in_alarm=True, **more)


def low(metric: float = 50, *, running: int = 20, tracking: ServiceTracking = BULK, **more: Any) -> Scaling:
    """One evaluation with AlarmLow in ALARM; by default 20 of 10..30 run, and nothing blocks it."""
    return _evaluated(tracking, metric, running, low_in_alarm=True, **more)


def _evaluated(tracking: ServiceTracking, metric: float | None, running: int, **more: Any) -> Scaling:
    usual: dict[str, Any] = {
        "now": NOW,
        "desired": running,
        "minimum": 10,
        "maximum": 30,
        "high_in_alarm": False,
        "low_in_alarm": False,
        "deploying": False,
        "out_suspended": False,
        "in_suspended": False,
        "cooldowns": Cooldowns.none(),
    }
    return scale(tracking, metric=metric, running=running, **(usual | more))


@pytest.mark.parametrize(
    ("metric", "running", "desired", "expected"),
    [
        (150, 10, 10, 15),
        (101, 10, 10, 11),  # a part of a task asks for a whole one
        (280_000, 10, 10, 30),  # 2.8 million messages on 10 tasks: the maximum
        (150, 10, 20, 20),  # 15 would do for what runs: the 10 that start are not multiplied
        (250, 10, 20, 25),
        (150, 0, 12, 12),  # nothing runs yet: nothing to multiply
        (150, 2, 5, 10),  # below the minimum: up to it
        (150, 40, 40, 40),  # above the maximum: stays
    ],
)
def test_scale_out_is_proportional_to_what_runs(
    metric: float, running: int, desired: int, expected: int
) -> None:
    assert high(metric, running=running, desired=desired).desired == expected


def test_fractions_that_floats_cannot_hold_ask_for_no_task_too_many() -> None:
    assert high(0.1, running=3, minimum=0, tracking=BULK.with_target(0.3 / 4)).desired == 4
    assert low(0.1, running=3, minimum=0, tracking=BULK.with_target(0.3)).desired == 1


@pytest.mark.parametrize(
    ("metric", "minimum", "maximum", "expected"),
    [(5000, 0, 5, 1), (5000, 10, 30, 10), (5000, 0, 0, 0), (100, 0, 5, 0)],
)
def test_from_zero_a_service_scales_out_by_the_minimum_amount(
    metric: float, minimum: int, maximum: int, expected: int
) -> None:
    assert high(metric, running=0, minimum=minimum, maximum=maximum).desired == expected


def test_a_second_alarm_within_the_cooldown_adds_nothing() -> None:
    first = high(150)
    assert first.desired == 15
    second = high(150, now=NOW + 59, desired=12, cooldowns=first.cooldowns)
    assert second.desired == 12  # even if somebody lowered the count
    assert second.cooldowns == first.cooldowns
    assert second.reason.endswith("the scale-out cooldown of 15 tasks runs 1 s more")
    assert high(150, now=NOW + 60, desired=12, cooldowns=first.cooldowns).desired == 15


def test_a_larger_scale_out_pre_empts_the_cooldown_and_starts_it_anew() -> None:
    first = high(150)
    larger = high(200, now=NOW + 30, desired=15, cooldowns=first.cooldowns)
    assert larger.desired == 20
    assert larger.cooldowns == Cooldowns(out_until=NOW + 90, out_to=20, in_until=-math.inf)


def test_scale_out_ignores_the_scale_in_cooldown_and_ends_it() -> None:
    inwards = low()
    assert inwards.cooldowns.in_until == NOW + 300
    outwards = high(150, now=NOW + 1, cooldowns=inwards.cooldowns)
    assert (outwards.desired, outwards.cooldowns.in_until) == (15, -math.inf)


def test_a_suspended_scale_out_changes_neither_count_nor_cooldowns() -> None:
    running = cooldowns(in_left=100)
    held = high(out_suspended=True, cooldowns=running)
    assert (held.desired, held.cooldowns) == (10, running)
    assert held.reason == "150 per task against a target of 100, 10 running: scale-out is suspended"
    assert low(out_suspended=True).desired == 10


@pytest.mark.parametrize(
    ("metric", "running", "desired", "left"),
    [
        (50, 24, 24, 12),
        (51, 24, 24, 13),  # a part of a task keeps a whole one
        (0, 24, 24, 10),
        (50, 40, 40, 20),  # above the maximum: in from what runs
        (89, 2, 40, 30),  # or to the maximum
        (0, 5, 5, 5),  # below the minimum: stays
        (50, 20, 25, 10),
        (80, 3, 12, 12),  # what runs is needed, and more is starting
        (0, 0, 12, 12),  # nothing runs yet: nothing to take away
    ],
)
def test_scale_in_is_proportional_to_what_runs(metric: float, running: int, desired: int, left: int) -> None:
    assert low(metric, running=running, desired=desired).desired == left


def test_a_task_launched_for_a_small_backlog_is_left_to_start() -> None:
    starting = {"running": 0, "desired": 1, "minimum": 0, "maximum": 5}
    assert low(5, tracking=BULK.with_target(8), **starting).desired == 1
    assert low(5, tracking=BULK.with_target(8), **(starting | {"running": 1})).desired == 1
    assert low(0, tracking=BULK.with_target(8), **(starting | {"running": 1})).desired == 0


@pytest.mark.parametrize(
    ("hold", "why"),
    [
        ({"cooldowns": cooldowns(in_left=300)}, "the scale-in cooldown runs 300 s more"),
        ({"cooldowns": cooldowns(out_left=1, out_to=20)}, "the scale-out cooldown runs 1 s more"),
        ({"deploying": True}, "scale-in is off during a deployment"),
        ({"in_suspended": True}, "scale-in is suspended or disabled"),
    ],
)
def test_scale_in_waits(hold: dict[str, Any], why: str) -> None:
    held = low(**hold)
    assert held.desired == 20
    assert held.cooldowns == hold.get("cooldowns", Cooldowns.none())
    assert held.reason == f"50 per task against a target of 100, 20 running: {why}"
    assert low(cooldowns=cooldowns()).desired == 10  # cooldowns that end now hold no more


def test_a_policy_with_scale_in_disabled_never_scales_in() -> None:
    assert low(tracking=replace(BULK, disable_scale_in=True)).desired == 20


@pytest.mark.parametrize("hold", [{"deploying": True}, {"in_suspended": True}])
def test_what_holds_scale_in_does_not_hold_scale_out(hold: dict[str, Any]) -> None:
    assert high(**hold).desired == 15


def test_scale_in_starts_its_own_cooldown_alone() -> None:
    ended = cooldowns(out_left=-1, out_to=20)
    assert low(cooldowns=ended).cooldowns == replace(ended, in_until=NOW + 300)


def test_an_alarm_that_changes_nothing_starts_no_cooldown() -> None:
    at_maximum, at_minimum = high(running=30), low(running=10)
    assert (at_maximum.desired, at_maximum.cooldowns) == (30, Cooldowns.none())
    assert (at_minimum.desired, at_minimum.cooldowns) == (10, Cooldowns.none())
    assert at_maximum.reason.endswith("30 running: 30 desired are enough")
    assert at_minimum.reason.endswith("10 running: 10 desired are not too many")


def test_without_an_alarm_or_without_data_nothing_changes() -> None:
    quiet = _evaluated(BULK, 150, 40, desired=35)
    assert (quiet.desired, quiet.reason) == (35, "neither alarm is in ALARM")
    blind = _evaluated(BULK, None, 40, desired=35, low_in_alarm=True)
    assert (blind.desired, blind.reason) == (35, "the metric has no data")


@pytest.mark.parametrize("metric", [math.nan, math.inf, -1])
def test_a_metric_that_no_policy_can_use_is_refused(metric: float) -> None:
    for evaluate in (high, low):
        with pytest.raises(PolicyError, match=r"the metric is (nan|inf|-1)"):
            evaluate(metric)


counts = st.integers(0, 60)
bounds = st.tuples(counts, counts).map(sorted)
metrics = st.floats(0, 1e6)
running_cooldowns = st.builds(
    cooldowns, out_left=st.integers(-300, 300), out_to=counts, in_left=st.integers(-300, 300)
)
situations = st.fixed_dictionaries(
    {
        "desired": counts,
        "high_in_alarm": st.booleans(),
        "low_in_alarm": st.booleans(),
        "deploying": st.booleans(),
        "out_suspended": st.booleans(),
        "in_suspended": st.booleans(),
        "cooldowns": running_cooldowns,
    }
)


@given(metric=metrics, running=counts, bounds=bounds, more=situations)
def test_the_count_moves_with_its_alarm_and_stays_within_the_bounds(
    metric: float, running: int, bounds: list[int], more: dict[str, Any]
) -> None:
    minimum, maximum = bounds
    answer = _evaluated(BULK, metric, running, minimum=minimum, maximum=maximum, **more)
    desired = more["desired"]
    if answer.desired == desired:
        assert answer.cooldowns == more["cooldowns"]
    else:
        assert minimum <= answer.desired <= maximum
        assert more["high_in_alarm"] if answer.desired > desired else more["low_in_alarm"]
    assert not (more["high_in_alarm"] and answer.desired < desired)
    assert answer == _evaluated(BULK, metric, running, minimum=minimum, maximum=maximum, **more)


@given(metric=metrics, running=counts, later=st.integers(1, 59))
def test_two_alarms_within_a_cooldown_request_no_more_than_one(
    metric: float, running: int, later: int
) -> None:
    first = high(metric, running=running)
    second = high(metric, running=running, desired=first.desired, now=NOW + later, cooldowns=first.cooldowns)
    assert (second.desired, second.cooldowns) == (first.desired, first.cooldowns)


@given(running=st.integers(10, 28), later=st.integers(0, 59), more=st.integers(1, 10))
def test_a_larger_scale_out_during_the_cooldown_happens_at_once(running: int, later: int, more: int) -> None:
    first = high(100 * (running + 1) / running, running=running)
    assert first.desired == running + 1
    larger = high(
        100 * (running + 1 + more) / running,
        running=running,
        desired=first.desired,
        now=NOW + later,
        cooldowns=first.cooldowns,
    )
    assert larger.desired == min(30, running + 1 + more)
    assert larger.cooldowns.out_until == NOW + later + 60
