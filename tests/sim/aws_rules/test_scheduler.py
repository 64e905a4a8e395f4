"""A schedule invokes its target in its own phase, 0 to 59 s late, with the scheduled time."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from sluice_sim.aws_rules.scheduler import (
    Schedule,
    Scheduler,
)
from sluice_sim.clock import VirtualClock

DEPLOYED = datetime(2026, 1, 15, 12, 20, 17, tzinfo=UTC)
HOUR_S = 3600
Starts = list[tuple[float, datetime]]


def starts(expression: str, *, seed: int = 0, name: str = "tick", lasts_s: float = 3 * HOUR_S) -> Starts:
    """(epoch seconds, scheduled time) of every start of a schedule deployed at 12:20:17."""
    clock, observed = VirtualClock(DEPLOYED.timestamp()), []
    Scheduler(clock, seed=seed).start(
        name, Schedule.parse(expression), lambda scheduled: observed.append((clock.now, scheduled))
    )
    clock.run_until(clock.now + lasts_s)
    return observed


def latenesses_s(observed: Starts) -> list[float]:
    return [at - scheduled.timestamp() for at, scheduled in observed]


@pytest.mark.parametrize(
    ("expression", "first", "second"),
    [
        ("cron(* * * * ? *)", "12:21:00", "12:22:00"),
        ("cron(0 * * * ? *)", "13:00:00", "14:00:00"),
        ("rate(1 minute)", "12:21:17", "12:22:17"),
        ("rate(5 minutes)", "12:25:17", "12:30:17"),
        ("rate(1 hour)", "13:20:17", "14:20:17"),
    ],
)
def test_cron_starts_at_whole_minutes_and_hours_and_a_rate_counts_from_the_deploy(
    expression: str, first: str, second: str
) -> None:
    assert [f"{scheduled:%H:%M:%S}" for _, scheduled in starts(expression)][:2] == [first, second]


@pytest.mark.parametrize(
    ("expression", "period_s"), [("rate(2 hours)", 2 * HOUR_S), ("rate(1 day)", 24 * HOUR_S)]
)
def test_a_schedule_rate_may_be_in_hours_or_days(expression: str, period_s: float) -> None:
    assert Schedule.parse(expression).period_s == period_s


@pytest.mark.parametrize("expression", ["cron(* * * * ? *)", "rate(1 minute)"])
def test_every_scheduled_start_is_0_to_59_s_late(expression: str) -> None:
    observed = starts(expression, lasts_s=24 * HOUR_S)
    late = latenesses_s(observed)
    assert len(observed) >= 24 * 60 - 1
    assert 0 <= min(late) < 1
    assert 58 < max(late) <= 59
    assert len({math.floor(each) for each in late}) == 59  # every second, and the 59th is never over
    between = [after - before for (before, _), (after, _) in pairwise(observed)]
    assert 0 < min(between) < 5  # a start without delay after a late one
    assert max(between) > 115


def test_the_target_gets_the_scheduled_time_whatever_the_lateness() -> None:
    observed = [scheduled for _, scheduled in starts("cron(* * * * ? *)")]
    assert [(each.second, each.microsecond) for each in observed] == [(0, 0)] * len(observed)
    assert len(set(observed)) == len(observed) >= 179


def test_the_same_seed_gives_the_same_starts_and_another_gives_others() -> None:
    assert starts("rate(1 minute)", seed=7) == starts("rate(1 minute)", seed=7)
    assert starts("rate(1 minute)", seed=7) != starts("rate(1 minute)", seed=8)


def test_each_schedule_draws_for_itself() -> None:
    def both(*names: str) -> dict[str, list[float]]:
        clock = VirtualClock(DEPLOYED.timestamp())
        scheduler, latenesses = Scheduler(clock, seed=0), {name: [] for name in names}
        for name in names:
            scheduler.start(
                name,
                Schedule.parse("rate(1 minute)"),
                lambda scheduled, name=name: latenesses[name].append(clock.now - scheduled.timestamp()),
            )
        clock.run_until(clock.now + HOUR_S)
        return latenesses

    alone, together = both("tick"), both("other", "tick")
    assert together["tick"] == alone["tick"]
    assert together["other"] != together["tick"]


@pytest.mark.parametrize(
    "expression",
    [
        "cron(*/5 * * * ? *)",
        "cron(0 12 * * ? *)",
        "rate(0 minutes)",
        "rate(90 seconds)",
        "rate(1.5 hours)",
        "rate(1 minute) ",
        "at(2026-01-15T13:00:00)",
        "",
    ],
)
def test_any_other_expression_is_refused_with_what_may_be_written(expression: str) -> None:
    with pytest.raises(ValueError, match=r"is not simulated: write cron\(\* \* \* \* \? \*\)") as refused:
        Schedule.parse(expression)
    assert repr(expression) in str(refused.value)
