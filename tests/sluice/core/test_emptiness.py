import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.backlog import backlog_per_instance
from sluice.core.emptiness import (
    alarm_proof_end_minutes,
    minutes_to_prove,
    tick_proof_end_minutes,
    why_not_proven_empty,
)
from sluice.core.minutes import minute_of
from tests.support.builders import (
    NOW,
    backlog,
    capacity,
    minutes_ago,
    zeros,
)

COUNTS = st.integers(min_value=0, max_value=10_000)


@pytest.mark.parametrize(
    ("visible", "in_flight", "running", "counted", "expected"),
    [
        (24, 0, 1, True, 24),
        (24, 0, 3, True, 8),
        (24, 0, 6, True, 4),
        (10, 5, 3, True, 5),
        (10, 5, 3, False, 10 / 3),
        (7, 3, 0, True, 10),  # nothing runs: the whole backlog
        (7, 3, 0, False, 7),
        (0, 0, 4, True, 0),
        (0, 0, 0, True, 0),
        (0, 2, 4, False, 0),
    ],
)
def test_backlog_per_instance_divides_the_counted_messages_by_what_runs(
    visible: int, in_flight: int, running: int, counted: bool, expected: float
) -> None:
    actual = backlog_per_instance(
        backlog(visible, in_flight, delayed=99), capacity(desired=5, running=running), count_in_flight=counted
    )
    assert actual == expected


@given(COUNTS, COUNTS, st.integers(0, 100), st.booleans())
def test_backlog_per_instance_is_zero_exactly_when_nothing_counted_waits(
    visible: int, in_flight: int, running: int, counted: bool
) -> None:
    value = backlog_per_instance(
        backlog(visible, in_flight), capacity(desired=running), count_in_flight=counted
    )
    assert (value == 0) == (visible == 0 and (in_flight == 0 or not counted))


def test_a_minute_starts_at_its_full_second() -> None:
    assert minute_of(datetime(2026, 1, 15, 12, 0, 59, 999_999, tzinfo=UTC)) == datetime(
        2026, 1, 15, 12, 0, tzinfo=UTC
    )


def test_the_minutes_of_a_proof_end_with_the_given_one() -> None:
    assert minutes_to_prove(minutes_ago(1), 3) == [minutes_ago(3), minutes_ago(2), minutes_ago(1)]


class TestTheProofOfATick:
    """It ends one minute before the tick's own scheduled minute, whatever the clock says."""

    ENDS = tick_proof_end_minutes(minutes_ago(0))

    def test_zeros_in_every_idle_minute_leave_no_gap(self) -> None:
        assert why_not_proven_empty(zeros(), self.ENDS, 5) is None

    @pytest.mark.parametrize("missing", range(1, 6))
    def test_one_minute_without_a_point_is_a_gap_and_named(self, missing: int) -> None:
        published = zeros()
        del published[minutes_ago(missing)]
        assert why_not_proven_empty(published, self.ENDS, 5) == (
            f"no BacklogPerInstance was published for {minutes_ago(missing):%H:%M}"
        )

    @pytest.mark.parametrize("busy", range(1, 6))
    def test_one_minute_above_zero_is_a_gap_and_logged(self, busy: int) -> None:
        published = zeros() | {minutes_ago(busy): 0.25}
        assert why_not_proven_empty(published, self.ENDS, 5) == (
            f"BacklogPerInstance was 0.25 at {minutes_ago(busy):%H:%M}"
        )

    @pytest.mark.parametrize("minute", range(1, 6))
    @pytest.mark.parametrize(
        ("value", "expected"),
        [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf"), (-1.0, "-1"), (-1e-9, "-1e-09")],
    )
    def test_an_impossible_backlog_value_proves_nothing_and_is_logged(
        self, value: float, expected: str, minute: int
    ) -> None:
        published = zeros() | {minutes_ago(minute): value}
        assert why_not_proven_empty(published, self.ENDS, 5) == (
            f"BacklogPerInstance was {expected} at {minutes_ago(minute):%H:%M}"
        )

    def test_neither_its_own_minute_nor_older_ones_are_asked_for(self) -> None:
        published = zeros() | {minutes_ago(0): 7.0, minutes_ago(6): 7.0}
        assert why_not_proven_empty(published, self.ENDS, 5) is None


class TestTheProofOfAnAlarm:
    """It ends with the newest published minute: the present one, the one before, or two back."""

    ENDS = alarm_proof_end_minutes(NOW)

    @pytest.mark.parametrize("newest", [0, 1, 2])
    def test_it_ends_with_the_newest_published_minute(self, newest: int) -> None:
        published = dict.fromkeys(map(minutes_ago, range(newest, newest + 5)), 0.0)
        assert why_not_proven_empty(published, self.ENDS, 5) is None
        del published[minutes_ago(newest + 4)]
        assert why_not_proven_empty(published, self.ENDS, 5) == (
            f"no BacklogPerInstance was published for {minutes_ago(newest + 4):%H:%M}"
        )

    def test_a_newest_minute_three_minutes_old_is_too_old(self) -> None:
        published = dict.fromkeys(map(minutes_ago, range(3, 20)), 0.0)
        assert why_not_proven_empty(published, self.ENDS, 5) == (
            f"no BacklogPerInstance was published for {minutes_ago(2):%H:%M}"
        )

    def test_a_gap_before_the_newest_minute_is_a_gap(self) -> None:
        published = dict.fromkeys(map(minutes_ago, (0, 2, 3, 4, 5, 6)), 0.0)
        assert why_not_proven_empty(published, self.ENDS, 5) == (
            f"no BacklogPerInstance was published for {minutes_ago(1):%H:%M}"
        )

    @pytest.mark.parametrize(("value", "expected"), [(math.nan, "nan"), (-2.0, "-2")])
    def test_an_impossible_backlog_value_does_not_complete_a_proof(self, value: float, expected: str) -> None:
        published = {**dict.fromkeys(map(minutes_ago, range(1, 8)), 0.0), minutes_ago(0): value}
        assert why_not_proven_empty(published, self.ENDS, 5) == (
            f"BacklogPerInstance was {expected} at {minutes_ago(0):%H:%M}"
        )

    def test_messages_in_the_newest_minute_are_not_emptiness(self) -> None:
        published = {**dict.fromkeys(map(minutes_ago, range(1, 8)), 0.0), minutes_ago(0): 2.0}
        assert (
            why_not_proven_empty(published, self.ENDS, 5)
            == f"BacklogPerInstance was 2 at {minutes_ago(0):%H:%M}"
        )
