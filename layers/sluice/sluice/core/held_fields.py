"""How AWS's fields are to be that hold a fleet's own policy, under an operator's pause, the guard, or both.

Each hold keeps the fields as they were before the first of those that overlap. So whichever ends first, what
the other holds stays held, and after both everything is as it was before both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sluice.core.guard import Guard
from sluice.core.model import Unknown
from sluice.core.pause import Pause
from sluice.core.switch_record import Switch

Fields = Mapping[str, bool]
"""AWS's name of a field -> its value; without those that the fleet does not have."""
PROCESS = "AlarmNotification"
"""The process of a group that runs its scaling policies; a pause of both directions suspends it."""
Hold = Pause | Guard
ENDLESS = datetime.max.replace(tzinfo=UTC)
RELEASE_RETRIED_FOR = timedelta(days=1)
"""The longest that EventBridge Scheduler retries a release (documented)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """A workload's pause and guard; None for none."""

    pause: Pause | None = None
    guard: Guard | None = None
    switch: Switch | Unknown | None = None
    """A switch between its colors that is in progress, which puts back by itself what it holds."""

    @property
    def by_end(self) -> list[Hold]:
        """Those that there are, the one that ends first first."""
        present: list[Hold] = [hold for hold in (self.pause, self.guard) if hold is not None]
        return sorted(present, key=_end)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of a hold: what AWS's fields are just before it, and from then on."""

    at: datetime
    before: Fields
    after: Fields


def before_all(now: Fields, holds: Holds) -> Fields:
    """All fields as they were before these holds; what none of them holds is as it is now."""
    before = dict(now)
    for hold in holds.by_end:
        before |= {name: hold.before[name] for name in hold.held if name in now}
    return before


def under(before: Fields, holds: Collection[Hold]) -> Fields:
    """All fields as they are to be under these holds."""
    fields = dict(before)
    for hold in holds:
        fields |= hold.held
    return fields


def wanted(now: Fields, was: Holds, holding: Holds) -> Fields:
    """All fields as they are to be, after those holds and under these."""
    return under(before_all(now, was), holding.by_end)


def end_of(hold: Hold, now: Fields, was: Holds, holding: Holds) -> End | None:
    """What the end of one of the holds changes, as the others go on; None for one without end."""
    if hold.until is None:
        return None
    before, left = before_all(before_all(now, was), holding), holding.by_end
    left = left[left.index(hold) :]
    return End(at=hold.until, before=under(before, left), after=under(before, left[1:]))


def is_held(hold: Hold, now: Fields) -> bool:
    """Whether AWS's own policy is held as the hold asks."""
    return hold.held.items() <= now.items()


def not_put_back(pause: Pause | None, fields: Fields, now: datetime) -> Pause | None:
    """The pause if AWS may hold its policy for it: one that has ended is released within a minute.

    AWS retries a release for a day. What is held after that is somebody else's hold.
    """
    if pause is None or pause.in_force(now):
        return pause
    is_late = pause.until is not None and now < pause.until + RELEASE_RETRIED_FOR
    return pause if is_late and is_held(pause, fields) else None


def _end(hold: Hold) -> datetime:
    return ENDLESS if hold.until is None else hold.until
