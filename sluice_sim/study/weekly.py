"""Schedules that a history of arrivals suggests: a floor for the hours of the week that are always busy.

Pure. Arrivals become demand by half hour of the local day. A history is weekly if a day is predicted better
by the other days of its class (Monday to Friday against the weekend, for one) than by all days, and better by
their hours than by their mean. Each day is predicted from the others alone, so that noise explains nothing.
A floor is what the demand of nearly all days of the busy class exceeds; it starts before the rise, early
enough for AWS's lateness and a boot. It predicts, and nothing else in Sluice does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from sluice.core.model import Bounds, Schedule
from sluice_sim.aws_rules.action_runs import MAX_LATENESS_S
from sluice_sim.simulator.queue_kernel import Floats, Ints
from sluice_sim.workloads.traces import Trace

SLOT_S = 1800
SLOTS = 48
"""Half hours of a day: schedules start at these."""
PIECE_S = 900
"""The offsets of all time zones are multiples of this."""
MIN_SLOTS = SLOTS // 2
"""A local day of which less is known does not count."""
MIN_DAYS_OF_A_CLASS = 2
MIN_BUSY_DAYS = 5
"""Two busy Saturdays and two Fridays may be chance."""
WEEK = frozenset(range(7))
CLASSES = (
    (frozenset({0, 1, 2, 3, 4}), frozenset({5, 6})),
    (frozenset({0, 1, 2, 3, 4, 5}), frozenset({6})),
    (frozenset({6, 0, 1, 2, 3}), frozenset({4, 5})),
)
"""Weekdays that are alike, as `date.weekday` numbers them: weeks of five and six days, and from Sunday."""
MAX_ERROR_OF_MEAN = 0.5
"""The profile's squared error is at most this ratio of that of the days' mean."""
MAX_ERROR_OF_ALL_DAYS = 0.75
"""With classes it is at most this ratio of that of the profile without them."""
ROUNDING = 1e-9
"""Of the sum of squares: a smaller error is none."""
LOW_QUANTILE = 0.1
"""Of the days, rounded down: one holiday in ten days or more does not lower the floor, and two do."""
MIN_LOW_RATIO = 0.5
"""The low demand of a half hour over its mean: below that, nearly all days are not alike."""
BUSY_RATIOS = (0.5, 0.8)
"""A floor holds while the low demand is at least this ratio of its peak."""
MAX_INSTANCES = 9999
"""The most that a schedule can say; what a workload has is less, and a candidate is fitted into it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Days:
    """Arrivals by local day and half hour."""

    rates: Floats
    """Messages per second, (days, SLOTS); NaN for a half hour that the trace does not have."""
    weekdays: Ints
    """Of each day, Monday is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """A minimum from one half hour of the week to another, as the two schedules that set and release it."""

    busy: Schedule
    quiet: Schedule
    """With bounds that fit every workload: from 0 to the most there can be."""


def floors(trace: Trace, *, time_zone: str, instance_s: float, boot_s: float) -> list[Floor]:
    """Floors that the trace suggests; none if it is not weekly, or has less than a week.

    `instance_s` are the seconds for which a message keeps an instance busy. ZoneInfoNotFoundError for a time
    zone that this machine does not know.
    """
    days = local_days(trace, ZoneInfo(time_zone))
    classes = classes_of(days)
    if classes is None:
        return []
    weekdays = max(classes, key=lambda each: float(np.nanmean(_of(days, each))))
    if len(_of(days, weekdays)) < MIN_BUSY_DAYS:
        return []
    low = _low(days, weekdays) * instance_s
    lead_s = boot_s + MAX_LATENESS_S
    found = []
    for ratio in BUSY_RATIOS if low.any() else ():
        first, length = _longest_span(low >= ratio * low.max(), circular=weekdays == WEEK)
        minimum = math.ceil(float(low[np.arange(first, first + length) % SLOTS].min()) - 1e-9)
        if minimum and (floor := _floor(weekdays, first, length, minimum, lead_s, time_zone)) is not None:
            found.append(floor)
    return [each for place, each in enumerate(found) if each not in found[:place]]


def local_days(trace: Trace, zone: ZoneInfo) -> Days:
    """The arrivals by local day; those of intervals longer than a piece are taken to come evenly."""
    start_s = trace.start_s or 0.0
    edges_s = trace.interval_s * np.arange(trace.arrivals.size + 1)
    first = math.ceil(start_s / PIECE_S) * PIECE_S
    pieces = max(0, math.floor((start_s + edges_s[-1] - first) / PIECE_S))
    total = np.concatenate([[0], np.cumsum(trace.arrivals)])
    counts = np.diff(np.interp(first - start_s + PIECE_S * np.arange(pieces + 1), edges_s, total))
    local = [datetime.fromtimestamp(first + PIECE_S * place, UTC).astimezone(zone) for place in range(pieces)]
    ordinals = np.array([at.toordinal() for at in local], np.int64)
    slots = np.array([(at.hour * 3600 + at.minute * 60) // SLOT_S for at in local], np.int64)
    dates, rows = np.unique(ordinals, return_inverse=True)
    sums, known = np.zeros((dates.size, SLOTS)), np.zeros((dates.size, SLOTS))
    np.add.at(sums, (rows, slots), counts)
    np.add.at(known, (rows, slots), PIECE_S)
    complete = known >= SLOT_S
    rates = np.where(complete, sums / np.where(complete, known, 1.0), np.nan)
    kept = complete.sum(axis=1) >= MIN_SLOTS
    weekdays = (dates - 1) % 7  # the first ordinal is a Monday
    return Days(rates=rates[kept], weekdays=weekdays[kept])


def classes_of(days: Days) -> Sequence[frozenset[int]] | None:
    """The weekdays that are alike; None if neither hours nor weekdays explain the demand, or days are few."""
    if set(days.weekdays.tolist()) != WEEK:
        return None
    rounding = ROUNDING * float(np.nansum(days.rates**2))
    of_mean = held_out_error(days, [WEEK], by_hour=False)
    of_all = held_out_error(days, [WEEK])
    if of_mean <= rounding:
        return None
    explained = [
        (error, classes)
        for classes in CLASSES
        if of_all > rounding
        and all(len(_of(days, each)) >= MIN_DAYS_OF_A_CLASS for each in classes)
        and (error := held_out_error(days, classes)) <= MAX_ERROR_OF_ALL_DAYS * of_all
        and error <= MAX_ERROR_OF_MEAN * of_mean
    ]
    if explained:
        return min(explained, key=lambda pair: pair[0])[1]
    return [WEEK] if of_all <= MAX_ERROR_OF_MEAN * of_mean else None


def held_out_error(days: Days, classes: Sequence[frozenset[int]], *, by_hour: bool = True) -> float:
    """Sum of the squared errors of each day's rates, predicted as the mean of the other days of its class.

    The mean is by half hour, or over all of them.
    """
    error = 0.0
    for weekdays in classes:
        rates = _of(days, weekdays)
        known = ~np.isnan(rates)
        values = np.where(known, rates, 0.0)
        sums, counts = values.sum(axis=0) - values, known.sum(axis=0) - known
        if not by_hour:
            sums, counts = (
                np.broadcast_to(each.sum(axis=1)[:, np.newaxis], rates.shape) for each in (sums, counts)
            )
        usable = known & (counts > 0)
        error += float(((values - sums / np.maximum(counts, 1))[usable] ** 2).sum())
    return error


def _of(days: Days, weekdays: frozenset[int]) -> Floats:
    """The rates of the days of a class."""
    return days.rates[np.isin(days.weekdays, list(weekdays))]


def _low(days: Days, weekdays: frozenset[int]) -> Floats:
    """The rate that nearly all days of a class exceed in each half hour; 0 where they are not alike.

    All 0 if the days are alike in their quiet hours only: a floor is for the busy ones.
    """
    rates = _of(days, weekdays)
    low: Floats = np.nanquantile(rates, LOW_QUANTILE, axis=0, method="lower")
    mean: Floats = np.nanmean(rates, axis=0)
    alike = np.where(low >= MIN_LOW_RATIO * mean, low, 0.0)
    return alike if alike.max() >= MIN_LOW_RATIO * mean.max() else np.zeros_like(alike)


def _longest_span(busy: np.ndarray[tuple[int], np.dtype[np.bool_]], *, circular: bool) -> tuple[int, int]:
    """First place and length of the longest run of busy half hours, past midnight if it is circular."""
    if busy.all():
        return 0, busy.size
    best = 0, 0
    for first in range(busy.size):
        length = 0
        while length < busy.size and (circular or first + length < busy.size):
            if not busy[(first + length) % busy.size]:
                break
            length += 1
        if length > best[1]:
            best = first, length
    return best


def _floor(
    weekdays: frozenset[int], first: int, length: int, minimum: int, lead_s: float, time_zone: str
) -> Floor | None:
    """The floor of a span of these days, starting earlier by the lead; None if it never ends.

    A span that lasts to the next one is not released between them.
    """
    lead = math.ceil(lead_s / SLOT_S)
    held = np.zeros(7 * SLOTS, np.bool_)
    for weekday in weekdays:
        begin = weekday * SLOTS + first
        held[np.arange(begin - lead, begin + length) % held.size] = True
    before = np.roll(held, 1)
    starts, ends = np.flatnonzero(held & ~before), np.flatnonzero(before & ~held)
    if not starts.size:
        return None
    return Floor(
        busy=_schedule("busy", starts, Bounds(min=minimum, max=MAX_INSTANCES), time_zone),
        quiet=_schedule("quiet", ends, Bounds(min=0, max=MAX_INSTANCES), time_zone),
    )


def _schedule(name: str, slots: Ints, bounds: Bounds, time_zone: str) -> Schedule:
    """All slots of the week have one time of day."""
    hour, minute = divmod(int(slots[0]) % SLOTS * SLOT_S // 60, 60)
    return Schedule(
        name=name,
        weekdays=frozenset(int(slot) // SLOTS for slot in slots),
        hour=hour,
        minute=minute,
        time_zone=time_zone,
        bounds=bounds,
    )
