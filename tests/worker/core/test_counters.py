import statistics
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_worker.core.counters import (
    MAX_HISTORY,
    Counters,
    ReportInterval,
    quantile,
    rounded,
)
from sluice_worker.core.model import Outcome

SECONDS = st.floats(min_value=0, max_value=1e6)


def closed(*took_s: float, outcome: Outcome = Outcome.SUCCESS, length_s: float = 60.0) -> ReportInterval:
    counters = Counters(0.0)
    for each in took_s:
        counters.record_end(outcome, each)
    return counters.close(length_s)


class TestRounding:
    @pytest.mark.parametrize(
        ("seconds", "expected"),
        [
            (0.0, 0.0),
            (9.9e-7, 0.0),
            (1e-6, 1e-6),
            (0.00123456, 0.00123),
            (0.9996, 1.0),
            (1.0, 1.0),
            (12.345, 12.3),
            (999.6, 1000.0),
            (43_199.0, 43_200.0),
        ],
    )
    def test_three_digits_are_kept(self, seconds: float, expected: float) -> None:
        assert rounded(seconds) == pytest.approx(expected, rel=1e-12)

    @given(st.floats(min_value=1e-6, max_value=1e6))
    def test_a_value_is_off_by_half_a_per_cent_at_most(self, seconds: float) -> None:
        assert abs(rounded(seconds) - seconds) <= 0.005 * seconds * (1 + 1e-9)

    def test_an_average_of_many_values_is_off_by_far_less(self) -> None:
        """The average is what `retune_target` reads."""
        values = [1 + number / 9973 for number in range(9973)]
        off = statistics.fmean(map(rounded, values)) / statistics.fmean(values) - 1
        assert abs(off) < 1e-4

    @given(SECONDS, SECONDS)
    def test_rounding_keeps_the_order(self, one: float, other: float) -> None:
        smaller, larger = sorted((one, other))
        assert rounded(smaller) <= rounded(larger)

    def test_a_decade_has_nine_hundred_values_at_most(self) -> None:
        assert len({rounded(1 + number / 12_345) for number in range(9 * 12_345)}) <= 901


class TestQuantile:
    @pytest.mark.parametrize(
        ("share", "expected"), [(0, 1.0), (0.25, 1.0), (0.26, 2.0), (0.5, 2.0), (0.51, 3.0), (1, 9.0)]
    )
    def test_it_is_the_value_of_the_nearest_rank(self, share: float, expected: float) -> None:
        assert quantile({9.0: 1, 2.0: 1, 1.0: 1, 3.0: 1}, share) == expected

    def test_there_is_no_quantile_of_no_values(self) -> None:
        assert quantile({}, 0.5) is None

    def test_a_value_counts_as_often_as_it_occurred(self) -> None:
        assert quantile({1.0: 95, 60.0: 5}, 0.95) == 1.0
        assert quantile({1.0: 94, 60.0: 6}, 0.95) == 60.0

    @given(
        st.dictionaries(SECONDS, st.integers(1, 10_000), min_size=1), st.sampled_from(["0.5", "0.95", "0.99"])
    )
    def test_the_quantile_is_the_smallest_value_that_covers_the_share(
        self, counts: dict[float, int], share: str
    ) -> None:
        found = quantile(counts, float(share))
        assert found is not None
        enough = Fraction(share) * sum(counts.values())
        assert sum(count for value, count in counts.items() if value <= found) >= enough
        assert sum(count for value, count in counts.items() if value < found) < enough


