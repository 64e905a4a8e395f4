"""What was done about the times of which CloudWatch has no value of a queue, as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sluice_operator.core.queue_history import Arrivals, Gap
from sluice_report.quantities import count

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def gap_sentences(came: Arrivals) -> Iterator[str]:
    """A sentence on each long gap, one on what was filled, and one on silences; none without any."""
    for gap in came.breaks:
        yield (
            f"CloudWatch has no value of the queue {span(gap)}: only the longest time without such a gap is "
            "used."
        )
    filled = [gap for gap in came.filled if gap.start >= came.start]
    if filled:
        minutes = sum(gap.length / MINUTE for gap in filled)
        yield f"{minutes:.0f} minutes without a value were filled with the mean of the values around them."
    silences = [gap for gap in came.silences if gap.end > came.start]
    if silences:
        silent_h = sum(gap.length / HOUR for gap in silences)
        yield (
            f"SQS was silent {count(len(silences), 'time')}, for {silent_h:.1f} hours, after six hours "
            "without activity: no messages. It takes up to 15 minutes to publish again."
        )


def span(gap: Gap) -> str:
    """From when to when, in UTC."""
    return f"from {gap.start:%m-%d %H:%M} to {gap.end:%m-%d %H:%M} UTC"
