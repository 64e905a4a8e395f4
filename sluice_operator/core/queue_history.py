"""What CloudWatch's values of a queue say about its past: arrivals without gaps, and processing times.

Pure. SQS publishes nothing for a queue that has been inactive for six hours; every other period without a
value is a gap, in which messages may have been sent. A short gap is filled with the mean of the values around
it, and a long one ends a stretch: only the longest stretch is used. All of that is counted, to be told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

Values = Mapping[datetime, float]
"""The start of each period that has a value, and the value."""

SILENT_AFTER = timedelta(hours=5, minutes=45)
"""SQS stops publishing about six hours after the last activity (documented: up to six hours)."""
FILLED_UP_TO = timedelta(minutes=15)
PERCENTILES = [f"p{2.5 + 5 * step:g}" for step in range(20)]
"""The middles of twenty equal parts of the messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time without values, `end` exclusive."""

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """How long it lasts."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Messages sent in each period of the longest stretch without a long gap, and what was done to get it."""

    start: datetime
    period: timedelta
    counts: tuple[float, ...]
    filled: tuple[Gap, ...] = ()
    """Short gaps, filled with the mean of the values around them."""
    silences: tuple[Gap, ...] = ()
    """Times in which SQS published nothing because the queue was inactive: 0 messages."""
    breaks: tuple[Gap, ...] = ()
    """Gaps that ended a stretch, within all the time that was asked for."""

    @property
    def end(self) -> datetime:
        """The end of the last period."""
        return self.start + self.period * len(self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingTime:
    """A duration, and the number of messages that it stands for."""

    seconds: float
    messages: float


def arrivals(
    sent: Values, active: Sequence[Values], since: datetime, until: datetime, period: timedelta
) -> Arrivals | None:
    """The longest stretch of `sent` from its first value on; None without a value.

    A value above 0 in `sent`, or in one of `active` (messages in the queue, messages processed), is activity.
    """
    known = [at for at in sent if since <= at < until]
    if not known:
        return None
    busy = sorted({at for values in (sent, *active) for at, value in values.items() if value > 0})
    counts: list[float] = []
    parts: list[Arrivals] = []
    start, filled, silences, breaks = min(known), list[Gap](), list[Gap](), list[Gap]()

    def part() -> Arrivals:
        return Arrivals(
            start=start, period=period, counts=tuple(counts), filled=tuple(filled), silences=tuple(silences)
        )

    at = start
    while at < until:
        if at in sent:
            counts.append(sent[at])
            at += period
            continue
        gap = _gap(sent, at, until, period)
        if _is_silence(gap, busy):
            silences.append(gap)
            counts += [0.0] * round(gap.length / period)
        elif gap.length <= FILLED_UP_TO and gap.end < until:
            filled.append(gap)
            mean = (counts[-1] + sent[gap.end]) / 2 if counts else sent[gap.end]
            counts += [mean] * round(gap.length / period)
        else:
            parts.append(part())
            breaks.append(gap)
            start, counts, filled, silences = gap.end, [], [], []
        at = gap.end
    parts.append(part())
    longest = max(parts, key=lambda one: len(one.counts))
    return Arrivals(
        start=longest.start,
        period=period,
        counts=longest.counts,
        filled=longest.filled,
        silences=longest.silences,
        breaks=tuple(breaks),
    )


def processing_times(found: Mapping[str, Values]) -> list[ProcessingTime]:
    """Each hour's percentiles as durations, each of which stands for a twentieth of the hour's messages.

    `found` has the hourly SampleCount and Average and those of PERCENTILES that CloudWatch has; an hour
    without percentiles counts with its average.
    """
    return list(_processing_times(found))


def _processing_times(found: Mapping[str, Values]) -> Iterator[ProcessingTime]:
    for at, samples in sorted(found["SampleCount"].items()):
        parts = [found[percentile][at] for percentile in PERCENTILES if at in found[percentile]]
        if not parts and at in found["Average"]:
            parts = [found["Average"][at]]
        for seconds in parts:
            if seconds > 0 and samples > 0:
                yield ProcessingTime(seconds=seconds, messages=samples / len(parts))


def share_in_time(*published: tuple[Values, Values]) -> float | None:
    """The share of all messages that started in time; None without messages.

    Each of `published` has, hour by hour, the percentage in time and the number of messages.
    """
    hours = [
        (percent[at], count)
        for percent, messages in published
        for at, count in messages.items()
        if count > 0 and at in percent
    ]
    total = sum(count for _, count in hours)
    return sum(percent / 100 * count for percent, count in hours) / total if total else None


def mean_boot_s(desired: Values, running: Values, period: timedelta) -> float | None:
    """Mean seconds from a launch to running, by Little's law; None if no instance was launched.

    The mean number of instances that are desired and do not run, over the rate of launches.
    """
    both = sorted(desired.keys() & running.keys())
    missing = sum(max(desired[at] - running[at], 0.0) for at in both) * period.total_seconds()
    launches = sum(max(desired[at] - desired[at - period], 0.0) for at in both if at - period in desired)
    return missing / launches if launches else None


def _gap(sent: Values, at: datetime, until: datetime, period: timedelta) -> Gap:
    end = at
    while end < until and end not in sent:
        end += period
    return Gap(start=at, end=min(end, until))


def _is_silence(gap: Gap, busy: Sequence[datetime]) -> bool:
    """Whether the queue was inactive for so long before the gap that SQS had nothing to publish."""
    return not any(gap.start - SILENT_AFTER < at < gap.end for at in busy)
