"""An operator's pause of a workload: who holds which direction, since when, until when and why.

Owns when a pause is in force, its sentence and its stored form. A pause that is stored and cannot be
understood holds both directions: somebody has paused, so it is never read as not paused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum


class Direction(StrEnum):
    """A direction in which a fleet is scaled."""

    OUT = "out"
    IN = "in"


BOTH = frozenset(Direction)
OUT, IN = frozenset({Direction.OUT}), frozenset({Direction.IN})

ALARM_NOTIFICATION = "AlarmNotificationSuspended"
ENABLED, DISABLE_SCALE_IN = "Enabled", "DisableScaleIn"
OUT_SUSPENDED, IN_SUSPENDED = "DynamicScalingOutSuspended", "DynamicScalingInSuspended"
HELD: Mapping[frozenset[Direction], Mapping[str, bool]] = {
    BOTH: {ALARM_NOTIFICATION: True, OUT_SUSPENDED: True, IN_SUSPENDED: True},
    # A disabled policy does not scale in either: Sluice's own shutdown goes on.
    OUT: {ENABLED: False, OUT_SUSPENDED: True},
    IN: {DISABLE_SCALE_IN: True, IN_SUSPENDED: True},
}
"""Directions of a pause -> the fields by which AWS's own policy is held.

A group has the process AlarmNotification and its policy's two fields, a service its scalable target's two.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A pause as an operator has set it."""

    directions: frozenset[Direction]
    by: str
    """The ARN of the caller."""
    at: datetime | None
    """When it was set, in UTC; None if its stored form cannot be read."""
    until: datetime | None = None
    """When it ends by itself, in UTC; None: not before somebody resumes the workload."""
    reason: str = ""
    before: Mapping[str, bool] = field(default_factory=dict)
    """AWS's fields that hold its own policy, as they were before the pause and as they are put back."""

    def in_force(self, now: datetime) -> bool:
        """Whether it holds anything now: it ends by the clock alone, whoever deletes it."""
        return self.until is None or now < self.until

    @property
    def held(self) -> Mapping[str, bool]:
        """Of the fields that the fleet has, those that the pause sets, with their values."""
        return {name: value for name, value in HELD[self.directions].items() if name in self.before}

    @property
    def held_in_policy(self) -> Mapping[str, bool]:
        """Of these, the fields of a group's policy, which every put of the policy sets too."""
        return {name: value for name, value in self.held.items() if name in (ENABLED, DISABLE_SCALE_IN)}

    @property
    def what(self) -> str:
        """`paused`, or with its only direction."""
        return "paused" if self.directions == BOTH else f"paused {' '.join(sorted(self.directions))}"

    def __str__(self) -> str:
        since = f" since {_minute(self.at)}" if self.at else ""
        until = f" until {_minute(self.until)}" if self.until else ""
        why = f": {self.reason}" if self.reason else ""
        return f"{self.what} by {self.by}{since}{until}{why}"


def holds(pause: Pause | None, direction: Direction) -> str:
    """Who holds this direction, as the detail of a held decision; empty if nobody does."""
    return str(pause) if pause is not None and direction in pause.directions else ""


def encoded(pause: Pause) -> str:
    """The stored form, a JSON object; a person may read it in DynamoDB's console."""
    return json.dumps(
        {
            "directions": sorted(pause.directions),
            "by": pause.by,
            "at": _iso(pause.at),
            "until": _iso(pause.until),
            "reason": pause.reason,
            "before": dict(pause.before),
        },
        sort_keys=True,
    )


def decoded(text: object) -> Pause:
    """The pause of a stored form; what cannot be read is a pause of both directions without end."""
    try:
        stored = json.loads(str(text))
        return Pause(
            directions=frozenset(map(Direction, stored["directions"])),
            by=str(stored["by"]),
            at=_moment(stored["at"]),
            until=_moment(stored["until"]),
            reason=str(stored["reason"]),
            before={str(name): value is True for name, value in stored["before"].items()},
        )
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as wrong:
        return Pause(
            directions=BOTH,
            by="somebody",
            at=None,
            reason=f"what is stored of it cannot be read ({wrong}); `sluice resume` ends it",
        )


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
