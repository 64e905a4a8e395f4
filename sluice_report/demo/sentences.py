"""What a panel shows, said in words: pure sentences over a story's minutes.

Every number in them is a number of the story. Refuses to say anything about minutes nobody played.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from sluice_report.quantities import count, durations, number, share
from sluice_sim.embedded.timeline import (
    Cause,
    Minute,
    Summary,
    Timeline,
)
from sluice_sim.promise import KEPT_SHARE

FEW_TARGETS = 6
"""So many values of a moving target are named one by one."""


LATE_WHILE: Mapping[Cause, tuple[str, str]] = {
    Cause.NONE_RUNNING: ("no instance ran", "a MinCapacity above 0, or a shorter boot"),
    Cause.BUSY_GROUPS: ("their message groups were busy", "more message groups, not more instances"),
    Cause.BOOTING: (
        "instances booted",
        "a shorter boot, or a lower target, which asks for them sooner",
    ),
    Cause.AT_MAXIMUM: ("the most instances allowed were at work", "a higher MaxCapacity"),
    Cause.NOT_REQUESTED: (
        "target tracking had not yet asked for more",
        "BootstrapCapacity=backlog where none runs, or a lower target",
    ),
    Cause.WITHIN_TARGET: ("the target asked for no more", "a lower target"),
}
"""What the fleet was doing while late messages waited, and what would help."""
MINOR = 0.1
"""Causes of less of the waiting than this are left out."""


def verdict(summary: Summary) -> str:
    """What became of the work and of the fleet."""
    if summary.ok:
        return "nothing left, back at its minimum"
    return f"not done: {unfinished(summary)}"


def unfinished(summary: Summary) -> str:
    """What a fleet that is not ok has left undone."""
    return (
        f"{number(summary.processed)} of {number(summary.sent)} processed, "
        f"{number(summary.left)} left, {number(summary.final_desired)} desired "
        f"(minimum {number(summary.minimum)})"
    )


def promise(summary: Summary) -> str:
    """Whether the promise was kept, and how long messages waited."""
    waits = summary.waits
    if waits is None:
        return "nothing was sent, so nothing waited"
    promised, half, most = durations([waits.promise_s, waits.p50_s, waits.p99_s])
    should = "" if waits.kept else f", {100 * KEPT_SHARE:g} % should"
    started = "all" if waits.attainment == 1 else share(waits.attainment)
    waited = f"half start within {half}, 99 of 100 within {most}"
    if summary.left:
        waited = f"half wait up to {half}, 99 of 100 up to {most}, those that never started until the end"
    return (
        f"promise {'kept' if waits.kept else 'not kept'}: {started} start within {promised} "
        f"of their arrival{should}; {waited}"
    )


def why_late(summary: Summary) -> str:
    """Where the promise was not kept, what the fleet was doing while messages were late; else nothing."""
    if summary.waits is None or summary.waits.kept:
        return ""
    told = ", ".join(
        f"in {100 * part:.0f} % {during} (what helps: {remedy})"
        for cause, part in summary.late_by_cause.items()
        if part >= MINOR
        for during, remedy in [LATE_WHILE[cause]]
    )
    return f"Of the time that late messages waited, {told}."


def heading(story: Timeline) -> str:
    """The whole story in one line."""
    summary = story.summary
    return (
        f"{count(summary.processed, 'message')} processed by at most "
        f"{count(summary.peak_instances, 'instance')} in {number(summary.instance_hours)} instance-hours; "
        f"{verdict(summary)}; {promise(summary)}"
    )


def backlog(minutes: Sequence[Minute]) -> str:
    """When messages wait, how many at most, and until when."""
    waiting = [row for row in minutes if row.visible]
    held = [row for row in minutes if row.visible or row.in_flight]
    if not held:
        return "No message waits"
    if not waiting:
        return "No message waits at any minute's end: each is taken up at once"
    first, peak = waiting[0], max(waiting, key=lambda row: row.visible)
    wait = "waits" if first.visible == 1 else "wait"
    told = [f"{count(first.visible, 'message')} {wait} in minute {first.minute}"]
    if peak.visible > first.visible:
        told.append(f"at most {number(peak.visible)} in minute {peak.minute}")
    last = minutes[-1]
    if held[-1] is last:
        told.append(f"{number(last.visible)} still wait and {number(last.in_flight)} are in work at the end")
    else:
        told.append(f"the queue is empty after minute {held[-1].minute}")
    return "; ".join(told)


def instances(minutes: Sequence[Minute]) -> str:
    """When the fleet grows, how far, and when it is back."""
    start, end = minutes[0], minutes[-1]
    peak = max(row.desired for row in minutes)
    grown = next((row for row in minutes if row.desired > start.desired), None)
    if grown is None and end.desired == start.desired:
        return (
            f"{count(end.desired, 'instance')} asked for throughout"
            if peak
            else "No instance is ever asked for"
        )
    told = []
    if grown is not None:
        asked = (
            f"{count(grown.desired, 'instance')} {'is' if grown.desired == 1 else 'are'} asked for in minute"
        )
        told.append(f"{asked} {grown.minute}{_running(minutes, grown)}")
    if peak > max(start.desired, grown.desired if grown else 0):
        told.append(f"{number(peak)} at most")
    if end.desired < peak:
        settled = next(row.minute for row in _from_last_change(minutes))
        verb = "back to" if end.desired == start.desired else "down to"
        told.append(f"{verb} {number(end.desired)} in minute {settled}")
    return "; ".join(told)


def _running(minutes: Sequence[Minute], grown: Minute) -> str:
    ready = next(
        (row for row in minutes if row.minute >= grown.minute and row.running >= grown.desired), None
    )
    if ready is None:
        return " and never run" if grown.desired > 1 else " and never runs"
    if ready is grown:
        return " and " + ("runs" if grown.desired == 1 else "run") + " at once"
    return f" and {'runs' if grown.desired == 1 else 'run'} in minute {ready.minute}"


def _from_last_change(minutes: Sequence[Minute]) -> Iterable[Minute]:
    last_other = max(index for index, row in enumerate(minutes) if row.desired != minutes[-1].desired)
    return minutes[last_other + 1 :]


def counts_arrivals(minutes: Sequence[Minute]) -> bool:
    """Whether what is tracked counts arrivals too."""
    return any(row.effective_backlog_per_instance is not None for row in minutes)


def arrivals(minutes: Sequence[Minute]) -> str:
    """How many messages arrive, and how many of them count as sustained."""
    peak = max(minutes, key=lambda row: row.sent)
    if not peak.sent:
        return "No message arrives"
    told = f"At most {count(peak.sent, 'message')} {'arrives' if peak.sent == 1 else 'arrive'} in a minute"
    known = [row.sustained_per_minute for row in minutes if row.sustained_per_minute is not None]
    if not known:
        return f"{told}; how many keep arriving is not known"
    sustained = number(max(known))
    return f"{told}; {f'up to {sustained}' if max(known) else 'none'} of them count as sustained"


def targets(minutes: Sequence[Minute]) -> list[tuple[float, int, int]]:
    """(target, first minute, last minute) of each stretch on one target; where there is none is left out."""
    stretches = []
    for target, rows in groupby(minutes, key=lambda row: row.target):
        stretch = list(rows)
        if target is not None:
            stretches.append((target, stretch[0].minute, stretch[-1].minute))
    return stretches


def per_instance(minutes: Sequence[Minute]) -> str:
    """How far what is tracked was from its target, and where the target went."""
    known = [row for row in minutes if row.tracked_per_instance is not None]
    values = [value for value, _, _ in targets(minutes)]
    if not known:
        return "Backlog per instance was never published" + (
            f"; target {number(values[-1])}" if values else ""
        )
    most = max(known, key=lambda row: row.tracked_per_instance or 0)
    arriving = ", sustained arrivals included" if any(row.arriving_per_instance for row in minutes) else ""
    told = f"At most {count_of(most.tracked_per_instance)} per instance, in minute {most.minute}{arriving}"
    if not values:
        return f"{told}; no target is set"
    if len(values) == 1:
        return f"{told}, against a target of {number(values[0])}{_settled(known, values[0])}"
    named = values if len(values) <= FEW_TARGETS else [values[0], values[-1]]
    return f"{told}; the target moves " + (" → " if named is values else " … ").join(map(number, named))


def _settled(known: Sequence[Minute], target: float) -> str:
    above = [index for index, row in enumerate(known) if (row.tracked_per_instance or 0) > target]
    if not above or above[-1] == len(known) - 1:
        return ""
    return f"; not above it from minute {known[above[-1] + 1].minute} on"


def count_of(value: float | None) -> str:
    """A measured amount of messages."""
    return f"{number(value or 0)} message" + ("" if value == 1 else "s")


def processing(minutes: Sequence[Minute]) -> str:
    """How long a message takes, at first and at the end."""
    known = [row.processing_s for row in minutes if row.processing_s is not None]
    if not known:
        return "No processing time was published"
    first, last = number(known[0]), number(known[-1])
    if first == last:
        return f"A message takes {first} s"
    return f"A message takes {first} s at first and {last} s at the end"
