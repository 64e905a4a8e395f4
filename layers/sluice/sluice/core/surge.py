"""Surges: a fleet that is held at a number of instances until a set time, as AWS stores it.

A scheduled action of AWS ends a surge: it sets the minimum that was there before, whether or not the control
plane runs. Its name says how many instances are held and who has asked, so nothing else has to be stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from sluice.core.model import Reason

MAX_NAME = 255
"""Characters of a scheduled action's name in EC2 Auto Scaling; Application Auto Scaling allows one more."""
NAME = re.compile(r"sluice-surge (\d+) of ([a-zA-Z][a-zA-Z0-9-]{0,63}) by (.+)")
ESCAPES = {"%": "%25", ":": "%3A", "/": "%2F", "|": "%7C"}
"""Application Auto Scaling allows no colon, slash or bar in a name, so an ARN's are percent-encoded."""
CUT = "..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Surge:
    """A surge as AWS stores it: a scheduled action that puts the minimum back."""

    workload: str
    instances: int
    """What is held as the fleet's minimum."""
    until: datetime
    """When AWS hands back, in UTC, on the minute."""
    by: str
    """The ARN of the caller or of the alarm; a long one is cut."""
    minimum_before: int

    @property
    def name(self) -> str:
        """The scheduled action's name."""
        prefix, by = f"sluice-surge {self.instances} of {self.workload} by ", _escaped(self.by)
        room = MAX_NAME - len(prefix)
        if len(by) > room:
            # An escape such as %3A must not be cut in two.
            by = re.sub(r"%.?$", "", by[: room - len(CUT)]) + CUT
        return prefix + by

    def __str__(self) -> str:
        return f"a surge to {self.instances} by {self.by} until {self.until:%Y-%m-%d %H:%M} UTC"


def stored_surge(name: str, until: datetime, minimum: int) -> Surge | None:
    """The surge that a scheduled action stores; None for an action of somebody else."""
    found = NAME.fullmatch(name)
    if found is None:
        return None
    return Surge(
        workload=found[2],
        instances=int(found[1]),
        until=until.astimezone(UTC),
        by=_unescaped(found[3]),
        minimum_before=minimum,
    )


def _escaped(text: str) -> str:
    return "".join(ESCAPES.get(each, each) for each in text)


def _unescaped(text: str) -> str:
    for plain, escape in reversed(ESCAPES.items()):
        text = text.replace(escape, plain)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class MinimumChange:
    """Somebody else's scheduled action that sets the fleet's minimum."""

    name: str
    minimum: int
    at: datetime | None
    """Its next start, in UTC; None if only its expression says that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledActions:
    """The scheduled actions on a fleet's minimum."""

    surges: tuple[Surge, ...] = ()
    others: tuple[MinimumChange, ...] = ()
    taken: frozenset[datetime] = frozenset()
    """When an action of the fleet starts, in UTC: EC2 Auto Scaling takes one at a time only."""

    def in_force(self, now: datetime) -> Surge | None:
        """The surge that AWS has still to end; of several the one that ends last."""
        return max(
            (surge for surge in self.surges if surge.until > now),
            key=lambda surge: (surge.until, surge.instances),
            default=None,
        )

    def holding(self, minimum: int) -> Surge | None:
        """The surge that has raised the minimum to this; None if something else has set it."""
        return min(
            (surge for surge in self.surges if surge.instances == minimum),
            key=lambda surge: surge.minimum_before,
            default=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an operator or an alarm asks for: `to` instances, or as many as drain the backlog in time."""

    by: str
    hold_s: float
    to: int | None = None
    drain_in_s: float | None = None
    """Seconds from now; set if `to` is None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a fleet is not raised, and the way out."""

    reason: Reason
    why: str
    passes: bool = False
    """Whether it may pass by itself, so that a retry helps."""
