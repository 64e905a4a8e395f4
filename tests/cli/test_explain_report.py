"""The rows and events of an explanation's picture."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sluice_cli import explain_report
from sluice_operator.core.timeline import Effect, Entry, Source, merged
from sluice_sim.embedded.timeline import EventKind

MIDNIGHT = datetime(2026, 1, 15, tzinfo=UTC)


def at(minute):
    return MIDNIGHT + timedelta(minutes=minute, seconds=20)


def tick(minute, **numbers):
    read = {"visible": 8.0, "in_flight": 1.0, "desired_now": 2.0, "running": 1.0, "backlog_per_instance": 9.0}
    return Entry(at=at(minute), source=Source.TICK, text="...", repeats=("tick", ""), numbers=read | numbers)


def entry(minute, source, **fields):
    return Entry(at=at(minute), source=source, text="what happened", **fields)


def test_a_tick_is_a_row_at_its_time_of_day():
    [row] = explain_report.minutes([tick(845, effective_backlog_per_instance=12.5, target=8.0)])
    assert (row.minute, row.named, row.when) == (845, "14:05", "at 14:05")
    assert (row.visible, row.in_flight, row.desired, row.running) == (8, 1, 2, 1)
    assert (row.tracked_per_instance, row.target) == (12.5, 8.0)


def test_a_tick_that_could_not_read_the_fleet_is_no_row_of_zeros():
    unread = replace(tick(2), numbers={"visible": 8.0, "in_flight": 1.0})
    assert [row.minute for row in explain_report.minutes([tick(1), unread, tick(3)])] == [1, 3]
    assert explain_report.minutes([unread]) == []


def test_an_event_stands_at_the_nearest_row_with_its_own_time_and_who_caused_it():
    found = explain_report.minutes(
        merged(
            [tick(1), tick(5)],
            [
                entry(2, Source.DECISION, effect=Effect.RESIZED),
                entry(2, Source.ACTIVITY, effect=Effect.RESIZED),
                entry(4, Source.DECISION, effect=Effect.HELD, repeats=("bootstrap", "held")),
                entry(4, Source.PLANE, wrong=True),
            ],
        )
    )
    assert [[event.kind for event in row.events] for row in found] == [
        [EventKind.DECISION, EventKind.TARGET_TRACKING],
        [EventKind.FAILURE, EventKind.NOTE],
    ]
    assert [event.time for event in found[0].events] == [at(2)] * 2


def test_of_the_alarms_only_those_that_go_off_are_events():
    ok = entry(1, Source.ALARM, repeats=("age", "ALARM -> OK"))
    off = entry(1, Source.ALARM, repeats=("age", "OK -> ALARM"))
    [row] = explain_report.minutes(merged([ok, off], [tick(1)]))
    assert len(row.events) == 1


def test_a_month_is_drawn_by_rows_that_keep_every_peak():
    busiest = 20_001
    ticks = [tick(minute, visible=900.0 if minute == busiest else 1.0) for minute in range(30 * 1440)]
    rows = explain_report.minutes(ticks)
    assert len(rows) <= explain_report.MAX_ROWS
    assert [row.minute for row in rows if row.visible == 900] == [busiest]
