import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_worker.core.model import Poll, Priority, Queue
from sluice_worker.core.queue_choice import (
    MAX_POLLS_PER_MINUTE,
    PollScheduler,
    score,
)
from tests.worker.core.builders import HIGH, LOW, MEDIUM, depth, queue, room

WEIGHTS = st.floats(min_value=0.001, max_value=1000)
WAITS = st.floats(min_value=0, max_value=86_400)
MESSAGES = st.integers(1, 1_000_000)
POLLS = st.integers(0, 10_000)


class TestScore:
    def test_ten_messages_of_high_priority_after_five_seconds_score_116_700(self) -> None:
        assert round(score(10, queue(priority=Priority.HIGH), 5, 0), -2) == 116_700

    def test_twenty_messages_of_medium_priority_and_weight_075_after_a_minute_score_22_500(self) -> None:
        assert score(20, queue(priority=Priority.MEDIUM, weight=0.75), 60, 0) == 22_500

    def test_fifty_messages_of_low_priority_and_weight_05_polled_fifteen_times_score_about_2_534(
        self,
    ) -> None:
        assert score(50, queue(priority=Priority.LOW, weight=0.5), 2, 15) == pytest.approx(2534, abs=1)

    @pytest.mark.parametrize(("priority", "largest"), [("high", 2.0), ("medium", 1.5), ("low", 1.2)])
    def test_waiting_lifts_a_score_up_to_its_prioritys_largest_boost(
        self, priority: str, largest: float
    ) -> None:
        waiting = queue(priority=Priority(priority))
        at_once = score(1, waiting, 0, 0)
        assert score(1, waiting, 3, 0) == pytest.approx(1.1 * at_once)
        assert score(1, waiting, 3600, 0) == pytest.approx(largest * at_once)

    @pytest.mark.parametrize(("polls", "penalty"), [(0, 1.0), (15, 0.95), (150, 0.5), (100_000, 0.5)])
    def test_recent_polls_lower_the_score_to_half_at_most(self, polls: int, penalty: float) -> None:
        assert score(1, MEDIUM, 0, polls) == pytest.approx(1000 * penalty)

    @given(st.sampled_from([HIGH, MEDIUM, LOW]), MESSAGES, MESSAGES, WAITS, WAITS, POLLS, POLLS)
    def test_it_grows_with_messages_and_waiting_and_falls_with_polls(
        self,
        polled: Queue,
        messages: int,
        more: int,
        waited_s: float,
        longer_s: float,
        polls: int,
        maximum: int,
    ) -> None:
        base = score(messages, polled, waited_s, polls)
        assert base > 0
        assert base < score(messages + more, polled, waited_s, polls)
        assert base <= score(messages, polled, waited_s + longer_s, polls)
        assert base >= score(messages, polled, waited_s, polls + maximum)

    @given(MESSAGES, WEIGHTS, WAITS, POLLS)
    def test_among_queues_alike_the_higher_priority_scores_more(
        self, messages: int, weight: float, waited_s: float, polls: int
    ) -> None:
        scores = [score(messages, queue("q", priority, weight), waited_s, polls) for priority in Priority]
        assert scores == sorted(scores, reverse=True)


def scheduler(*queues: Queue, now: float = 0.0, **settings: float) -> PollScheduler:
    return PollScheduler(queues or (HIGH, MEDIUM, LOW), now, **settings)


def chosen(by: PollScheduler, now: float, *queues: Queue) -> Queue | None:
    poll = by.next_poll(now, room(*(queues or (HIGH, MEDIUM, LOW))))
    return None if poll is None else poll.queue


def short(polled: Queue, messages: int = 10) -> Poll:
    return Poll(queue=polled, max_messages=messages, wait_s=0)


def emptied(*queues: Queue, now: float = 0.0) -> PollScheduler:
    """A schedule that has seen each of these empty."""
    by = scheduler(*queues, now=now)
    for each in queues or (HIGH, MEDIUM, LOW):
        by.record_poll(short(each), 0, now)
    return by


