"""A report interval as CloudWatch and the embedded metric format take it."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest

from sluice.core.model import AutoScalingGroup, EcsService
from sluice.errors import ConfigError, TransientError
from sluice_worker.aws.cloudwatch import VALUES_PER_DATUM, CloudWatchSink
from sluice_worker.aws.emf import VALUES_PER_LINE, EmfSink
from sluice_worker.core.counters import ReportInterval
from tests.sluice.aws import account
from tests.sluice.aws.stubs import (
    ANY,
    refusal,
    stubbed,
)
from tests.worker.core.builders import depth
from tests.worker.core.test_gauges import gauges
from tests.worker.process.intervals import interval

GROUP = AutoScalingGroup(name="workers").dimensions
SERVICE = EcsService(cluster="backend", service="workers").dimensions
DURATION, WAIT = "MsgProcessingDuration", "MsgWaitDuration"


@pytest.fixture(params=[GROUP, SERVICE], ids=["group", "service"])
def dimensions(request: pytest.FixtureRequest) -> Mapping[str, str]:
    return request.param


# ---- CloudWatch --------------------------------------------------------------------------------------------


class CloudWatch:
    """An account's CloudWatch in memory: what was put, and what a reader finds."""

    def __init__(self) -> None:
        self.client: Any = account.session().client("cloudwatch")
        self.calls: list[dict[str, Any]] = []
        self.client.meta.events.register(
            "provide-client-params.cloudwatch.PutMetricData",
            lambda params, **_: self.calls.append(params),
        )
        self.at = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=10)

    def put(
        self, dimensions: Mapping[str, str], *, with_wait: bool = False, **counted: Any
    ) -> ReportInterval:
        one = interval(began_at=self.at.timestamp(), **counted)
        CloudWatchSink(self.client, "Sluice", dimensions, with_wait=with_wait).put(one)
        return one

    @property
    def data(self) -> list[dict[str, Any]]:
        [call] = self.calls
        data: list[dict[str, Any]] = call["MetricData"]
        return data

    def read(self, dimensions: Mapping[str, str], name: str = DURATION, statistic: str = "Average") -> Any:
        """(time, value) of each minute, as the control plane reads them."""
        metric = {
            "Namespace": "Sluice",
            "MetricName": name,
            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
        }
        [result] = self.client.get_metric_data(
            MetricDataQueries=[
                {"Id": "m", "MetricStat": {"Metric": metric, "Period": 60, "Stat": statistic}}
            ],
            StartTime=self.at - timedelta(minutes=5),
            EndTime=self.at + timedelta(minutes=5),
        )["MetricDataResults"]
        return list(zip(result["Timestamps"], result["Values"], strict=True))


@pytest.fixture
def cloudwatch() -> Iterator[CloudWatch]:
    with account.account():
        yield CloudWatch()


def test_a_minute_is_one_call(cloudwatch: CloudWatch, dimensions: Mapping[str, str]) -> None:
    cloudwatch.put(dimensions, took_s=[1.0], failed_s=[2.0], late_s=[3.0], waited_s=[4.0] * 3, with_wait=True)
    [call] = cloudwatch.calls
    assert call["Namespace"] == "Sluice"
    assert all(datum["Unit"] == "Seconds" for datum in call["MetricData"])


def test_a_reader_finds_sample_count_and_average_of_the_successes_under_the_fleets_own_dimensions(
    cloudwatch: CloudWatch, dimensions: Mapping[str, str]
) -> None:
    cloudwatch.put(dimensions, took_s=[1.0] * 30 + [2.5] * 10, failed_s=[600.0], late_s=[900.0])
    assert cloudwatch.read(dimensions, statistic="SampleCount") == [(cloudwatch.at, 40)]
    assert cloudwatch.read(dimensions) == [(cloudwatch.at, pytest.approx((30 + 25) / 40))]


def test_all_messages_stand_under_the_dimensions_with_their_outcome_added(
    cloudwatch: CloudWatch, dimensions: Mapping[str, str]
) -> None:
    cloudwatch.put(dimensions, took_s=[1.0, 1.0, 4.0], failed_s=[600.0] * 2, late_s=[900.0])
    for outcome, count, average in (("success", 3, 2.0), ("failure", 2, 600.0), ("timeout", 1, 900.0)):
        named = {**dimensions, "Outcome": outcome}
        assert cloudwatch.read(named, statistic="SampleCount") == [(cloudwatch.at, count)]
        assert cloudwatch.read(named) == [(cloudwatch.at, pytest.approx(average))]


