"""Generates traces of common load shapes from a seed.

A shape is a weight per interval. The messages are distributed over the intervals by these weights, so that a
trace has exactly the requested number. The shapes are not fitted to any real traffic. Every trace begins on a
Monday at midnight UTC, so that hours, weekdays and schedules mean what they say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from sluice_sim.simulator.queue_kernel import Floats
from sluice_sim.template.deployment import SettingError
from sluice_sim.workloads.limits import (
    MAX_DAYS,
    MAX_INTERVALS,
    MAX_MESSAGES,
    MIN_S,
)
from sluice_sim.workloads.traces import Trace

DAY_S = 86_400.0
START_S = 1_768_176_000.0
"""2026-01-12 00:00 UTC, a Monday."""
PEAK_HOUR = 14.0
WORK_HOURS = (8.0, 18.0)
RAMP_HOURS = 1 / 30
QUIET_RATIO = 0.001
"""Of the rate in working hours."""
DUMP_S = 600.0
"""Duration of a dump."""
SPIKES_PER_DAY = 6.0
SPIKE_DECAY_S = 600.0

Shape = Callable[[Floats, np.random.Generator], Floats]
"""(start of each interval in seconds since Monday 0:00, random generator) -> weight of each interval."""


def steady(at_s: Floats, random: np.random.Generator) -> Floats:  # noqa: ARG001 - the distribution of messages is random
    """The same rate all the time."""
    return np.ones(at_s.size)


def diurnal(at_s: Floats, random: np.random.Generator) -> Floats:  # noqa: ARG001
    """A quiet night, a peak in the early afternoon, half as much at weekends."""
    hour = at_s / 3600.0
    wave: Floats = 1.0 + 0.85 * np.cos((hour - PEAK_HOUR) * 2 * np.pi / 24)
    weekend = (at_s // DAY_S).astype(np.int64) % 7 >= 5
    return np.where(weekend, 0.5 * wave, wave)


def weekly(at_s: Floats, random: np.random.Generator) -> Floats:
    """Steep ramps on weekdays from 8:00 to 18:00, each up to 15 % more or less, and next to nothing else."""
    day, hour = np.divmod(at_s / 3600.0, 24)
    begin, end = WORK_HOURS
    ramp = np.clip(np.minimum(hour - begin, end - hour) / RAMP_HOURS, QUIET_RATIO, 1.0)
    levels = random.uniform(0.85, 1.15, int(day[-1]) + 1)[day.astype(np.int64)]
    return np.where(day % 7 < 5, levels * ramp, QUIET_RATIO)


def bursty(at_s: Floats, random: np.random.Generator) -> Floats:
    """Close to nothing in one minute, a multiple in the next: heavy-tailed rates, correlated briefly."""
    fresh = random.normal(0.0, 1.0, at_s.size)
    before = np.concatenate([[0.0], fresh[:-1]])
    weights: Floats = np.exp(1.3 * (0.8 * fresh + 0.6 * before))
    return weights


def idle_then_dump(at_s: Floats, random: np.random.Generator) -> Floats:
    """Nothing, and once a day all messages within ten minutes."""
    weights = np.zeros(at_s.size)
    interval_s = float(at_s[1] - at_s[0])
    length = max(1, round(DUMP_S / interval_s))
    for day in range(int(at_s[-1] // DAY_S) + 1):
        of_day = np.flatnonzero(at_s // DAY_S == day)
        begin = int(random.integers(of_day[0], max(of_day[-1] - length + 1, of_day[0]) + 1))
        weights[begin : begin + length] = 1.0
    return weights


def spiky(at_s: Floats, random: np.random.Generator) -> Floats:
    """A steady rate, and a few times a day a spike of 10 to 40 times that rate, gone within half an hour."""
    weights = np.ones(at_s.size)
    span_s = float(at_s[-1] - at_s[0])
    for peak_s in random.uniform(0.0, span_s, max(1, int(random.poisson(SPIKES_PER_DAY * span_s / DAY_S)))):
        behind = at_s[at_s >= peak_s]
        weights[at_s.size - behind.size :] += random.uniform(10, 40) * np.exp(
            (peak_s - behind) / SPIKE_DECAY_S
        )
    return weights


SHAPES: Mapping[str, Shape] = {
    "steady": steady,
    "diurnal": diurnal,
    "bursty": bursty,
    "idle-then-dump": idle_then_dump,
    "spiky": spiky,
    "weekly": weekly,
}


def generate(shape: str, *, days: float, per_day: int, interval_s: float, seed: int) -> Trace:
    """A trace of this shape, starting at `START_S`; SettingError for values out of range."""
    if shape not in SHAPES:
        raise SettingError(f"{shape}: no such shape of trace; there are {', '.join(SHAPES)}")
    if not MIN_S <= interval_s <= MAX_DAYS * DAY_S:
        raise SettingError(f"{interval_s:g} s: an interval is {MIN_S:g} s to {MAX_DAYS:,} days")
    if not 0 < days <= MAX_DAYS:
        raise SettingError(f"{days:g} days: a trace has {MAX_DAYS:,} days at most")
    if not 0 <= per_day * days <= MAX_MESSAGES:
        raise SettingError(
            f"{days:g} days of {per_day:g} messages each: a trace has {MAX_MESSAGES:,} messages at most"
        )
    intervals = round(days * DAY_S / interval_s)
    if intervals > MAX_INTERVALS:
        raise SettingError(
            f"{days:g} days are {intervals:,} intervals of {interval_s:g} s: a trace has {MAX_INTERVALS:,} "
            "at most"
        )
    if intervals < 2:
        raise SettingError(f"{days:g} days are {intervals} intervals of {interval_s:g} s; a trace has two")
    random = np.random.default_rng([seed, 2])
    at_s: Floats = interval_s * np.arange(intervals, dtype=np.float64)
    weights = SHAPES[shape](at_s, random)
    dealt = random.multinomial(round(per_day * days), weights / weights.sum())
    return Trace(interval_s=interval_s, arrivals=dealt.astype(np.int64), start_s=START_S)


def about(shape: str) -> str:
    """The description of a shape, in a sentence."""
    return (SHAPES[shape].__doc__ or "").strip()