class TestChoice:
    def test_at_the_start_everything_is_unknown_and_the_highest_priority_is_polled_first(self) -> None:
        assert scheduler().next_poll(0, room(HIGH, MEDIUM, LOW)) == short(HIGH)

    def test_the_highest_score_is_next_whatever_the_order_of_the_queues(self) -> None:
        by = scheduler(LOW, HIGH, MEDIUM)
        by.record_depth(LOW, depth(2_000), 1)
        by.record_depth(MEDIUM, depth(100), 1)
        by.record_depth(HIGH, depth(11), 1)
        assert chosen(by, 1) == LOW

    def test_weight_sets_queues_of_one_priority_against_each_other(self) -> None:
        light, heavy = queue("light", weight=1), queue("heavy", weight=3)
        by = scheduler(light, heavy)
        for each in (light, heavy):
            by.record_depth(each, depth(50), 0)
        picks = []
        for step in range(400):
            picks.append(chosen(by, step / 10, light, heavy))
            for each in (light, heavy):
                by.record_depth(each, depth(50), step / 10)
        assert picks.count(heavy) > 0.9 * len(picks)

    def test_equal_queues_alternate(self) -> None:
        one, other = queue("one"), queue("other")
        by = scheduler(one, other)
        picks = []
        for step in range(20):
            for each in (one, other):
                by.record_depth(each, depth(50), step)
            picks.append(chosen(by, step, one, other))
        assert picks.count(one) == picks.count(other) == 10

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_among_equal_queues_the_one_that_waited_longer_is_next(self, order: tuple[int, int]) -> None:
        """Polled equally often, so that they differ only in their wait."""
        longer, shorter = alike = queue("longer"), queue("shorter")
        by = scheduler(*(alike[place] for place in order))
        assert by.next_poll(0, room(longer) | room(shorter, messages=0)) == short(longer)
        assert by.next_poll(5, room(shorter) | room(longer, messages=0)) == short(shorter)
        assert chosen(by, 6, longer, shorter) == longer

    @pytest.mark.parametrize(
        ("now", "expected"), [(59, "lighter"), (59.9, "lighter"), (60, "busy"), (61, "busy")]
    )
    def test_a_poll_counts_against_its_queue_for_a_minute(self, now: float, expected: str) -> None:
        busy, lighter = queue("busy", weight=1), queue("lighter", weight=0.95)
        by = scheduler(busy, lighter, starving_after_s=1000)
        for _ in range(30):  # a tenth off its score, and both wait since 0
            assert by.next_poll(0, room(busy) | room(lighter, messages=0)) == short(busy)
        picked = chosen(by, now, busy, lighter)
        assert picked is not None
        assert picked.name == expected

    def test_a_queue_without_capacity_is_not_polled(self) -> None:
        by = scheduler()
        assert by.next_poll(0, room(MEDIUM, LOW) | room(HIGH, messages=0)) == short(MEDIUM)

    def test_without_any_capacity_nothing_is_polled(self) -> None:
        assert scheduler().next_poll(0, room(HIGH, MEDIUM, LOW, messages=0)) is None
        assert emptied().next_poll(0, room(HIGH, MEDIUM, LOW, messages=0)) is None

    @pytest.mark.parametrize(("messages", "max_messages"), [(1, 1), (9, 9), (10, 10), (1000, 10)])
    def test_a_poll_asks_for_the_free_capacity_and_ten_at_most(
        self, messages: int, max_messages: int
    ) -> None:
        poll = scheduler(HIGH).next_poll(0, room(HIGH, messages=messages))
        assert poll == short(HIGH, max_messages)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([HIGH, MEDIUM, LOW]),
                st.floats(0, 30),
                st.one_of(st.none(), st.integers(0, 10)),
                st.one_of(st.none(), st.integers(0, 10**6)),
                st.integers(0, 200),
            ),
            max_size=60,
        )
    )
    def test_a_poll_always_fits_the_capacity_and_waits_only_while_every_queue_is_empty(
        self, steps: list[tuple[Queue, float, int | None, int | None, int]]
    ) -> None:
        by, now = scheduler(), 0.0
        for read, pause_s, received, visible, messages in steps:
            now += pause_s
            by.record_depth(read, None if visible is None else depth(visible), now)
            all_empty = by.all_queues_empty
            free_capacity = room(HIGH, MEDIUM, LOW, messages=5) | room(read, messages=messages)
            poll = by.next_poll(now, free_capacity)
            if poll is None:
                continue
            assert 1 <= poll.max_messages <= min(10, free_capacity[poll.queue.url])
            assert poll.wait_s == (20 if all_empty else 0)
            by.record_poll(poll, None if received is None else min(received, poll.max_messages), now)

    def test_a_poll_requests_only_what_more_urgent_queues_do_not_claim(self) -> None:
        unclaimed = room(HIGH, messages=0) | room(MEDIUM, messages=0) | room(LOW, messages=3)
        assert scheduler().next_poll(0, room(HIGH, MEDIUM, LOW), unclaimed) == short(LOW, 3)
        assert scheduler().next_poll(0, room(HIGH, MEDIUM, LOW), room(HIGH, MEDIUM, LOW, messages=0)) is None


