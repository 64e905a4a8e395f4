"""The timeline of one workload: what happened, when, why, and why nothing did at a moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

MINUTE = timedelta(minutes=1)
SILENT_AFTER = timedelta(minutes=3)
"""Ticks of consecutive minutes are up to two minutes apart."""
HELD_FOR = timedelta(minutes=10)
"""A hold this long before a moment still explains it, unless the size has changed since."""
QUOTED_CHARS = 300
"""Of an event's text; a decision shortens a longer one."""
STEERING = ("-AlarmHigh", "-AlarmLow")
"""The ends of the names of the alarms by which target tracking steers."""


class Source(StrEnum):
    """Where an entry is from; of one moment, causes stand before their effects, in this order."""

    STACK = "stack"
    DEPLOYMENT = "deployment"
    SERVICE = "service"
    ALARM = "alarm"
    PLANE = "plane"
    TICK = "tick"
    FAILURE = "failure"
    DECISION = "decision"
    ACTIVITY = "activity"


ORDER = {source: place for place, source in enumerate(Source)}
LOGGED = frozenset({Source.PLANE, Source.TICK, Source.FAILURE, Source.DECISION})
"""What the functions' logs tell."""


class Effect(StrEnum):
    """What an entry says of the workload's size."""

    RESIZED = "resized"
    HELD = "held"
    """Why the size did not change."""
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One fact with its numbers; `at` is the first time and `until` the last one of those folded into it."""

    at: datetime
    source: Source
    text: str
    effect: Effect = Effect.NONE
    wrong: bool = False
    repeats: tuple[str, str] | None = None
    """(series, state): entries of a series in one state say the same; None for what is never folded."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """The readings of a log line, by their names there."""
    until: datetime | None = None
    times: int = 1


def merged(*sources: Iterable[Entry]) -> list[Entry]:
    """All entries, oldest first; those of one source and moment keep their order."""
    return sorted(
        (entry for source in sources for entry in source), key=lambda entry: (entry.at, ORDER[entry.source])
    )


def of_color(entry: Entry, color: str, *, is_active: bool) -> Entry:
    """An entry about one of two colors, named; what holds the idle one is no reason for the other's size."""
    repeats = entry.repeats and (f"{color} {entry.repeats[0]}", entry.repeats[1])
    effect = Effect.NONE if entry.effect is Effect.HELD and not is_active else entry.effect
    return replace(entry, text=f"{color}: {entry.text}", repeats=repeats, effect=effect)


def without_quoted(entries: Sequence[Entry]) -> list[Entry]:
    """The entries without the events of a service that a decision quotes with their minute."""
    decisions = [entry.text for entry in entries if entry.source is Source.DECISION]

    def is_quoted(event: Entry) -> bool:
        minute, text = f"at {event.at:%Y-%m-%d %H:%M} UTC: ", event.text[:QUOTED_CHARS]
        return any(minute in decision and text in decision for decision in decisions)

    return [entry for entry in entries if entry.source is not Source.SERVICE or not is_quoted(entry)]


def silences(entries: Sequence[Entry], end: datetime) -> Iterator[Entry]:
    """The times, until the end of what was read, in which no tick has served the workload."""
    ticks = [entry.at for entry in _ticks(entries)]
    for last, following in zip(ticks, [*ticks, end][1:], strict=True):
        if (silent := following - last) > SILENT_AFTER:
            span = f"{silent // MINUTE} minutes, from {last:%H:%M:%S} to {following:%H:%M:%S}"
            text = f"no tick served the workload for {span}"
            yield Entry(at=last + MINUTE, source=Source.PLANE, text=text, wrong=True)


