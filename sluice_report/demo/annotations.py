"""What happened and when: the numbered annotations on the time axis, and their labels.

Every event gets a number except arrivals, which the backlog shows by itself. Where the axis has no room for
each number, neighbouring annotations share a label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sluice_sim.embedded.timeline import (
    Event,
    EventKind,
    Minute,
)

SOURCES = {
    EventKind.ARRIVAL: "arrival",
    EventKind.DECISION: "Sluice",
    EventKind.TARGET_TRACKING: "AWS",
    EventKind.FAILURE: "failure",
    EventKind.NOTE: "note",
}
TRIGGER = re.compile(r" \(by ([\w-]+)\)$")
"""The end of a decision's sentence: which trigger led to it."""

BY_SEVERITY = (EventKind.FAILURE, EventKind.DECISION, EventKind.TARGET_TRACKING, EventKind.NOTE)
LABEL_HEIGHT = 13.5
"""Points; a label of one digit is a circle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One event on the time axis, or a series of equal arrivals; arrivals have no number."""

    number: int | None
    minute: int
    named: str
    """What its minute is called, or when it was."""
    until: int
    kind: EventKind
    trigger: str | None
    text: str

    @property
    def source(self) -> str:
        """Who acted and, if the sentence names it, the trigger."""
        return SOURCES[self.kind] + (f", by {self.trigger}" if self.trigger else "")

    @property
    def sentence(self) -> str:
        """What happened, and for a series of arrivals until which minute."""
        return self.text if self.until == self.minute else f"{self.text} every minute until {self.until}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One label on the axis: a number, or the range of numbers that are too close together."""

    minute: int
    text: str
    kind: EventKind


def annotate(minutes: Sequence[Minute]) -> tuple[Annotation, ...]:
    """Every event in order, numbered from 1; equal arrivals in consecutive minutes become one annotation."""
    annotations: list[Annotation] = []
    number, last_arrival = 0, -1
    for row in minutes:
        for event in row.events:
            if event.kind is not EventKind.ARRIVAL:
                number += 1
                annotations.append(_annotation(number, row, event))
                continue
            arrival = _annotation(None, row, event)
            if last_arrival >= 0 and _continues(annotations[last_arrival], arrival):
                annotations[last_arrival] = replace(annotations[last_arrival], until=row.minute)
            else:
                last_arrival = len(annotations)
                annotations.append(arrival)
    return tuple(annotations)


def _continues(earlier: Annotation, arrival: Annotation) -> bool:
    return earlier.text == arrival.text and arrival.minute == earlier.until + 1


def _annotation(number: int | None, row: Minute, event: Event) -> Annotation:
    text = " ".join(event.text.split()).replace("->", "→")
    trigger = TRIGGER.search(text)
    return Annotation(
        number=number,
        minute=row.minute,
        named=row.named if event.time is None else f"{event.time:%H:%M}",
        until=row.minute,
        kind=event.kind,
        trigger=trigger[1] if trigger else None,
        text=text[: trigger.start()] if trigger else text,
    )


def label_width(text: str) -> float:
    """Width of a label with this text, in points."""
    return max(LABEL_HEIGHT, 5.4 * len(text) + 7.5)


def labels(annotations: Sequence[Annotation], points_per_minute: float) -> tuple[Label, ...]:
    """Labels that do not touch; a shared label looks like its most severe annotation."""
    groups: list[list[Annotation]] = []
    for annotation in annotations:
        if annotation.number is None:
            continue
        if groups and _touch(groups[-1], annotation, points_per_minute):
            groups[-1].append(annotation)
        else:
            groups.append([annotation])
    return tuple(_label(group) for group in groups)


def _touch(group: Sequence[Annotation], annotation: Annotation, points_per_minute: float) -> bool:
    """A label starts at its first annotation and extends to the right, so it can only touch the next one."""
    return (annotation.minute - group[0].minute) * points_per_minute < label_width(_text(group)) + 1


def _text(group: Sequence[Annotation]) -> str:
    first, last = group[0], group[-1]
    return f"{first.number}" if first is last else f"{first.number}–{last.number}"


def _label(group: Sequence[Annotation]) -> Label:
    kinds = {annotation.kind for annotation in group}
    return Label(
        minute=group[0].minute, text=_text(group), kind=next(kind for kind in BY_SEVERITY if kind in kinds)
    )
