"""The simulated implementation of `sluice.ports`, beyond the contract tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sluice.core.model import Unknown
from sluice.errors import ConfigError
from sluice.ports import Series, SeriesQuery
from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.ports import (
    SimulatedMetrics,
    SimulatedQueues,
    SimulatedRegistry,
    simulated_ports,
)
from tests.sim.simulator.contexts import (
    context,
)
from tests.sim.simulator.fleets import (
    START_S,
    at,
    simulated_fleet,
)
from tests.support.builders import plenty


def durations(
    run: ScalingContext, statistic: str, *, minutes: int = 10, period_s: int = 60
) -> Series | Unknown:
    query = SeriesQuery(metric=run.deployed.workload.duration_metric, statistic=statistic, period_s=period_s)
    begin = datetime.fromtimestamp(run.clock.now - run.fleet.now_s, UTC)
    read = SimulatedMetrics(run).read({"one": query}, begin, begin + timedelta(minutes=minutes), plenty)
    return read["one"]


def worked() -> ScalingContext:
    """Messages of 10, 20 and 30 s that end in the first, second and third minute, on full minutes of time."""
    subject = simulated_fleet([0, 50, 130], [10, 20, 30])
    subject.set_desired(1)
    run = context("transcription", subject)
    run.clock.run_until(run.clock.now + 300)
    run.fleet.snapshot()
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


def test_a_minute_that_is_not_over_has_no_durations() -> None:
    run = worked()
    later = durations(run, "SampleCount", minutes=60)
    assert isinstance(later, dict)
    assert sum(later.values()) == 3


def test_the_counts_lag_as_configured() -> None:
    run = context("transcription", simulated_fleet([100.0] * 7, 5), count_lag_s=60.0)
    queues, url = SimulatedQueues(run), run.deployed.workload.queue_url
    visible = {}
    for second in range(0, 241, 30):
        at(run.fleet, second)
        backlog = queues.read([url], plenty)[url]
        assert not isinstance(backlog, Unknown)
        visible[second] = backlog.visible
    assert visible == {0: 0, 30: 0, 60: 0, 90: 0, 120: 0, 150: 0, 180: 7, 210: 7, 240: 7}


@pytest.mark.parametrize("lag_s", [5.0, 30.0, 60.0, 90.0])
@pytest.mark.parametrize("tick_s", [10.0, 60.0])
def test_the_counts_are_as_old_as_configured_at_any_tick(lag_s: float, tick_s: float) -> None:
    arrivals = [float(second) for second in range(0, 600, 3)]
    run, exact = (
        context("transcription", simulated_fleet(arrivals, 7), count_lag_s=lag_s),
        simulated_fleet(arrivals, 7),
    )
    for subject in (run.fleet, exact):
        subject.set_desired(1)
    known = {}
    for second in range(601):
        known[float(second)] = at(exact, second).queue.counts()
    for tick in range(1, int(600 / tick_s) + 1):
        at(run.fleet, tick * tick_s)
        observed, then = run.observe(), known[max(0.0, tick * tick_s - lag_s)]
        assert (observed.visible, observed.in_flight) == (then.visible, then.in_flight)
        assert observed.running == 1, "the fleet is seen as it is"


def test_messages_cannot_be_sent_into_a_simulation() -> None:
    run = context()
    with pytest.raises(ConfigError, match="cannot be sent into a simulation"):
        SimulatedQueues(run).send(run.deployed.workload.queue_url, ["body"])


def test_the_workload_of_the_run_is_the_registered_one() -> None:
    registry = SimulatedRegistry(context())
    assert registry.all(plenty, fresh=True).workloads == (registry.one("transcription", plenty),)
    with pytest.raises(ConfigError, match="nobody"):
        registry.one("nobody", plenty)


def test_the_ports_have_the_time_of_the_run() -> None:
    run = context()
    at(run.fleet, 90)
    assert simulated_ports(SimulatedAws(run)).now() == datetime.fromtimestamp(START_S + 90, UTC)


def queue_silent_then_active() -> ScalingContext:
    """One message at the start, and one after eight hours that is never received."""
    run = context("transcription", simulated_fleet([1.0, 8 * 3600.0 + 1], 10))
    run.fleet.set_desired(1)
    SimulatedAws(run)
    at(run.fleet, 90).set_desired(0)
    return run


def visible_minutes(run: ScalingContext) -> set[int]:
    """Minutes of the run at which AWS/SQS has a value now."""
    return set(by_minute(run, "ApproximateNumberOfMessagesVisible"))


def by_minute(run: ScalingContext, name: str) -> dict[int, float]:
    """The current values of one AWS/SQS metric: minute of the run -> value."""
    query = SeriesQuery(metric=run.deployed.workload.queue_metric(name), statistic="Sum", period_s=60)
    begin, end = (datetime.fromtimestamp(at_s, UTC) for at_s in (START_S - 3600, run.clock.now + 3600))
    series = SimulatedMetrics(run).read({"one": query}, begin, end, plenty)["one"]
    assert isinstance(series, dict)
    return {round((minute.timestamp() - START_S) / 60): value for minute, value in series.items()}


SENT = "NumberOfMessagesSent"


def test_a_queue_idle_for_six_hours_publishes_no_metrics_and_then_fifteen_minutes_late() -> None:
    run = queue_silent_then_active()
    run.clock.run_until(START_S + 8 * 3600)
    assert max(visible_minutes(run)) == pytest.approx(6 * 60, abs=1)
    run.clock.run_until(START_S + 8 * 3600 + 14 * 60)
    assert max(visible_minutes(run)) == pytest.approx(6 * 60, abs=1)
    run.clock.run_until(START_S + 8 * 3600 + 20 * 60)
    assert {8 * 60, 8 * 60 + 5, 8 * 60 + 10, 8 * 60 + 15} <= visible_minutes(run)


def test_a_message_processed_within_a_minute_also_ends_the_silence() -> None:
    run = context("transcription", simulated_fleet([1.0, 8 * 3600.0 + 1], 10))
    run.fleet.set_desired(1)
    SimulatedAws(run)
    run.clock.run_until(START_S + 9 * 3600)
    assert run.fleet.snapshot().backlog == 0
    assert 8 * 60 in visible_minutes(run)
    assert 7 * 60 not in visible_minutes(run)


def test_messages_are_counted_in_the_minute_in_which_they_are_sent() -> None:
    run = context("transcription", simulated_fleet([1.0, 59.0, 61.0, 200.0, 201.0, 202.0], 10))
    SimulatedAws(run)
    run.clock.run_until(START_S + 600)
    sent = by_minute(run, SENT)
    assert {minute: count for minute, count in sent.items() if count} == {0: 2, 1: 1, 3: 3}
    assert sum(sent.values()) == 6
    assert set(range(8)) <= set(sent), "an active queue reports zeros, too"


def test_a_delayed_message_counts_when_it_is_sent_and_not_again_when_it_becomes_visible() -> None:
    run = context("transcription", simulated_fleet([30.0], 10, delay_s=600.0))
    SimulatedAws(run)
    run.clock.run_until(START_S + 1200)
    visible = by_minute(run, "ApproximateNumberOfMessagesVisible")
    assert min(minute for minute, count in visible.items() if count) >= 10
    assert {minute: count for minute, count in by_minute(run, SENT).items() if count} == {0: 1}


def test_a_redelivered_message_was_sent_once() -> None:
    killed = simulated_fleet([1.0], 300, visibility_timeout_s=60.0, scale_in=ScaleIn.KILL, max_receives=9)
    killed.set_desired(1)
    run = context("transcription", killed)
    SimulatedAws(run)
    for second, desired in ((120, 0), (240, 1)):
        at(run.fleet, second).set_desired(desired)
    run.clock.run_until(START_S + 900)
    run.fleet.snapshot()
    assert run.fleet.queue.redelivered == 1
    assert sum(by_minute(run, SENT).values()) == 1


def test_arrivals_are_silent_after_six_idle_hours_and_fifteen_minutes_late_once_the_queue_wakes() -> None:
    run = queue_silent_then_active()
    resumed_minute = 8 * 60
    run.clock.run_until(START_S + resumed_minute * 60 + 14 * 60)
    before_the_pause = by_minute(run, SENT)
    assert max(before_the_pause) == pytest.approx(6 * 60, abs=1)
    assert set(range(6 * 60)) <= set(before_the_pause), "an idle queue reports zeros while it is active"
    run.clock.run_until(START_S + resumed_minute * 60 + 20 * 60)
    after_the_pause = by_minute(run, SENT)
    assert after_the_pause[resumed_minute] == 1
    assert after_the_pause[resumed_minute + 10] == 0
    assert not set(range(7 * 60, resumed_minute - 1)) & set(after_the_pause), (
        "what was silent stays unknown, never zero"
    )
