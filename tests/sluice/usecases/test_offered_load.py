"""Arrivals are read rarely and kept for a while, and never make a tick publish less or nothing."""

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
from tests.support.fakes import FakeAccount, tick_context

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


def tick(account: FakeAccount, minutes: float = 0) -> None:
    """Run one tick, this many minutes after the last one."""
    account.clock.advance(minutes=minutes)
    publish_backlog(account.clock(), account.ports, account.report, account.remaining_s)


def value(account: FakeAccount, name: str = "transcription") -> float:
    """The last published EffectiveBacklogPerInstance."""
    return account.published(EFFECTIVE)[name].value


def plain(account: FakeAccount, name: str = "transcription") -> float:
    return account.published()[name].value


def logged(account: FakeAccount, name: str = "transcription") -> str:
    return published_sentence(account.report.published[name])


def requests(account: FakeAccount) -> collections.Counter[str]:
    """How often each metric was read, without the proofs of emptiness."""
    queries: collections.Counter[str] = collections.Counter()
    for call in account.calls.named("metrics.read"):
        assert isinstance(call, tuple)
        queries.update(query.metric.name for query in call[0].values())
    del queries["BacklogPerInstance"]
    return queries


def measure(account: FakeAccount, served: Workload, *, each_s: float = 4, samples: int = 40) -> None:
    """Processing times of the last minutes."""
    account.metrics.put(served.duration_metric, minutes_ago(2, account.clock()), *[each_s] * samples)


def hold_target(account: FakeAccount, served: Workload, target: float) -> None:
    arn = str(served.policy_arn)
    account.policies.by_arn[arn] = Policy(fleet=served.fleet, target=target, definition={"PolicyARN": arn})


def put_sent(account: FakeAccount, served: Workload, per_minute: float, *, until: int) -> None:
    """Put NumberOfMessagesSent from a quarter of an hour ago until this many minutes from now."""
    for ahead in range(-15, until):
        account.metrics.put(served.queue_metric(SENT), MINUTE_NOW + MINUTE * ahead, per_minute)


