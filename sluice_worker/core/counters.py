"""Durations and waits within a report interval, counted as CloudWatch takes them: values and their counts.

Owns the counting. Never reads a clock or publishes: times are arguments, and `aws/` publishes.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, floor, log10

from sluice_worker.core.gauges import Gauges
from sluice_worker.core.model import Outcome

DIGITS = 3
"""Significant digits of a value: at most 900 different ones a decade, and half a per cent of error."""
MAX_HISTORY = 60
"""The maximum of report intervals that a worker remembers."""
NEWEST_WEIGHT = 0.1
"""The weight of the newest message in the running mean."""


def rounded(seconds: float) -> float:
    """The value with three significant digits; below a microsecond (the clock may be set back) it is 0."""
    if seconds < 1e-6:
        return 0.0
    return round(seconds, DIGITS - 1 - floor(log10(seconds)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInterval:
    """A closed interval; `durations_s` and `waits_s` map rounded seconds to how many messages took them."""

    began_at: float
    """Epoch seconds."""
    length_s: float
    durations_s: Mapping[Outcome, Mapping[float, int]]
    waits_s: Mapping[float, int]
    within_promise: int
    """Messages in `waits_s` that began within the promised time."""
    gauges: Gauges | None = None
    """The gauges at its end, where they are published."""

    @property
    def middle_at(self) -> float:
        """Epoch seconds in the middle: in the clock's minute that a one-minute interval overlaps most."""
        return self.began_at + self.length_s / 2

    @property
    def processed(self) -> int:
        """Messages that succeeded."""
        return sum(self.durations_s.get(Outcome.SUCCESS, {}).values())

    @property
    def failed(self) -> int:
        """Messages that failed or timed out."""
        return sum(
            sum(c.values()) for outcome, c in self.durations_s.items() if outcome is not Outcome.SUCCESS
        )

    @property
    def per_second(self) -> float:
        """Messages that succeeded, per second."""
        return self.processed / self.length_s if self.length_s else 0.0

    @property
    def within_promise_share(self) -> float | None:
        """Share of the messages started that began within the promised time; None if none was started."""
        started = sum(self.waits_s.values())
        return self.within_promise / started if started else None

    def duration_quantile_s(self, share: float) -> float | None:
        """Seconds within which this share of all messages ended, by nearest rank; None if none did."""
        together: Counter[float] = Counter()
        for counts in self.durations_s.values():
            together.update(counts)
        return quantile(together, share)

    def wait_quantile_s(self, share: float) -> float | None:
        """Seconds from sending to start for this share of the messages; None if none began."""
        return quantile(self.waits_s, share)


def quantile(counts: Mapping[float, int], share: float) -> float | None:
    """The nearest-rank quantile of counted values."""
    rank = ceil(share * sum(counts.values()))
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= rank:
            return value
    return None


def _no_durations() -> dict[Outcome, Counter[float]]:
    return defaultdict(Counter)


@dataclass(slots=True)
class Counters:
    """The running counts; `close` turns them into a `ReportInterval` and starts the next one."""

    began_at: float
    promise_s: float | None = None
    processed: int = 0
    """Since the start."""
    failed: int = 0
    mean_s: float | None = None
    """Exponentially weighted mean of the seconds of a message; None before the first."""
    history: deque[ReportInterval] = field(default_factory=lambda: deque(maxlen=MAX_HISTORY))
    _durations: dict[Outcome, Counter[float]] = field(default_factory=_no_durations)
    _waits: Counter[float] = field(default_factory=Counter)
    _within_promise: int = 0

    def record_start(self, waited_s: float) -> None:
        """Count the start of a message that was sent `waited_s` ago."""
        self._waits[rounded(waited_s)] += 1
        if self.promise_s is not None and waited_s <= self.promise_s:
            self._within_promise += 1

    def record_end(self, outcome: Outcome, took_s: float) -> None:
        """Count the end of a message."""
        self._durations[outcome][rounded(took_s)] += 1
        if outcome is Outcome.SUCCESS:
            self.processed += 1
        else:
            self.failed += 1
        self.mean_s = took_s if self.mean_s is None else self.mean_s + NEWEST_WEIGHT * (took_s - self.mean_s)

    def close(self, now: float) -> ReportInterval:
        """The interval since the last close; `now` in epoch seconds."""
        interval = ReportInterval(
            began_at=self.began_at,
            length_s=max(now - self.began_at, 0.0),  # the system clock may have been set back
            durations_s=self._durations,
            waits_s=self._waits,
            within_promise=self._within_promise,
        )
        self.history.append(interval)
        self.began_at, self._durations, self._waits, self._within_promise = now, _no_durations(), Counter(), 0
        return interval

    def recent_per_second(self, minutes: int) -> float:
        """Messages per second over the last so many intervals."""
        recent: Iterable[ReportInterval] = list(self.history)[-minutes:]
        length_s = sum(interval.length_s for interval in recent)
        return sum(interval.processed for interval in recent) / length_s if length_s else 0.0
