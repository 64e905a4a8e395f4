"""The minute's tick queues the ticks below a minute, far enough ahead that later ones may fail or be late."""

from collections import Counter as Multiset
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from sluice.core.minutes import MINUTE
from sluice.core.model import Bounds, Mode, Workload
from sluice.errors import DefectError, TransientError
from sluice.events import Shard, parse_shard
from sluice.ports import Counter, Registered
from sluice.usecases import shards
from sluice.usecases.deadline_ticks import STALE_AFTER
from sluice.usecases.queue_ticks import AHEAD, BYTES_PER_TICK, WORKLOADS_PER_TICK, queue_ticks
from sluice.usecases.tick import publish_backlog
from tests.support.builders import (
    MINUTE_NOW,
    deadline,
    deadline_workload,
    plenty,
    seconds,
    workload,
)
from tests.support.fakes import FakeAccount

BILLED_BYTES = 64 * 1024


def tick(account: FakeAccount, minute: int = 0, *, late_s: float = 0) -> None:
    """The minute's tick, which starts so much later than it was scheduled."""
    scheduled = MINUTE_NOW + MINUTE * minute
    account.clock.at = scheduled + seconds(late_s)
    publish_backlog(scheduled, account.ports, account.report, account.remaining_s)


def queued(account: FakeAccount) -> list[Shard]:
    return [parse_shard(body) for _, body in account.tick_queue.queued]


def moments(account: FakeAccount, name: str = "transcription") -> list[datetime]:
    """The moments for which a tick of this workload was queued, in the order of sending."""
    return [tick.scheduled for tick in queued(account) if name in tick.documents]


def grid(start: datetime, end: datetime, step_s: int = 10) -> list[datetime]:
    return [start + seconds(each) for each in range(0, round((end - start).total_seconds()), step_s)]


def add(account: FakeAccount, name: str = "transcription", **changes: object) -> Workload:
    return account.add_workload(deadline_workload(name=name, **changes), desired=1)


class TestMoments:
    @pytest.mark.parametrize("tick_s", [5, 10, 20, 30, 60])
    def test_the_first_tick_queues_every_moment_of_the_minutes_grid_for_four_minutes(
        self, account: FakeAccount, tick_s: int
    ) -> None:
        add(account, settings=deadline(tick_s=tick_s))
        tick(account, late_s=1)
        first = MINUTE_NOW + seconds(tick_s)
        assert moments(account) == grid(first, MINUTE_NOW + AHEAD, tick_s)

    @pytest.mark.parametrize("late_s", [0, 0.4, 3.6, 17.2, 59])
    def test_each_tick_is_delivered_at_its_own_moment(self, account: FakeAccount, late_s: float) -> None:
        """SQS delays by whole seconds."""
        add(account)
        tick(account, late_s=late_s)
        assert account.tick_queue.queued
        for delivered, body in account.tick_queue.queued:
            assert abs(delivered - parse_shard(body).scheduled) <= seconds(0.5)

    @pytest.mark.parametrize("tick_s", [5, 10, 20, 30, 60])
    @pytest.mark.parametrize(
        ("late_s", "failing"),
        [
            ([0, 0, 0, 0, 0, 0], ()),
            ([0, 59, 0, 59, 59, 0], ()),
            ([0, 0, 59, 0, 0, 0], (1,)),
            ([0, 0, 0, 59, 0, 0], (1, 2)),
            ([30, 0, 0, 30, 0, 59], (1, 2, 4)),
        ],
    )
    @pytest.mark.parametrize("warm", [True, False])
    def test_no_gap_where_one_or_two_ticks_in_a_row_fail_or_start_59_s_late(
        self, account: FakeAccount, tick_s: int, late_s: list[float], failing: tuple[int, ...], warm: bool
    ) -> None:
        add(account, settings=deadline(tick_s=tick_s))
        for minute, late in enumerate(late_s):
            if minute not in failing:
                if not warm:
                    account.queued_ticks.clear()
                tick(account, minute, late_s=late)
        first = MINUTE_NOW + seconds(60 if late_s[0] else 0)
        expected = grid(first, MINUTE_NOW + MINUTE * 5 + AHEAD, tick_s)
        assert set(expected) <= set(moments(account))

    def test_a_tick_that_cannot_be_queued_is_queued_by_the_next_minutes_tick(
        self, account: FakeAccount
    ) -> None:
        add(account)
        tick(account)
        account.tick_queue.refusing["transcription"] = "SQS is throttling"
        for minute in (1, 2):
            with pytest.raises(TransientError):
                tick(account, minute)
        account.tick_queue.refusing.clear()
        tick(account, 3)
        assert set(moments(account)) == set(grid(MINUTE_NOW, MINUTE_NOW + MINUTE * 3 + AHEAD))


