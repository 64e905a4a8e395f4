"""What the engine learns every hour: the margin from how many start late, and the processing time."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.deadline.learning import (
    MAX_MARGIN_SHARE,
    MAX_RAISE_S,
    MIN_MARGIN_TICKS,
    MIN_MESSAGES,
    STEP_DOWN_S,
    Learned,
    Measured,
    Waits,
    learn,
    variation,
)
from sluice.core.deadline.plan import Processing
from sluice.core.model import Durations, LearningDecision, Limit, Reason, Unknown
from tests.support.builders import deadline, deadline_workload, durations

NOW_S = 1_768_478_400.0
UNREAD = Unknown(reason="CloudWatch said no")
NOTHING = durations(float("nan"), samples=0)


def waits(late_percent: float = 0.0, messages: float = 10_000, high_s: float = 250) -> Waits:
    return Waits(messages=messages, late_share=late_percent / 100, high_s=high_s)


def known(margin_s: float = 20, messages: float = 0, processing: Processing | None = None) -> Learned:
    return Learned(at_s=NOW_S - 3600, margin_s=margin_s, messages=messages, processing=processing)


def learned(
    before: Learned | None = None,
    hour: Waits | Unknown | None = None,
    day: Waits | Unknown | None = None,
    mean: Durations | Unknown = NOTHING,
    median: Durations | Unknown = NOTHING,
    **settings: object,
) -> tuple[LearningDecision, Learned]:
    served = deadline_workload(settings=deadline(**settings))
    assert served.deadline is not None
    measured = Measured(mean=mean, median=median, hour=hour, day=hour if day is None else day)
    return learn(served, served.deadline, before, measured, NOW_S)


class TestMargin:
    def test_it_rises_by_what_the_slowest_were_late_by(self) -> None:
        decision, after = learned(known(), waits(2, high_s=307))
        assert (after.margin_s, decision.margin_s, decision.reason) == (27, 27, Reason.TOO_MANY_LATE)
        assert decision.detail == (
            "2.00% of 10000 messages started late in the last hour, 2.00% in the last day; above 0.50% is "
            "too many"
        )

    def test_it_rises_by_ten_seconds_at_most_in_an_hour(self) -> None:
        _, after = learned(known(), waits(50, high_s=4000))
        assert after.margin_s == 20 + MAX_RAISE_S

    @pytest.mark.parametrize("margin_s", [145, 150])
    def test_it_takes_half_of_the_promise_at_most(self, margin_s: float) -> None:
        _, after = learned(known(margin_s), waits(50, high_s=4000))
        assert after.margin_s == MAX_MARGIN_SHARE * 300

    def test_a_document_that_begins_above_half_of_the_promise_is_not_lowered_by_late_messages(self) -> None:
        decision, after = learned(known(200), waits(50, high_s=4000))
        assert (after.margin_s, decision.margin_s) == (200, None)

    def test_a_few_late_messages_of_few_are_chance(self) -> None:
        """Eight of a thousand are too many, but not by two standard deviations."""
        decision, after = learned(known(), waits(0.8, messages=1000, high_s=320))
        assert (after.margin_s, decision.reason) == (20, Reason.LATE_AS_ALLOWED)
        _, after = learned(known(), waits(0.8, messages=100_000, high_s=320))
        assert after.margin_s == 30

    def test_one_bad_hour_of_a_good_day_leaves_it(self) -> None:
        decision, after = learned(known(), waits(2, high_s=320), waits(0.2, messages=240_000))
        assert (after.margin_s, decision.reason) == (20, Reason.LATE_AS_ALLOWED)

    def test_it_falls_while_hardly_any_message_starts_late(self) -> None:
        decision, after = learned(known(), waits(0.05))
        assert (after.margin_s, decision.margin_s) == (20 - STEP_DOWN_S, 20 - STEP_DOWN_S)
        assert decision.reason is Reason.HARDLY_ANY_LATE

    def test_it_does_not_fall_on_the_evidence_of_a_few(self) -> None:
        decision, after = learned(known(messages=100), waits(0, messages=MIN_MESSAGES - 101))
        assert (after.margin_s, decision.reason) == (20, Reason.TOO_FEW_WAITS)
        _, after = learned(after, waits(0, messages=1))
        assert after.margin_s == 20 - STEP_DOWN_S

    def test_each_change_needs_new_evidence(self) -> None:
        _, after = learned(known(), waits(0))
        assert after.messages == 0
        assert learned(after, waits(0, messages=MIN_MESSAGES - 1))[1].margin_s == after.margin_s

    def test_it_falls_to_half_a_tick_ahead_of_the_promise_at_most(self) -> None:
        _, after = learned(known(1), waits(0), tick_s=10)
        assert after.margin_s == MIN_MARGIN_TICKS * 10
        decision, after = learned(after, waits(0), tick_s=10)
        assert (decision.margin_s, after.margin_s) == (None, MIN_MARGIN_TICKS * 10)

    def test_in_between_it_stays(self) -> None:
        decision, after = learned(known(), waits(0.3))
        assert (after.margin_s, decision.reason) == (20, Reason.LATE_AS_ALLOWED)

    def test_a_stricter_promise_allows_fewer_late_messages(self) -> None:
        assert learned(known(), waits(0.3, high_s=305))[1].margin_s == 20
        assert learned(known(), waits(0.3, high_s=305), promise_percent=99.9)[1].margin_s == 25

    @pytest.mark.parametrize("hour", [None, UNREAD])
    def test_without_measurements_it_stays(self, hour: Unknown | None) -> None:
        before = known(33, messages=4000, processing=Processing(mean_s=4, variation=1))
        decision, after = learned(before, hour, mean=UNREAD, median=UNREAD)
        assert after == replace(before, at_s=NOW_S)
        assert decision.margin_s is None
        assert decision.reason is (Reason.UNKNOWN_READING if hour else Reason.NO_WAITS)

    def test_an_unknown_day_leaves_it(self) -> None:
        decision, after = learned(known(), waits(50, high_s=4000), UNREAD)
        assert (after.margin_s, decision.reason) == (20, Reason.UNKNOWN_READING)

    def test_where_nothing_is_known_it_begins_with_the_document_s(self) -> None:
        decision, after = learned(None, margin_s=12)
        assert (after.margin_s, decision.current_s, decision.margin_s) == (12, 12, None)


class TestProcessingTime:
    def test_mean_and_median_give_mean_and_spread(self) -> None:
        _, after = learned(mean=durations(5), median=durations(4))
        assert after.processing == Processing(mean_s=5, variation=variation(5, 4))

    def test_a_log_normal_distribution_has_this_variation(self) -> None:
        assert variation(1.0, 1.0) == 0
        assert variation(13**0.5 / 2, 1.0) == pytest.approx(1.5)  # exp(sigma^2) = 1 + 1.5^2
        assert variation(1.0, 1.2) == 0
        assert variation(1e9, 1.0) == 3

    @pytest.mark.parametrize(("measured_s", "expected_s"), [(50, 10), (1, 2.5), (7, 7)])
    def test_it_moves_by_a_factor_of_two_at_most_in_an_hour(
        self, measured_s: float, expected_s: float
    ) -> None:
        decision, after = learned(
            known(processing=Processing(mean_s=5)), mean=durations(measured_s), median=durations(measured_s)
        )
        assert after.processing == Processing(mean_s=expected_s)
        assert decision.limits == (() if measured_s == expected_s else (Limit.MAX_FACTOR,))

    @pytest.mark.parametrize(
        "mean", [UNREAD, durations(50, samples=29), durations(float("nan")), durations(0), NOTHING]
    )
    def test_without_enough_samples_it_stays(self, mean: Durations | Unknown) -> None:
        before = known(processing=Processing(mean_s=5, variation=0.5))
        assert learned(before, mean=mean, median=durations(4))[1].processing == before.processing
        assert learned(None, mean=mean)[1].processing is None

    def test_without_a_median_the_spread_stays(self) -> None:
        before = known(processing=Processing(mean_s=5, variation=0.5))
        _, after = learned(before, mean=durations(6), median=UNREAD)
        assert after.processing == Processing(mean_s=6, variation=0.5)


@given(
    margin_s=st.floats(-5, 150),
    messages=st.floats(0, 1e9),
    late=st.floats(0, 1),
    of=st.floats(1e-3, 1e9),
    high_s=st.floats(0, 1e9),
    day_late=st.floats(0, 1),
)
def test_the_margin_moves_a_bounded_step_within_its_bounds_whatever_is_measured(
    margin_s: float, messages: float, late: float, of: float, high_s: float, day_late: float
) -> None:
    hour = Waits(messages=of, late_share=late, high_s=high_s)
    day = Waits(messages=24 * of, late_share=day_late, high_s=high_s)
    decision, after = learned(known(margin_s, messages), hour, day)
    assert -5 <= after.margin_s <= 150
    assert -STEP_DOWN_S <= after.margin_s - margin_s <= MAX_RAISE_S
    assert (decision.margin_s is None) == (after.margin_s == margin_s)
    assert (after.messages == 0) == (after.margin_s != margin_s or messages + of == 0)
