"""The errors of a simulation against what happened, and when they forbid a recommendation."""

from __future__ import annotations

import numpy as np
import pytest

from sluice_sim.study.reproduction import Minutes, compare


def minutes(desired, running=None) -> Minutes:
    return Minutes(
        desired=np.array(desired, float), running=np.array(desired if running is None else running, float)
    )


def test_what_boots_and_what_drains_both_cost() -> None:
    found = compare(minutes([2, 2, 1], [0, 2, 2]), 1.0, minutes([2, 2, 2]), 1.0)
    assert found.happened_instance_hours == found.simulated_instance_hours == pytest.approx(6 / 60)
    assert (found.desired_error, found.running_error) == pytest.approx((1 / 3, 2 / 3))
    assert list(found.problems()) == []


def test_minutes_without_counts_count_on_neither_side() -> None:
    found = compare(minutes([2, np.nan, 2]), 1.0, minutes([2, 9, 2]), 1.0)
    assert (found.known_minutes, found.hours_error, found.desired_error) == (2, 0.0, 0.0)


def test_the_longer_record_is_cut() -> None:
    assert compare(minutes([1, 1]), 1.0, minutes([1, 1, 50]), 1.0).hours_error == 0


@pytest.mark.parametrize(
    ("simulated", "share", "said"),
    [
        ([11.0] * 10, 0.95, []),
        ([11.1] * 10, 0.95, ["its instance-hours are off by +11.0%, more than 10%"]),
        ([8.9] * 10, 0.95, ["its instance-hours are off by -11.0%, more than 10%"]),
        ([10.0] * 10, 0.8999, ["its share of messages in time is off by -5.0 points, more than 5"]),
        ([10.0] * 10, 0.999, []),
        ([0.0] * 10, 0.0, ["its instance-hours", "its share"]),
    ],
)
def test_beyond_a_tenth_of_the_hours_or_five_points_it_is_wrong(simulated, share, said) -> None:
    found = compare(minutes([10.0] * 10), 0.95, minutes(simulated), share)
    problems = list(found.problems())
    assert len(problems) == len(said)
    assert all(problem.startswith(start) for problem, start in zip(problems, said, strict=True))


def test_a_fleet_that_never_ran_is_reproduced_by_one_that_never_runs_alone() -> None:
    assert compare(minutes([0, 0]), 1.0, minutes([0, 0]), 1.0).hours_error == 0
    assert compare(minutes([0, 0]), 1.0, minutes([0, 1]), 1.0).hours_error == 1
    assert compare(minutes([np.nan]), 1.0, minutes([1]), 1.0).desired_error == 0
