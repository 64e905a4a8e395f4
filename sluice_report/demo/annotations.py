"""What happened and when: the numbered marks of a story.

Owns which events get a number (all but arrivals, which the backlog shows by itself) and which marks share a
label where the axis has no room for each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sluice_sim.embedded.timeline import (
    Event,
    EventKind,
    Timeline,
)

WHO = {
    EventKind.ARRIVAL: "arrival",
    EventKind.DECISION: "Sluice",
    EventKind.TARGET_TRACKING: "AWS",
    EventKind.FAILURE: "failure",
    EventKind.NOTE: "note",
}
TRIGGER = re.compile(r" \(by ([\w-]+)\)$")
"""How a decision's sentence ends: what made Sluice look."""

GRAVEST_FIRST = (EventKind.FAILURE, EventKind.DECISION, EventKind.TARGET_TRACKING, EventKind.NOTE)
LABEL_HEIGHT = 13.5
"""Points; a label of one digit is a circle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One event on the time axis, or a run of equal arrivals; arrivals have no number."""

    number: int | None
    minute: int
    until: int
    kind: EventKind
    trigger: str | None
    text: str

    @property
    def who(self) -> str:
        """Who acted and, where the sentence says so, what made them look."""
        return WHO[self.kind] + (f", by {self.trigger}" if self.trigger else "")

    @property
    def sentence(self) -> str:
        """What happened, and for a run of arrivals until when."""
        return self.text if self.until == self.minute else f"{self.text} every minute until {self.until}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One label on the axis: a mark's number, or the range of those too close to stand apart."""

    minute: int
    text: str
    kind: EventKind


def chronicle(story: Timeline) -> tuple[Mark, ...]:
    """Every event of the story in its order, numbered from 1; equal arrivals minute by minute are one run."""
    marks: list[Mark] = []
    number, arriving = 0, -1
    for row in story.minutes:
        for event in row.events:
            if event.kind is not EventKind.ARRIVAL:
                number += 1
                marks.append(_mark(number, row.minute, event))
                continue
            arrival = _mark(None, row.minute, event)
            if arriving >= 0 and _continues(marks[arriving], arrival):
                marks[arriving] = replace(marks[arriving], until=row.minute)
            else:
                arriving = len(marks)
                marks.append(arrival)
    return tuple(marks)


def _continues(run: Mark, arrival: Mark) -> bool:
    return run.text == arrival.text and arrival.minute == run.until + 1


def _mark(number: int | None, minute: int, event: Event) -> Mark:
    text = " ".join(event.text.split()).replace("->", "→")
    trigger = TRIGGER.search(text)
    return Mark(
        number=number,
        minute=minute,
        until=minute,
        kind=event.kind,
        trigger=trigger[1] if trigger else None,
        text=text[: trigger.start()] if trigger else text,
    )


def label_width(text: str) -> float:
    """How wide a label of this text is drawn, in points."""
    return max(LABEL_HEIGHT, 5.4 * len(text) + 7.5)


def labels(marks: Sequence[Mark], points_per_minute: float) -> tuple[Label, ...]:
    """Labels that do not touch; where several marks share one, the gravest gives its look."""
    groups: list[list[Mark]] = []
    for mark in marks:
        if mark.number is None:
            continue
        if groups and _touch(groups[-1], mark, points_per_minute):
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return tuple(_label(group) for group in groups)


def _touch(group: Sequence[Mark], mark: Mark, points_per_minute: float) -> bool:
    """A label begins at its first mark and reaches to the right, so that it only ever touches the next."""
    return (mark.minute - group[0].minute) * points_per_minute < label_width(_text(group)) + 1


def _text(group: Sequence[Mark]) -> str:
    first, last = group[0], group[-1]
    return f"{first.number}" if first is last else f"{first.number}–{last.number}"


def _label(group: Sequence[Mark]) -> Label:
    kinds = {mark.kind for mark in group}
    return Label(
        minute=group[0].minute, text=_text(group), kind=next(kind for kind in GRAVEST_FIRST if kind in kinds)
    )
