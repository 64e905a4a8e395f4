"""The timeline of one workload: what happened, when, why, and why nothing did at a moment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

HELD_FOR = timedelta(minutes=10)
"""A hold this long before a moment still explains it: schedules skip a minute or two at most."""
MINUTE = timedelta(minutes=1)
SIZING = frozenset({"bootstrap", "shutdown", "scale"})
"""The kinds of decision that set a size; a retune that holds explains no size."""


class Source(StrEnum):
    """Where an entry is from."""

    DECISION = "decision"
    TICK = "tick"
    FAILURE = "failure"
    ACTIVITY = "activity"
    ALARM = "alarm"
    DEPLOYMENT = "deployment"
    STACK = "stack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One fact with its numbers; `at` is the first time and `until` the last one of those folded into it."""

    at: datetime
    source: Source
    text: str
    repeats: tuple[str, ...] = ()
    """(series, state): entries of a series in one state say the same; empty for what is never folded."""
    held: bool = False
    """Whether it says why nothing was changed."""
    wrong: bool = False
    until: datetime | None = None
    times: int = 1


def merged(*sources: Iterable[Entry]) -> list[Entry]:
    """All entries, oldest first."""
    return sorted((entry for source in sources for entry in source), key=lambda entry: entry.at)


def folded(entries: Sequence[Entry]) -> list[Entry]:
    """Merged entries, where repeated holds, ticks and alike activities are one, with the newest text.

    A run ends when its series changes state. A decision that acts ends the runs of all holds.
    """
    found: list[Entry] = []
    runs: dict[str, int] = {}
    """Series -> the place of its newest run."""
    for entry in entries:
        if not entry.repeats:
            if entry.source is Source.DECISION:
                runs.clear()
            found.append(entry)
            continue
        series = entry.repeats[0]
        place = runs.get(series)
        if place is not None and found[place].repeats == entry.repeats:
            run = found[place]
            found[place] = replace(run, text=entry.text, until=entry.at, times=run.times + 1)
        else:
            runs[series] = len(found)
            found.append(entry)
    return found


def at_moment(entries: Sequence[Entry], moment: datetime) -> str:
    """What changed within a minute of this moment, or why nothing did, as one sentence."""
    when = f"{moment:%H:%M} UTC"
    minute = moment.replace(second=0, microsecond=0)
    changed = [
        entry
        for entry in entries
        if minute <= entry.at < minute + MINUTE and not entry.held and entry.source is not Source.TICK
    ]
    if changed:
        return f"at {when}: " + "; ".join(f"{entry.source}: {entry.text}" for entry in folded(changed))
    before = [entry for entry in entries if minute + MINUTE - HELD_FOR <= entry.at < minute + MINUTE]
    # The newest hold of each kind.
    holds = {entry.repeats[0]: entry.text for entry in before if entry.held and entry.repeats[0] in SIZING}
    if holds:
        return f"nothing happened at {when} because {'; '.join(holds.values())}"
    ticks = [entry.text for entry in before if entry.source is Source.TICK]
    if ticks:
        return f"nothing happened at {when}: no decision was logged; the newest reading is {ticks[-1]}"
    return (
        f"nothing is known of {when}: the functions logged nothing about this workload in the ten minutes "
        "before it"
    )
