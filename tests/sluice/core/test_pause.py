"""When a pause is in force, what it says, and how it is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sluice.core.pause import BOTH, Direction, Pause, decoded, encoded, holds

NOON = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
ALICE = "arn:aws:sts::123456789012:assumed-role/on-call/alice"


def pause(**changed) -> Pause:
    given = {
        "directions": BOTH,
        "by": ALICE,
        "at": NOON,
        "until": NOON + timedelta(hours=2),
        "reason": "the database is down",
        "before": {"Enabled": True, "DisableScaleIn": False},
    }
    return Pause(**(given | changed))


def test_a_pause_ends_by_the_clock_alone():
    assert pause().in_force(NOON + timedelta(minutes=119, seconds=59))
    assert not pause().in_force(NOON + timedelta(hours=2))


def test_a_pause_without_end_does_not_end():
    assert pause(until=None).in_force(NOON + timedelta(days=10_000))


@pytest.mark.parametrize("direction", list(Direction))
def test_a_pause_holds_its_own_direction_alone(direction):
    one = pause(directions=frozenset({direction}))
    assert [each for each in Direction if holds(one, each)] == [direction]
    assert all(holds(pause(), each) for each in Direction)
    assert not any(holds(None, each) for each in Direction)


def test_a_pause_says_who_when_until_when_and_why():
    assert str(pause()) == (
        f"paused by {ALICE} since 2026-01-15 12:00 UTC until 2026-01-15 14:00 UTC: the database is down"
    )
    out = pause(directions=frozenset({Direction.OUT}), until=None, reason="")
    assert str(out) == f"paused out by {ALICE} since 2026-01-15 12:00 UTC"


@pytest.mark.parametrize("changed", [{}, {"until": None}, {"directions": frozenset({Direction.IN})}])
def test_what_is_stored_is_read_back(changed):
    assert decoded(encoded(pause(**changed))) == pause(**changed)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{}",
        "[]",
        "[" * 100_000,
        '{"directions": ["up"]}',
        encoded(pause()).replace("2026", "soon"),
        encoded(pause(until=None)).replace("2026-01-15T12:00:00+00:00", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_a_pause_that_cannot_be_read_holds_both_directions_until_it_is_resumed(text):
    damaged = decoded(text)
    assert damaged.directions == BOTH
    assert damaged.in_force(NOON + timedelta(days=10_000))
    assert "cannot be read" in str(damaged)
    assert "`sluice resume` ends it" in str(damaged)
