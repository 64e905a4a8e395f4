"""The demo's findings in words: pure functions from a run's minutes and summary to sentences.

Every number in a sentence comes from the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from sluice_report.quantities import count, durations, number, share
from sluice_sim.embedded.timeline import (
    Cause,
    Minute,
    Summary,
    SwitchSeen,
    Timeline,
)
from sluice_sim.promise import KEPT_SHARE

MAX_NAMED_TARGETS = 6
"""Up to this many values of a moving target are listed one by one."""


CAUSE_TEXTS: Mapping[Cause, tuple[str, str]] = {
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
MIN_NAMED_SHARE = 0.1
"""Causes of a smaller share of the waiting are left out."""


def verdict(summary: Summary) -> str:
    """Whether the work is done and the fleet back at its minimum."""
    if summary.ok:
        return "nothing left, back at its minimum"
    return f"not done: {unfinished(summary)}"


def unfinished(summary: Summary) -> str:
    """What is missing where a run did not end well."""
    wrong = [
        f"{number(summary.processed)} of {number(summary.sent)} processed",
        f"{number(summary.left)} left",
        f"{number(summary.final_desired)} desired (minimum {number(summary.minimum)})",
    ]
    if summary.out_of_order:
        wrong.append(f"{number(summary.out_of_order)} out of order in their message group")
    if summary.switch is not None and not summary.switch.is_done:
        wrong.append(f"the switch: {summary.switch.outcome or 'it has not ended'}")
    if summary.ended_at_work:
        wrong.append(f"{count(summary.ended_at_work, 'instance')} ended at work")
    if summary.old_color_desired:
        wrong.append(f"{number(summary.old_color_desired)} desired of the old color")
    return ", ".join(wrong)


def promise(summary: Summary) -> str:
    """Whether the promise was kept, and how long messages waited."""
    waits = summary.waits
    if waits is None:
        return "nothing was sent, so nothing waited"
    promised, p50, p99 = durations([waits.promise_s, waits.p50_s, waits.p99_s])
    should = "" if waits.kept else f", {100 * KEPT_SHARE:g} % should"
    started = "all" if waits.attainment == 1 else share(waits.attainment)
    waited = f"half start within {p50}, 99 of 100 within {p99}"
    if summary.left:
        waited = f"half wait up to {p50}, 99 of 100 up to {p99}, those that never started until the end"
    return (
        f"promise {'kept' if waits.kept else 'not kept'}: {started} start within {promised} "
        f"of their arrival{should}; {waited}"
    )


def why_late(summary: Summary) -> str:
    """What the fleet was doing while messages were late; empty if the promise was kept."""
    if summary.waits is None or summary.waits.kept:
        return ""
    causes = ", ".join(
        f"in {100 * part:.0f} % {during} (what helps: {remedy})"
        for cause, part in summary.late_by_cause.items()
        if part >= MIN_NAMED_SHARE
        for during, remedy in [CAUSE_TEXTS[cause]]
    )
    return f"Of the time that late messages waited, {causes}."


def heading(timeline: Timeline) -> str:
    """The whole run in one line."""
    summary = timeline.summary
    return (
        f"{count(summary.processed, 'message')} processed by at most "
        f"{count(summary.peak_instances, 'instance')} in {number(summary.instance_hours)} instance-hours; "
        f"{verdict(summary)}; {promise(summary)}"
    )


def backlog(minutes: Sequence[Minute]) -> str:
    """When messages wait, how many at most, and when the queue is empty again."""
    waiting = [row for row in minutes if row.visible]
    held = [row for row in minutes if row.visible or row.in_flight]
    if not held:
        return "No message waits"
    if not waiting:
        return "No message waits at any minute's end: each is received at once"
    first, peak = waiting[0], max(waiting, key=lambda row: row.visible)
    wait = "waits" if first.visible == 1 else "wait"
    parts = [f"{count(first.visible, 'message')} {wait} {first.when}"]
    if peak.visible > first.visible:
        parts.append(f"at most {number(peak.visible)} {peak.when}")
    last = minutes[-1]
    if held[-1] is last:
        parts.append(
            f"{number(last.visible)} still wait and {number(last.in_flight)} are in flight at the end"
        )
    else:
        parts.append(f"the queue is empty after {held[-1].named}")
    return "; ".join(parts)


def instances(minutes: Sequence[Minute]) -> str:
    """When the fleet grows, how far, and when it is back at its first size."""
    start, end = minutes[0], minutes[-1]
    peak = max(row.desired for row in minutes)
    grown = next((row for row in minutes if row.desired > start.desired), None)
    if grown is None and end.desired == start.desired:
        return (
            f"{count(end.desired, 'instance')} asked for throughout"
            if peak
            else "No instance is ever asked for"
        )
    parts = []
    if grown is not None:
        desired = f"{count(grown.desired, 'instance')} {'is' if grown.desired == 1 else 'are'} asked for"
        parts.append(f"{desired} {grown.when}{_running(minutes, grown)}")
    if peak > max(start.desired, grown.desired if grown else 0):
        parts.append(f"{number(peak)} at most")
    if end.desired < peak:
        settled = next(row.when for row in _from_last_change(minutes))
        verb = "back to" if end.desired == start.desired else "down to"
        parts.append(f"{verb} {number(end.desired)} {settled}")
    return "; ".join(parts)


def color(name: str, minutes: Sequence[Minute]) -> str:
    """When a color is the active one, how many instances it has at most, and when it is at zero."""
    rows = [(row, next(each for each in row.colors if each.color == name)) for row in minutes]
    active = [row for row, size in rows if size.active]
    peak = max(size.running for _, size in rows)
    if not active:
        return f"{name.capitalize()} is never the active color; " + (
            f"{count(peak, 'instance')} at most" if peak else "it runs nothing"
        )
    until = "throughout" if len(active) == len(minutes) else f"until {active[-1].named}"
    if active[0] is not minutes[0]:
        until = f"from {active[0].named} on"
    text = f"{name.capitalize()} is the active color {until}; {count(peak, 'instance')} at most"
    last_up = max((index for index, (_, size) in enumerate(rows) if size.running), default=-1)
    if last_up + 1 < len(rows) and peak:
        text += f", none from {rows[last_up + 1][0].named} on"
    return text


def switch(seen: SwitchSeen) -> str:
    """How long a switch took until the new color was active, the old one at zero, and everything put back."""
    ends_s = {each.step: each.ended_s for each in seen.steps if each.ended_s is not None}
    parts = [
        (text, ends_s[step] - seen.steps[0].began_s)
        for step, text in (
            ("flip", f"{seen.new} is the active color after {{}}"),
            ("retire", f"{seen.old} is at zero after {{}}"),
            ("finish", "nothing is held any more after {}"),
        )
        if step in ends_s
    ]
    if not seen.is_done or not parts:
        return f"The switch: {seen.outcome or 'it has not ended'}"
    times = durations([seconds for _, seconds in parts])
    return "The switch: " + ", ".join(text.format(time) for (text, _), time in zip(parts, times, strict=True))


def _running(minutes: Sequence[Minute], grown: Minute) -> str:
    ready = next(
        (row for row in minutes if row.minute >= grown.minute and row.running >= grown.desired), None
    )
    if ready is None:
        return " and never run" if grown.desired > 1 else " and never runs"
    if ready is grown:
        return " and " + ("runs" if grown.desired == 1 else "run") + " at once"
    return f" and {'runs' if grown.desired == 1 else 'run'} {ready.when}"


def _from_last_change(minutes: Sequence[Minute]) -> Iterable[Minute]:
    last_other = max(index for index, row in enumerate(minutes) if row.desired != minutes[-1].desired)
    return minutes[last_other + 1 :]


def counts_arrivals(minutes: Sequence[Minute]) -> bool:
    """Whether the tracked metric counts sustained arrivals as well."""
    return any(row.effective_backlog_per_instance is not None for row in minutes)


def arrivals(minutes: Sequence[Minute]) -> str:
    """How many messages arrive at most in a minute, and how many of them count as sustained."""
    peak = max(minutes, key=lambda row: row.sent)
    if not peak.sent:
        return "No message arrives"
    text = f"At most {count(peak.sent, 'message')} {'arrives' if peak.sent == 1 else 'arrive'} in a minute"
    known = [row.sustained_per_minute for row in minutes if row.sustained_per_minute is not None]
    if not known:
        return f"{text}; how many keep arriving is not known"
    sustained = number(max(known))
    return f"{text}; {f'up to {sustained}' if max(known) else 'none'} of them count as sustained"


def targets(minutes: Sequence[Minute]) -> list[tuple[float, int, int]]:
    """(target, first minute, last minute) of each period with one target; minutes without are omitted."""
    periods = []
    for target, rows in groupby(minutes, key=lambda row: row.target):
        period = list(rows)
        if target is not None:
            periods.append((target, period[0].minute, period[-1].minute))
    return periods


def per_instance(minutes: Sequence[Minute]) -> str:
    """How far the tracked metric was from its target, and how the target moved."""
    known = [row for row in minutes if row.tracked_per_instance is not None]
    values = [value for value, _, _ in targets(minutes)]
    if not known:
        return "Backlog per instance was never published" + (
            f"; target {number(values[-1])}" if values else ""
        )
    peak = max(known, key=lambda row: row.tracked_per_instance or 0)
    arriving = ", sustained arrivals included" if any(row.arriving_per_instance for row in minutes) else ""
    text = f"At most {messages(peak.tracked_per_instance)} per instance, {peak.when}{arriving}"
    if not values:
        return f"{text}; no target is set"
    if len(values) == 1:
        return f"{text}, against a target of {number(values[0])}{_settled(known, values[0])}"
    named = values if len(values) <= MAX_NAMED_TARGETS else [values[0], values[-1]]
    return f"{text}; the target moves " + (" → " if named is values else " … ").join(map(number, named))


def _settled(known: Sequence[Minute], target: float) -> str:
    above = [index for index, row in enumerate(known) if (row.tracked_per_instance or 0) > target]
    if not above or above[-1] == len(known) - 1:
        return ""
    return f"; not above it from {known[above[-1] + 1].named} on"


def messages(value: float | None) -> str:
    """A measured number of messages, which need not be whole."""
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