def folded(entries: Sequence[Entry]) -> list[Entry]:
    """Merged entries, where repeated holds, ticks and alike activities are one, with the newest text.

    A run ends when its series changes state, and every run when a decision changes the size or ticks fail to
    come.
    """
    found: list[Entry] = []
    runs: dict[str, int] = {}
    """Series -> the place of its newest run."""
    for entry in entries:
        if not entry.repeats:
            resized = entry.source is Source.DECISION and entry.effect is Effect.RESIZED
            if resized or entry.source is Source.PLANE:
                runs.clear()
            found.append(entry)
            continue
        series = entry.repeats[0]
        place = runs.get(series)
        if place is not None and found[place].repeats == entry.repeats:
            run = found[place]
            found[place] = replace(
                run, text=entry.text, numbers=entry.numbers, until=entry.at, times=run.times + 1
            )
        else:
            runs[series] = len(found)
            found.append(entry)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is said of one moment: a sentence, and what else stood then, oldest first."""

    sentence: str
    standing: tuple[Entry, ...] = ()
    wrong: bool = False
    """Whether no tick served the workload."""


def at_moment(entries: Sequence[Entry], moment: datetime) -> Answer:
    """What changed the size in the minute of this moment, or why nothing did."""
    minute = moment.replace(second=0, microsecond=0)
    until_end = [entry for entry in entries if entry.at < minute + MINUTE]
    within = [entry for entry in until_end if entry.at >= minute]
    when = f"at {minute:%H:%M} UTC"
    if resized := [entry for entry in within if entry.effect is Effect.RESIZED]:
        return Answer(sentence=f"{when} the size changed: {_sentences(resized)}")
    # A tick starts up to a minute late, so that of this minute may have logged in the next, but not in both.
    tick_from = minute if _ticks(within) else minute - MINUTE
    ticks = [entry for entry in _ticks(until_end) if entry.at >= tick_from]
    holds = _holds(until_end, minute)
    current = [hold for hold in holds if hold.at >= tick_from]
    standing = [*holds, *ticks[-1:], *_steering(until_end)]
    if current:
        because = "; ".join(hold.text for hold in current)
    elif not ticks:
        because = _no_tick(until_end, tick_from, minute + MINUTE)
    elif holds:
        because = f"{holds[-1].text}, at {holds[-1].at:%H:%M:%S}"
    else:
        because = f"{_not_yet_running(ticks[-1]) or 'nothing asked for another size'}: {ticks[-1].text}"
    others = [entry for entry in within if entry.effect is Effect.NONE and not _is_routine(entry)]
    nothing = "the size did not change" if others else "nothing happened"
    return Answer(
        sentence=f"{nothing} {when} because {because}",
        standing=tuple(merged(others, (entry for entry in standing if entry.text not in because))),
        wrong=not ticks,
    )


def _not_yet_running(tick: Entry) -> str:
    """How many of the desired instances boot, for which target tracking waits; empty without any."""
    desired, running = tick.numbers.get("desired_now", 0), tick.numbers.get("running", 0)
    return f"{desired - running:g} of {desired:g} desired do not run yet" if desired > running else ""


def _holds(entries: Sequence[Entry], minute: datetime) -> list[Entry]:
    """The newest hold of each series that the size has not outlived, oldest first."""
    resized = max((entry.at for entry in entries if entry.effect is Effect.RESIZED), default=None)
    since = minute - HELD_FOR if resized is None else max(minute - HELD_FOR, resized)
    newest = {
        entry.repeats[0] if entry.repeats else entry.text: entry
        for entry in entries
        if entry.effect is Effect.HELD and entry.at > since
    }
    return merged(newest.values())


def _steering(entries: Sequence[Entry]) -> Iterable[Entry]:
    """The newest change of each alarm by which target tracking steers."""
    newest = {
        entry.repeats[0]: entry
        for entry in entries
        if entry.source is Source.ALARM and entry.repeats and entry.repeats[0].endswith(STEERING)
    }
    return newest.values()


def _ticks(entries: Sequence[Entry]) -> list[Entry]:
    """What ticks have said of the workload."""
    return [entry for entry in entries if entry.source in (Source.TICK, Source.FAILURE)]


def _is_routine(entry: Entry) -> bool:
    return entry.source in (Source.TICK, Source.PLANE)


def _no_tick(entries: Sequence[Entry], start: datetime, end: datetime) -> str:
    ticks = _ticks(entries)
    newest = f"the newest is of {ticks[-1].at:%H:%M:%S}" if ticks else "none is logged before it"
    plane = [entry.text for entry in entries if entry.source is Source.PLANE and entry.at >= start]
    return "; ".join([f"no tick served the workload from {start:%H:%M} to {end:%H:%M}, and {newest}", *plane])


def _sentences(entries: Sequence[Entry]) -> str:
    return "; ".join(f"{entry.source}: {entry.text}" for entry in folded(entries))