class TestStarvation:
    def test_a_queue_not_polled_for_a_minute_is_next_whatever_the_scores(self) -> None:
        by = scheduler(stale_after_s=1000)
        by.record_depth(HIGH, depth(1_000_000), 0)
        by.record_depth(LOW, depth(1), 0)
        for step in range(60):
            assert chosen(by, step) == HIGH
        assert {chosen(by, 60), chosen(by, 60)} == {MEDIUM, LOW}
        assert chosen(by, 60) == HIGH

    def test_among_starving_queues_the_one_that_waited_longest_is_next(self) -> None:
        by = scheduler(stale_after_s=1000)
        assert chosen(by, 1, MEDIUM, HIGH, LOW) == HIGH
        assert by.next_poll(2, room(HIGH, MEDIUM, LOW) | room(HIGH, MEDIUM, messages=0)) == short(LOW)
        assert [chosen(by, 70) for _ in range(3)] == [MEDIUM, HIGH, LOW]

    def test_a_queue_that_is_empty_does_not_starve(self) -> None:
        by = scheduler(stale_after_s=1000)
        by.record_depth(HIGH, depth(1000), 100)
        by.record_depth(MEDIUM, depth(0), 100)
        by.record_poll(short(LOW), 0, 100)
        assert [chosen(by, 100.5) for _ in range(5)] == [HIGH] * 5

    def test_a_queue_of_unknown_depth_can_starve(self) -> None:
        by = scheduler()
        by.record_depth(HIGH, depth(1000), 59)
        by.record_depth(MEDIUM, None, 59)
        assert {chosen(by, 60) for _ in range(3)} == {HIGH, MEDIUM, LOW}

    def test_a_starving_queue_without_capacity_is_next_once_it_has_some(self) -> None:
        by = scheduler(HIGH, LOW, stale_after_s=1000)
        by.record_depth(HIGH, depth(1000), 60)
        full = room(HIGH) | room(LOW, messages=0)
        assert by.next_poll(60, full) == short(HIGH)
        assert by.next_poll(61, full | room(LOW, messages=3)) == short(LOW, 3)

    def test_a_starving_queue_may_use_all_its_capacity_if_nothing_is_unclaimed(self) -> None:
        nothing = room(HIGH, MEDIUM, LOW, messages=0)
        free_capacity = room(HIGH, MEDIUM, messages=0) | room(LOW, messages=7)
        assert scheduler().next_poll(59, free_capacity, nothing) is None
        assert scheduler().next_poll(60, free_capacity, nothing) == short(LOW, 7)


