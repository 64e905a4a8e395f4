"""More workloads than one invocation serves: the tick sends them in shards for the same minute."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from sluice.core.model import AutoScalingGroup, DataPoint, Fleet, Mode, Trigger, Workload
from sluice.errors import ConfigError, TransientError
from sluice.events import parse_shard
from sluice.ports import Counter, Outcome, RemainingS, SeriesQuery
from sluice.usecases import shards
from sluice.usecases.shards import publish_shards
from sluice.usecases.tick import publish_backlog
from sluice.usecases.tick_context import NO_TIME_LEFT
from tests.support.builders import (
    MINUTE_NOW,
    ecs_workload,
    seconds,
    workload,
)
from tests.support.fakes import FakeAccount

MAX_WORKLOADS, PER_SHARD = 8, 3
MAX_AS_DEPLOYED, PER_SHARD_AS_DEPLOYED = shards.MAX_WORKLOADS_PER_INVOCATION, shards.WORKLOADS_PER_SHARD


@pytest.fixture(autouse=True)
def _eight_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight workloads fit into one invocation here, and three into a shard."""
    monkeypatch.setattr(shards, "MAX_WORKLOADS_PER_INVOCATION", MAX_WORKLOADS)
    monkeypatch.setattr(shards, "WORKLOADS_PER_SHARD", PER_SHARD)


def serve(account: FakeAccount, count: int, *, visible: int = 6, desired: int = 2) -> list[Workload]:
    """This many workloads with work, half of them services, registered in no order."""
    made = [workload(f"w{index:02}") if index % 2 else ecs_workload(f"w{index:02}") for index in range(count)]
    for each in random.Random(count).sample(made, count):
        account.add_workload(each, visible=visible, desired=desired)
    return made


def tick(account: FakeAccount, scheduled: datetime | None = None) -> None:
    publish_backlog(scheduled or MINUTE_NOW, account.ports, account.report, account.remaining_s)


def deliver(account: FakeAccount, bodies: Sequence[str]) -> list[str]:
    """Deliver a batch like Lambda; returns the indices of the failed messages."""
    batch = {str(place): body for place, body in enumerate(bodies)}
    return publish_shards(batch, account.ports, account.report, account.remaining_s)


def averages(account: FakeAccount, served: Sequence[Workload]) -> dict[str, dict[datetime, float]]:
    """The values that an alarm or a policy reads of every workload, minute by minute."""
    start, end = MINUTE_NOW - timedelta(hours=1), MINUTE_NOW + timedelta(hours=1)
    return {
        each.name: dict(
            account.metrics.value_of(
                SeriesQuery(metric=account.backlog_metric(each), statistic="Average", period_s=60), start, end
            )
        )
        for each in served
    }


def names(bodies: Sequence[str]) -> list[list[str]]:
    return [list(parse_shard(body).documents) for body in bodies]


