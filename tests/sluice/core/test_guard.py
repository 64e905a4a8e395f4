"""When the downstream guard engages, how long it holds, and when it lets go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.guard import (
    CALM_MINUTES,
    AlarmState,
    Ended,
    Guard,
    GuardReadings,
    as_stored,
    dead_letters_per_minute,
    decide_guard,
    decoded,
    encoded,
)
from sluice.core.model import GuardSettings, Kind, Reason, Unknown

NOON = datetime(2026, 1, 15, 12, 0, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SETTINGS = GuardSettings(failed_percent=50, minutes=60)
ALL = GuardSettings(
    failed_percent=50, dead_letters_per_minute=10, dead_letter_queue="dead", alarm_name="db", minutes=60
)
UNREAD = Unknown(reason="GetMetricData was throttled")


def share(percent: float, messages: float = 100) -> GuardReadings:
    return GuardReadings(ended=Ended(messages=messages, failed=messages * percent / 100))


def played(readings, settings=SETTINGS, guard=None, start=NOON):
    """The decisions of successive minutes; the caller puts AWS's policy back at once."""
    decisions = []
    for minute, reading in enumerate(readings):
        found = decide_guard("transcription", settings, reading, guard, start + minute * MINUTE)
        decisions.append(found.decision)
        guard = found.guard
        if found.decision.engages is False and guard is not None:
            recovered = found.decision.reason is Reason.DOWNSTREAM_RECOVERED
            guard = None if recovered else replace(guard, is_put_back=True)
    return decisions, guard


def reasons(decisions):
    return [decision.reason for decision in decisions]


class TestEngaging:
    def test_a_share_of_failed_messages_above_its_threshold_engages_it(self):
        [decision], guard = played([share(60)])
        assert (decision.kind, decision.reason, decision.engages) == (
            Kind.GUARD,
            Reason.DOWNSTREAM_FAILS,
            True,
        )
        assert guard.until == decision.until == NOON + timedelta(hours=1)
        assert guard.why == "60 % of 100 messages failed in 5 minutes (threshold 50 %)"
        assert decision.detail == f"{guard.why}; held until 2026-01-15 13:00 UTC at the latest"
        assert (decision.failed_percent, decision.ended_messages) == (60, 100)

    def test_a_share_at_its_threshold_does_not(self):
        [decision], guard = played([share(50)])
        assert (decision.reason, decision.engages, guard) == (Reason.DOWNSTREAM_WELL, None, None)

    def test_a_few_messages_are_no_share(self):
        [decision], guard = played([share(100, messages=9)])
        assert (decision.reason, guard) == (Reason.UNKNOWN_READING, None)
        assert "9 messages ended in 5 minutes: a share needs 10" in decision.detail
        assert decision.failed_percent is None

    @pytest.mark.parametrize("messages", [0, 10])
    def test_messages_are_counted_whatever_their_share(self, messages):
        [decision], _ = played([share(0, messages=messages)])
        assert decision.ended_messages == messages

    def test_growth_of_the_dead_letter_queue_above_its_threshold_engages_it(self):
        settings = GuardSettings(dead_letters_per_minute=10, dead_letter_queue="dead")
        [decision], guard = played([GuardReadings(dead_letters_per_minute=12.5)], settings)
        assert guard.why == "the dead-letter queue grew by 12.5 messages a minute (threshold 10)"
        assert decision.dead_letters_per_minute == 12.5

    def test_the_named_alarm_engages_it(self):
        settings = GuardSettings(alarm_name="db")
        [decision], guard = played([GuardReadings(alarm=AlarmState.ALARM)], settings)
        assert (guard.why, decision.alarm) == ("the alarm db is in ALARM", "ALARM")

    def test_one_failing_signal_is_enough_and_the_others_are_said(self):
        reading = GuardReadings(ended=UNREAD, dead_letters_per_minute=-3.0, alarm=AlarmState.ALARM)
        [decision], guard = played([reading], ALL)
        assert guard.why == "the alarm db is in ALARM"
        assert "the share of failed messages is unknown: GetMetricData was throttled" in decision.detail
        assert "grew by -3 messages a minute" in decision.detail

    @pytest.mark.parametrize(
        "reading",
        [
            GuardReadings(),
            GuardReadings(ended=UNREAD, dead_letters_per_minute=UNREAD, alarm=UNREAD),
            GuardReadings(ended=UNREAD, alarm=AlarmState.INSUFFICIENT_DATA),
        ],
    )
    def test_an_unknown_signal_engages_nothing(self, reading):
        [decision], guard = played([reading], ALL)
        assert (decision.reason, guard) == (Reason.UNKNOWN_READING, None)