class TestDepthReadings:
    def test_a_stale_reading_is_dropped(self) -> None:
        by = scheduler(HIGH, LOW)
        by.record_depth(LOW, depth(1_000_000), 0)
        assert chosen(by, 14, HIGH, LOW) == LOW
        assert chosen(by, 15, HIGH, LOW) == HIGH

    def test_a_reading_that_failed_leaves_the_last_one_until_that_is_stale(self) -> None:
        by = scheduler(HIGH, LOW)
        by.record_depth(LOW, depth(1_000_000), 0)
        by.record_depth(LOW, None, 5)
        assert chosen(by, 14, HIGH, LOW) == LOW
        assert chosen(by, 15, HIGH, LOW) == HIGH

    def test_an_empty_poll_is_valid_for_a_second(self) -> None:
        by = scheduler(HIGH, LOW)
        by.record_poll(short(HIGH), 0, 10)
        assert chosen(by, 10.9, HIGH, LOW) == LOW
        assert chosen(by, 11, HIGH, LOW) == HIGH

    def test_a_full_batch_means_that_more_messages_wait(self) -> None:
        by = scheduler(HIGH, MEDIUM)
        by.record_depth(MEDIUM, depth(60), 1)
        by.record_poll(short(HIGH), 10, 1)
        assert chosen(by, 1, HIGH, MEDIUM) == HIGH
        by.record_poll(short(HIGH), 9, 1)
        by.record_poll(short(HIGH), 9, 1)
        assert chosen(by, 1, HIGH, MEDIUM) == MEDIUM

    def test_received_messages_are_subtracted_from_the_reading(self) -> None:
        by = scheduler(MEDIUM, LOW)
        by.record_depth(MEDIUM, depth(30), 1)
        by.record_depth(LOW, depth(210), 1)
        assert chosen(by, 1, MEDIUM, LOW) == MEDIUM
        by.record_poll(short(MEDIUM), 10, 1)
        assert chosen(by, 1, MEDIUM, LOW) == LOW

    def test_a_depth_of_zero_is_also_valid_for_a_second(self) -> None:
        """AWS's counts are approximate, and a minute late at worst."""
        by = scheduler(HIGH, LOW)
        by.record_depth(HIGH, depth(0), 10)
        assert chosen(by, 10.9, HIGH, LOW) == LOW
        assert chosen(by, 11, HIGH, LOW) == HIGH

    def test_a_queues_depth_is_known_only_while_its_reading_is_fresh(self) -> None:
        by = scheduler(HIGH, LOW)
        by.record_depth(HIGH, depth(3, 1), 0)
        assert by.depths(0) == {HIGH.url: depth(3, 1), LOW.url: None}
        by.record_depth(LOW, depth(4, 1), 10)
        assert by.depths(15) == {HIGH.url: depth(3, 1), LOW.url: depth(4, 1)}
        assert by.depths(15.1) == {HIGH.url: None, LOW.url: depth(4, 1)}
        by.record_depth(HIGH, None, 16)
        assert by.depths(16) == {HIGH.url: None, LOW.url: depth(4, 1)}

    def test_an_idle_month_uses_no_more_memory_than_an_idle_minute(self) -> None:
        def size(polls: int) -> int:
            by = emptied(HIGH)
            for count in range(polls):
                poll = by.next_poll(20.0 * count, room(HIGH))
                assert poll is not None
                by.record_poll(poll, 0, 20.0 * count)
            return len(pickle.dumps(by))

        assert size(10_000) < size(10) + 100

    def test_a_minute_of_many_polls_stores_no_more_than_the_penalty_counts(self) -> None:
        def size(polls: int) -> int:
            by = scheduler(HIGH)
            for count in range(polls):
                poll = by.next_poll(count / 1000, room(HIGH))
                assert poll is not None
                by.record_poll(poll, 10, count / 1000)
            return len(pickle.dumps(by))

        assert size(10_000) < size(MAX_POLLS_PER_MINUTE) + 100


