import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_worker.core.model import IN_FLIGHT_QUOTA
from sluice_worker.core.pool_size import (
    Range,
    desired_pollers,
    desired_slots,
    prefetch_limit,
)
from tests.worker.core.builders import depth

COUNT = st.integers(min_value=0, max_value=1_000_000)
SHARE = st.floats(min_value=0, max_value=1)
SECONDS = st.floats(min_value=1e-4, max_value=3600)
RANGES = st.tuples(st.integers(0, 100), st.integers(0, 1000)).map(
    lambda bounds: Range(min=min(bounds), max=max(bounds))
)
SMALL = Range(min=5, max=100)


def pollers(
    visible: int,
    buffer_use: float = 0.0,
    *,
    average_s: float = 0.2,
    interval_s: float = 5.0,
    bounds: Range = SMALL,
    in_flight: int = 0,
) -> int:
    return desired_pollers(
        [depth(visible, in_flight)],
        average_s=average_s,
        interval_s=interval_s,
        buffer_use=buffer_use,
        pollers=bounds,
    )


class TestPollers:
    def test_a_buffer_that_is_nine_tenths_full_leaves_ten_of_a_hundred_pollers(self) -> None:
        assert pollers(1_000_000, 0.9) == 10

    def test_empty_queues_need_the_minimum_number_of_pollers(self) -> None:
        assert pollers(0) == 5

    def test_a_thousand_messages_of_200_ms_with_half_a_buffer_ask_for_forty_pollers(self) -> None:
        assert pollers(1000, 0.5) == 40

    @pytest.mark.parametrize(
        ("visible", "buffer_use", "expected"),
        [
            (126, 0.0, 6),  # 5.04 pollers: a part of one is one
            (125, 0.0, 5),  # 5 exactly
            (2500, 0.0, 100),
            (2501, 0.0, 100),  # bounded by the maximum
            (1_000_000, 0.93, 7),
            (1_000_000, 1.0, 5),  # a full buffer leaves the minimum: they find no capacity, and wait
        ],
    )
    def test_the_smaller_of_demand_and_capacity_counts_rounded_up_and_within_bounds(
        self, visible: int, buffer_use: float, expected: int
    ) -> None:
        assert pollers(visible, buffer_use) == expected

    @pytest.mark.parametrize("tenths", range(11))
    def test_no_rounding_error_adds_a_poller(self, tenths: int) -> None:
        """100 x (1 - 0.9) is 9.999999999999998, and 100 x (1 - 0.7) is 30.000000000000004."""
        assert pollers(1_000_000, tenths / 10, bounds=Range(min=0, max=100)) == 100 - 10 * tenths

    @pytest.mark.parametrize(("in_flight", "expected"), [(IN_FLIGHT_QUOTA - 1, 40), (IN_FLIGHT_QUOTA, 5)])
    def test_a_queue_at_its_in_flight_quota_gets_the_fewest_pollers(
        self, in_flight: int, expected: int
    ) -> None:
        assert pollers(1000, in_flight=in_flight) == expected

    def test_a_queue_at_its_quota_takes_no_pollers_from_the_others(self) -> None:
        both = [depth(1000, IN_FLIGHT_QUOTA), depth(1000, 0)]
        assert desired_pollers(both, average_s=0.2, interval_s=5, buffer_use=0, pollers=SMALL) == 40

    @given(COUNT, SECONDS, SECONDS, SHARE, RANGES, COUNT)
    def test_pollers_are_always_within_their_bounds(
        self, visible: int, average_s: float, interval_s: float, use: float, bounds: Range, in_flight: int
    ) -> None:
        size = pollers(
            visible,
            use,
            average_s=average_s,
            interval_s=interval_s,
            bounds=bounds,
            in_flight=in_flight,
        )
        assert bounds.min <= size <= bounds.max

    @given(COUNT, COUNT, SECONDS, SHARE, RANGES)
    def test_more_messages_never_ask_for_fewer_pollers(
        self, visible: int, more: int, average_s: float, use: float, bounds: Range
    ) -> None:
        fewer = pollers(visible, use, average_s=average_s, bounds=bounds)
        assert fewer <= pollers(visible + more, use, average_s=average_s, bounds=bounds)

    @given(COUNT, SECONDS, SHARE, SHARE, RANGES)
    def test_a_fuller_buffer_never_needs_more_pollers(
        self, visible: int, average_s: float, one: float, other: float, bounds: Range
    ) -> None:
        emptier, fuller = sorted((one, other))
        at_emptier = pollers(visible, emptier, average_s=average_s, bounds=bounds)
        assert pollers(visible, fuller, average_s=average_s, bounds=bounds) <= at_emptier


