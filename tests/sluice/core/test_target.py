import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sluice.core.model import Durations, Kind, Limit, Reason, TargetDecision, Trigger, Unknown
from sluice.core.target import decide_target, weighted
from tests.support.builders import (
    durations,
    dynamic_target,
    minutes_ago,
)

POSITIVE = st.floats(min_value=1e-3, max_value=1e6)


def decide(
    measured: Durations | Unknown,
    current: float | None = None,
    trigger: Trigger = Trigger.SCHEDULE,
    **changes: float,
) -> TargetDecision:
    return decide_target("transcription", dynamic_target(**changes), measured, current, trigger)


class TestTarget:
    @pytest.mark.parametrize(
        ("latency_s", "concurrency", "seconds", "expected"),
        [
            (600, 1, 60, 10),
            (600, 4, 60, 40),
            (300, 1, 40, 7.5),  # fractional targets stay fractional
            (60, 1, 240, 0.25),  # a message takes longer than the acceptable latency
        ],
    )
    def test_the_target_is_acceptable_latency_times_concurrency_over_duration(
        self, latency_s: float, concurrency: float, seconds: float, expected: float
    ) -> None:
        settings = {"acceptable_latency_s": latency_s, "concurrency_per_instance": concurrency}
        decision = decide(durations(seconds), **settings)
        assert (decision.target, decision.reason) == (expected, Reason.RETUNED)
        assert decision.limits == ()
        assert decision.detail == f"{latency_s:g} s x {concurrency:g} / {seconds:g} s = {expected:g}"

    @pytest.mark.parametrize("seconds", [0, -1, -0.0, math.nan, math.inf, -math.inf])
    def test_a_duration_that_is_not_positive_and_finite_keeps_the_target(self, seconds: float) -> None:
        decision = decide(durations(seconds), current=10)
        assert (decision.target, decision.reason) == (None, Reason.DURATION_REFUSED)
        assert decision.detail == f"{seconds:g} s over 100 samples"

    @pytest.mark.parametrize(
        ("samples", "reason"),
        [(0, Reason.TOO_FEW_SAMPLES), (29, Reason.TOO_FEW_SAMPLES), (30, Reason.RETUNED)],
    )
    def test_too_few_samples_leave_the_present_target(self, samples: int, reason: Reason) -> None:
        decision = decide(durations(60, samples), current=100)
        assert decision.reason is reason
        assert (decision.target is None) == (reason is Reason.TOO_FEW_SAMPLES)

    def test_no_samples_at_all_are_too_few_and_not_a_refused_duration(self) -> None:
        decision = decide(weighted({}, {}, 3600), current=10)
        assert (decision.reason, decision.detail) == (Reason.TOO_FEW_SAMPLES, "0 of 30 needed")

    def test_an_unknown_duration_leaves_the_present_target(self) -> None:
        decision = decide(Unknown(reason="GetMetricData was throttled"), current=10)
        assert (decision.target, decision.reason) == (None, Reason.UNKNOWN_READING)
        assert decision.detail == "GetMetricData was throttled"

    @pytest.mark.parametrize(
        ("seconds", "current", "expected"),
        [(6, 10, 20), (600, 10, 5), (40, 10, 15), (80, 10, 7.5)],
    )
    def test_one_retune_moves_the_target_by_at_most_a_factor_of_two(
        self, seconds: float, current: float, expected: float
    ) -> None:
        decision = decide(durations(seconds), current)
        assert decision.target == expected
        assert (Limit.MAX_FACTOR in decision.limits) == (seconds in (6, 600))

    @pytest.mark.parametrize("reset", [10, 10.000_000_1])
    def test_after_a_stack_event_that_reset_the_target_the_factor_does_not_apply(self, reset: float) -> None:
        decision = decide(durations(6), current=reset, trigger=Trigger.STACK)
        assert (decision.target, decision.limits) == (100, ())

    @pytest.mark.parametrize(("current", "expected"), [(9.9, 19.8), (10.1, 20.2), (40, 80), (400, 200)])
    def test_after_a_stack_event_that_reset_nothing_the_factor_applies(
        self, current: float, expected: float
    ) -> None:
        """For example an update of an alarm: the policy's target was measured, and moves by the factor."""
        decision = decide(durations(6), current, Trigger.STACK)
        assert (decision.target, decision.limits) == (expected, (Limit.MAX_FACTOR,))

    def test_without_a_present_target_there_is_nothing_to_move_slowly_from(self) -> None:
        assert decide(durations(6), current=None).target == 100

    @pytest.mark.parametrize(
        ("seconds", "expected", "limit"),
        [(0.006, 1000, Limit.MAX_TARGET), (60_000, 0.1, Limit.MIN_TARGET)],
    )
    def test_the_target_stays_within_its_bounds_and_says_which_bit(
        self, seconds: float, expected: float, limit: Limit
    ) -> None:
        decision = decide(durations(seconds))
        assert (decision.target, decision.limits) == (expected, (limit,))

    def test_the_factor_and_a_bound_can_both_apply(self) -> None:
        decision = decide(durations(0.006), current=400)
        assert (decision.target, decision.limits) == (800, (Limit.MAX_TARGET, Limit.MAX_FACTOR))

    def test_a_factor_within_the_deadband_still_moves_the_target_in_steps(self) -> None:
        current = 10.0
        for _ in range(20):
            current = decide(durations(30), current, max_factor_per_retune=1.05).target or current
        assert current > 18  # 600 s / 30 s = 20, less the deadband

    def test_after_a_stack_event_the_deadband_still_leaves_a_close_target_alone(self) -> None:
        assert decide(durations(60), 10.5, Trigger.STACK).reason is Reason.WITHIN_DEADBAND

    @pytest.mark.parametrize(
        ("current", "left_alone"), [(10, True), (9.1, True), (11.1, True), (9.0, False), (11.2, False)]
    )
    def test_inside_the_deadband_the_policy_is_unchanged(self, current: float, left_alone: bool) -> None:
        decision = decide(durations(60), current)
        assert (decision.target is None) is left_alone
        if left_alone:
            assert (decision.reason, decision.detail) == (Reason.WITHIN_DEADBAND, f"10 against {current:g}")

    def test_a_deadband_of_zero_keeps_only_an_equal_target(self) -> None:
        assert decide(durations(60), 10, deadband_ratio=0).target is None
        assert decide(durations(60), 10.001, deadband_ratio=0).target == 10

    def test_a_target_slightly_out_of_bounds_is_still_corrected(self) -> None:
        assert decide(durations(60), 10.5, max_messages_per_instance=10).target == 10

    def test_the_decision_carries_the_duration_and_target_it_came_from(self) -> None:
        decision = decide(durations(30), current=12)
        assert (decision.workload, decision.kind, decision.trigger) == (
            "transcription",
            Kind.RETUNE,
            Trigger.SCHEDULE,
        )
        assert (decision.durations, decision.current) == (durations(30), 12)

    @given(POSITIVE, st.none() | POSITIVE, st.sampled_from([Trigger.SCHEDULE, Trigger.STACK]))
    def test_a_new_target_is_within_bounds_factor_and_outside_the_deadband(
        self, seconds: float, current: float | None, trigger: Trigger
    ) -> None:
        settings = dynamic_target()
        decision = decide(durations(seconds), current, trigger)
        if decision.target is None:
            assert decision.reason is Reason.WITHIN_DEADBAND
            return
        assert settings.min_messages_per_instance <= decision.target <= settings.max_messages_per_instance
        if current is not None:
            within = settings.min_messages_per_instance <= current <= settings.max_messages_per_instance
            assert not within or abs(decision.target - current) > settings.deadband_ratio * current
            reset = current == pytest.approx(settings.fallback_messages_per_instance)
            if within and not (trigger is Trigger.STACK and reset):
                assert current / 2 * 0.999 <= decision.target <= current * 2 * 1.001

    @given(POSITIVE, POSITIVE, st.none() | POSITIVE)
    def test_slower_messages_never_raise_the_target(
        self, one: float, other: float, current: float | None
    ) -> None:
        fast, slow = sorted((one, other))
        quick, late = (
            decide(durations(seconds), current, deadband_ratio=0).target or current
            for seconds in (fast, slow)
        )
        assert quick is not None
        assert late is not None
        assert late <= quick

    @given(st.floats(), st.floats(0, 1e9), st.none() | POSITIVE)
    def test_the_target_is_always_positive_and_finite_or_unchanged(
        self, seconds: float, samples: float, current: float | None
    ) -> None:
        target = decide(durations(seconds, samples), current).target
        assert target is None or (math.isfinite(target) and target > 0)

    @given(POSITIVE, st.none() | POSITIVE)
    def test_the_same_input_gives_the_same_decision(self, seconds: float, current: float | None) -> None:
        assert decide(durations(seconds), current) == decide(durations(seconds), current)