class TestReleasing:
    def test_it_is_released_after_five_minutes_below_half_of_the_threshold(self):
        decisions, guard = played([share(60), *[share(24)] * 5, share(0)])
        assert reasons(decisions) == [
            Reason.DOWNSTREAM_FAILS,
            *[Reason.GUARDED] * 4,
            Reason.DOWNSTREAM_RECOVERED,
            Reason.DOWNSTREAM_WELL,
        ]
        assert guard is None
        assert decisions[5].engages is False
        assert "held for 5 minutes, since 2026-01-15 12:00 UTC, because 60 % of 100" in decisions[5].detail
        assert "2 of 5 minutes well" in decisions[2].detail

    @pytest.mark.parametrize("percent", [25, 49, 90])
    def test_a_minute_that_is_not_well_starts_the_five_minutes_anew(self, percent):
        decisions, guard = played([share(60), *[share(0)] * 4, share(percent), *[share(0)] * 4])
        assert set(reasons(decisions[1:])) == {Reason.GUARDED}
        assert guard.calm_minutes == 4

    def test_an_unknown_minute_neither_counts_nor_starts_them_anew(self):
        decisions, guard = played([share(60), *[share(0)] * 4, *[GuardReadings(ended=UNREAD)] * 30])
        assert set(reasons(decisions[1:])) == {Reason.GUARDED}
        assert guard.calm_minutes == 4
        [decision], _ = played([share(0)], guard=guard, start=NOON + 35 * MINUTE)
        assert decision.reason is Reason.DOWNSTREAM_RECOVERED

    def test_every_signal_that_is_watched_has_to_be_well(self):
        well = GuardReadings(ended=Ended(messages=50, failed=0), alarm=AlarmState.OK)
        engaged = replace(well, alarm=AlarmState.ALARM, dead_letters_per_minute=0.0)
        decisions, _ = played([engaged, *[replace(well, dead_letters_per_minute=5.0)] * 20], ALL)
        assert set(reasons(decisions[1:])) == {Reason.GUARDED}
        decisions, _ = played([engaged, *[replace(well, dead_letters_per_minute=4.9)] * 5], ALL)
        assert decisions[-1].reason is Reason.DOWNSTREAM_RECOVERED

    def test_two_readings_of_one_minute_count_once(self):
        _, guard = played([share(60)])
        for second in range(1, 50):
            found = decide_guard("t", SETTINGS, share(0), guard, NOON + timedelta(seconds=second))
            guard = found.guard
        assert guard.calm_minutes == 1


class TestTheClock:
    def test_it_is_released_by_the_clock_and_does_not_hold_the_same_failure_twice(self):
        decisions, guard = played([share(60)] * 200)
        assert reasons(decisions[:62]) == [
            Reason.DOWNSTREAM_FAILS,
            *[Reason.GUARDED] * 59,
            Reason.GUARD_OVER,
            Reason.GUARD_SPENT,
        ]
        assert set(reasons(decisions[61:])) == {Reason.GUARD_SPENT}
        assert not guard.in_force(NOON + 200 * MINUTE)

    def test_after_one_minute_that_is_well_it_may_hold_again(self):
        _, guard = played([share(60)] * 70)
        decisions, _ = played([share(40), share(0), share(60)], guard=guard, start=NOON + 70 * MINUTE)
        assert reasons(decisions) == [Reason.GUARD_SPENT, Reason.DOWNSTREAM_WELL, Reason.DOWNSTREAM_FAILS]

    def test_a_failure_that_has_not_been_seen_for_an_hour_is_over(self):
        _, guard = played([share(60)] * 70)
        unseen = [GuardReadings(ended=UNREAD)] * 60
        decisions, guard = played(unseen, guard=guard, start=NOON + 70 * MINUTE)
        assert reasons(decisions) == [Reason.GUARD_SPENT] * 59 + [Reason.DOWNSTREAM_WELL]
        assert guard is None

    def test_until_aws_is_put_back_the_release_is_asked_for_again_for_the_same_reason(self):
        _, guard = played([share(60), *[share(0)] * 4])
        for minute in range(5, 15):
            found = decide_guard(
                "t", SETTINGS, share(0 if minute == 5 else 60), guard, NOON + minute * MINUTE
            )
            assert (found.decision.reason, found.decision.engages) == (Reason.DOWNSTREAM_RECOVERED, False)
            assert not found.guard.in_force(NOON + minute * MINUTE)
            guard = found.guard

    def test_until_aws_is_put_back_the_end_by_the_clock_is_asked_for_again(self):
        _, guard = played([share(60)])
        for minute in range(60, 70):
            found = decide_guard("t", SETTINGS, share(60), guard, NOON + minute * MINUTE)
            assert (found.decision.reason, found.decision.engages) == (Reason.GUARD_OVER, False)
            guard = found.guard


