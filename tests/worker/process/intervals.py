"""Report intervals, built as a worker counts them."""

from __future__ import annotations

from collections.abc import Iterable

from sluice_worker.core.counters import (
    Counters,
    ReportInterval,
)
from sluice_worker.core.model import Outcome

BEGAN_AT = 1_800_000_000.0
"""A full minute of the clock."""


def interval(
    took_s: Iterable[float] = (),
    *,
    failed_s: Iterable[float] = (),
    late_s: Iterable[float] = (),
    waited_s: Iterable[float] = (),
    promise_s: float | None = None,
    began_at: float = BEGAN_AT,
    length_s: float = 60.0,
) -> ReportInterval:
    """The counts between `began_at` and `length_s` later."""
    counters = Counters(began_at=began_at, promise_s=promise_s)
    for outcome, durations_s in (
        (Outcome.SUCCESS, took_s),
        (Outcome.FAILURE, failed_s),
        (Outcome.TIMEOUT, late_s),
    ):
        for duration_s in durations_s:
            counters.record_end(outcome, duration_s)
    for wait_s in waited_s:
        counters.record_start(wait_s)
    return counters.close(began_at + length_s)
