"""The contract of `ports.Metrics`, for every implementation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from botocore.client import BaseClient

from sluice.aws.cloudwatch import CloudWatchMetrics
from sluice.core.model import DataPoint, Metric, Unknown
from sluice.ports import Metrics, Series, SeriesQuery
from sluice_sim.aws_rules.monitoring import CUSTOM_METRIC_DELAY_S
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.cloudwatch import delayed_custom_metrics
from sluice_sim.simulator.ports import SimulatedMetrics
from tests.sim.simulator.contexts import context
from tests.sluice.aws import account
from tests.support.builders import (
    POOL,
    metric,
    plenty,
)
from tests.support.fakes import (
    Clock,
    FakeMetrics,
)

BACKLOG = metric()
EFFECTIVE = replace(BACKLOG, name="EffectiveBacklogPerInstance")
OTHER = metric(AutoScalingGroupName="other")
# On a five-minute boundary of the recent past, as CloudWatch takes nothing older than two weeks.
START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
HOUR = timedelta(hours=1)


def at(minutes: int) -> datetime:
    return START + timedelta(minutes=minutes)


STATISTICS = ["fake", "cloudwatch", "embedded"]
"""A simulated run keeps one value a minute, which is each of its statistics."""
DELAYED = ["fake", "embedded", "simulated"]
"""moto alone lets a point be read the moment it was put."""
Advance = Callable[[float], object]


def after(seconds: float, clock: VirtualClock) -> None:
    clock.run_until(clock.now + seconds)


@pytest.fixture(params=[*STATISTICS, "simulated"])
def metrics_and_advance(request: pytest.FixtureRequest) -> Iterator[tuple[Metrics, Advance]]:
    """CloudWatch, and what lets time pass there."""
    if request.param == "fake":
        clock = Clock()
        delayed = FakeMetrics(clock=clock, readable_after=timedelta(seconds=CUSTOM_METRIC_DELAY_S))
        yield delayed, lambda seconds: clock.advance(seconds=seconds)
        return
    if request.param == "simulated":
        run = context()
        yield SimulatedMetrics(run), partial(after, clock=run.clock)
        return
    with ExitStack() as running:
        running.enter_context(account.account())
        clock = VirtualClock()
        if request.param == "embedded":
            running.enter_context(delayed_custom_metrics(clock))
        cloudwatch = account.client("cloudwatch")
        yield CloudWatchMetrics(lambda: cloudwatch, POOL), partial(after, clock=clock)


@pytest.fixture
def metrics(metrics_and_advance: tuple[Metrics, Advance]) -> Metrics:
    return WaitingMetrics(*metrics_and_advance)


@dataclass
class WaitingMetrics:
    """`ports.Metrics` that waits after each publish until the points can be read."""

    of: Metrics
    advance: Advance

    def publish(self, points: Mapping[str, Sequence[DataPoint]]) -> Mapping[str, str]:
        refused = self.of.publish(points)
        self.advance(CUSTOM_METRIC_DELAY_S)
        return refused

    def read(self, *args: Any) -> Mapping[str, Series | Unknown]:
        return self.of.read(*args)


def point(minutes: int, value: float, of: Metric = BACKLOG) -> DataPoint:
    return DataPoint(metric=of, at=at(minutes), value=value)


def publish(metrics: Metrics, *points: DataPoint) -> None:
    for one in points:
        assert metrics.publish({"transcription": [one]}) == {}


def read(
    metrics: Metrics, statistic: str = "Maximum", *, of: Metric = BACKLOG, period_s: int = 60, end: int = 60
) -> Mapping[datetime, float]:
    query = SeriesQuery(metric=of, statistic=statistic, period_s=period_s)
    series = metrics.read({"one": query}, START, at(end), plenty)["one"]
    assert isinstance(series, Mapping)
    return series


def test_a_point_is_read_back_at_its_own_minute(metrics: Metrics) -> None:
    publish(metrics, point(5, 8.5))
    assert read(metrics) == {at(5): 8.5}


def test_a_zero_is_a_value_and_a_minute_without_a_point_is_absent(metrics: Metrics) -> None:
    publish(metrics, point(5, 0), point(7, 0))
    assert read(metrics) == {at(5): 0, at(7): 0}


def test_a_metric_that_was_never_published_is_an_empty_series(metrics: Metrics) -> None:
    assert read(metrics) == {}


def test_the_start_is_within_and_the_end_is_not(metrics: Metrics) -> None:
    publish(metrics, point(-1, 1), point(0, 2), point(9, 3), point(10, 4))
    assert read(metrics, end=10) == {at(0): 2, at(9): 3}


@pytest.mark.parametrize("metrics_and_advance", STATISTICS, indirect=True)
def test_two_points_of_one_minute_are_one_value_by_each_statistic(metrics: Metrics) -> None:
    publish(metrics, point(5, 2), point(5, 4))
    assert read(metrics, "Maximum") == {at(5): 4}
    assert read(metrics, "Average") == {at(5): 3}
    assert read(metrics, "Sum") == {at(5): 6}
    assert read(metrics, "SampleCount") == {at(5): 2}


@pytest.mark.parametrize("metrics_and_advance", STATISTICS, indirect=True)
def test_a_longer_period_joins_its_minutes_at_its_start(metrics: Metrics) -> None:
    publish(metrics, point(5, 2), point(9, 4), point(10, 7))
    assert read(metrics, "Average", period_s=300) == {at(5): 3, at(10): 7}
    assert read(metrics, "Sum", period_s=300) == {at(5): 6, at(10): 7}


@pytest.mark.parametrize("metrics_and_advance", STATISTICS, indirect=True)
def test_percentiles_and_percentile_ranks_are_of_all_values_of_a_period(metrics: Metrics) -> None:
    publish(metrics, *[point(5 + value % 3, value) for value in range(1, 201)], point(65, 7))
    assert read(metrics, "p99.5", period_s=3600) == {START: 199}
    assert read(metrics, "p50", period_s=3600) == {START: 100}
    assert read(metrics, "PR(:150)", period_s=3600) == {START: 75}
    assert read(metrics, "PR(1:150)", period_s=3600) == {START: 74.5}, "its lower bound is exclusive"
    assert read(metrics, "PR(:0.5)", period_s=3600) == {START: 0}


def test_neither_another_dimension_nor_another_name_is_the_same_metric(metrics: Metrics) -> None:
    publish(
        metrics,
        point(5, 1),
        point(5, 2, OTHER),
        point(5, 3, replace(BACKLOG, name="MsgProcessingDuration")),
    )
    assert read(metrics) == {at(5): 1}
    assert read(metrics, of=OTHER) == {at(5): 2}
    assert read(metrics, of=metric(AutoScalingGroupName="third")) == {}


def test_many_points_and_queries_go_together_and_keep_their_names(metrics: Metrics) -> None:
    points = {"one": [point(5, 1), point(5, 3, EFFECTIVE)], "other": [point(6, 2, OTHER)]}
    assert metrics.publish(points) == {}
    queries = {
        name: SeriesQuery(metric=of, statistic="Maximum", period_s=60)
        for name, of in (("one", BACKLOG), ("its other", EFFECTIVE), ("other", OTHER))
    }
    expected: dict[str, Series] = {"one": {at(5): 1.0}, "its other": {at(5): 3.0}, "other": {at(6): 2.0}}
    assert metrics.read(queries, START, START + HOUR, plenty) == expected


@pytest.mark.parametrize("metrics_and_advance", ["cloudwatch", "embedded"], indirect=True)
def test_the_points_of_one_workload_share_a_call(metrics: Metrics) -> None:
    with pytest.MonkeyPatch.context() as patch:
        requests = []
        make = BaseClient._make_api_call

        def recording(client: BaseClient, operation: str, parameters: Any) -> Any:
            requests.append((operation, [datum["MetricName"] for datum in parameters["MetricData"]]))
            return make(client, operation, parameters)

        patch.setattr(BaseClient, "_make_api_call", recording)
        assert metrics.publish({"one": [point(5, 1), point(5, 3, EFFECTIVE)]}) == {}
    assert requests == [("PutMetricData", ["BacklogPerInstance", "EffectiveBacklogPerInstance"])]


def test_nothing_to_publish_or_to_read_is_no_failure(metrics: Metrics) -> None:
    assert metrics.publish({}) == {}
    assert metrics.read({}, START, START + HOUR, plenty) == {}


@pytest.mark.parametrize("metrics_and_advance", DELAYED, indirect=True)
def test_a_point_that_cannot_be_read_yet_does_not_hide_older_ones(
    metrics_and_advance: tuple[Metrics, Advance],
) -> None:
    metrics, advance = metrics_and_advance
    publish(metrics, point(5, 1))
    advance(CUSTOM_METRIC_DELAY_S)
    publish(metrics, point(6, 2))
    assert read(metrics) == {at(5): 1}
    advance(CUSTOM_METRIC_DELAY_S - 1)
    assert read(metrics) == {at(5): 1}
    advance(1)
    assert read(metrics) == {at(5): 1, at(6): 2}
