"""The fallback as the chaos runs it: it raises a silent workload's fleet, and rests beside fresh points."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice.core.model import Bounds, Tracking
from tests.chaos.event_storm import TAKEN_OVER, EventStorm
from tests.chaos.fallback import RAISED
from tests.chaos.steps import Step
from tests.support.builders import deadline, ecs_workload, workload

MINUTES = 6


@pytest.fixture(params=[workload, ecs_workload])
def storm(request: pytest.FixtureRequest) -> EventStorm:
    """One instance with more work than the promise has seconds, which Sluice may not raise."""
    served = replace(
        request.param("one"),
        bounds=Bounds(min=1, max=5),
        count_in_flight=True,
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
    return sum(storm.reached[raised] for raised in RAISED.values())


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


def test_the_engine_lowers_what_the_fallback_raised_as_soon_as_the_plane_is_back(storm: EventStorm) -> None:
    play(storm, *["minute without tick"] * MINUTES, "boot", "repair", "minute", "drain", "minute")
    assert storm.cloud.capacity(storm.workloads[0]).desired > 1
    play(storm, *["minute"] * MINUTES)
    assert storm.cloud.capacity(storm.workloads[0]).desired == 1
    assert storm.reached[TAKEN_OVER]
