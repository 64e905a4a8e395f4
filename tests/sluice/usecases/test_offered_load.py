"""Arrivals: read rarely, kept for a while, and never a reason to publish less, or nothing."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from sluice.core.minutes import MINUTE
from sluice.core.model import Demand, MetricSource, Mode, TrackedMetric, Unknown, Workload
from sluice.errors import DefectError
from sluice.events import Shard, shard_message
from sluice.ports import Counter, Policy, RemainingS, Series, SeriesQuery
from sluice.report import published_sentence
from sluice.usecases import publish_metrics
from sluice.usecases.offered_load import demands
from sluice.usecases.shards import publish_shards
from sluice.usecases.tick import publish_backlog
from tests.support.builders import (
    MINUTE_NOW,
    dynamic_workload,
    ecs_workload,
    effective,
    minutes_ago,
    plenty,
    queue_url,
    workload,
)
from tests.support.fakes import Scene, tick_context

SENT, DURATION, EFFECTIVE = (
    "NumberOfMessagesSent",
    "MsgProcessingDuration",
    "EffectiveBacklogPerInstance",
)
VISIBLE = "ApproximateNumberOfMessagesVisible"
DAY = 24 * 60
STATIC = effective(workload(), processing_s=4, arrival_margin=0)
"""At target 8; 15 messages a minute keep one instance busy."""
MEASURED = effective(workload(), arrival_margin=0)
DYNAMIC = effective(dynamic_workload(), arrival_margin=0)
"""Its policy has the target 10 at first."""


def tick(scene: Scene, minutes: float = 0) -> None:
    """One tick, so many minutes after the last."""
    scene.clock.advance(minutes=minutes)
    publish_backlog(scene.clock(), scene.world, scene.report, scene.remaining_s)


def value(scene: Scene, name: str = "transcription") -> float:
    """EffectiveBacklogPerInstance as published last."""
    return scene.published(EFFECTIVE)[name].value


def plain(scene: Scene, name: str = "transcription") -> float:
    return scene.published()[name].value


def logged(scene: Scene, name: str = "transcription") -> str:
    return published_sentence(scene.report.published[name])


def asked(scene: Scene) -> collections.Counter[str]:
    """How often each metric was asked for, the proofs of emptiness left out."""
    queries: collections.Counter[str] = collections.Counter()
    for call in scene.calls.named("metrics.read"):
        assert isinstance(call, tuple)
        queries.update(query.metric.name for query in call[0].values())
    del queries["BacklogPerInstance"]
    return queries


def measure(scene: Scene, served: Workload, *, each_s: float = 4, samples: int = 40) -> None:
    """Processing times of the last minutes."""
    scene.metrics.put(served.duration_metric, minutes_ago(2, scene.clock()), *[each_s] * samples)


def hold_target(scene: Scene, served: Workload, target: float) -> None:
    arn = str(served.policy_arn)
    scene.policies.holding[arn] = Policy(fleet=served.fleet, target=target, definition={"PolicyARN": arn})


def put_sent(scene: Scene, served: Workload, per_minute: float, *, until: int) -> None:
    """NumberOfMessagesSent from a quarter of an hour ago until so many minutes ahead."""
    for ahead in range(-15, until):
        scene.metrics.put(served.queue_metric(SENT), MINUTE_NOW + MINUTE * ahead, per_minute)


class TestPublished:
    def test_both_metrics_of_a_minute_are_published_in_one_call(self, scene: Scene) -> None:
        served = scene.serve(STATIC, visible=6, desired=2)
        scene.serve(ecs_workload(), visible=3, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        [points] = scene.calls.named("metrics.publish")
        assert isinstance(points, dict)
        assert {
            name: [(one.metric.name, one.value, one.at) for one in own] for name, own in points.items()
        } == {
            "transcription": [
                ("BacklogPerInstance", 3, MINUTE_NOW),
                (EFFECTIVE, 3 + 8 * 4 / 2, MINUTE_NOW),
            ],
            "queue-proc": [("BacklogPerInstance", 3, MINUTE_NOW)],
        }
        assert points["transcription"][1].metric.dimensions == {"AutoScalingGroupName": "transcription"}
        assert points["transcription"][1].metric.namespace == "Sluice"
        assert logged(scene) == "3 per instance; 19 effective: 1 arrivals/s x 4 s / 1 = 4 busy"

    def test_the_margin_stands_by(self, scene: Scene) -> None:
        served = scene.serve(effective(workload(), processing_s=4, arrival_margin=0.5), desired=2)
        scene.keep_arriving(served, 60)
        tick(scene)
        assert value(scene) == 8 * (4 + 0.5 * 2) / 2

    @pytest.mark.parametrize(
        "tracking",
        [
            {"metric": TrackedMetric.BACKLOG},
            {"metric": TrackedMetric.BACKLOG, "processing_s": 4},
            {"source": MetricSource.NATIVE, "processing_s": 4},
        ],
    )
    def test_nothing_more_is_read_or_published_where_no_policy_reads_it(
        self, scene: Scene, tracking: dict[str, Any]
    ) -> None:
        served = scene.serve(effective(workload(), **tracking), visible=4, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        assert plain(scene) == 4
        assert scene.published(EFFECTIVE) == {}
        assert asked(scene) == {}
        assert logged(scene) == "4 per instance"

    def test_a_single_dump_is_backlog_and_nothing_more(self, scene: Scene) -> None:
        served = scene.serve(STATIC, visible=24, desired=1)
        scene.keep_arriving(served, 0)
        scene.metrics.put(served.queue_metric(SENT), minutes_ago(1), 24)
        tick(scene)
        assert (plain(scene), value(scene)) == (24, 24)

    def test_a_shard_publishes_both_as_well(self, scene: Scene) -> None:
        served = scene.serve(STATIC, desired=1)
        scene.keep_arriving(served, 60)
        documents = scene.registry.all(plenty).documents
        body = shard_message(Shard(scheduled=scene.clock(), documents=documents))
        assert publish_shards({"m": body}, scene.world, scene.report, scene.remaining_s) == []
        assert (plain(scene), value(scene)) == (0, 32)


class TestHowOftenIsRead:
    @pytest.fixture
    def day(self, scene: Scene) -> Any:
        """What is asked for over a day of ticks, at which so many messages arrive a minute."""

        def run(served: Workload, per_minute: float) -> tuple[collections.Counter[str], int]:
            put_sent(scene, served, per_minute, until=DAY)
            hold_target(scene, served, 10)
            for ahead in range(DAY):
                scene.clock.at = MINUTE_NOW + MINUTE * ahead
                demands({served.name: served}, tick_context(scene, served))
            return asked(scene), len(scene.calls.named("policies.targets"))

        return run

    def test_arrivals_every_five_minutes_and_nothing_else_where_the_document_says_the_rest(
        self, day: Any
    ) -> None:
        assert day(STATIC, 60) == ({SENT: 288}, 0)

    @pytest.mark.parametrize("served", [STATIC, MEASURED, DYNAMIC])
    def test_an_idle_queue_costs_its_arrivals_alone(self, day: Any, served: Workload) -> None:
        assert day(served, 0) == ({SENT: 288}, 0)

    @pytest.mark.parametrize(("served", "targets"), [(MEASURED, 0), (DYNAMIC, DAY)])
    def test_processing_times_every_hour_and_a_retuned_target_every_minute(
        self, scene: Scene, day: Any, served: Workload, targets: int
    ) -> None:
        for ahead in range(DAY):
            scene.metrics.put(served.duration_metric, MINUTE_NOW + MINUTE * (ahead - 60), 4)
        assert day(served, 60) == ({SENT: 288, DURATION: 24 * 2}, targets)

    def test_processing_times_that_are_not_known_every_ten_minutes(self, day: Any) -> None:
        """Two metrics over the last hour, and the two over the last day."""
        assert day(MEASURED, 60) == ({SENT: 288, DURATION: 144 * 4}, 0)

    def test_a_queue_that_is_silent_is_asked_for_no_more_often(self, scene: Scene) -> None:
        scene.serve(STATIC, desired=1)
        for _ in range(10):
            tick(scene)
            scene.clock.advance(minutes=1)
        assert asked(scene) == {SENT: 2}

    def test_a_queue_whose_idle_minutes_have_no_value_costs_a_second_metric(self, scene: Scene) -> None:
        served = scene.serve(STATIC, desired=1)
        for back in range(1, 14):
            scene.metrics.put(served.queue_metric(VISIBLE), minutes_ago(back, scene.clock()), 0)
        scene.metrics.put(served.queue_metric(SENT), minutes_ago(5, scene.clock()), 60)
        tick(scene)
        assert asked(scene) == {SENT: 1, VISIBLE: 1}
        assert "0 arrivals/s" in logged(scene)

    def test_all_that_is_due_is_one_read(self, scene: Scene) -> None:
        """As in a process that has just started, which knows nothing yet."""
        for served in (STATIC, effective(ecs_workload(), processing_s=1)):
            scene.serve(served, visible=1, desired=1)
        tick(scene)
        [(queries, start, end)] = scene.calls.named("metrics.read")  # type: ignore[misc]
        assert set(queries) == {"transcription", "queue-proc"}
        assert {(query.statistic, query.period_s) for query in queries.values()} == {("Sum", 60)}
        assert (start, end) == (MINUTE_NOW - 13 * MINUTE, MINUTE_NOW)

    def test_two_ticks_of_one_minute_and_one_of_the_minute_before_read_once(self, scene: Scene) -> None:
        served = scene.serve(STATIC, desired=1)
        scene.keep_arriving(served, 60)
        for scheduled in (MINUTE_NOW, MINUTE_NOW, MINUTE_NOW - MINUTE):
            publish_backlog(scheduled, scene.world, scene.report, scene.remaining_s)
        assert asked(scene) == {SENT: 1}
        assert value(scene) == 32

    def test_a_clock_that_is_set_back_by_hours_is_no_reason_to_stop_reading(self, scene: Scene) -> None:
        served = scene.serve(STATIC, desired=1)
        scene.keep_arriving(served, 600)
        tick(scene)
        scene.clock.advance(minutes=-300)
        scene.keep_arriving(served, 60)
        tick(scene)
        assert value(scene) == 32


class TestArrivalsThatEnd:
    def test_they_count_no_longer_where_sqs_publishes_no_zeros(self, scene: Scene) -> None:
        served = scene.serve(STATIC, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        assert value(scene) == 32
        scene.clock.advance(minutes=15)
        for back in range(1, 14):
            scene.metrics.put(served.queue_metric(VISIBLE), minutes_ago(back, scene.clock()), 0)
        tick(scene)
        assert value(scene) == 0

    def test_they_count_on_for_an_hour_where_cloudwatch_has_nothing_of_the_queue_at_all(
        self, scene: Scene
    ) -> None:
        served = scene.serve(STATIC, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        tick(scene, minutes=60)
        assert value(scene) == 32
        tick(scene, minutes=1)
        assert value(scene) == 0

    def test_they_count_on_where_the_second_metric_cannot_be_read(self, scene: Scene) -> None:
        served = scene.serve(STATIC, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        scene.metrics.unreadable[VISIBLE] = "throttled"
        tick(scene, minutes=15)
        assert value(scene) == 32
        assert (served.name, Counter.OBSERVATION_FAILED, "throttled") in scene.report.failures


class TestAnotherDocument:
    def test_a_queue_that_is_renamed_is_read_at_once(self, scene: Scene) -> None:
        served = scene.serve(STATIC, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        renamed = scene.serve(replace(served, queue_url=queue_url("renamed")), desired=1)
        scene.registry.all(plenty, fresh=True)
        scene.keep_arriving(renamed, 15)
        tick(scene, minutes=1)
        assert value(scene) == 8

    def test_a_workload_that_is_switched_to_effective_counts_its_arrivals_at_once(self, scene: Scene) -> None:
        served = scene.serve(workload(), desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        assert scene.published(EFFECTIVE) == {}
        scene.serve(STATIC, desired=1)
        scene.registry.all(plenty, fresh=True)
        tick(scene, minutes=1)
        assert value(scene) == 32

    def test_a_workload_that_is_switched_back_publishes_the_plain_one_alone(self, scene: Scene) -> None:
        served = scene.serve(STATIC, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        scene.serve(workload(), desired=1)
        scene.registry.all(plenty, fresh=True)
        tick(scene, minutes=1)
        last = scene.calls.named("metrics.publish")[-1]
        assert isinstance(last, dict)
        assert [point.metric.name for point in last["transcription"]] == ["BacklogPerInstance"]

    def test_another_processing_time_counts_at_once(self, scene: Scene) -> None:
        served = scene.serve(replace(DYNAMIC, policy_arn=None), desired=1)
        scene.keep_arriving(served, 60)
        for processing_s, expected in ((4, 10 * 4), (2, 10 * 2)):
            scene.serve(
                replace(served, tracking=replace(served.tracking, processing_s=processing_s)), desired=1
            )
            scene.registry.all(plenty, fresh=True)
            tick(scene, minutes=1)
            assert value(scene) == expected


class TestProcessingTime:
    def test_a_static_target_without_one_takes_what_the_workers_measured(self, scene: Scene) -> None:
        served = scene.serve(MEASURED, desired=1)
        scene.keep_arriving(served, 60)
        measure(scene, served, each_s=2)
        tick(scene)
        assert value(scene) == 8 * 2

    def test_what_an_instance_works_on_at_a_time_is_divided_by(self, scene: Scene) -> None:
        target = replace(STATIC.target, concurrency_per_instance=4)
        served = scene.serve(replace(STATIC, target=target), desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        assert value(scene) == 8 * 1

    def test_a_dynamic_target_measures_whatever_its_document_says(self, scene: Scene) -> None:
        tracking = replace(DYNAMIC.tracking, processing_s=100)
        served = scene.serve(replace(DYNAMIC, tracking=tracking), desired=1)
        hold_target(scene, served, 10)
        scene.keep_arriving(served, 60)
        measure(scene, served, each_s=2)
        tick(scene)
        assert value(scene) == 10 * 2

    def test_until_enough_is_measured_the_documents_counts(self, scene: Scene) -> None:
        tracking = replace(DYNAMIC.tracking, processing_s=3)
        served = scene.serve(replace(DYNAMIC, tracking=tracking), desired=1)
        hold_target(scene, served, 10)
        scene.keep_arriving(served, 60)
        measure(scene, served, each_s=2, samples=29)
        tick(scene)
        assert value(scene) == 10 * 3

    def test_without_any_the_plain_backlog_is_tracked_and_the_line_says_what_would_help(
        self, scene: Scene
    ) -> None:
        served = scene.serve(MEASURED, visible=4, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        assert (plain(scene), value(scene)) == (4, 4)
        assert logged(scene) == (
            "4 per instance; the backlog alone is tracked: processing time: 0 MsgProcessingDuration in the "
            "last day, and 30 are needed; ProcessingSeconds would say it"
        )
        assert scene.report.failures == []

    def test_a_measurement_that_cannot_be_renewed_counts_for_a_day(self, scene: Scene) -> None:
        served = scene.serve(MEASURED, desired=1)
        put_sent(scene, served, 60, until=DAY + 90)
        measure(scene, served)
        tick(scene)
        scene.metrics.unreadable[DURATION] = "throttled"
        tick(scene, minutes=DAY)
        assert value(scene) == 32
        assert logged(scene).endswith("= 4 busy; processing time: throttled; that of 12:00 counts")
        tick(scene, minutes=1)
        assert value(scene) == 0
        assert logged(scene).endswith("the backlog alone is tracked: processing time: throttled")


class TestTarget:
    def test_a_dynamic_target_is_the_one_that_its_policy_holds_now(self, scene: Scene) -> None:
        served = scene.serve(DYNAMIC, desired=1)
        put_sent(scene, served, 60, until=30)
        measure(scene, served)
        hold_target(scene, served, 25)
        tick(scene)
        assert value(scene) == 25 * 4
        hold_target(scene, served, 12)  # as a retune would
        tick(scene, minutes=1)
        assert value(scene) == 12 * 4

    def test_a_target_that_has_moved_has_the_processing_time_read_again(self, scene: Scene) -> None:
        """Else half the target would ask for half the instances, or twice the processing time for four."""
        served = scene.serve(DYNAMIC, desired=1)
        put_sent(scene, served, 60, until=30)
        measure(scene, served)
        hold_target(scene, served, 24)
        tick(scene)
        assert value(scene) == 24 * 4
        scene.metrics.samples.clear()
        put_sent(scene, served, 60, until=30)
        measure(scene, served, each_s=8)
        hold_target(scene, served, 12)
        tick(scene, minutes=1)
        assert value(scene) == 12 * 8

    def test_without_a_policy_it_is_the_one_that_a_policy_would_start_with(self, scene: Scene) -> None:
        served = scene.serve(replace(DYNAMIC, mode=Mode.OBSERVE, policy_arn=None), desired=1)
        scene.keep_arriving(served, 60)
        measure(scene, served)
        tick(scene)
        assert value(scene) == 10 * 4
        assert scene.calls.named("policies.targets") == []

    def test_a_workload_whose_policy_cannot_be_read_leaves_the_others_theirs(self, scene: Scene) -> None:
        other = effective(
            replace(ecs_workload(), target=DYNAMIC.target), metric=TrackedMetric.EFFECTIVE, arrival_margin=0
        )
        for served in (scene.serve(DYNAMIC, visible=3, desired=1), scene.serve(other, desired=1)):
            scene.keep_arriving(served, 60)
            measure(scene, served)
            hold_target(scene, served, 10)
        scene.policies.unreadable["transcription"] = "no such policy"
        tick(scene)
        assert (value(scene), value(scene, "queue-proc")) == (3, 40)
        assert scene.report.failures == [("transcription", Counter.OBSERVATION_FAILED, "no such policy")]
        assert logged(scene).endswith("the backlog alone is tracked: target: no such policy")


class TestWhatCannotBeRead:
    def test_a_first_read_that_fails_is_logged_counted_and_the_plain_backlog_tracked(
        self, scene: Scene
    ) -> None:
        scene.serve(STATIC, visible=4, desired=1)
        scene.metrics.unreadable[SENT] = "throttled"
        tick(scene)
        assert (plain(scene), value(scene)) == (4, 4)
        assert logged(scene) == "4 per instance; the backlog alone is tracked: arrivals: throttled"
        assert scene.report.failures == [("transcription", Counter.OBSERVATION_FAILED, "throttled")]
        assert scene.report.counts[Counter.WORKLOADS_SERVED] == 1

    def test_the_last_known_rate_counts_for_an_hour_and_no_longer(self, scene: Scene) -> None:
        served = scene.serve(STATIC, visible=4, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        scene.metrics.unreadable[SENT] = "throttled"
        for _ in range(60):
            tick(scene, minutes=1)
            assert value(scene) == 4 + 32
        assert logged(scene).endswith("= 4 busy; arrivals: throttled; that of 12:00 counts")
        for _ in range(10):
            tick(scene, minutes=1)
            assert value(scene) == 4
        assert logged(scene) == "4 per instance; the backlog alone is tracked: arrivals: throttled"
        scene.metrics.unreadable.clear()
        scene.clock.advance(minutes=5)
        scene.keep_arriving(served, 15)
        tick(scene)
        assert value(scene) == 4 + 8

    def test_a_rate_of_a_clock_that_was_set_back_counts_no_longer_either(self, scene: Scene) -> None:
        served = scene.serve(STATIC, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        scene.metrics.unreadable[SENT] = "throttled"
        tick(scene, minutes=-61)
        assert value(scene) == 0

    def test_data_that_is_late_leaves_the_last_rate(self, scene: Scene) -> None:
        """Of a queue idle for hours CloudWatch may come a quarter of an hour late."""
        served = scene.serve(STATIC, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        tick(scene, minutes=5)
        assert value(scene) == 32
        assert logged(scene).endswith(
            "arrivals: the newest NumberOfMessagesSent is that of 11:59; that of 12:00 counts"
        )
        assert scene.report.failures == []

    @pytest.mark.parametrize("absurd", [math.nan, math.inf, -math.inf, -60, 1e300])
    def test_an_absurd_count_never_gives_less_than_the_plain_metric_or_no_number(
        self, scene: Scene, absurd: float
    ) -> None:
        served = scene.serve(STATIC, visible=4, desired=1)
        scene.keep_arriving(served, absurd)
        tick(scene)
        assert value(scene) == plain(scene) == 4

    @pytest.mark.parametrize("absurd", [math.nan, math.inf, -math.inf, -4, 0, 1e300])
    def test_nor_does_an_absurd_processing_time(self, scene: Scene, absurd: float) -> None:
        served = scene.serve(MEASURED, visible=4, desired=1)
        scene.keep_arriving(served, 60)
        measure(scene, served, each_s=absurd)
        tick(scene)
        assert value(scene) == plain(scene) == 4

    def test_a_load_that_no_fleet_can_have_is_logged_and_the_plain_backlog_tracked(
        self, scene: Scene
    ) -> None:
        target = replace(STATIC.target, concurrency_per_instance=1e-300)
        served = scene.serve(replace(STATIC, target=target), visible=4, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        assert value(scene) == 4
        assert logged(scene).endswith(
            "the backlog alone is tracked: 4e+300 busy instances at 8 messages are no reading"
        )


class TestTime:
    @pytest.mark.parametrize("metric", [SENT, DURATION])
    def test_a_read_that_hangs_leaves_half_of_the_time_and_both_metrics_are_published(
        self, scene: Scene, metric: str
    ) -> None:
        served = scene.serve(MEASURED, visible=4, desired=1)
        scene.keep_arriving(served, 60)
        scene.remaining = 24
        read = scene.metrics.read

        def hang(
            queries: Mapping[str, SeriesQuery], start: datetime, end: datetime, remaining_s: RemainingS
        ) -> Mapping[str, Series | Unknown]:
            if metric not in {query.metric.name for query in queries.values()}:
                return read(queries, start, end, remaining_s)
            while remaining_s() > 0:
                scene.remaining -= 1
            return read(queries, start, end, remaining_s)

        scene.metrics.read = hang
        tick(scene)
        assert scene.remaining == 12
        assert (plain(scene), value(scene)) == (4, 4)
        assert "not read before the deadline" in logged(scene)

    def test_what_no_time_is_left_for_counts_as_it_was_and_is_read_by_the_next_tick(
        self, scene: Scene
    ) -> None:
        served = scene.serve(STATIC, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        for ahead in range(6):
            scene.metrics.put(served.queue_metric(SENT), MINUTE_NOW + MINUTE * ahead, 180)
        with no_time_for_more(scene):
            tick(scene, minutes=5)
        assert (value(scene), asked(scene)) == (32, {SENT: 1})
        tick(scene, minutes=1)
        assert asked(scene) == {SENT: 2}
        assert value(scene) == 32 * 3

    def test_what_was_never_read_for_want_of_time_is_the_plain_backlog(self, scene: Scene) -> None:
        scene.serve(STATIC, visible=4, desired=1)
        with no_time_for_more(scene):
            tick(scene)
        assert (value(scene), asked(scene)) == (4, {})
        assert logged(scene).endswith("the backlog alone is tracked: arrivals: no time was left to read it")

    def test_a_rate_that_no_time_was_left_to_renew_counts_for_an_hour_as_well(self, scene: Scene) -> None:
        served = scene.serve(STATIC, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        with no_time_for_more(scene):
            tick(scene, minutes=61)
        assert value(scene) == 0
        assert logged(scene).endswith("arrivals: no time was left to read it")


@contextmanager
def no_time_for_more(scene: Scene) -> Iterator[None]:
    """Observing takes all the time there is."""
    read, remaining = scene.fleets.read, scene.remaining

    def last(*asked: Any) -> Any:
        seen = read(*asked)
        scene.remaining = 0
        return seen

    scene.fleets.read = last
    yield
    scene.fleets.read, scene.remaining = read, remaining


class TestDefects:
    def test_an_answer_that_our_code_breaks_on_is_one_workloads_and_shows_its_defect(
        self, scene: Scene
    ) -> None:
        served = scene.serve(STATIC, visible=4, desired=1)
        other = scene.serve(effective(ecs_workload(), processing_s=4, arrival_margin=0), visible=1, desired=1)
        scene.keep_arriving(other, 60)
        scene.keep_arriving(served, 60)
        read = scene.metrics.read

        def broken(*asked: Any) -> Mapping[str, Any]:
            series = dict(read(*asked))
            return series | {"transcription": dict.fromkeys(series["transcription"], "many")}

        scene.metrics.read = broken
        with pytest.raises(DefectError):
            tick(scene)
        assert (value(scene), value(scene, "queue-proc")) == (4, 33)
        [(name, counter, reason)] = scene.report.failures
        assert (name, counter) == ("transcription", Counter.OBSERVATION_FAILED)
        assert reason.startswith("unexpected TypeError: ")

    def test_a_read_that_breaks_as_a_whole_leaves_what_is_known(self, scene: Scene) -> None:
        served = scene.serve(STATIC, desired=1)
        scene.keep_arriving(served, 60)
        tick(scene)
        scene.metrics.read = lambda *asked: {}["a defect of ours"]
        with pytest.raises(DefectError):
            tick(scene, minutes=5)
        assert value(scene) == 32
        assert logged(scene).endswith("unexpected KeyError: 'a defect of ours'; that of 12:00 counts")

    def test_a_defect_beyond_the_reads_leaves_every_workload_its_plain_backlog(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scene.serve(STATIC, visible=4, desired=1)
        monkeypatch.setattr(publish_metrics, "demands", lambda *_: [][0])
        with pytest.raises(DefectError):
            tick(scene)
        assert (plain(scene), value(scene)) == (4, 4)
        assert "the backlog alone is tracked: unexpected IndexError" in logged(scene)
        [(name, counter, _)] = scene.report.failures
        assert (name, counter) == ("every workload", Counter.OBSERVATION_FAILED)

    def test_a_defect_in_the_arithmetic_leaves_the_plain_backlog_published(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is the proof of emptiness, and what the alarms and the other decisions read."""
        scene.serve(STATIC, visible=4, desired=1)
        monkeypatch.setattr(publish_metrics, "to_publish", lambda *_: 1 / 0)
        with pytest.raises(DefectError):
            tick(scene)
        assert plain(scene) == 4
        assert scene.published(EFFECTIVE) == {}


def test_a_reading_that_broke_keeps_no_stack_trace_in_memory(scene: Scene) -> None:
    served = scene.serve(STATIC)
    scene.metrics.read = lambda *asked: {}["a defect of ours"]
    demands({served.name: served}, tick_context(scene, served))
    [last] = scene.last_known.values()
    assert last.value == Unknown(reason="unexpected KeyError: 'a defect of ours'")
    assert len(scene.report.defects_seen) == 1


def test_a_demand_is_what_the_tick_publishes_by(scene: Scene) -> None:
    served = scene.serve(STATIC)
    scene.keep_arriving(served, 30)
    found = demands({served.name: served}, tick_context(scene, served))
    load = found["transcription"]
    assert isinstance(load, Demand)
    assert (load.load.arrivals_per_s, load.load.instances, load.target_per_instance) == (0.5, 2, 8)