class TestReportInterval:
    def test_it_counts_successes_apart_from_what_failed_or_took_too_long(self) -> None:
        counters = Counters(100.0)
        for outcome in (Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE, Outcome.TIMEOUT):
            counters.record_end(outcome, 2.0)
        minute = counters.close(160.0)
        assert (minute.processed, minute.failed) == (2, 2)
        assert (counters.processed, counters.failed) == (2, 2)
        assert (minute.began_at, minute.length_s, minute.middle_at) == (100.0, 60.0, 130.0)
        assert minute.per_second == pytest.approx(2 / 60)

    def test_its_quantiles_are_over_all_messages_however_they_ended(self) -> None:
        counters = Counters(0.0)
        for outcome, took_s in ((Outcome.SUCCESS, 1), (Outcome.FAILURE, 3), (Outcome.SUCCESS, 2)):
            counters.record_end(outcome, took_s)
        minute = counters.close(60.0)
        assert (minute.duration_quantile_s(0.5), minute.duration_quantile_s(1)) == (2.0, 3.0)

    def test_the_share_within_the_promise_is_of_the_messages_begun(self) -> None:
        counters = Counters(0.0, promise_s=10.0)
        for waited_s in (1, 10, 10.01, 50):
            counters.record_start(waited_s)
        minute = counters.close(60.0)
        assert minute.within_promise_share == 0.5
        assert minute.wait_quantile_s(0.5) == 10.0

    def test_a_promise_is_compared_with_the_unrounded_wait(self) -> None:
        counters = Counters(0.0, promise_s=10.0)
        counters.record_start(10.04)
        minute = counters.close(60.0)
        assert (minute.waits_s, minute.within_promise) == ({10.0: 1}, 0)

    def test_a_message_with_a_future_time_stamp_has_no_wait(self) -> None:
        counters = Counters(0.0, promise_s=10.0)
        counters.record_start(-3.0)
        assert counters.close(60.0).waits_s == {0.0: 1}

    def test_without_messages_there_is_no_share_and_no_quantile(self) -> None:
        minute = Counters(0.0, promise_s=10.0).close(60.0)
        assert minute.within_promise_share is None
        assert minute.duration_quantile_s(0.5) is minute.wait_quantile_s(0.5) is None
        assert (minute.processed, minute.failed, minute.per_second) == (0, 0, 0.0)

    def test_nothing_is_counted_in_two_intervals_or_in_none(self) -> None:
        counters = Counters(0.0)
        counters.record_end(Outcome.SUCCESS, 1.0)
        first = counters.close(60.0)
        counters.record_end(Outcome.SUCCESS, 5.0)
        counters.record_start(1.0)
        second = counters.close(120.0)
        assert first.durations_s == {Outcome.SUCCESS: {1.0: 1}}
        assert (first.waits_s, second.waits_s) == ({}, {1.0: 1})
        assert second.durations_s == {Outcome.SUCCESS: {5.0: 1}}
        assert (second.began_at, second.length_s) == (60.0, 60.0)
        assert counters.processed == 2

    def test_a_clock_that_is_set_back_makes_no_negative_interval(self) -> None:
        minute = closed(1.0, length_s=-3600.0)
        assert (minute.length_s, minute.per_second) == (0.0, 0.0)

    @given(st.lists(st.tuples(st.sampled_from(Outcome), SECONDS), max_size=200))
    def test_every_message_is_counted_once(self, ends: list[tuple[Outcome, float]]) -> None:
        counters = Counters(0.0)
        for outcome, took_s in ends:
            counters.record_end(outcome, took_s)
        minute = counters.close(60.0)
        assert minute.processed + minute.failed == len(ends)
        assert minute.processed == sum(outcome is Outcome.SUCCESS for outcome, _ in ends)


class TestMean:
    def test_its_mean_follows_the_newest_messages(self) -> None:
        counters = Counters(0.0)
        assert counters.mean_s is None
        counters.record_end(Outcome.SUCCESS, 10.0)
        assert counters.mean_s == 10.0
        counters.record_end(Outcome.FAILURE, 20.0)
        assert counters.mean_s == pytest.approx(11.0)
        for _ in range(100):
            counters.record_end(Outcome.SUCCESS, 20.0)
        assert counters.mean_s == pytest.approx(20.0, rel=1e-3)

    def test_it_remembers_sixty_intervals_and_no_more(self) -> None:
        counters = Counters(0.0)
        for minute in range(MAX_HISTORY + 5):
            counters.close(60.0 * (minute + 1))
        assert len(counters.history) == MAX_HISTORY
        assert counters.history[-1].began_at == 60.0 * (MAX_HISTORY + 4)

    def test_recent_rates_are_over_so_many_reports(self) -> None:
        counters = Counters(0.0)
        assert counters.recent_per_second(5) == 0.0
        for number, successes in enumerate((60, 120, 0)):
            for _ in range(successes):
                counters.record_end(Outcome.SUCCESS, 1.0)
            counters.close(60.0 * (number + 1))
        assert [counters.recent_per_second(reports) for reports in (1, 2, 3, 15)] == [0.0, 1.0, 1.0, 1.0]
