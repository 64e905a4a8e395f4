"""A panel's title describes its data, with the timeline's own numbers."""

from __future__ import annotations

import pytest

from sluice_report import quantities
from sluice_report.demo import sentences
from tests.report.demo import builders
from tests.report.demo.builders import (
    flat,
    minute,
    minutes,
    summary,
)


def test_the_backlog_is_described_from_its_first_message_to_its_last() -> None:
    text = sentences.backlog(minutes())
    assert text == "24 messages wait in minute 2; the queue is empty after minute 6"


def test_the_maximum_of_a_growing_backlog_is_named() -> None:
    rows = [minute(1, visible=1), minute(2, visible=1200), minute(3)]
    assert (
        sentences.backlog(rows)
        == "1 message waits in minute 1; at most 1,200 in minute 2; the queue is empty after minute 2"
    )


def test_a_remaining_backlog_is_described() -> None:
    rows = [minute(1, visible=5), minute(2, visible=3, in_flight=2)]
    assert (
        sentences.backlog(rows) == "5 messages wait in minute 1; 3 still wait and 2 are in flight at the end"
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "No message waits"),
        ({"in_flight": 2}, "No message waits at any minute's end: each is received at once"),
    ],
)
def test_an_empty_backlog_is_described_as_empty(changes: dict, text: str) -> None:
    assert sentences.backlog(flat(**changes).minutes) == text


def test_the_fleet_is_described_from_its_first_instance_to_its_last() -> None:
    text = sentences.instances(minutes())
    assert (
        text == "1 instance is asked for in minute 2 and runs in minute 3; 3 at most; back to 0 in minute 8"
    )


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([minute(1), minute(2)], "No instance is ever asked for"),
        ([minute(1, desired=10), minute(2, desired=10)], "10 instances asked for throughout"),
        ([minute(1), minute(2, desired=2)], "2 instances are asked for in minute 2 and never run"),
        (
            [minute(1), minute(2, desired=1, running=1)],
            "1 instance is asked for in minute 2 and runs at once",
        ),
        ([minute(1, desired=3), minute(2, desired=1)], "down to 1 in minute 2"),
        (
            [minute(1, desired=1), minute(2, desired=3, running=3), minute(3, desired=2)],
            "3 instances are asked for in minute 2 and run at once; down to 2 in minute 3",
        ),
    ],
)
def test_every_kind_of_fleet_history_has_its_sentence(rows: list, text: str) -> None:
    assert sentences.instances(rows) == text


def test_the_backlog_per_instance_is_compared_with_its_target() -> None:
    text = sentences.per_instance(minutes())
    maximum, since = text.split("; ")
    assert maximum == "At most 24 messages per instance, in minute 2, against a target of 8"
    assert since == "not above it from minute 5 on"


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([minute(1, backlog_per_instance=None, target=None)], "Backlog per instance was never published"),
        ([minute(1, backlog_per_instance=None)], "Backlog per instance was never published; target 8"),
        (
            [minute(1, backlog_per_instance=1, target=None)],
            "At most 1 message per instance, in minute 1; no target is set",
        ),
        (
            [minute(1, backlog_per_instance=9, target=30), minute(2, target=None), minute(3, target=17.85)],
            "At most 9 messages per instance, in minute 1; the target moves 30 → 17.9",
        ),
        (
            [minute(number, target=float(number)) for number in range(1, 9)],
            "At most 0 messages per instance, in minute 1; the target moves 1 … 8",
        ),
        (
            [minute(1, backlog_per_instance=9)],
            "At most 9 messages per instance, in minute 1, against a target of 8",
        ),
    ],
)
def test_every_kind_of_target_history_has_its_sentence(rows: list, text: str) -> None:
    assert sentences.per_instance(rows) == text


def test_arrivals_are_described_by_their_busiest_minute_and_their_sustained_part() -> None:
    rows = builders.arriving()
    assert sentences.arrivals(rows) == (
        "At most 30 messages arrive in a minute; up to 30 of them count as sustained"
    )
    unknown, burst = rows[:3], [minute(1, sent=1, arrivals_per_s=0.0), minute(2, arrivals_per_s=0.0)]
    assert sentences.arrivals(unknown) == (
        "At most 30 messages arrive in a minute; how many keep arriving is not known"
    )
    assert (
        sentences.arrivals(burst) == "At most 1 message arrives in a minute; none of them count as sustained"
    )
    assert sentences.arrivals([minute(1)]) == "No message arrives"


def test_the_tracked_metric_is_compared_with_the_target_and_names_sustained_arrivals() -> None:
    assert sentences.per_instance(builders.arriving()) == (
        "At most 15 messages per instance, in minute 1, sustained arrivals included, against a target of 8"
    )
    burst = [minute(1, backlog_per_instance=9.0, effective_backlog_per_instance=9.0), minute(2)]
    assert sentences.per_instance(burst) == (
        "At most 9 messages per instance, in minute 1, against a target of 8; not above it from minute 2 on"
    )


def test_a_drifting_processing_time_is_described_at_both_ends() -> None:
    rows = [minute(1), minute(2, processing_s=2.04), minute(3, processing_s=6), minute(4)]
    assert sentences.processing(rows) == "A message takes 2.04 s at first and 6 s at the end"
    assert sentences.processing(rows[:2]) == "A message takes 2.04 s"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (8.0, "8"),
        (17.857, "17.9"),
        (0.1234, "0.123"),
        (999.96, "1,000"),
        (1234.5, "1,234"),
        (2_800_000, "2,800,000"),
    ],
)
def test_numbers_are_formatted_for_readers(value: float, text: str) -> None:
    assert quantities.number(value) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "nothing left, back at its minimum"),
        ({"left": 3}, "not done: 24 of 24 processed, 3 left, 0 desired (minimum 0)"),
        ({"final_desired": 2, "minimum": 1}, "not done: 24 of 24 processed, 0 left, 2 desired (minimum 1)"),
    ],
)
def test_the_verdict_is_ok_only_where_the_summary_is(changes: dict, text: str) -> None:
    assert sentences.verdict(summary(**changes)) == text
    assert summary(**changes).ok == text.startswith("nothing left")


def test_the_heading_counts_what_was_processed() -> None:
    assert sentences.heading(builders.timeline()).startswith(
        "24 messages processed by at most 3 instances in 0.25 instance-hours; "
    )
