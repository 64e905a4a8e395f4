"""The invariants that hold whatever was done to the workers, checked on the calls of their handlers. Pure.

Owns the sentences that describe a violation. `deaths` holds when each process was killed: its unfinished
messages may be processed again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from tests.worker_chaos.handlers import Do
from tests.worker_chaos.records import Span

Calls = Mapping[str, Sequence[Span]]
"""Message -> the calls for it, in the order in which they began."""
Deaths = Mapping[int, float]
"""Process -> when it was killed, or killed itself."""


def none_lost(sent: Iterable[str], completed: set[str]) -> Iterator[str]:
    """Every message was processed at least once."""
    lost = [key for key in sent if key not in completed]
    if lost:
        yield f"{len(lost)} messages were never processed: {_some(lost)}"


def repeats(calls: Calls, deaths: Deaths) -> Counter[str]:
    """The reasons why messages were started again, one for each time."""
    return Counter(
        _reason(before, after, deaths) for spans in calls.values() for before, after in pairwise(spans)
    )


def twice(calls: Calls) -> list[str]:
    """Messages that were completed more than once."""
    return [key for key, spans in calls.items() if sum(span.completed_at is not None for span in spans) > 1]


UNEXPLAINED = "without a reason"
PAST_DEADLINE = (Do.HANG_ONCE, Do.LATE_ONCE)


def repeated_only_for_a_reason(calls: Calls, deaths: Deaths) -> Iterator[str]:
    """A message is started again only if its handler failed, or if its process was killed."""
    wrong = [
        f"{key} at {after.began_at:.3f} (receipt {after.receipt}, process {after.pid}; before: "
        f"{before.began_at:.3f} to {before.ended_at}, receipt {before.receipt}, process {before.pid})"
        for key, spans in calls.items()
        for before, after in pairwise(spans)
        if _reason(before, after, deaths) == UNEXPLAINED
    ]
    if wrong:
        yield f"{len(wrong)} times a message was started again {UNEXPLAINED}: {_some(wrong)}"


def in_order(spans: Iterable[Span], deaths: Deaths) -> Iterator[str]:
    """In each group no message begins before its predecessor completed, or after its successor began."""
    groups: dict[str, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.began_at):
        groups[span.group].append(span)
    overtakings = [wrong for calls in groups.values() for wrong in _overtakings(calls)]
    if overtakings:
        yield f"{len(overtakings)} times the order of a group was broken: {_some(overtakings)}"
    overlaps = [wrong for calls in groups.values() for wrong in _overlaps(calls, deaths)]
    if overlaps:
        yield f"{len(overlaps)} times two of a group ran at once: {_some(overlaps)}"


def _overtakings(calls: Sequence[Span]) -> Iterator[str]:
    completed_at: dict[int, float] = {}
    for span in calls:
        if span.completed_at is not None:
            first = min(span.completed_at, completed_at.get(span.place, float("inf")))
            completed_at[span.place] = first
    furthest = -1
    for span in calls:
        before = span.place - 1
        if before >= 0 and not completed_at.get(before, float("inf")) <= span.began_at:
            yield f"{span.key} began before its predecessor had completed"
        if span.place < furthest:
            yield f"{span.key} began again after number {furthest} of its group"
        furthest = max(furthest, span.place)


def _overlaps(calls: Sequence[Span], deaths: Deaths) -> Iterator[str]:
    """Calls of one group that overlap; a call ends with its process, and never if neither end is known."""
    for before, after in pairwise(calls):
        over_at = before.ended_at or deaths.get(before.pid, float("inf"))
        if over_at > after.began_at:
            yield f"{before.key} ran in process {before.pid} when {after.key} began in {after.pid}"


def _reason(before: Span, after: Span, deaths: Deaths) -> str:
    if before.failed_at is not None:
        return "failed"
    if before.do in PAST_DEADLINE:
        return "not done at its deadline"
    died_at = deaths.get(before.pid)
    if died_at is None or not before.began_at <= died_at <= after.began_at:
        return UNEXPLAINED
    return "killed while at work" if before.completed_at is None else "killed before its delete arrived"


def _some(things: Sequence[str]) -> str:
    more = len(things) - 3
    return "; ".join(things[:3]) + (f"; and {more} more" if more > 0 else "")