def test_there_are_only_these_series(cloudwatch: CloudWatch, dimensions: Mapping[str, str]) -> None:
    cloudwatch.put(dimensions, took_s=[1.0], failed_s=[2.0], waited_s=[3.0, 3.0])
    written = [
        (datum["MetricName"], {each["Name"]: each["Value"] for each in datum["Dimensions"]})
        for datum in cloudwatch.data
    ]
    assert written == [
        (DURATION, dict(dimensions)),
        (DURATION, {**dimensions, "Outcome": "success"}),
        (DURATION, {**dimensions, "Outcome": "failure"}),
    ]


def test_the_wait_is_published_by_option(cloudwatch: CloudWatch) -> None:
    cloudwatch.put(GROUP, took_s=[1.0], waited_s=[3.0, 5.0], with_wait=True)
    assert cloudwatch.read(GROUP, WAIT) == [(cloudwatch.at, 4.0)]
    assert cloudwatch.read(GROUP, WAIT, "SampleCount") == [(cloudwatch.at, 2)]


def test_failures_alone_publish_no_point_for_the_retune(
    cloudwatch: CloudWatch,
) -> None:
    cloudwatch.put(GROUP, failed_s=[600.0])
    assert cloudwatch.read(GROUP) == []


def test_equal_times_are_one_value_with_its_count(cloudwatch: CloudWatch) -> None:
    cloudwatch.put(GROUP, took_s=[0.25] * 10_000 + [0.5])
    [success, _] = cloudwatch.data
    assert (success["Values"], success["Counts"]) == ([0.25, 0.5], [10_000, 1])


def test_more_distinct_values_than_a_datum_takes_are_spread_over_several(
    cloudwatch: CloudWatch,
) -> None:
    took_s = [0.1 + number / 1000 for number in range(400)]
    cloudwatch.put(GROUP, took_s=took_s)
    sizes = [len(datum["Values"]) for datum in cloudwatch.data if len(datum["Dimensions"]) == 1]
    assert sizes == [150, 150, 100]
    assert max(sizes) <= VALUES_PER_DATUM
    assert cloudwatch.read(GROUP, statistic="SampleCount") == [(cloudwatch.at, 400)]
    assert cloudwatch.read(GROUP) == [(cloudwatch.at, pytest.approx(sum(took_s) / 400))]


def test_a_minute_that_is_put_late_keeps_its_own_time(cloudwatch: CloudWatch) -> None:
    """What ended during an outage belongs to the minute in which it ended."""
    for minutes, took_s in ((0, 1.0), (1, 3.0)):
        late = interval(took_s=[took_s], began_at=(cloudwatch.at + timedelta(minutes=minutes)).timestamp())
        CloudWatchSink(cloudwatch.client, "Sluice", GROUP, with_wait=False).put(late)
    found = cloudwatch.read(GROUP)
    assert sorted(found) == [(cloudwatch.at, 1.0), (cloudwatch.at + timedelta(minutes=1), 3.0)]


@pytest.mark.parametrize(("begins_after_s", "minutes_later"), [(1, 0), (29, 0), (31, 1), (59, 1)])
def test_a_report_over_two_minutes_belongs_to_the_one_with_most_of_it(
    cloudwatch: CloudWatch, begins_after_s: int, minutes_later: int
) -> None:
    began_at = cloudwatch.at.timestamp() + begins_after_s
    CloudWatchSink(cloudwatch.client, "Sluice", GROUP, with_wait=False).put(
        interval(took_s=[1.0], began_at=began_at)
    )
    assert cloudwatch.read(GROUP) == [(cloudwatch.at + timedelta(minutes=minutes_later), 1.0)]


@pytest.mark.parametrize(
    ("code", "status", "kind"), [("AccessDenied", 403, ConfigError), ("Throttling", 400, TransientError)]
)
def test_a_refusal_names_the_namespace(code: str, status: int, kind: type[Exception]) -> None:
    put = ("put_metric_data", {"Namespace": "Team/Workers", "MetricData": ANY}, refusal(code, status=status))
    with (
        stubbed("cloudwatch", put) as client,
        pytest.raises(kind, match="metrics to Team/Workers: .*" + code),
    ):
        CloudWatchSink(client, "Team/Workers", GROUP, with_wait=False).put(interval(took_s=[1.0]))


# ---- The embedded metric format ----------------------------------------------------------------------------

NUMBERS = {"oneOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}, "maxItems": 100}]}
DOCUMENT = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 10**12},
                "CloudWatchMetrics": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "properties": {
                            "Namespace": {"type": "string", "minLength": 1, "maxLength": 1024},
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "array",
                                    "minItems": 1,
                                    "maxItems": 30,
                                    "items": {"type": "string", "minLength": 1, "maxLength": 250},
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "properties": {
                                        "Name": {"type": "string", "minLength": 1, "maxLength": 1024},
                                        "Unit": {"enum": ["Seconds", "Count", "Percent"]},
                                    },
                                    "additionalProperties": False,
                                },
                            },
                        },
                        "additionalProperties": False,
                    },
                },
            },
        },
    },
}
"""What CloudWatch's specification of the format demands of a log event."""