class TestTwice:
    def test_a_warm_process_queues_nothing_twice(self, account: FakeAccount) -> None:
        add(account)
        add(account, "other", settings=deadline(tick_s=30))
        for minute, late_s in enumerate([7, 0, 59, 12, 59]):
            tick(account, minute, late_s=late_s)
        for name in ("transcription", "other"):
            assert set(Multiset(moments(account, name)).values()) == {1}

    def test_a_tick_that_starts_after_its_successor_queues_nothing_again(self, account: FakeAccount) -> None:
        add(account)
        tick(account, 1)
        before = moments(account)
        account.clock.at = MINUTE_NOW + seconds(62)
        publish_backlog(MINUTE_NOW, account.ports, account.report, account.remaining_s)
        assert moments(account) == before
        tick(account, 2)
        assert set(Multiset(moments(account)).values()) == {1}

    def test_a_changed_document_is_sent_anew_from_now_on(self, account: FakeAccount) -> None:
        served = add(account)
        tick(account)
        sent = len(account.tick_queue.queued)
        changed = replace(served, bounds=Bounds(min=1, max=9))
        account.registry.registered[served.name] = changed
        account.registry._copy = None
        tick(account, 1, late_s=5)
        anew = queued(account)[sent:]
        assert {text for each in anew for text in each.documents.values()} == {repr(changed)}
        start = MINUTE_NOW + MINUTE + seconds(10)
        assert [each.scheduled for each in anew] == grid(start, MINUTE_NOW + MINUTE + AHEAD)


class TestSlices:
    @staticmethod
    def queue(account: FakeAccount, documents: Mapping[str, str], tick_s: int = 60) -> list[Shard]:
        workloads = tuple(
            deadline_workload(name=name, settings=deadline(tick_s=tick_s)) for name in documents
        )
        registry = Registered(workloads=workloads, refused={}, documents=documents)
        account.clock.at = MINUTE_NOW
        queue_ticks(MINUTE_NOW, registry, account.ports, account.report, plenty)
        return [each for each in queued(account) if each.scheduled == MINUTE_NOW]

    def test_a_tick_serves_sixty_workloads_at_most(self, account: FakeAccount) -> None:
        slices = self.queue(account, {f"w{index:03}": "{}" for index in range(121)})
        assert [len(each.documents) for each in slices] == [WORKLOADS_PER_TICK, 60, 1]
        assert WORKLOADS_PER_TICK == 60

    def test_a_tick_is_billed_as_one_message(self, account: FakeAccount) -> None:
        slices = self.queue(account, {f"w{index:03}": "x" * 2_000 for index in range(60)})
        assert [len(each.documents) for each in slices] == [31, 29]
        assert BYTES_PER_TICK == 63_000
        assert all(len(body.encode()) <= BILLED_BYTES for _, body in account.tick_queue.queued)

    def test_workloads_with_ticks_of_other_lengths_are_slices_of_their_own(
        self, account: FakeAccount
    ) -> None:
        for name, tick_s in (("a", 10), ("b", 30), ("c", 10)):
            add(account, name, settings=deadline(tick_s=tick_s))
        tick(account)
        assert {tuple(each.documents) for each in queued(account)} == {("a", "c"), ("b",)}

    @pytest.mark.parametrize(("mode", "count"), [(Mode.ACTIVE, 24), (Mode.OBSERVE, 24), (Mode.PAUSED, 0)])
    def test_a_paused_workload_has_no_ticks(self, account: FakeAccount, mode: Mode, count: int) -> None:
        add(account, mode=mode)
        tick(account)
        assert len(queued(account)) == count

    def test_target_tracking_needs_neither_ticks_nor_their_queue(self, account: FakeAccount) -> None:
        account.add_workload(workload(), visible=6, desired=2)
        ports = replace(account.ports, tick_queue=None)
        publish_backlog(MINUTE_NOW, ports, account.report, account.remaining_s)
        assert account.calls.named("tick_queue.send") == []
        assert account.published()["transcription"].value == 3
        assert account.report.failures == []


