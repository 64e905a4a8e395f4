"""The timeline of a workload: how entries are merged and folded, and what is said of a moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_operator.core.timeline import (
    Effect,
    Entry,
    Source,
    at_moment,
    folded,
    merged,
    silences,
    without_quoted,
)

START = datetime(2026, 1, 15, 14, 0, tzinfo=UTC)


def at(minute, second=0):
    return START + timedelta(minutes=minute, seconds=second)


def tick(minute, second=0, text="4 per instance (8 visible)"):
    return Entry(at=at(minute, second), source=Source.TICK, text=text, repeats=("tick", "active"))


def hold(minute, second=0, *, kind="bootstrap", text="bootstrap holds: scale-out is suspended"):
    return Entry(
        at=at(minute, second), source=Source.DECISION, text=text, effect=Effect.HELD, repeats=(kind, text)
    )


def resize(minute, second=0, text="bootstrap 0 -> 1: work waits"):
    return Entry(at=at(minute, second), source=Source.DECISION, text=text, effect=Effect.RESIZED)


def failure(minute, second=0, text="ObservationFailed: GetQueueAttributes: AWS answered Throttling"):
    return Entry(
        at=at(minute, second),
        source=Source.FAILURE,
        text=text,
        effect=Effect.HELD,
        wrong=True,
        repeats=("ObservationFailed", text),
    )


def alarm(minute, state, *, name="TargetTracking-fleet-AlarmHigh"):
    text = f"{name}: {state}"
    return Entry(at=at(minute), source=Source.ALARM, text=text, repeats=(name, state))


def plane(minute, second=0, text="publish_backlog: StaleTick: scheduled 200 s ago"):
    return Entry(at=at(minute, second), source=Source.PLANE, text=text, wrong=True, repeats=("plane", text))


entries = st.lists(
    st.builds(
        Entry,
        at=st.integers(0, 20).map(at),
        source=st.sampled_from(Source),
        text=st.text("abc", max_size=2),
        effect=st.sampled_from(Effect),
        repeats=st.none() | st.tuples(st.sampled_from("xyz"), st.sampled_from("12")),
    ),
    max_size=30,
)


class TestMerging:
    @given(st.lists(entries, max_size=4))
    def test_entries_are_in_the_order_of_time_and_none_is_lost(self, sources):
        found = merged(*sources)
        assert [entry.at for entry in found] == sorted(entry.at for entry in found)
        assert sorted(map(repr, found)) == sorted(repr(entry) for source in sources for entry in source)

    @given(entries)
    def test_entries_of_one_moment_and_source_keep_their_order(self, source):
        ordered = sorted(source, key=lambda entry: entry.at)
        found = merged(ordered)
        for each in Source:
            assert [e for e in found if e.source is each] == [e for e in ordered if e.source is each]

    def test_an_alarm_stands_before_the_decision_that_it_led_to_and_that_before_the_activity(self):
        activity = Entry(at=at(1), source=Source.ACTIVITY, text="Launching", effect=Effect.RESIZED)
        assert merged([activity], [resize(1)], [alarm(1, "ALARM")]) == [
            alarm(1, "ALARM"),
            resize(1),
            activity,
        ]


class TestFolding:
    def test_repeated_holds_are_one_with_their_count_and_span_and_the_newest_text(self):
        newest = replace(hold(3), text="bootstrap holds: scale-out is suspended (9 visible)")
        [run] = folded([hold(1), hold(2), newest])
        assert (run.at, run.until, run.times, run.text) == (at(1), at(3), 3, newest.text)

    def test_a_hold_for_another_reason_is_another_line(self):
        other = hold(2, text="bootstrap holds: the bounds allow no instance")
        assert [run.times for run in folded([hold(1), other, hold(3)])] == [1, 1, 1]

    def test_holds_before_and_after_a_resize_are_two_lines(self):
        assert [entry.times for entry in folded([hold(1), hold(2), resize(3), hold(4), hold(5)])] == [2, 1, 2]

    @given(entries)
    def test_every_entry_is_counted_in_one_line_and_what_is_never_folded_stands_alone(self, source):
        found = folded(merged(source))
        assert sum(entry.times for entry in found) == len(source)
        unfolded = [entry for entry in merged(source) if entry.repeats is None]
        assert [entry for entry in found if entry.repeats is None] == unfolded

    @given(entries)
    def test_a_line_spans_from_its_first_entry_to_its_last(self, source):
        for entry in folded(merged(source)):
            assert (entry.until is None) == (entry.times == 1)
            assert entry.until is None or entry.until >= entry.at


class TestAMoment:
    def test_a_change_of_the_size_is_said_whatever_else_held(self):
        answer = at_moment([hold(5, 10), resize(5, 20), tick(5, 30)], at(5, 40))
        assert answer.sentence == "at 14:05 UTC the size changed: decision: bootstrap 0 -> 1: work waits"

    def test_the_hold_of_that_minute_is_the_reason(self):
        answer = at_moment([tick(5, 1), hold(5, 2), tick(6, 1)], at(5))
        assert answer.sentence == (
            "nothing happened at 14:05 UTC because bootstrap holds: scale-out is suspended"
        )
        assert [entry.source for entry in answer.standing] == [Source.TICK]
        assert not answer.wrong

    def test_the_newest_hold_of_each_kind_counts(self):
        shutdown = hold(5, 3, kind="shutdown", text="shutdown holds: not empty")
        answer = at_moment([hold(4), tick(5), hold(5, text="bootstrap holds: awake"), shutdown], at(5))
        assert "because bootstrap holds: awake; shutdown holds: not empty" in answer.sentence

    def test_a_reading_that_failed_is_the_reason(self):
        answer = at_moment([tick(4), failure(5, 20), tick(6)], at(5))
        assert "because ObservationFailed: GetQueueAttributes" in answer.sentence

    def test_a_failure_that_is_over_is_no_reason_for_a_minute_with_a_tick(self):
        answer = at_moment([failure(4, 20), tick(5, 20)], at(5))
        assert "AWS answered Throttling, at 14:04:20" in answer.sentence
        assert [entry.text for entry in answer.standing] == [tick(5).text]

    def test_a_pause_is_the_reason(self):
        text = "mode paused, so nothing is decided; 4 per instance"
        paused = replace(tick(5, 7, text), effect=Effect.HELD, repeats=("tick", "paused"))
        assert at_moment([paused], at(5)).sentence.endswith(f"because {text}")

    def test_instances_that_do_not_run_yet_are_the_reason_before_that_nothing_asked_for_more(self):
        booting = replace(tick(5), numbers={"desired_now": 3.0, "running": 1.0})
        assert at_moment([booting], at(5)).sentence == (
            "nothing happened at 14:05 UTC because 2 of 3 desired do not run yet: 4 per instance (8 visible)"
        )

    def test_a_hold_that_a_resize_ended_is_no_reason(self):
        answer = at_moment([hold(3), resize(4), tick(5, 10), tick(6, 10)], at(6))
        assert answer.sentence == (
            "nothing happened at 14:06 UTC because nothing asked for another size: 4 per instance (8 visible)"
        )

    def test_a_hold_of_over_ten_minutes_ago_is_no_reason(self):
        answer = at_moment([hold(0), tick(15)], at(15))
        assert "because nothing asked for another size" in answer.sentence

    def test_a_minute_without_a_tick_is_said_with_the_newest_before_it_and_is_wrong(self):
        answer = at_moment([tick(2, 10), tick(9)], at(5))
        assert answer.sentence == (
            "nothing happened at 14:05 UTC because no tick served the workload from 14:04 to 14:06, and "
            "the newest is of 14:02:10"
        )
        assert answer.wrong

    def test_what_kept_the_plane_from_a_tick_is_said(self):
        answer = at_moment([tick(2), plane(5, 20)], at(5))
        assert answer.sentence.endswith("publish_backlog: StaleTick: scheduled 200 s ago")

    @pytest.mark.parametrize("second", [0, 59])
    def test_a_tick_up_to_a_minute_before_serves_the_minute(self, second):
        assert not at_moment([tick(4, second)], at(5)).wrong

    def test_without_any_line_no_tick_is_known(self):
        assert "and none is logged before it" in at_moment([], at(5)).sentence

    def test_what_else_happened_is_said_beside_the_reason(self):
        retune = Entry(at=at(5), source=Source.DECISION, text="retune 8 -> 9 per instance")
        answer = at_moment([tick(5), retune], at(5))
        assert answer.sentence.startswith(
            "the size did not change at 14:05 UTC because nothing asked for another size"
        )
        assert retune in answer.standing

    def test_the_alarms_that_steer_target_tracking_stand_beside_the_reason(self):
        own = alarm(1, "OK", name="sluice-fleet-age")
        found = [alarm(1, "ALARM"), alarm(2, "OK"), own, tick(5)]
        answer = at_moment(found, at(5))
        assert [entry.text for entry in answer.standing] == ["TargetTracking-fleet-AlarmHigh: OK"]

    @given(entries, st.integers(0, 20))
    def test_something_is_said_of_every_moment_and_nothing_of_later(self, source, minute):
        found = merged(source)
        answer = at_moment(found, at(minute))
        assert f"14:{minute:02} UTC" in answer.sentence
        known = [entry for entry in found if entry.at < at(minute + 1)]
        assert at_moment(known, at(minute)) == answer
        assert all(entry in known for entry in answer.standing)


class TestSilences:
    def test_over_three_minutes_without_a_tick_are_an_entry_that_is_wrong(self):
        [silence] = silences([tick(1), tick(2), tick(7)], at(8))
        assert (silence.source, silence.wrong) == (Source.PLANE, True)
        assert silence.text == "no tick served the workload for 5 minutes, from 14:02:00 to 14:07:00"

    def test_a_tick_that_failed_has_run(self):
        assert list(silences([tick(1), failure(3), tick(5)], at(6))) == []

    def test_the_time_until_the_end_counts(self):
        assert [each.at for each in silences([tick(1), tick(2)], at(9))] == [at(3)]

    def test_without_any_tick_nothing_is_said(self):
        assert list(silences([resize(1)], at(9))) == []

    def test_ticks_before_and_after_are_two_lines(self):
        read = [tick(1), tick(2), tick(7), tick(8)]
        assert [entry.times for entry in folded(merged(read, silences(read, at(8))))] == [2, 1, 2]


def service_event(minute, text="was unable to place a task. Reason: Capacity is unavailable at this time."):
    return Entry(at=at(minute), source=Source.SERVICE, text=text, effect=Effect.HELD, wrong=True)


def launch(minute, quoted, event_minute):
    return hold(
        minute,
        kind="launch",
        text=f"launch holds: (at 2026-01-15 14:{event_minute:02} UTC: (service a) {quoted})",
    )


def test_an_event_that_a_decision_quotes_is_not_said_twice():
    event, later = service_event(1), service_event(9)
    decision = launch(3, event.text, 1)
    assert without_quoted([event, decision, later]) == [decision, later]


def test_an_event_that_a_decision_shortens_is_quoted_too():
    event = service_event(1, text="unable " * 100)
    assert without_quoted([event, launch(3, event.text[:390] + "...", 1)]) == [
        launch(3, event.text[:390] + "...", 1)
    ]


def test_an_event_of_another_text_or_source_stays():
    other, activity = (
        service_event(1, "failed health checks"),
        replace(service_event(1), source=Source.ACTIVITY),
    )
    decision = launch(3, service_event(1).text, 1)
    assert without_quoted([other, activity, decision]) == [other, activity, decision]