class TestTheTick:
    def test_a_tick_serves_up_to_one_invocations_load_itself_without_a_queue(
        self, account: FakeAccount
    ) -> None:
        serve(account, MAX_WORKLOADS)
        publish_backlog(MINUTE_NOW, replace(account.ports, shards=None), account.report, account.remaining_s)
        assert len(account.published()) == MAX_WORKLOADS
        assert account.shards.sent == []

    @pytest.mark.parametrize(("count", "expected_shards"), [(1000, 0), (1001, 5)])
    def test_one_deployed_invocation_serves_a_thousand_workloads(
        self, account: FakeAccount, monkeypatch: pytest.MonkeyPatch, count: int, expected_shards: int
    ) -> None:
        """On the deployed function's 0.29 of a core they take a quarter of the time for reading.

        Of 3000 it left 500 unread (docs/scale.md), which no machine with a whole core shows.
        """
        monkeypatch.setattr(shards, "MAX_WORKLOADS_PER_INVOCATION", MAX_AS_DEPLOYED)
        monkeypatch.setattr(shards, "WORKLOADS_PER_SHARD", PER_SHARD_AS_DEPLOYED)
        for index in range(count):
            account.add_workload(workload(f"w{index:04}"), visible=6, desired=2)
        tick(account)
        assert len(account.shards.sent) == expected_shards
        assert len(account.published()) == (0 if expected_shards else count)

    def test_more_workloads_are_sent_in_contiguous_slices_of_the_sorted_names(
        self, account: FakeAccount
    ) -> None:
        serve(account, 11)
        tick(account)
        assert names(account.shards.sent) == [
            ["w00", "w01", "w02"],
            ["w03", "w04", "w05"],
            ["w06", "w07", "w08"],
            ["w09", "w10"],
        ]
        assert account.report.counts == {Counter.SHARDS_SENT: 4}

    def test_a_tick_that_sends_shards_reads_only_the_registry(self, account: FakeAccount) -> None:
        serve(account, 11)
        tick(account)
        assert {name for name, _ in account.calls.made} == {"registry.all", "shards.send"}

    def test_all_shards_carry_the_one_scheduled_minute(self, account: FakeAccount) -> None:
        serve(account, 11)
        account.clock.advance(seconds=20)
        tick(account, MINUTE_NOW + seconds(7))
        assert {parse_shard(body).scheduled for body in account.shards.sent} == {MINUTE_NOW + seconds(7)}
        deliver(account, account.shards.sent)
        assert {point.at for point in account.published().values()} == {MINUTE_NOW}

    def test_a_shard_stays_below_what_a_message_may_hold(
        self, account: FakeAccount, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Documents of different sizes and alphabets; the envelope has what the slice leaves of a message."""
        monkeypatch.setattr(shards, "WORKLOADS_PER_SHARD", 1000)
        monkeypatch.setattr(shards, "BYTES_PER_SHARD", 6000)
        for index in range(40):
            account.add_workload(replace(workload(f"w{index:02}"), stack_id='"ü\\' * index))
        tick(account)
        sizes = [len(body.encode()) for body in account.shards.sent]
        assert len(sizes) > 5
        assert max(sizes) <= 6000 + 100
        sent = [name for part in names(account.shards.sent) for name in part]
        assert sent == sorted(account.registry.registered)

    def test_refused_documents_are_logged_by_the_tick_and_are_in_no_shard(self, account: FakeAccount) -> None:
        served = serve(account, 10)
        account.registry.bad["broken"] = "the document of workload broken is refused"
        account.add_workload(replace(workload("thief"), fleet=served[0].fleet))
        tick(account)
        deliver(account, account.shards.sent)
        logged = [(name, counter) for name, counter, _ in account.report.failures]
        assert sorted(logged) == [
            ("broken", Counter.DOCUMENT_INVALID),
            ("thief", Counter.DOCUMENT_INVALID),
            ("w00", Counter.DOCUMENT_INVALID),
        ]
        assert sorted(account.published()) == [each.name for each in served[1:]]

    def test_a_shard_that_cannot_be_sent_is_logged_and_fails_the_tick_once_the_others_are_sent(
        self, account: FakeAccount
    ) -> None:
        serve(account, 11)
        account.shards.refusing["w03"] = "SQS is throttling"
        with pytest.raises(TransientError, match="1 of 4 shards could not be sent"):
            tick(account)
        assert account.report.failures == [("w03 to w05 at 12:00", Counter.SHARD_FAILED, "SQS is throttling")]
        assert names(account.shards.sent) == [["w00", "w01", "w02"], ["w06", "w07", "w08"], ["w09", "w10"]]
        assert account.report.counts[Counter.SHARDS_SENT] == 3

    def test_without_a_queue_for_them_the_tick_says_which_setting_is_missing(
        self, account: FakeAccount
    ) -> None:
        serve(account, 9)
        with pytest.raises(ConfigError, match=r"template\.yaml sets SLUICE_SHARD_QUEUE_URL"):
            publish_backlog(
                MINUTE_NOW, replace(account.ports, shards=None), account.report, account.remaining_s
            )

    def test_a_stale_tick_sends_no_shards(self, account: FakeAccount) -> None:
        serve(account, 9)
        tick(account, account.clock() - seconds(111))
        assert account.calls.made == []
        assert account.report.counts == {Counter.STALE_TICK: 1}


class TestTheShards:
    def test_the_shards_together_publish_every_workload_once_for_the_minute(
        self, account: FakeAccount
    ) -> None:
        served = serve(account, 11)
        tick(account)
        assert deliver(account, account.shards.sent) == []
        assert averages(account, served) == {each.name: {MINUTE_NOW: 3} for each in served}
        assert account.report.counts[Counter.WORKLOADS_SERVED] == 11

    def test_a_shard_that_is_served_in_the_next_minute_publishes_for_the_minute_of_its_tick(
        self, account: FakeAccount
    ) -> None:
        """One minute old, it is not stale. By the clock, 12:00 would be a gap and 12:01 would have two
        points.
        """
        served = serve(account, 11)
        tick(account)
        account.clock.at = MINUTE_NOW + seconds(60)
        assert deliver(account, account.shards.sent) == []
        assert averages(account, served) == {each.name: {MINUTE_NOW: 3} for each in served}

    @pytest.mark.parametrize("seed", range(20))
    def test_shards_of_three_minutes_delivered_twice_in_any_order_change_no_average(
        self, account: FakeAccount, seed: int
    ) -> None:
        served, once = serve(account, 11), FakeAccount()
        serve(once, 11)
        for minute in range(3):
            for each in (once, account):
                each.clock.at = MINUTE_NOW + timedelta(minutes=minute, seconds=5)
                tick(each, MINUTE_NOW + timedelta(minutes=minute))
        deliver_in_their_minutes(once, once.shards.sent)
        twice = account.shards.sent * 2
        deliver_in_their_minutes(account, random.Random(seed).sample(twice, len(twice)))
        assert averages(account, served) == averages(once, served)
        assert averages(once, served) == {
            each.name: {MINUTE_NOW + timedelta(minutes=minute): 3 for minute in range(3)} for each in served
        }

    def test_a_shard_reads_no_registry_and_only_its_own_queues_and_fleets(self, account: FakeAccount) -> None:
        served = serve(account, 11)
        tick(account)
        account.calls.made.clear()
        deliver(account, account.shards.sent[:1])
        assert account.calls.named("registry.all") == []
        assert account.calls.named("queues.read") == [{each.queue_url for each in served[:3]}]
        assert account.calls.named("fleets.read") == [{each.fleet for each in served[:3]}]

    def test_a_shard_bootstraps_and_shuts_down_as_a_tick_does(self, account: FakeAccount) -> None:
        served = serve(account, 11)
        at_zero = account.add_workload(served[0], visible=1)
        idle = account.add_workload(served[4], desired=3)
        account.publish_idle_minutes(idle)
        tick(account)
        deliver(account, account.shards.sent)
        assert (account.desired(at_zero), account.desired(idle)) == (1, 0)
        logged = [(decision.trigger, outcome) for decision, outcome in account.report.decisions]
        assert logged == [(Trigger.TICK, Outcome.ACTED)] * 2

    @pytest.mark.parametrize("calls_before", range(1, 12))
    def test_the_same_shard_delivered_during_its_first_run_sets_no_other_size(
        self, account: FakeAccount, calls_before: int
    ) -> None:
        served = serve(account, 11)
        at_zero = account.add_workload(served[0], visible=1)
        tick(account)
        shard, waiting = account.shards.sent[:1], [calls_before]

        def deliver_again() -> None:
            waiting[0] -= 1
            if waiting[0] == 0:
                deliver(account, shard)

        account.calls.between = deliver_again
        assert deliver(account, shard) == []
        assert waiting[0] <= 0, "the shard made fewer calls"
        assert set(account.resizes()) == {(at_zero.fleet, 1)}
        assert {len(minutes) for minutes in averages(account, served[:3]).values()} == {1}

    def test_a_workload_is_repaired_by_its_document_as_it_is_now(self, account: FakeAccount) -> None:
        served = serve(account, 11)
        at_zero = account.add_workload(served[0], visible=1)
        tick(account)
        account.registry.registered[at_zero.name] = replace(at_zero, mode=Mode.PAUSED)
        deliver(account, account.shards.sent[:1])
        assert account.resizes() == []

    def test_a_workload_that_moved_to_another_fleet_since_the_tick_is_left_to_the_next_one(
        self, account: FakeAccount
    ) -> None:
        """A workload that this shard does not know may claim that fleet."""
        served = serve(account, 11)
        at_zero = account.add_workload(served[1], visible=1)
        tick(account)
        moved = replace(at_zero, fleet=AutoScalingGroup(name="w09"))
        account.registry.registered[at_zero.name] = moved
        deliver(account, account.shards.sent[:1])
        assert account.resizes() == []
        [(name, counter, reason)] = account.report.failures
        assert (name, counter) == (at_zero.name, Counter.ACTION_FAILED)
        assert "its tick did not see it" in reason

    def test_a_shard_past_its_minute_does_nothing_and_is_not_retried(self, account: FakeAccount) -> None:
        serve(account, 11)
        tick(account)
        account.calls.made.clear()
        account.clock.at = MINUTE_NOW + seconds(111)
        assert deliver(account, account.shards.sent) == []
        assert account.calls.made == []
        assert account.report.counts[Counter.STALE_TICK] == 4

    def test_a_failing_shard_is_named_counted_and_retried_while_the_others_are_served(
        self, account: FakeAccount
    ) -> None:
        served = serve(account, 11)
        tick(account)
        put = account.metrics.publish

        def refuse_the_second(points: dict[str, DataPoint]) -> object:
            account.metrics.refusing = "CloudWatch is throttling" if "w03" in points else None
            return put(points)

        account.metrics.publish = refuse_the_second
        assert deliver(account, account.shards.sent) == ["1"]
        assert [name for name, minutes in averages(account, served).items() if not minutes] == [
            "w03",
            "w04",
            "w05",
        ]
        assert account.report.counts[Counter.SHARD_FAILED] == 1
        assert (
            "w03 to w05 at 12:00",
            Counter.SHARD_FAILED,
            "CloudWatch refused the data points of 3 workloads",
        ) in account.report.failures

    def test_a_defect_in_one_shard_is_logged_with_its_trace_and_stops_no_other(
        self, account: FakeAccount
    ) -> None:
        serve(account, 11)
        tick(account)
        read, defect = account.fleets.read, RuntimeError("a defect of ours")

        def trip(fleets: set[Fleet], remaining_s: RemainingS) -> object:
            if AutoScalingGroup(name="w01") in fleets:
                raise defect
            return read(fleets, remaining_s)

        account.fleets.read = trip
        assert deliver(account, account.shards.sent) == ["0"]
        assert len(account.published()) == 8
        assert account.report.recorded_defects == [defect]

    def test_a_message_that_is_not_a_shard_fails_alone_and_is_named_by_its_id(
        self, account: FakeAccount
    ) -> None:
        serve(account, 11)
        tick(account)
        assert deliver(account, ["hello", *account.shards.sent]) == ["0"]
        assert len(account.published()) == 11
        [(name, counter, reason)] = account.report.failures
        assert (name, counter) == ("message 0", Counter.SHARD_FAILED)
        assert reason == "the message is not JSON, so not a shard of a tick: 'hello'"

    def test_a_slow_shard_uses_up_its_own_share_of_the_time_alone(self, account: FakeAccount) -> None:
        served = serve(account, 11)
        tick(account)
        read, slow = account.fleets.read, served[0].fleet

        def until_no_time_is_left(fleets: set[Fleet], remaining_s: RemainingS) -> object:
            while slow in fleets and remaining_s() > 0:
                account.remaining -= 1
            return read(fleets, remaining_s)

        account.fleets.read = until_no_time_is_left
        assert deliver(account, account.shards.sent) == []
        assert [name for name, minutes in averages(account, served).items() if not minutes] == [
            "w00",
            "w01",
            "w02",
        ]

    def test_a_shard_for_which_no_time_is_left_is_not_begun(self, account: FakeAccount) -> None:
        serve(account, 11)
        tick(account)
        account.calls.made.clear()
        account.remaining = 0
        with pytest.raises(TransientError, match="all 2 shards of this batch failed"):
            deliver(account, account.shards.sent[:2])
        assert account.calls.made == []
        assert {reason for _, _, reason in account.report.failures} == {NO_TIME_LEFT}

    def test_a_shard_without_a_configured_queue_fails_with_the_missing_setting(
        self, account: FakeAccount
    ) -> None:
        serve(account, 11)
        tick(account)
        ports = replace(account.ports, shards=None)
        with pytest.raises(TransientError):
            publish_shards({"0": account.shards.sent[0]}, ports, account.report, account.remaining_s)
        assert "SLUICE_SHARD_QUEUE_URL" in account.report.failures[0][2]

    def test_an_unreadable_queue_is_a_gap_of_its_own_workload_and_no_failure_of_the_shard(
        self, account: FakeAccount
    ) -> None:
        served = serve(account, 11)
        account.queues.failing[served[0].queue_url] = "AccessDenied"
        tick(account)
        assert deliver(account, account.shards.sent) == []
        assert len(account.published()) == 10
        assert account.report.counts[Counter.OBSERVATION_FAILED] == 1


def deliver_in_their_minutes(account: FakeAccount, bodies: Sequence[str]) -> None:
    for body in bodies:
        account.clock.at = parse_shard(body).scheduled + seconds(10)
        assert deliver(account, [body]) == []
