"""The fallback of the deadline engine by the rules of CloudWatch: when it acts, and when never."""

from __future__ import annotations

import random
from collections.abc import Mapping
from itertools import product

import pytest

from sluice_sim.aws_rules.alarms import Alarm, State
from sluice_sim.aws_rules.ec2_target_tracking import TargetTracking
from sluice_sim.aws_rules.ecs_target_tracking import ServiceTracking
from sluice_sim.aws_rules.metric_math import MissingOperand
from tests.templates.stacks import workload

PROMISE_S, PROCESSING_S, CONCURRENCY = 240, 6, 2
READ_BACK_MINUTES = 7
HOURS = 6
OWN_LATENESS_S = 179
"""The tick starts up to 59 s late, and its point is readable up to two minutes after it."""
AWS_LATENESS_S = (0, 60, 120, 180)
"""Seconds from the end of a minute until AWS's own metrics of it can be read."""
GAPS = {
    "counted as 0": MissingOperand(),
    "dropped by arithmetic": MissingOperand(arithmetic=None),
    "dropped by comparisons": MissingOperand(comparison=None),
}

Readable = Mapping[str, Mapping[int, tuple[float, float]]]
"""Metric -> minute (epoch seconds) -> (moment from which it can be read, value)."""


def policy(fleet: str) -> TargetTracking | ServiceTracking:
    """The one policy of a workload of the deadline engine."""
    stack = workload(
        fleet,
        Scaling="deadline",
        Fallback="true",
        AcceptableLatencySeconds=str(PROMISE_S),
        ProcessingSeconds=str(PROCESSING_S),
        ConcurrencyPerInstance=str(CONCURRENCY),
    )
    if fleet == "asg":
        return TargetTracking.from_properties("policy", stack.resources["AsgTargetTracking"].properties)
    return ServiceTracking.from_properties("policy", stack.resources["EcsTargetTracking"].properties)


@pytest.fixture
def high(fleet: str) -> Alarm:
    return policy(fleet).high_alarm()


def states(
    alarm: Alarm, readable: Readable, minutes: range, second: float, gaps: str = "counted as 0"
) -> list[State]:
    """The alarm's state at this second of each minute."""
    state, found = State.INSUFFICIENT_DATA, []
    for minute in minutes:
        now = 60 * minute + second
        series = {
            name: {
                60 * at: points[60 * at][1]
                for at in range(minute - READ_BACK_MINUTES, minute)
                if 60 * at in points and points[60 * at][0] <= now
            }
            for name, points in readable.items()
        }
        state = alarm.next_state(alarm.datapoints(series, now, GAPS[gaps]), state)
        found.append(state)
    return found


def aws_metrics(
    minutes: range, visible: float, lateness_s: Mapping[str, float]
) -> dict[str, dict[int, tuple[float, float]]]:
    values = {"visible": visible, "sent": 60.0, "in_service": 2.0}
    return {
        name: {60 * at: (60 * (at + 1) + lateness_s[name], value) for at in minutes}
        for name, value in values.items()
    }


def test_it_holds_the_promises_seconds_of_work_per_instance_and_scales_out_only(fleet: str) -> None:
    tracked = policy(fleet)
    assert (tracked.target, tracked.disable_scale_in) == (PROMISE_S, True)
    series = {"visible": {0: 50.0}, "sent": {0: 30.0}, "in_service": {0: 4.0}, "own": {}}
    value = tracked.high_alarm().datapoints(series, 60)[-1]
    assert value == pytest.approx((50 + PROMISE_S * 30 / 60) * PROCESSING_S / CONCURRENCY / 4)


@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize("seed", range(20))
def test_a_living_plane_never_triggers_it_however_late_its_points_are(
    high: Alarm, seed: int, gaps: str
) -> None:
    """At any second of the minute, and with backlogs of any size, of which every one would scale out."""
    drawn, minutes = random.Random(seed), range(60 * HOURS)
    late_s = {name: drawn.choice(AWS_LATENESS_S) for name in ("visible", "sent", "in_service")}
    readable = aws_metrics(minutes, 10 ** drawn.uniform(3, 6), late_s)
    readable["own"] = {
        60 * at: (60 * at + drawn.uniform(0, OWN_LATENESS_S), drawn.choice([0.0, 1e-3, 1e6]))
        for at in minutes
    }
    found = states(high, readable, minutes[READ_BACK_MINUTES:], drawn.uniform(0, 60), gaps)
    assert State.ALARM not in found


@pytest.mark.parametrize("seed", range(20))
def test_one_lost_minute_at_a_time_does_not_trigger_it(high: Alarm, seed: int) -> None:
    """If points are readable within two minutes, as those of a standing metric are."""
    drawn, minutes = random.Random(seed), range(60 * HOURS)
    every = drawn.randint(2, 9)
    readable = aws_metrics(minutes, 1e4, dict.fromkeys(("visible", "sent", "in_service"), 0))
    readable["own"] = {60 * at: (60 * at + drawn.uniform(0, 119), 7.0) for at in minutes if at % every}
    assert State.ALARM not in states(high, readable, minutes[READ_BACK_MINUTES:], drawn.uniform(0, 60))


@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize("late_s", list(product(AWS_LATENESS_S, repeat=3)))
def test_a_silent_plane_triggers_it_within_minutes_however_late_aws_is(
    high: Alarm, late_s: tuple[float, float, float], gaps: str
) -> None:
    silent_from, returns, minutes = 20, 50, range(70)
    readable = aws_metrics(minutes, 1e4, dict(zip(("visible", "sent", "in_service"), late_s, strict=True)))
    readable["own"] = {60 * at: (60 * at + 40.0, 7.0) for at in minutes if not silent_from <= at < returns}
    found = dict(zip(minutes[8:], states(high, readable, minutes[8:], 30, gaps), strict=True))
    in_alarm = [minute for minute, state in found.items() if state is State.ALARM]
    assert silent_from + 3 <= in_alarm[0] <= silent_from + 7
    assert in_alarm == list(range(in_alarm[0], in_alarm[-1] + 1))
    assert returns - 1 <= in_alarm[-1] <= returns + 2


@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize(("visible", "in_service"), [(0, 2), (None, 2), (50, 0), (50, None)])
def test_an_empty_queue_or_a_fleet_at_zero_triggers_nothing(
    high: Alarm, visible: float | None, in_service: float | None, gaps: str
) -> None:
    """The bootstrap alarm starts a fleet at zero; what is not published is not known."""
    minutes = range(30)
    readable = {
        name: {} if value is None else {60 * at: (0.0, float(value)) for at in minutes}
        for name, value in {"visible": visible, "in_service": in_service, "sent": 0, "own": None}.items()
    }
    assert State.ALARM not in states(high, readable, minutes[8:], 30, gaps)


@pytest.mark.parametrize("name", ["visible", "in_service"])
def test_a_minute_that_aws_has_not_published_is_not_an_empty_one(high: Alarm, name: str) -> None:
    series = {"visible": {0: 9.0}, "sent": {0: 9.0}, "in_service": {0: 1.0}, "own": {}} | {name: {}}
    assert high.datapoints(series, 60)[-1] is None