class TestTheMinute:
    def test_ticks_are_queued_before_anything_is_read(self, account: FakeAccount) -> None:
        add(account)
        tick(account)
        made = [name for name, _ in account.calls.made]
        assert made.index("tick_queue.send") < made.index("queues.read")
        assert account.report.counts[Counter.TICKS_QUEUED] == 24

    def test_a_minute_whose_ticks_could_not_be_queued_is_served_and_then_fails(
        self, account: FakeAccount
    ) -> None:
        add(account)
        account.tick_queue.refusing["transcription"] = "SQS is throttling"
        with pytest.raises(TransientError, match="ticks below a minute could not be queued"):
            tick(account)
        assert set(account.published()) == {"transcription"}
        assert account.report.failures == [
            (
                "ticks below a minute",
                Counter.TICK_FAILED,
                (
                    "24 of 24 ticks could not be queued, the first for transcription to transcription at "
                    "12:00: SQS is throttling"
                ),
            )
        ]

    def test_a_defect_while_ticks_are_queued_is_logged_and_the_minute_is_served(
        self, account: FakeAccount
    ) -> None:
        add(account)
        defect = RuntimeError("a defect of ours")

        def trip(*_: object) -> None:
            raise defect

        account.tick_queue.send = trip  # type: ignore[assignment]
        with pytest.raises(DefectError):
            tick(account)
        assert set(account.published()) == {"transcription"}
        assert account.report.recorded_defects == [defect]

    def test_no_queue_fails_with_the_missing_setting(self, account: FakeAccount) -> None:
        add(account)
        ports = replace(account.ports, tick_queue=None)
        with pytest.raises(TransientError):
            publish_backlog(MINUTE_NOW, ports, account.report, account.remaining_s)
        [(_, counter, reason)] = account.report.failures
        assert (counter, "SLUICE_TICK_QUEUE_URL" in reason) == (Counter.TICK_FAILED, True)

    def test_slow_sending_leaves_half_of_the_time_to_the_minute(self, account: FakeAccount) -> None:
        add(account)
        send = account.tick_queue.send

        def until_no_time_is_left(messages: object, remaining_s: object) -> object:
            while remaining_s() > 0:  # type: ignore[operator]
                account.remaining -= 1
            return send(messages, remaining_s)  # type: ignore[arg-type]

        account.tick_queue.send = until_no_time_is_left  # type: ignore[assignment]
        with pytest.raises(TransientError, match="could not be queued"):
            tick(account)
        assert account.remaining == 30
        assert set(account.published()) == {"transcription"}

    def test_a_stale_tick_queues_nothing(self, account: FakeAccount) -> None:
        add(account)
        tick(account, late_s=111)
        assert account.tick_queue.queued == []


class TestShards:
    """With ten thousand workloads one invocation has neither the time nor the memory for all their ticks."""

    @pytest.fixture(autouse=True)
    def _two_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two workloads fit into one invocation here, and into a shard."""
        monkeypatch.setattr(shards, "MAX_WORKLOADS_PER_INVOCATION", 2)
        monkeypatch.setattr(shards, "WORKLOADS_PER_SHARD", 2)

    @staticmethod
    def minute(account: FakeAccount, minute: int) -> list[str]:
        """A tick and the delivery of its shards, five seconds later; returns the shards that failed."""
        sent = len(account.shards.sent)
        tick(account, minute)
        bodies = {str(place): body for place, body in enumerate(account.shards.sent[sent:])}
        account.clock.at += seconds(5)
        return shards.publish_shards(bodies, account.ports, account.report, account.remaining_s)

    def test_each_shard_queues_the_ticks_of_its_own_workloads(self, account: FakeAccount) -> None:
        for name in ("a", "b", "c"):
            add(account, name)
        tick(account)
        assert account.tick_queue.queued == []
        self.minute(account, 1)
        assert {tuple(each.documents) for each in queued(account)} == {("a", "b"), ("c",)}
        for name in ("a", "b", "c"):
            start = MINUTE_NOW + MINUTE + seconds(10)
            assert moments(account, name) == grid(start, MINUTE_NOW + MINUTE + AHEAD)

    def test_a_warm_process_queues_nothing_twice(self, account: FakeAccount) -> None:
        for name in ("a", "b", "c"):
            add(account, name)
        for minute in range(6):
            assert self.minute(account, minute) == []
        for name in ("a", "b", "c"):
            assert moments(account, name) == grid(MINUTE_NOW + seconds(10), MINUTE_NOW + MINUTE * 5 + AHEAD)

    def test_a_process_forgets_slices_whose_ticks_are_over(self, account: FakeAccount) -> None:
        for name in ("a", "b", "c"):
            add(account, name)
        self.minute(account, 0)
        del account.registry.registered["c"]
        for minute in range(1, 6):
            account.registry._copy = None
            self.minute(account, minute)
        assert len(account.queued_ticks) == 1

    def test_a_shard_whose_ticks_could_not_be_queued_is_published_and_fails_alone(
        self, account: FakeAccount
    ) -> None:
        for name in ("a", "b", "c"):
            add(account, name)
        account.tick_queue.refusing["c"] = "SQS is throttling"
        assert self.minute(account, 0) == ["1"]
        assert set(account.published()) == {"a", "b", "c"}
        assert account.report.counts[Counter.TICK_FAILED] == 1
        account.tick_queue.refusing.clear()
        assert self.minute(account, 1) == []
        assert set(moments(account, "c")) == set(
            grid(MINUTE_NOW + MINUTE + seconds(10), MINUTE_NOW + MINUTE + AHEAD)
        )


def test_a_tick_is_delivered_before_it_is_stale_even_if_its_queue_is_slow() -> None:
    assert timedelta(seconds=60) < STALE_AFTER < AHEAD
