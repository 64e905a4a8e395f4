"""What the simulated side of `sluice.ports` keeps beyond the contract suite, where a run has one workload."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sluice.core.model import Unknown
from sluice.errors import ConfigError
from sluice.ports import Series, SeriesQuery
from sluice_sim.simulation.aws import SimulatedAws
from sluice_sim.simulation.ports import SimulatedMetrics, SimulatedQueues, SimulatedRegistry, world
from sluice_sim.simulation.site import Site
from tests.builders import plenty
from tests.simulation.plants import START_S, at, plant
from tests.simulation.sites import deployed, site


def durations(run: Site, statistic: str, *, minutes: int = 10, period_s: int = 60) -> Series | Unknown:
    query = SeriesQuery(metric=run.deployed.workload.duration_metric, statistic=statistic, period_s=period_s)
    begin = datetime.fromtimestamp(run.clock.now - run.plant.now_s, UTC)
    read = SimulatedMetrics(run).read({"one": query}, begin, begin + timedelta(minutes=minutes), plenty)
    return read["one"]


def worked() -> Site:
    """Messages of 10, 20 and 30 s that end in the first, second and third minute, on full minutes of time."""
    subject = plant([0, 50, 130], [10, 20, 30])
    subject.set_desired(1)
    run = site("transcription", subject)
    run.clock.run_until(run.clock.now + 300)
    run.plant.look()
    return run


def test_processing_times_can_be_read_by_the_minute_of_their_end() -> None:
    series = durations(worked(), "Average")
    assert isinstance(series, dict)
    assert list(series.values()) == [10, 20, 30]


@pytest.mark.parametrize(("statistic", "expected"), [("Average", 20), ("SampleCount", 3), ("p50", 20)])
def test_a_longer_period_joins_its_messages(statistic: str, expected: float) -> None:
    series = durations(worked(), statistic, period_s=300)
    assert isinstance(series, dict)
    assert list(series.values()) == [expected]


def test_nothing_is_known_of_a_minute_that_is_not_over() -> None:
    run = worked()
    later = durations(run, "SampleCount", minutes=60)
    assert isinstance(later, dict)
    assert sum(later.values()) == 3


def test_the_counts_lag_as_far_as_the_setting_says() -> None:
    run = site("transcription", plant([100.0] * 7, 5), count_lag_s=60.0)
    queues, url = SimulatedQueues(run), run.deployed.workload.queue_url
    seen = {}
    for second in range(0, 241, 30):
        at(run.plant, second)
        backlog = queues.read([url], plenty)[url]
        assert not isinstance(backlog, Unknown)
        seen[second] = backlog.visible
    assert seen == {0: 0, 30: 0, 60: 0, 90: 0, 120: 0, 150: 0, 180: 7, 210: 7, 240: 7}


@pytest.mark.parametrize("lag_s", [5.0, 30.0, 60.0, 90.0])
@pytest.mark.parametrize("tick_s", [10.0, 60.0])
def test_the_counts_are_as_old_as_the_setting_says_however_seldom_they_are_read(
    lag_s: float, tick_s: float
) -> None:
    arrivals = [float(second) for second in range(0, 600, 3)]
    run, exact = site("transcription", plant(arrivals, 7), count_lag_s=lag_s), plant(arrivals, 7)
    for subject in (run.plant, exact):
        subject.set_desired(1)
    known = {}
    for second in range(601):
        known[float(second)] = at(exact, second).counts()
    for tick in range(1, int(600 / tick_s) + 1):
        at(run.plant, tick * tick_s)
        seen, then = run.view(), known[max(0.0, tick * tick_s - lag_s)]
        assert (seen.visible, seen.in_flight) == (then.visible, then.in_flight)
        assert seen.running == 1, "the fleet is seen as it is"


def test_a_trace_alone_brings_messages() -> None:
    run = site()
    with pytest.raises(ConfigError, match="cannot be sent into a simulation"):
        SimulatedQueues(run).send(run.deployed.workload.queue_url, ["body"])


def test_the_runs_workload_is_the_one_that_is_registered() -> None:
    registry = SimulatedRegistry(deployed().workload)
    assert registry.all(plenty, fresh=True).workloads == (registry.one("transcription", plenty),)
    with pytest.raises(ConfigError, match="nobody"):
        registry.one("nobody", plenty)


def test_the_world_tells_the_time_of_the_run() -> None:
    run = site()
    at(run.plant, 90)
    assert world(SimulatedAws(run)).now() == datetime.fromtimestamp(START_S + 90, UTC)


def queue_silent_then_woken() -> Site:
    """One message at the start, and one after eight hours that nobody takes."""
    run = site("transcription", plant([1.0, 8 * 3600.0 + 1], 10))
    run.plant.set_desired(1)
    SimulatedAws(run)
    at(run.plant, 90).set_desired(0)
    return run


def visible_minutes(run: Site) -> set[int]:
    """Minutes of the run at which AWS/SQS has a value now."""
    [values] = [
        values for metric, values in run.metrics._values.items() if metric[1].endswith("MessagesVisible")
    ]
    return {round((minute - START_S) / 60) for minute in values}


def test_a_queue_idle_for_six_hours_is_silent_and_its_first_metrics_come_fifteen_minutes_late() -> None:
    run = queue_silent_then_woken()
    run.clock.run_until(START_S + 8 * 3600)
    assert max(visible_minutes(run)) == pytest.approx(6 * 60, abs=1)
    run.clock.run_until(START_S + 8 * 3600 + 14 * 60)
    assert max(visible_minutes(run)) == pytest.approx(6 * 60, abs=1)
    run.clock.run_until(START_S + 8 * 3600 + 20 * 60)
    assert {8 * 60, 8 * 60 + 5, 8 * 60 + 10, 8 * 60 + 15} <= visible_minutes(run)


def test_a_message_that_comes_and_goes_within_a_minute_ends_the_silence_too() -> None:
    run = site("transcription", plant([1.0, 8 * 3600.0 + 1], 10))
    run.plant.set_desired(1)
    SimulatedAws(run)
    run.clock.run_until(START_S + 9 * 3600)
    assert run.plant.look().backlog == 0
    assert 8 * 60 in visible_minutes(run)
    assert 7 * 60 not in visible_minutes(run)
