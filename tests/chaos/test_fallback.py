"""The fallback as the chaos runs it: it raises a silent workload's fleet, and rests beside fresh points."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice.core.model import Bounds, Tracking
from tests.chaos.event_storm import EventStorm
from tests.chaos.fallback import RAISED
from tests.chaos.steps import Step
from tests.support.builders import deadline, workload

MINUTES = 6


@pytest.fixture
def storm() -> EventStorm:
    """One instance with more work than the promise has seconds, which Sluice may not raise."""
    served = replace(
        workload("one"),
        bounds=Bounds(min=1, max=5),
        count_in_flight=True,
        policy_arn=None,
        tracking=Tracking(processing_s=30),
        deadline=deadline(tick_s=60, boot_s=60),
    )
    storm = EventStorm((served,))
    storm.cloud.change(served, desired=1, running=1)
    play(storm, *["minute"] * MINUTES, "acts are refused", "arrive")
    return storm


def play(storm: EventStorm, *steps: str) -> int:
    """Run these steps; how often the fallback has raised the fleet until then."""
    for what in steps:
        storm.run_step(Step(what, 0, 8))
    return storm.reached[RAISED]


@pytest.mark.parametrize("fault", ["queue fails", "fleet fails", "points are refused"])
def test_a_workload_that_nobody_publishes_is_raised_by_the_fallback(storm: EventStorm, fault: str) -> None:
    assert play(storm, fault, *["minute"] * MINUTES)
    assert storm.cloud.capacity(storm.workloads[0]).desired > 1


def test_a_dead_plane_leaves_the_fleet_to_the_fallback(storm: EventStorm) -> None:
    assert play(storm, *["minute without tick"] * MINUTES)
    assert storm.cloud.capacity(storm.workloads[0]).desired > 1


def test_beside_fresh_points_the_fallback_rests_over_any_backlog(storm: EventStorm) -> None:
    assert play(storm, "ticks are refused", *["minute"] * MINUTES) == 0
    assert storm.cloud.capacity(storm.workloads[0]).desired == 1