class TestLongPolls:
    def test_a_poll_waits_twenty_seconds_once_everything_is_empty(self) -> None:
        poll = emptied().next_poll(1, room(HIGH, MEDIUM, LOW))
        assert poll == Poll(queue=HIGH, max_messages=10, wait_s=20)

    @pytest.mark.parametrize("unknown", [HIGH, MEDIUM, LOW])
    def test_no_poll_waits_while_any_queue_may_hold_messages(self, unknown: Queue) -> None:
        by = scheduler()
        for each in {HIGH, MEDIUM, LOW} - {unknown}:
            by.record_poll(short(each), 0, 0)
        for now in (0, 1, 30, 600):
            poll = by.next_poll(now, room(HIGH, MEDIUM, LOW))
            assert poll is None or poll.wait_s == 0

    def test_recently_empty_queues_are_not_polled_while_a_queue_without_capacity_holds_messages(
        self,
    ) -> None:
        by = scheduler(HIGH, LOW)
        by.record_poll(short(LOW), 0, 0)
        assert by.next_poll(0.5, room(LOW) | room(HIGH, messages=0)) is None

    def test_a_message_ends_the_wait(self) -> None:
        by = emptied()
        by.record_poll(Poll(queue=LOW, max_messages=10, wait_s=20), 1, 20)
        assert not by.all_queues_empty
        poll = by.next_poll(20, room(HIGH, MEDIUM, LOW))
        assert poll is not None
        assert poll.wait_s == 0

    def test_a_reading_with_messages_ends_the_wait_and_one_without_starts_it(self) -> None:
        by = emptied(HIGH)
        by.record_depth(HIGH, depth(1), 2)
        assert not by.all_queues_empty
        by.record_depth(HIGH, depth(0), 3)
        assert by.all_queues_empty

    def test_a_reading_that_failed_does_not_end_it(self) -> None:
        by = emptied(HIGH)
        by.record_depth(HIGH, None, 1)
        assert by.all_queues_empty

    def test_pollers_that_wait_spread_over_all_queues(self) -> None:
        by = emptied()
        polls = [by.next_poll(1, room(HIGH, MEDIUM, LOW)) for _ in range(6)]
        assert [poll.queue for poll in polls if poll] == [HIGH, MEDIUM, LOW] * 2
        assert polls[1] is not None
        by.record_poll(polls[1], 0, 21)
        assert chosen(by, 21) == MEDIUM

    def test_a_long_poll_that_failed_is_not_counted_as_waiting_any_more(self) -> None:
        by = emptied(HIGH, LOW)
        poll = by.next_poll(1, room(HIGH, LOW))
        assert poll is not None
        by.record_poll(poll, None, 2)
        assert [chosen(by, 3, HIGH, LOW), chosen(by, 3, HIGH, LOW)] == [LOW, HIGH]


class TestFailingPolls:
    def test_a_queue_whose_poll_failed_is_not_polled_for_a_second(self) -> None:
        by = scheduler(HIGH, LOW)
        by.record_poll(short(HIGH), None, 1)
        assert chosen(by, 1.9, HIGH, LOW) == LOW
        assert chosen(by, 2, HIGH, LOW) == HIGH

    def test_the_pause_doubles_up_to_thirty_seconds_and_a_success_ends_it(self) -> None:
        by, now, pauses_s = scheduler(HIGH), 0.0, []
        for _ in range(8):
            by.record_poll(short(HIGH), None, now)
            failed_at = now
            while chosen(by, now, HIGH) is None:
                now += 0.5
            pauses_s.append(now - failed_at)
        assert pauses_s == [1, 2, 4, 8, 16, 30, 30, 30]
        by.record_poll(short(HIGH), 5, now)
        by.record_poll(short(HIGH), None, now)
        assert chosen(by, now + 1, HIGH) == HIGH

    def test_polls_that_failed_together_count_as_one_failure(self) -> None:
        by = scheduler(HIGH)
        for _ in range(10):
            by.record_poll(short(HIGH), None, 0)
        assert chosen(by, 1, HIGH) == HIGH

    def test_no_queue_is_polled_while_all_of_them_pause(self) -> None:
        by = emptied(HIGH)
        by.record_poll(short(HIGH), None, 0)
        assert by.next_poll(0.5, room(HIGH)) is None

    def test_a_failed_poll_says_nothing_about_a_queues_depth(self) -> None:
        by = emptied(HIGH)
        by.record_poll(short(HIGH), None, 1)
        assert by.all_queues_empty
