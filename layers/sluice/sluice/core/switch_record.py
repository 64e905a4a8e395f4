"""A switch between the colors of a blue/green workload, as it is stored: the lock, and what to put back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from sluice.core.model import Color, Unknown


class Step(StrEnum):
    """The steps of a switch, in their order, and the two ways back."""

    BEGIN = "begin"
    FREEZE = "freeze"
    RAISE = "raise"
    READY = "ready"
    FLIP = "flip"
    DRAIN = "drain"
    RETIRE = "retire"
    FINISH = "finish"
    ROLL_BACK = "roll_back"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Was:
    """One color before the switch: its own minimum, its desired count, and what held AWS's scaling."""

    fleet: str
    """Which fleet it was: a stack update may name another one meanwhile."""
    minimum: int
    desired: int
    fields: Mapping[str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A switch in progress, as stored: nobody else's may begin, and all that is to be put back is here."""

    to: Color
    by: str
    """The ARN of the caller."""
    execution: str
    """The ARN of the state machine's execution."""
    since: datetime
    step: Step
    """The newest step that has begun."""
    was: Mapping[Color, Was]
    flips_only: bool = False
    needed: int | None = None
    """Instances that the new color is raised to; None before."""
    waits_since: datetime | None = None
    """When the present step began to wait."""
    quiet_since: datetime | None = None
    """The first of the readings in a row that were a proof; None without one."""
    flipped_at: datetime | None = None
    told_at: datetime | None = None
    """Since when the color that drains receives no more; None before."""
    shows_work: bool = True
    """Whether protection from scale-in shows that a worker works; else a lifecycle hook lets it finish."""

    @property
    def old(self) -> Color:
        """The color that was active before."""
        return self.to.other

    def began(self, step: Step, now: datetime) -> Switch:
        """The switch once this step has begun; its waiting begins only once."""
        if self.step is step:
            return self
        return replace(self, step=step, waits_since=now, quiet_since=None)

    def __str__(self) -> str:
        since = f"{self.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        return f"a switch to {self.to} by {self.by} since {since}, at {self.step} ({self.execution})"


def encoded(switch: Switch) -> str:
    """The stored form, a JSON object; a person may read it in DynamoDB's console."""
    return json.dumps(
        {
            "to": switch.to,
            "by": switch.by,
            "execution": switch.execution,
            "since": _iso(switch.since),
            "step": switch.step,
            "was": {
                color: {
                    "fleet": was.fleet,
                    "minimum": was.minimum,
                    "desired": was.desired,
                    "fields": dict(was.fields),
                }
                for color, was in switch.was.items()
            },
            "flips_only": switch.flips_only,
            "needed": switch.needed,
            "waits_since": _iso(switch.waits_since),
            "quiet_since": _iso(switch.quiet_since),
            "flipped_at": _iso(switch.flipped_at),
            "told_at": _iso(switch.told_at),
            "shows_work": switch.shows_work,
        },
        sort_keys=True,
    )


def decoded(text: object) -> Switch | Unknown:
    """The switch of a stored form; Unknown for one that cannot be read, which still lets none begin."""
    try:
        stored = json.loads(str(text))
        return Switch(
            to=Color(stored["to"]),
            by=str(stored["by"]),
            execution=str(stored["execution"]),
            since=datetime.fromisoformat(stored["since"]).astimezone(UTC),
            step=Step(stored["step"]),
            was={Color(color): _was(was) for color, was in stored["was"].items()},
            flips_only=stored["flips_only"] is True,
            needed=None if stored["needed"] is None else _count(stored["needed"]),
            waits_since=_moment(stored["waits_since"]),
            quiet_since=_moment(stored["quiet_since"]),
            flipped_at=_moment(stored["flipped_at"]),
            told_at=_moment(stored["told_at"]),
            shows_work=stored["shows_work"] is True,
        )
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as wrong:
        return Unknown(reason=f"what is stored of a switch cannot be read ({wrong!r}): {text!r:.200}")


def _was(stored: Mapping[str, object]) -> Was:
    fields = stored["fields"]
    if not isinstance(fields, dict):
        raise TypeError(f"{fields!r:.40} are no fields")
    return Was(
        fleet=str(stored["fleet"]),
        minimum=_count(stored["minimum"]),
        desired=_count(stored["desired"]),
        fields={str(name): value is True for name, value in fields.items()},
    )


def _count(number: object) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError(f"{number!r:.40} is no count")
    return number


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