class TestWeighted:
    def test_a_busy_period_weighs_more_than_a_quiet_one(self) -> None:
        values = {minutes_ago(2): 10.0, minutes_ago(1): 100.0}
        counts = {minutes_ago(2): 90.0, minutes_ago(1): 10.0}
        assert weighted(values, counts, 3600) == durations(19, 100)  # not 55, the plain mean

    def test_periods_without_samples_or_without_a_value_do_not_count(self) -> None:
        values = {minutes_ago(3): 10.0, minutes_ago(2): 999.0, minutes_ago(1): 999.0}
        counts = {minutes_ago(3): 5.0, minutes_ago(2): 0.0, minutes_ago(9): 50.0}
        assert weighted(values, counts, 3600) == durations(10, 5)

    def test_no_samples_are_not_a_number_of_seconds(self) -> None:
        nothing = weighted({}, {}, 86_400)
        assert math.isnan(nothing.seconds)
        assert (nothing.samples, nothing.window_s) == (0, 86_400)

    def test_one_period_that_is_not_a_number_invalidates_the_window(self) -> None:
        counts = {minutes_ago(2): 50.0, minutes_ago(1): 50.0}
        spoilt = weighted({minutes_ago(2): math.nan, minutes_ago(1): 60.0}, counts, 3600)
        assert decide(spoilt, current=10).reason is Reason.DURATION_REFUSED

    @given(st.dictionaries(st.integers(0, 1439).map(minutes_ago), st.tuples(POSITIVE, st.integers(0, 500))))
    def test_the_weighted_value_lies_between_the_smallest_and_the_largest(
        self, periods: dict[object, tuple[float, int]]
    ) -> None:
        assume(any(count for _, count in periods.values()))
        result = weighted(
            {at: seconds for at, (seconds, _) in periods.items()},
            {at: float(count) for at, (_, count) in periods.items()},
            3600,
        )
        counted = [seconds for seconds, count in periods.values() if count]
        assert min(counted) * (1 - 1e-9) <= result.seconds <= max(counted) * (1 + 1e-9)
        assert result.samples == sum(count for _, count in periods.values())


def test_the_target_of_an_ecs_service_is_latency_over_duration() -> None:
    settings = dynamic_target(acceptable_latency_s=1200)
    decision = decide_target("queue-proc", settings, durations(48), None, Trigger.SCHEDULE)
    assert decision.target == 1200 / 48