class TestPublished:
    def test_both_metrics_of_a_minute_are_published_in_one_call(self, account: FakeAccount) -> None:
        served = account.add_workload(STATIC, visible=6, desired=2)
        account.add_workload(ecs_workload(), visible=3, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        [points] = account.calls.named("metrics.publish")
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
        assert logged(account) == "3 per instance; 19 effective: 1 arrivals/s x 4 s / 1 = 4 busy"

    def test_the_margin_is_added(self, account: FakeAccount) -> None:
        served = account.add_workload(effective(workload(), processing_s=4, arrival_margin=0.5), desired=2)
        account.publish_arrivals(served, 60)
        tick(account)
        assert value(account) == 8 * (4 + 0.5 * 2) / 2

    @pytest.mark.parametrize(
        "tracking",
        [
            {"metric": TrackedMetric.BACKLOG},
            {"metric": TrackedMetric.BACKLOG, "processing_s": 4},
            {"source": MetricSource.NATIVE, "processing_s": 4},
        ],
    )
    def test_nothing_more_is_read_or_published_where_no_policy_reads_it(
        self, account: FakeAccount, tracking: dict[str, Any]
    ) -> None:
        served = account.add_workload(effective(workload(), **tracking), visible=4, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        assert plain(account) == 4
        assert account.published(EFFECTIVE) == {}
        assert requests(account) == {}
        assert logged(account) == "4 per instance"

    def test_a_single_burst_counts_only_as_backlog(self, account: FakeAccount) -> None:
        served = account.add_workload(STATIC, visible=24, desired=1)
        account.publish_arrivals(served, 0)
        account.metrics.put(served.queue_metric(SENT), minutes_ago(1), 24)
        tick(account)
        assert (plain(account), value(account)) == (24, 24)

    def test_a_shard_publishes_both_as_well(self, account: FakeAccount) -> None:
        served = account.add_workload(STATIC, desired=1)
        account.publish_arrivals(served, 60)
        documents = account.registry.all(plenty).documents
        body = shard_message(Shard(scheduled=account.clock(), documents=documents))
        assert publish_shards({"m": body}, account.ports, account.report, account.remaining_s) == []
        assert (plain(account), value(account)) == (0, 32)


class TestHowOftenIsRead:
    @pytest.fixture
    def day(self, account: FakeAccount) -> Any:
        """The reads during a day of ticks with this many arrivals a minute."""

        def run(served: Workload, per_minute: float) -> tuple[collections.Counter[str], int]:
            put_sent(account, served, per_minute, until=DAY)
            hold_target(account, served, 10)
            for ahead in range(DAY):
                account.clock.at = MINUTE_NOW + MINUTE * ahead
                demands({served.name: served}, tick_context(account, served))
            return requests(account), len(account.calls.named("policies.targets"))

        return run

    def test_only_arrivals_are_read_every_five_minutes_if_the_document_has_the_rest(self, day: Any) -> None:
        assert day(STATIC, 60) == ({SENT: 288}, 0)

    @pytest.mark.parametrize("served", [STATIC, MEASURED, DYNAMIC])
    def test_an_idle_queue_costs_only_the_read_of_its_arrivals(self, day: Any, served: Workload) -> None:
        assert day(served, 0) == ({SENT: 288}, 0)

    @pytest.mark.parametrize(("served", "targets"), [(MEASURED, 0), (DYNAMIC, DAY)])
    def test_processing_times_every_hour_and_a_retuned_target_every_minute(
        self, account: FakeAccount, day: Any, served: Workload, targets: int
    ) -> None:
        for ahead in range(DAY):
            account.metrics.put(served.duration_metric, MINUTE_NOW + MINUTE * (ahead - 60), 4)
        assert day(served, 60) == ({SENT: 288, DURATION: 24 * 2}, targets)

    def test_processing_times_that_are_not_known_every_ten_minutes(self, day: Any) -> None:
        """Two metrics over the last hour, and the two over the last day."""
        assert day(MEASURED, 60) == ({SENT: 288, DURATION: 144 * 4}, 0)

    def test_a_silent_queue_is_read_no_more_often(self, account: FakeAccount) -> None:
        account.add_workload(STATIC, desired=1)
        for _ in range(10):
            tick(account)
            account.clock.advance(minutes=1)
        assert requests(account) == {SENT: 2}

    def test_a_queue_without_values_in_idle_minutes_costs_a_second_metric(self, account: FakeAccount) -> None:
        served = account.add_workload(STATIC, desired=1)
        for back in range(1, 14):
            account.metrics.put(served.queue_metric(VISIBLE), minutes_ago(back, account.clock()), 0)
        account.metrics.put(served.queue_metric(SENT), minutes_ago(5, account.clock()), 60)
        tick(account)
        assert requests(account) == {SENT: 1, VISIBLE: 1}
        assert "0 arrivals/s" in logged(account)

    def test_all_due_workloads_share_one_read(self, account: FakeAccount) -> None:
        """Forget everything, as in a process that has just started."""
        for served in (STATIC, effective(ecs_workload(), processing_s=1)):
            account.add_workload(served, visible=1, desired=1)
        tick(account)
        [(queries, start, end)] = account.calls.named("metrics.read")  # type: ignore[misc]
        assert set(queries) == {"transcription", "queue-proc"}
        assert {(query.statistic, query.period_s) for query in queries.values()} == {("Sum", 60)}
        assert (start, end) == (MINUTE_NOW - 13 * MINUTE, MINUTE_NOW)

    def test_two_ticks_of_one_minute_and_one_of_the_minute_before_read_once(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(STATIC, desired=1)
        account.publish_arrivals(served, 60)
        for scheduled in (MINUTE_NOW, MINUTE_NOW, MINUTE_NOW - MINUTE):
            publish_backlog(scheduled, account.ports, account.report, account.remaining_s)
        assert requests(account) == {SENT: 1}
        assert value(account) == 32

    def test_reads_continue_after_the_clock_is_set_back_by_hours(self, account: FakeAccount) -> None:
        served = account.add_workload(STATIC, desired=1)
        account.publish_arrivals(served, 600)
        tick(account)
        account.clock.advance(minutes=-300)
        account.publish_arrivals(served, 60)
        tick(account)
        assert value(account) == 32


class TestArrivalsThatEnd:
    def test_arrivals_expire_if_sqs_publishes_no_zeros(self, account: FakeAccount) -> None:
        served = account.add_workload(STATIC, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        assert value(account) == 32
        account.clock.advance(minutes=15)
        for back in range(1, 14):
            account.metrics.put(served.queue_metric(VISIBLE), minutes_ago(back, account.clock()), 0)
        tick(account)
        assert value(account) == 0

    def test_arrivals_count_for_an_hour_if_cloudwatch_has_no_metrics_of_the_queue(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(STATIC, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        tick(account, minutes=60)
        assert value(account) == 32
        tick(account, minutes=1)
        assert value(account) == 0

    def test_arrivals_still_count_if_the_second_metric_cannot_be_read(self, account: FakeAccount) -> None:
        served = account.add_workload(STATIC, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        account.metrics.unreadable[VISIBLE] = "throttled"
        tick(account, minutes=15)
        assert value(account) == 32
        assert (served.name, Counter.OBSERVATION_FAILED, "throttled") in account.report.failures


class TestAnotherDocument:
    def test_a_queue_that_is_renamed_is_read_at_once(self, account: FakeAccount) -> None:
        served = account.add_workload(STATIC, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        renamed = account.add_workload(replace(served, queue_url=queue_url("renamed")), desired=1)
        account.registry.all(plenty, fresh=True)
        account.publish_arrivals(renamed, 15)
        tick(account, minutes=1)
        assert value(account) == 8

    def test_a_workload_that_is_switched_to_effective_counts_its_arrivals_at_once(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(workload(), desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        assert account.published(EFFECTIVE) == {}
        account.add_workload(STATIC, desired=1)
        account.registry.all(plenty, fresh=True)
        tick(account, minutes=1)
        assert value(account) == 32

    def test_a_workload_that_is_switched_back_publishes_only_the_plain_metric(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(STATIC, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        account.add_workload(workload(), desired=1)
        account.registry.all(plenty, fresh=True)
        tick(account, minutes=1)
        last = account.calls.named("metrics.publish")[-1]
        assert isinstance(last, dict)
        assert [point.metric.name for point in last["transcription"]] == ["BacklogPerInstance"]

    def test_a_changed_processing_time_applies_at_once(self, account: FakeAccount) -> None:
        served = account.add_workload(replace(DYNAMIC, policy_arn=None), desired=1)
        account.publish_arrivals(served, 60)
        for processing_s, expected in ((4, 10 * 4), (2, 10 * 2)):
            account.add_workload(
                replace(served, tracking=replace(served.tracking, processing_s=processing_s)), desired=1
            )
            account.registry.all(plenty, fresh=True)
            tick(account, minutes=1)
            assert value(account) == expected


class TestProcessingTime:
    def test_a_static_target_without_a_processing_time_uses_the_measured_one(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(MEASURED, desired=1)
        account.publish_arrivals(served, 60)
        measure(account, served, each_s=2)
        tick(account)
        assert value(account) == 8 * 2

    def test_the_plan_divides_by_the_concurrency_of_an_instance(self, account: FakeAccount) -> None:
        target = replace(STATIC.target, concurrency_per_instance=4)
        served = account.add_workload(replace(STATIC, target=target), desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        assert value(account) == 8 * 1

    def test_a_dynamic_target_always_uses_measured_durations(self, account: FakeAccount) -> None:
        tracking = replace(DYNAMIC.tracking, processing_s=100)
        served = account.add_workload(replace(DYNAMIC, tracking=tracking), desired=1)
        hold_target(account, served, 10)
        account.publish_arrivals(served, 60)
        measure(account, served, each_s=2)
        tick(account)
        assert value(account) == 10 * 2

    def test_the_documents_value_is_used_until_enough_is_measured(self, account: FakeAccount) -> None:
        tracking = replace(DYNAMIC.tracking, processing_s=3)
        served = account.add_workload(replace(DYNAMIC, tracking=tracking), desired=1)
        hold_target(account, served, 10)
        account.publish_arrivals(served, 60)
        measure(account, served, each_s=2, samples=29)
        tick(account)
        assert value(account) == 10 * 3

    def test_without_a_processing_time_the_plain_backlog_is_tracked_and_the_log_says_what_would_help(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(MEASURED, visible=4, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        assert (plain(account), value(account)) == (4, 4)
        assert logged(account) == (
            "4 per instance; the backlog alone is tracked: processing time: 0 MsgProcessingDuration in the "
            "last day, and 30 are needed; set ProcessingSeconds"
        )
        assert account.report.failures == []

    def test_a_measurement_that_cannot_be_renewed_is_used_for_a_day(self, account: FakeAccount) -> None:
        served = account.add_workload(MEASURED, desired=1)
        put_sent(account, served, 60, until=DAY + 90)
        measure(account, served)
        tick(account)
        account.metrics.unreadable[DURATION] = "throttled"
        tick(account, minutes=DAY)
        assert value(account) == 32
        assert logged(account).endswith("= 4 busy; processing time: throttled; that of 12:00 counts")
        tick(account, minutes=1)
        assert value(account) == 0
        assert logged(account).endswith("the backlog alone is tracked: processing time: throttled")


class TestTarget:
    def test_a_dynamic_target_is_read_from_its_policy(self, account: FakeAccount) -> None:
        served = account.add_workload(DYNAMIC, desired=1)
        put_sent(account, served, 60, until=30)
        measure(account, served)
        hold_target(account, served, 25)
        tick(account)
        assert value(account) == 25 * 4
        hold_target(account, served, 12)  # as a retune would
        tick(account, minutes=1)
        assert value(account) == 12 * 4

    def test_a_changed_target_reads_the_processing_time_again(self, account: FakeAccount) -> None:
        """Otherwise half the target would ask for half the instances, or twice the processing time for four
        times.
        """
        served = account.add_workload(DYNAMIC, desired=1)
        put_sent(account, served, 60, until=30)
        measure(account, served)
        hold_target(account, served, 24)
        tick(account)
        assert value(account) == 24 * 4
        account.metrics.samples.clear()
        put_sent(account, served, 60, until=30)
        measure(account, served, each_s=8)
        hold_target(account, served, 12)
        tick(account, minutes=1)
        assert value(account) == 12 * 8

    def test_without_a_policy_it_is_the_one_that_a_policy_would_start_with(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(replace(DYNAMIC, mode=Mode.OBSERVE, policy_arn=None), desired=1)
        account.publish_arrivals(served, 60)
        measure(account, served)
        tick(account)
        assert value(account) == 10 * 4
        assert account.calls.named("policies.targets") == []

    def test_an_unreadable_policy_does_not_affect_other_workloads(self, account: FakeAccount) -> None:
        other = effective(
            replace(ecs_workload(), target=DYNAMIC.target), metric=TrackedMetric.EFFECTIVE, arrival_margin=0
        )
        for served in (
            account.add_workload(DYNAMIC, visible=3, desired=1),
            account.add_workload(other, desired=1),
        ):
            account.publish_arrivals(served, 60)
            measure(account, served)
            hold_target(account, served, 10)
        account.policies.unreadable["transcription"] = "no such policy"
        tick(account)
        assert (value(account), value(account, "queue-proc")) == (3, 40)
        assert account.report.failures == [("transcription", Counter.OBSERVATION_FAILED, "no such policy")]
        assert logged(account).endswith("the backlog alone is tracked: target: no such policy")


class TestWhatCannotBeRead:
    def test_a_first_read_that_fails_is_logged_counted_and_the_plain_backlog_tracked(
        self, account: FakeAccount
    ) -> None:
        account.add_workload(STATIC, visible=4, desired=1)
        account.metrics.unreadable[SENT] = "throttled"
        tick(account)
        assert (plain(account), value(account)) == (4, 4)
        assert logged(account) == "4 per instance; the backlog alone is tracked: arrivals: throttled"
        assert account.report.failures == [("transcription", Counter.OBSERVATION_FAILED, "throttled")]
        assert account.report.counts[Counter.WORKLOADS_SERVED] == 1

    def test_the_last_known_rate_counts_for_an_hour_and_no_longer(self, account: FakeAccount) -> None:
        served = account.add_workload(STATIC, visible=4, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        account.metrics.unreadable[SENT] = "throttled"
        for _ in range(60):
            tick(account, minutes=1)
            assert value(account) == 4 + 32
        assert logged(account).endswith("= 4 busy; arrivals: throttled; that of 12:00 counts")
        for _ in range(10):
            tick(account, minutes=1)
            assert value(account) == 4
        assert logged(account) == "4 per instance; the backlog alone is tracked: arrivals: throttled"
        account.metrics.unreadable.clear()
        account.clock.advance(minutes=5)
        account.publish_arrivals(served, 15)
        tick(account)
        assert value(account) == 4 + 8

    def test_a_rate_from_before_the_clock_was_set_back_expires_too(self, account: FakeAccount) -> None:
        served = account.add_workload(STATIC, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        account.metrics.unreadable[SENT] = "throttled"
        tick(account, minutes=-61)
        assert value(account) == 0

    def test_late_data_keeps_the_last_rate(self, account: FakeAccount) -> None:
        """CloudWatch may be a quarter of an hour late for a queue that was idle for hours."""
        served = account.add_workload(STATIC, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        tick(account, minutes=5)
        assert value(account) == 32
        assert logged(account).endswith(
            "arrivals: the newest NumberOfMessagesSent is that of 11:59; that of 12:00 counts"
        )
        assert account.report.failures == []

    @pytest.mark.parametrize("absurd", [math.nan, math.inf, -math.inf, -60, 1e300])
    def test_an_absurd_count_never_gives_less_than_the_plain_metric_or_no_number(
        self, account: FakeAccount, absurd: float
    ) -> None:
        served = account.add_workload(STATIC, visible=4, desired=1)
        account.publish_arrivals(served, absurd)
        tick(account)
        assert value(account) == plain(account) == 4

    @pytest.mark.parametrize("absurd", [math.nan, math.inf, -math.inf, -4, 0, 1e300])
    def test_an_absurd_processing_time_never_gives_less_than_the_plain_metric(
        self, account: FakeAccount, absurd: float
    ) -> None:
        served = account.add_workload(MEASURED, visible=4, desired=1)
        account.publish_arrivals(served, 60)
        measure(account, served, each_s=absurd)
        tick(account)
        assert value(account) == plain(account) == 4

    def test_an_impossible_load_is_logged_and_the_plain_backlog_tracked(self, account: FakeAccount) -> None:
        target = replace(STATIC.target, concurrency_per_instance=1e-300)
        served = account.add_workload(replace(STATIC, target=target), visible=4, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        assert value(account) == 4
        assert logged(account).endswith(
            "the backlog alone is tracked: 4e+300 busy instances at 8 messages are implausible"
        )


class TestTime:
    @pytest.mark.parametrize("metric", [SENT, DURATION])
    def test_a_read_that_hangs_leaves_half_of_the_time_and_both_metrics_are_published(
        self, account: FakeAccount, metric: str
    ) -> None:
        served = account.add_workload(MEASURED, visible=4, desired=1)
        account.publish_arrivals(served, 60)
        account.remaining = 24
        read = account.metrics.read

        def hang(
            queries: Mapping[str, SeriesQuery], start: datetime, end: datetime, remaining_s: RemainingS
        ) -> Mapping[str, Series | Unknown]:
            if metric not in {query.metric.name for query in queries.values()}:
                return read(queries, start, end, remaining_s)
            while remaining_s() > 0:
                account.remaining -= 1
            return read(queries, start, end, remaining_s)

        account.metrics.read = hang
        tick(account)
        assert account.remaining == 12
        assert (plain(account), value(account)) == (4, 4)
        assert "not read before the deadline" in logged(account)

    def test_values_without_time_to_read_them_keep_and_are_read_by_the_next_tick(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(STATIC, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        for ahead in range(6):
            account.metrics.put(served.queue_metric(SENT), MINUTE_NOW + MINUTE * ahead, 180)
        with no_time_for_more(account):
            tick(account, minutes=5)
        assert (value(account), requests(account)) == (32, {SENT: 1})
        tick(account, minutes=1)
        assert requests(account) == {SENT: 2}
        assert value(account) == 32 * 3

    def test_without_time_to_read_arrivals_the_plain_backlog_is_published(self, account: FakeAccount) -> None:
        account.add_workload(STATIC, visible=4, desired=1)
        with no_time_for_more(account):
            tick(account)
        assert (value(account), requests(account)) == (4, {})
        assert logged(account).endswith("the backlog alone is tracked: arrivals: no time was left to read it")

    def test_a_rate_without_time_to_renew_it_is_also_used_for_an_hour(self, account: FakeAccount) -> None:
        served = account.add_workload(STATIC, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        with no_time_for_more(account):
            tick(account, minutes=61)
        assert value(account) == 0
        assert logged(account).endswith("arrivals: no time was left to read it")


@contextmanager
def no_time_for_more(account: FakeAccount) -> Iterator[None]:
    """Observing uses up all the time."""
    read, remaining = account.fleets.read, account.remaining

    def last(*args: Any) -> Any:
        capacities = read(*args)
        account.remaining = 0
        return capacities

    account.fleets.read = last
    yield
    account.fleets.read, account.remaining = read, remaining


class TestDefects:
    def test_an_answer_that_breaks_our_code_affects_one_workload_and_is_marked_as_a_defect(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(STATIC, visible=4, desired=1)
        other = account.add_workload(
            effective(ecs_workload(), processing_s=4, arrival_margin=0), visible=1, desired=1
        )
        account.publish_arrivals(other, 60)
        account.publish_arrivals(served, 60)
        read = account.metrics.read

        def broken(*args: Any) -> Mapping[str, Any]:
            series = dict(read(*args))
            return series | {"transcription": dict.fromkeys(series["transcription"], "many")}

        account.metrics.read = broken
        with pytest.raises(DefectError):
            tick(account)
        assert (value(account), value(account, "queue-proc")) == (4, 33)
        [(name, counter, reason)] = account.report.failures
        assert (name, counter) == ("transcription", Counter.OBSERVATION_FAILED)
        assert reason.startswith("unexpected TypeError: ")

    def test_a_read_that_fails_as_a_whole_keeps_the_last_known_values(self, account: FakeAccount) -> None:
        served = account.add_workload(STATIC, desired=1)
        account.publish_arrivals(served, 60)
        tick(account)
        account.metrics.read = lambda *args: {}["a defect of ours"]
        with pytest.raises(DefectError):
            tick(account, minutes=5)
        assert value(account) == 32
        assert logged(account).endswith("unexpected KeyError: 'a defect of ours'; that of 12:00 counts")

    def test_a_defect_after_the_reads_still_publishes_every_plain_backlog(
        self, account: FakeAccount, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        account.add_workload(STATIC, visible=4, desired=1)
        monkeypatch.setattr(publish_metrics, "demands", lambda *_: [][0])
        with pytest.raises(DefectError):
            tick(account)
        assert (plain(account), value(account)) == (4, 4)
        assert "the backlog alone is tracked: unexpected IndexError" in logged(account)
        [(name, counter, _)] = account.report.failures
        assert (name, counter) == ("every workload", Counter.OBSERVATION_FAILED)

    def test_a_defect_in_the_arithmetic_leaves_the_plain_backlog_published(
        self, account: FakeAccount, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The alarms, the proof of emptiness and other decisions read it."""
        account.add_workload(STATIC, visible=4, desired=1)
        monkeypatch.setattr(publish_metrics, "to_publish", lambda *_: 1 / 0)
        with pytest.raises(DefectError):
            tick(account)
        assert plain(account) == 4
        assert account.published(EFFECTIVE) == {}


def test_a_failed_reading_keeps_no_stack_trace_in_memory(account: FakeAccount) -> None:
    served = account.add_workload(STATIC)
    account.metrics.read = lambda *args: {}["a defect of ours"]
    demands({served.name: served}, tick_context(account, served))
    [last] = account.last_known.values()
    assert last.value == Unknown(reason="unexpected KeyError: 'a defect of ours'")
    assert len(account.report.recorded_defects) == 1


def test_a_demand_has_the_arrival_rate_the_instances_and_the_target(account: FakeAccount) -> None:
    served = account.add_workload(STATIC)
    account.publish_arrivals(served, 30)
    found = demands({served.name: served}, tick_context(account, served))
    load = found["transcription"]
    assert isinstance(load, Demand)
    assert (load.load.arrivals_per_s, load.load.instances, load.target_per_instance) == (0.5, 2, 8)