def embedded(
    dimensions: Mapping[str, str], *, with_wait: bool = False, **counted: Any
) -> list[dict[str, Any]]:
    """The log events of an interval, each checked against the specification."""
    out = io.StringIO()
    EmfSink("Sluice", dimensions, with_wait=with_wait, out=out).put(interval(**counted))
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    for event in events:
        jsonschema.validate(event, DOCUMENT)
        [directive] = event["_aws"]["CloudWatchMetrics"]
        for names in directive["Dimensions"]:
            assert all(isinstance(event[name], str) for name in names)
        for metric in directive["Metrics"]:
            jsonschema.validate(event[metric["Name"]], NUMBERS)
    return events


def extracted(events: list[dict[str, Any]]) -> dict[tuple[str, frozenset[tuple[str, str]]], Counter[float]]:
    """What CloudWatch makes of them: (metric, dimensions) -> how often each value occurs."""
    series: dict[tuple[str, frozenset[tuple[str, str]]], Counter[float]] = {}
    for event in events:
        [directive] = event["_aws"]["CloudWatchMetrics"]
        [names], [metric] = directive["Dimensions"], directive["Metrics"]
        key = (metric["Name"], frozenset((name, event[name]) for name in names))
        series.setdefault(key, Counter()).update(event[metric["Name"]])
    return series


def named(name: str, dimensions: Mapping[str, str], **more: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset({**dimensions, **more}.items())


def test_the_log_says_the_same_as_a_call_would(dimensions: Mapping[str, str]) -> None:
    events = embedded(
        dimensions,
        took_s=[1.0] * 3 + [2.0],
        failed_s=[9.0],
        late_s=[60.0],
        waited_s=[5.0] * 2,
        with_wait=True,
    )
    assert extracted(events) == {
        named(DURATION, dimensions): Counter({1.0: 3, 2.0: 1}),
        named(DURATION, dimensions, Outcome="success"): Counter({1.0: 3, 2.0: 1}),
        named(DURATION, dimensions, Outcome="failure"): Counter({9.0: 1}),
        named(DURATION, dimensions, Outcome="timeout"): Counter({60.0: 1}),
        named(WAIT, dimensions): Counter({5.0: 2}),
    }


def test_more_values_than_an_event_takes_are_spread_over_several_and_none_is_lost() -> None:
    events = embedded(GROUP, took_s=[1.0] * 150 + [2.0] * 101)
    successes = [event[DURATION] for event in events if "Outcome" not in event]
    assert [len(values) for values in successes] == [VALUES_PER_LINE, VALUES_PER_LINE, 51]
    assert extracted(events)[named(DURATION, GROUP)] == Counter({1.0: 150, 2.0: 101})


def test_an_event_carries_the_minute_in_which_its_messages_ended() -> None:
    began_at = datetime(2026, 5, 1, 12, 0, 59, tzinfo=UTC)
    [event, _] = embedded(GROUP, took_s=[1.0], began_at=began_at.timestamp())
    stamped = datetime.fromtimestamp(event["_aws"]["Timestamp"] / 1000, UTC)
    assert stamped.replace(second=0, microsecond=0) == datetime(2026, 5, 1, 12, 1, tzinfo=UTC)


def test_gauges_reach_cloudwatch_in_the_same_call_with_their_units(cloudwatch: CloudWatch) -> None:
    counted = interval(took_s=[1.0], began_at=cloudwatch.at.timestamp())
    one = replace(counted, gauges=gauges(uploads=depth(40, 6)))
    CloudWatchSink(cloudwatch.client, "Sluice", GROUP, with_wait=False).put(one)
    configured = {datum["MetricName"]: (datum["Unit"], datum["Values"]) for datum in cloudwatch.data}
    assert configured["QueueMessagesVisible"] == ("Count", [40])
    assert configured["BufferUtilization"] == ("Percent", [25.0])
    assert configured[DURATION] == ("Seconds", [1.0])


def test_gauges_are_written_to_the_log_as_a_call_would_put_them() -> None:
    out = io.StringIO()
    EmfSink("Sluice", GROUP, with_wait=False, out=out).put(replace(interval(), gauges=gauges(uploads=None)))
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    for event in events:
        jsonschema.validate(event, DOCUMENT)
    found = extracted(events)
    assert found[named("BusySlots", GROUP)] == Counter({0: 1})
    assert found[named("BufferedMessages", GROUP, Priority="low")] == Counter({1: 1})
    assert not any(name.startswith("Queue") for name, _ in found)


def test_a_log_that_cannot_be_written_is_an_error_like_cloudwatchs() -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(TransientError, match="writing to stdout"):
        EmfSink("Sluice", GROUP, with_wait=False, out=Closed()).put(interval(took_s=[1.0]))
