"""One JSON line per interval with consistent numbers, and metrics that survive an outage of CloudWatch."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from sluice.errors import ConfigError, TransientError
from sluice_worker.core.counters import (
    Counters,
    ReportInterval,
    quantile,
)
from sluice_worker.core.model import Depth, Outcome
from sluice_worker.runtime.reporter import (
    MAX_UNPUBLISHED_INTERVALS,
    Reporter,
)
from tests.worker.core.builders import depth
from tests.worker.core.test_gauges import gauges
from tests.worker.process.intervals import (
    BEGAN_AT,
    interval,
)
from tests.worker.waiting import eventually

TOP = [
    "workerId",
    "messagesProcessed",
    "messagesFailed",
    "uptimeSeconds",
    "throughputPerSecond",
    "throughputPerHour",
    "throughputPerDay",
]


@dataclass
class FakeSink:
    """A sink in memory; `refusing` fails every put."""

    intervals: list[ReportInterval] = field(default_factory=list)
    refusing: bool = False
    puts: int = 0

    def put(self, one: ReportInterval) -> None:
        self.puts += 1
        if self.refusing:
            raise TransientError("publishing metrics to Sluice: no answer from AWS")
        self.intervals.append(one)


class ReporterHarness:
    """A reporter with a clock that the test sets."""

    def __init__(
        self,
        *,
        promise_s: float | None = None,
        sink: Any = None,
        state: Mapping[str, Any] | None = None,
        publish_gauges: bool = False,
    ) -> None:
        self.now = BEGAN_AT
        self.counters = Counters(began_at=self.now, promise_s=promise_s)
        self.out = io.StringIO()
        self.depth: Depth | None = None
        self.reporter = Reporter(
            "worker-7",
            self.counters,
            lambda: state or {},
            sink,
            gauges=lambda: gauges(uploads=self.depth),
            publish_gauges=publish_gauges,
            out=self.out,
        )

    def work(self, *took_s: float, outcome: Outcome = Outcome.SUCCESS) -> None:
        for each_s in took_s:
            self.counters.record_end(outcome, each_s)

    def report(self, after_s: float = 60.0) -> dict[str, Any]:
        self.now += after_s
        self.reporter.report(self.counters.close(self.now), timeout_s=20.0)
        line = self.out.getvalue().splitlines()[-1]
        configured: dict[str, Any] = json.loads(line)
        return configured


# ---- The line ----------------------------------------------------------------------------------------------


def test_the_line_starts_with_exactly_the_documented_names() -> None:
    assert list(ReporterHarness().report())[: len(TOP)] == TOP


def test_the_line_continues_with_the_report_the_history_and_the_workers_state() -> None:
    configured = ReporterHarness(state={"hanging": 1}).report()
    looks = list(gauges().line())
    assert list(configured)[len(TOP) :] == ["report", "recentPerSecond", "trend", *looks, "hanging"]


def test_the_line_has_the_trend_of_the_last_reports() -> None:
    harness = ReporterHarness()
    for visible in (10, 40, 25):
        harness.depth = depth(visible)
        trend = harness.report()["trend"]
    assert (trend["reports"], trend["visible"]) == (2, {"uploads": 15})


def test_gauges_are_published_by_option_with_each_report_also_of_an_idle_process() -> None:
    for publish, published in ((False, []), (True, [gauges(uploads=None)] * 2)):
        sink = FakeSink()
        harness = ReporterHarness(sink=sink, publish_gauges=publish)
        for _ in range(2):
            harness.report()
        assert [one.gauges for one in sink.intervals] == published


def test_each_report_is_one_line_of_json() -> None:
    harness = ReporterHarness()
    for _ in range(3):
        harness.report()
    lines = harness.out.getvalue().splitlines()
    assert len(lines) == 3
    assert all(json.loads(line)["workerId"] == "worker-7" for line in lines)


def test_counts_and_rates_at_the_top_are_since_the_start_and_fit_together() -> None:
    harness = ReporterHarness()
    harness.work(*[0.1] * 90)
    harness.work(0.1, 0.2, outcome=Outcome.FAILURE)
    harness.work(30.0, outcome=Outcome.TIMEOUT)
    harness.report()
    configured = harness.report()
    assert (configured["messagesProcessed"], configured["messagesFailed"], configured["uptimeSeconds"]) == (
        90,
        3,
        120.0,
    )
    assert configured["throughputPerSecond"] == 90 / 120
    assert configured["throughputPerHour"] == configured["throughputPerSecond"] * 3600
    assert configured["throughputPerDay"] == configured["throughputPerHour"] * 24


def test_a_report_covers_only_its_own_interval() -> None:
    harness = ReporterHarness()
    harness.work(*[0.1] * 600)
    first = harness.report()["report"]
    harness.work(0.1, outcome=Outcome.FAILURE)
    second = harness.report(30.0)["report"]
    assert (first["seconds"], first["processed"], first["failed"], first["perSecond"]) == (60, 600, 0, 10)
    assert (second["seconds"], second["processed"], second["failed"], second["perSecond"]) == (30, 0, 1, 0)


def test_recent_history_is_the_rate_over_the_last_one_five_and_fifteen_reports() -> None:
    harness = ReporterHarness()
    for messages in [300] * 10 + [120] * 4 + [60]:
        harness.work(*[0.1] * messages)
        configured = harness.report()
    assert configured["recentPerSecond"] == {"1": 1.0, "5": 540 / 300, "15": round(3540 / 900, 4)}


def test_durations_cover_all_outcomes_and_waits_last_from_sending_to_start() -> None:
    harness = ReporterHarness()
    harness.work(*[1.0] * 19)
    harness.work(9.0, outcome=Outcome.TIMEOUT)
    for waited_s in [2.0] * 10 + [40.0] * 10:
        harness.counters.record_start(waited_s)
    configured = harness.report()["report"]
    assert (configured["durationP50Seconds"], configured["durationP95Seconds"]) == (1.0, 1.0)
    assert (configured["waitP50Seconds"], configured["waitP95Seconds"]) == (2.0, 40.0)
    harness.work(*[9.0] * 2)
    assert harness.report()["report"]["durationP50Seconds"] == 9.0


def test_an_idle_report_has_no_durations_and_no_share() -> None:
    configured = ReporterHarness(promise_s=60.0).report()["report"]
    assert (
        configured["durationP50Seconds"],
        configured["waitP95Seconds"],
        configured["promiseKeptShare"],
    ) == (
        None,
        None,
        None,
    )
    assert (configured["processed"], configured["perSecond"]) == (0, 0)


def test_the_share_that_kept_the_promise_counts_the_messages_begun_in_time() -> None:
    harness = ReporterHarness(promise_s=60.0)
    for waited_s in (1.0, 59.9, 60.0, 60.1):
        harness.counters.record_start(waited_s)
    assert harness.report()["report"]["promiseKeptShare"] == 0.75
    harness.counters.record_start(61.0)
    assert harness.report()["report"]["promiseKeptShare"] == 0.0


def test_without_a_promise_no_share_is_reported() -> None:
    harness = ReporterHarness()
    harness.counters.record_start(1.0)
    assert harness.report()["report"]["promiseKeptShare"] is None


@pytest.mark.parametrize(
    ("counts", "share", "value"),
    [
        ({}, 0.5, None),
        ({3.0: 1}, 0.95, 3.0),
        ({1.0: 1, 2.0: 1}, 0.5, 1.0),
        ({1.0: 1, 2.0: 1}, 0.51, 2.0),
        ({2.0: 95, 1.0: 0, 7.0: 5}, 0.95, 2.0),
        ({2.0: 94, 7.0: 6}, 0.95, 7.0),
        ({2.0: 94, 7.0: 6}, 1.0, 7.0),
    ],
)
def test_a_quantile_is_the_value_at_the_nearest_rank(
    counts: dict[float, int], share: float, value: float | None
) -> None:
    assert quantile(counts, share) == value


def test_a_stdout_that_is_gone_stops_no_work(caplog: pytest.LogCaptureFixture) -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    sink = FakeSink()
    harness = ReporterHarness(sink=sink)
    harness.reporter = Reporter("worker-7", harness.counters, dict, sink, gauges=gauges, out=Closed())
    harness.work(1.0)
    harness.reporter.report(harness.counters.close(harness.now), timeout_s=20.0)
    assert "the report is lost" in caplog.text
    assert [one.processed for one in sink.intervals] == [1]


# ---- The metrics' way out ----------------------------------------------------------------------------------


def test_a_minute_without_work_is_not_published() -> None:
    sink = FakeSink()
    ReporterHarness(sink=sink).report()
    assert sink.puts == 0


def test_a_minute_that_cloudwatch_refused_is_put_with_the_next_one_in_order(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = FakeSink(refusing=True)
    harness = ReporterHarness(sink=sink)
    for took_s in (1.0, 2.0):
        harness.work(took_s)
        harness.report()
    assert sink.puts == 2  # one put an attempt: what comes after a refusal waits
    assert "no answer from AWS; put again with the next report" in caplog.text
    sink.refusing = False
    harness.report()
    assert [one.durations_s for one in sink.intervals] == [
        {Outcome.SUCCESS: {1.0: 1}},
        {Outcome.SUCCESS: {2.0: 1}},
    ]
    assert [one.began_at for one in sink.intervals] == [BEGAN_AT, BEGAN_AT + 60]
    harness.report()
    assert len(sink.intervals) == 2


def test_after_an_hour_of_refusals_the_oldest_minute_is_dropped_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = FakeSink(refusing=True)
    harness = ReporterHarness(sink=sink)
    for _ in range(MAX_UNPUBLISHED_INTERVALS):
        harness.work(1.0)
        harness.report()
    assert "lost" not in caplog.text
    harness.work(2.0, 2.0)
    harness.report()
    assert "1 processing times are lost: CloudWatch took none for an hour" in caplog.text
    sink.refusing = False
    harness.report()
    assert [one.began_at for one in sink.intervals] == [
        BEGAN_AT + 60 * number for number in range(1, MAX_UNPUBLISHED_INTERVALS + 1)
    ]


def test_a_permanent_refusal_also_keeps_the_minute() -> None:
    """The permission may be added meanwhile."""

    class Denied(FakeSink):
        def put(self, one: ReportInterval) -> None:
            if self.refusing:
                raise ConfigError("AccessDenied")
            super().put(one)

    denied = Denied(refusing=True)
    harness = ReporterHarness(sink=denied)
    harness.work(1.0)
    harness.report()
    denied.refusing = False
    harness.report()
    assert len(denied.intervals) == 1


def test_a_hanging_cloudwatch_delays_neither_messages_nor_the_next_report_line() -> None:
    """The reports' thread must not hang on CloudWatch: the next line would be late."""
    put_started, go_on = threading.Event(), threading.Event()

    class Hanging(FakeSink):
        def put(self, one: ReportInterval) -> None:
            put_started.set()
            assert go_on.wait(20)
            super().put(one)

    hanging = Hanging()
    harness = ReporterHarness(sink=hanging)
    harness.work(1.0)
    harness.reporter.report(harness.counters.close(harness.now))
    assert put_started.wait(20)
    harness.work(2.0)
    harness.reporter.report(harness.counters.close(harness.now))
    assert len(harness.out.getvalue().splitlines()) == 2
    go_on.set()
    eventually(lambda: len(hanging.intervals) == 2, "both minutes are put, once CloudWatch answers")
    assert [one.processed for one in hanging.intervals] == [1, 1]


def test_the_end_waits_for_the_last_metrics_but_not_for_long() -> None:
    put_started, go_on = threading.Event(), threading.Event()

    class Slow(FakeSink):
        def put(self, one: ReportInterval) -> None:
            put_started.set()
            assert go_on.wait(20)
            super().put(one)

    slow = Slow()
    harness = ReporterHarness(sink=slow)
    harness.work(1.0)
    harness.reporter.report(harness.counters.close(harness.now), timeout_s=0.01)
    assert slow.intervals == []
    assert put_started.wait(20)
    threading.Timer(0.05, go_on.set).start()
    harness.work(2.0)
    harness.reporter.report(harness.counters.close(harness.now), timeout_s=20.0)
    assert len(slow.intervals) == 2


def test_an_interval_belongs_to_the_minute_with_most_of_it() -> None:
    """Reports do not begin with the clock's minutes: 12:00:59 to 12:01:59 is 12:01's."""
    clock_minute = BEGAN_AT // 60
    assert interval(began_at=BEGAN_AT + 1).middle_at // 60 == clock_minute
    assert interval(began_at=BEGAN_AT + 59).middle_at // 60 == clock_minute + 1