def slots(busy: int, count: int, high_use: float = 0.0, bounds: Range = SMALL) -> int:
    return desired_slots(busy, count, high_use=high_use, bounds=bounds)


class TestSlots:
    def test_sixteen_busy_of_twenty_and_a_buffer_three_quarters_full_ask_for_one_more(self) -> None:
        assert slots(16, 20, 0.75) == 21

    def test_nine_busy_of_thirty_ask_for_one_fewer(self) -> None:
        assert slots(9, 30) == 29

    def test_fifteen_busy_of_twenty_five_hold(self) -> None:
        assert slots(15, 25) == 25

    @pytest.mark.parametrize(
        ("busy", "count", "high_use", "expected"),
        [
            (14, 20, 0.0, 20),  # at the threshold, and not above it
            (15, 20, 0.0, 21),
            (0, 20, 0.71, 21),  # high-priority messages wait although slots are free
            (9, 30, 0.35, 30),  # too few are busy, but the buffer is not below half of the threshold
            (7, 20, 0.0, 20),  # at half of the threshold, and not below it
            (6, 20, 0.0, 19),
            (100, 100, 1.0, 100),  # no more than the maximum
            (0, 5, 0.0, 5),  # no fewer than the minimum
            (0, 0, 0.0, 5),  # none at all is no reason to stay at none
            (0, 120, 0.0, 100),  # beyond its bounds: back to them
        ],
    )
    def test_the_slot_count_changes_by_one_at_the_thresholds(
        self, busy: int, count: int, high_use: float, expected: int
    ) -> None:
        assert slots(busy, count, high_use) == expected

    @given(st.data(), RANGES, SHARE)
    def test_the_slot_count_changes_by_at_most_one_within_its_bounds(
        self, data: st.DataObject, bounds: Range, high_use: float
    ) -> None:
        count = data.draw(st.integers(bounds.min, bounds.max))
        size = slots(data.draw(st.integers(0, count)), count, high_use, bounds)
        assert abs(size - count) <= 1
        assert bounds.min <= size <= bounds.max

    @given(st.data(), st.integers(1, 100), SHARE)
    def test_a_busier_pool_is_never_smaller_than_a_less_busy_one(
        self, data: st.DataObject, count: int, high_use: float
    ) -> None:
        busy = data.draw(st.integers(0, count))
        assert slots(busy, count, high_use) >= slots(data.draw(st.integers(0, busy)), count, high_use)


class TestPrefetchLimit:
    def test_before_the_first_message_has_ended_only_what_idle_slots_begin_is_held(self) -> None:
        assert prefetch_limit(3, 10, average_s=None, prefetch_s=60) == 3

    @pytest.mark.parametrize(
        ("idle", "count", "average_s", "prefetch_s", "expected"),
        [
            (0, 10, 0.2, 1.0, 50),
            (4, 10, 0.2, 1.0, 54),
            (0, 10, 60, 1.0, 0),  # a message that takes a minute is left to other workers
            (2, 10, 60, 1.0, 2),
            (0, 10, 60, 6.0, 1),
            (5, 10, 0.2, 0.0, 5),
            (0, 1, 0.0, 1.0, 1_000_000),  # a handler that takes no time has no limit of its own
        ],
    )
    def test_it_is_what_the_slots_can_begin_within_the_prefetch(
        self, idle: int, count: int, average_s: float, prefetch_s: float, expected: int
    ) -> None:
        assert prefetch_limit(idle, count, average_s=average_s, prefetch_s=prefetch_s) == expected

    @given(st.integers(0, 100), st.integers(0, 100), SECONDS, SECONDS, SECONDS)
    def test_slower_messages_are_never_prefetched_further(
        self, idle: int, count: int, one: float, other: float, prefetch_s: float
    ) -> None:
        faster, slower = sorted((one, other))
        at_faster = prefetch_limit(idle, count, average_s=faster, prefetch_s=prefetch_s)
        assert idle <= prefetch_limit(idle, count, average_s=slower, prefetch_s=prefetch_s) <= at_faster