class TestTheStoredForm:
    def test_what_is_stored_is_read_back(self):
        _, guard = played([share(60), share(0)])
        guard = replace(guard, before={"Enabled": True}, is_put_back=True, is_held_by_aws=True)
        assert decoded(encoded(guard)) == guard
        assert decoded(encoded(guard)).text == as_stored(guard).text == encoded(guard)

    @pytest.mark.parametrize(
        "text", [None, "", "{}", "[]", '{"at": "soon"}', "[" * 100_000, '{"at": "0001-01-01T00:00:00+14:00"}']
    )
    def test_a_hold_that_cannot_be_read_has_ended(self, text):
        damaged = decoded(text)
        assert not damaged.in_force(NOON)
        assert "cannot be read" in damaged.why
        found = decide_guard("t", SETTINGS, share(60), damaged, NOON)
        assert found.guard is None

    def test_it_holds_the_fields_of_a_pause_of_scale_out_that_the_fleet_has(self):
        _, guard = played([share(60)])
        assert guard.held == {}
        assert replace(guard, before={"Enabled": True, "DisableScaleIn": False}).held == {"Enabled": False}
        service = {"DynamicScalingOutSuspended": False, "DynamicScalingInSuspended": False}
        assert replace(guard, before=service).held == {"DynamicScalingOutSuspended": True}


class TestTheGrowthOfTheDeadLetterQueue:
    @staticmethod
    def depths(*values, newest=NOON - 2 * MINUTE):
        return {newest - age * MINUTE: value for age, value in enumerate(reversed(values))}

    def test_it_is_the_difference_over_five_minutes(self):
        assert dead_letters_per_minute(self.depths(1000, 10, 20, 30, 40, 50, 60), NOON) == 10

    def test_a_gap_does_not_change_it(self):
        depths = self.depths(10, 20, 30, 40)
        del depths[NOON - 3 * MINUTE]
        assert dead_letters_per_minute(depths, NOON) == 10

    def test_an_empty_or_stale_or_single_reading_is_unknown(self):
        for depths in ({}, self.depths(5, 9, newest=NOON - 7 * MINUTE), self.depths(5)):
            assert isinstance(dead_letters_per_minute(depths, NOON), Unknown)


KNOWN = st.builds(
    lambda messages, ratio: GuardReadings(ended=Ended(messages=messages, failed=messages * ratio)),
    st.integers(0, 1000),
    st.floats(0, 1),
)
UNKNOWN = st.just(GuardReadings(ended=UNREAD))
READINGS = st.lists(st.one_of(KNOWN, UNKNOWN), max_size=150)


@given(st.lists(UNKNOWN, max_size=20), st.sampled_from([SETTINGS, ALL]))
def test_it_never_engages_on_what_is_unknown(readings, settings):
    decisions, guard = played(readings, settings)
    assert guard is None
    assert not any(decision.engages for decision in decisions)


@given(READINGS, st.integers(10, 90))
def test_a_hold_never_outlives_its_longest_time(readings, minutes):
    decisions, _ = played(readings, replace(SETTINGS, minutes=minutes))
    engaged = None
    for minute, decision in enumerate(decisions):
        if decision.engages:
            engaged = minute
        elif decision.engages is False:
            engaged = None
        assert engaged is None or minute - engaged < minutes


@given(st.lists(st.floats(25, 50, exclude_max=True), max_size=150), st.booleans())
def test_between_the_two_levels_nothing_changes_before_the_clock_ends_it(percents, engaged):
    guard = Guard(at=NOON, until=NOON + 200 * MINUTE, why="it failed", seen_at=NOON) if engaged else None
    decisions, after = played([share(percent) for percent in percents], guard=guard)
    assert all(decision.engages is None for decision in decisions)
    assert (after is not None) is engaged


@given(READINGS)
def test_it_is_not_released_and_engaged_again_within_the_calm_minutes(readings):
    decisions, _ = played(readings)
    changes = [
        (minute, decision) for minute, decision in enumerate(decisions) if decision.engages is not None
    ]
    for (earlier, one), (later, other) in pairwise(changes):
        assert one.engages is not other.engages
        if one.engages and other.reason is Reason.DOWNSTREAM_RECOVERED:
            assert later - earlier >= CALM_MINUTES


@given(READINGS)
def test_the_same_readings_lead_to_the_same_decisions(readings):
    assert played(readings) == played(readings)
