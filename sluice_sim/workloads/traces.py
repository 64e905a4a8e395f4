"""A trace of arrivals: how many messages arrived in each interval, and when each of them arrives.

A file has the header `timestamp,arrivals`, timestamps in ISO 8601 or in seconds from any zero, and one
interval throughout; anything ambiguous is an error. Within an interval each message arrives at a uniformly
random time, drawn with the seed.
"""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sluice_sim.simulator.queue_kernel import (
    Floats,
    Ints,
)
from sluice_sim.template.deployment import SettingError
from sluice_sim.workloads.limits import (
    MAX_DAYS,
    MAX_INTERVALS,
    MAX_MESSAGES,
    MILLISECONDS_FROM,
    MIN_S,
)

HEADER = ["timestamp", "arrivals"]
UNEVEN_S = 0.001
"""Tolerance for an interval in seconds: offsets are often rounded to milliseconds."""
MINUTE_S, DAY_S = 60.0, 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Messages per interval, from the first timestamp on."""

    interval_s: float
    arrivals: Ints
    start_s: float | None = None
    """Epoch seconds of the beginning; None if the file has seconds from a zero of its own."""

    @property
    def total(self) -> int:
        """Number of messages."""
        return int(self.arrivals.sum())

    @property
    def lead_s(self) -> float:
        """Seconds from the full minute at which a run's clock starts to the beginning of the trace."""
        return 0.0 if self.start_s is None else self.start_s % MINUTE_S

    @property
    def horizon_s(self) -> float:
        """The end of the trace, in seconds of the run."""
        return self.lead_s + self.interval_s * self.arrivals.size


def read(path: Path) -> Trace:
    """Read the trace of a file line by line; SettingError names file, line and value.

    One pass over the rows, longer than 40 lines because each check needs the row before.
    """
    rows = _rows(path)
    arrivals, intervals = array("q"), 0
    first_s = second_s = previous_s = math.nan
    iso = False
    total = 0
    for line, stamp, count in rows:
        at_s, is_iso = _moment(path, line, stamp)
        if intervals == 0:
            first_s, iso = at_s, is_iso
        elif is_iso is not iso:
            raise _wrong(path, line, stamp, "all timestamps are either ISO 8601 or seconds")
        elif at_s <= previous_s:
            raise _wrong(path, line, stamp, "each timestamp is later than the one before")
        elif intervals == 1:
            second_s = at_s
            _require_interval(path, line, stamp, second_s - first_s)
        elif abs(at_s - previous_s - (second_s - first_s)) > UNEVEN_S:
            expected = f"{second_s - first_s:g} s"
            found = f"{at_s - previous_s:g} s"
            raise _wrong(
                path,
                line,
                stamp,
                f"it comes {found} after the one before, the file began with {expected}; "
                "a trace has one interval throughout (0 arrivals where none came)",
            )
        previous_s = at_s
        intervals += 1
        if intervals > MAX_INTERVALS or at_s - first_s > MAX_DAYS * DAY_S:
            raise _wrong(
                path, line, stamp, f"a trace has {MAX_INTERVALS:,} intervals, {MAX_DAYS:,} days at most; "
                "cut it"
            )  # fmt: skip
        arrivals.append(_count(path, line, count))
        total += arrivals[-1]
        if total > MAX_MESSAGES:
            raise _wrong(path, line, count, f"that makes more than {MAX_MESSAGES:,} messages; cut the trace")
    if intervals < 2:
        raise SettingError(
            f"{path}: {intervals} rows of arrivals; a trace has two at least, whose distance is its interval"
        )
    return Trace(
        interval_s=second_s - first_s,
        arrivals=np.frombuffer(arrivals, np.int64),
        start_s=first_s if iso else None,
    )


def write(trace: Trace, path: Path) -> None:
    """Write a file that `read` accepts, in ISO 8601 if the trace has a beginning."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(HEADER) + "\n")
        for index, count in enumerate(trace.arrivals.tolist()):
            at_s = index * trace.interval_s
            if trace.start_s is None:
                stamp = f"{at_s:.3f}".rstrip("0").rstrip(".")
            else:
                stamp = datetime.fromtimestamp(trace.start_s + at_s, UTC).isoformat().replace("+00:00", "Z")
            file.write(f"{stamp},{count}\n")


def part(trace: Trace, first_s: float, last_s: float) -> Trace:
    """The intervals that begin in this time, in seconds since the beginning of the trace."""
    first, last = (math.ceil(at_s / trace.interval_s) for at_s in (first_s, last_s))
    start_s = None if trace.start_s is None else trace.start_s + first * trace.interval_s
    return Trace(interval_s=trace.interval_s, arrivals=trace.arrivals[first:last], start_s=start_s)


def moments(trace: Trace, random: np.random.Generator) -> Floats:
    """Sorted arrival times in seconds of the run, uniform within each interval."""
    begins = trace.lead_s + trace.interval_s * np.arange(trace.arrivals.size)
    at_s: Floats = np.repeat(begins, trace.arrivals)
    at_s += random.uniform(0.0, trace.interval_s, at_s.size)
    at_s.sort()
    return at_s


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, timestamp and count of every row after the header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, None)
            if header is None:
                raise SettingError(f"{path}: the file is empty; its first line is {','.join(HEADER)}")
            if [name.strip() for name in header] != HEADER:
                raise _wrong(path, 1, ",".join(header), f"the header is {','.join(HEADER)}")
            for row in reader:
                if not row:
                    continue
                if len(row) != len(HEADER):
                    raise _wrong(path, reader.line_num, ",".join(row), "a row is a timestamp and a count")
                yield reader.line_num, row[0].strip(), row[1].strip()
    except OSError as refused:
        raise SettingError(f"{path}: cannot be read: {refused.strerror}") from refused
    except (UnicodeDecodeError, csv.Error) as refused:
        raise SettingError(f"{path}: is not a CSV file: {refused}") from refused


def _require_interval(path: Path, line: int, stamp: str, interval_s: float) -> None:
    if interval_s < MIN_S:
        raise _wrong(path, line, stamp, f"an interval is {MIN_S:g} s at least, this is {interval_s:g} s")
    if interval_s > MAX_DAYS * DAY_S:
        raise _wrong(path, line, stamp, f"a trace has {MAX_DAYS:,} days at most, this interval is longer")


def _moment(path: Path, line: int, text: str) -> tuple[float, bool]:
    """The timestamp in seconds, and whether it was ISO 8601 (UTC without a zone)."""
    try:
        at_s = float(text)
    except ValueError:
        pass
    else:
        if not math.isfinite(at_s):
            raise _wrong(path, line, text, "a timestamp is a finite number of seconds, or ISO 8601")
        if abs(at_s) >= MILLISECONDS_FROM:
            raise _wrong(path, line, text, "this counts milliseconds or less; timestamps are in seconds")
        return at_s, False
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(), True
    except (ValueError, OverflowError):
        raise _wrong(path, line, text, "a timestamp is ISO 8601, or a number of seconds") from None


def _count(path: Path, line: int, text: str) -> int:
    try:
        count = float(text)
    except ValueError:
        raise _wrong(path, line, text, "arrivals are a number of messages") from None
    if not (count >= 0 and count.is_integer()):
        raise _wrong(path, line, text, "arrivals are a whole number of messages, 0 or more")
    if count > MAX_MESSAGES:
        raise _wrong(path, line, text, f"that is more than {MAX_MESSAGES:,} messages; cut the trace")
    return int(count)


def _wrong(path: Path, line: int, value: str, reason: str) -> SettingError:
    return SettingError(f"{path}, line {line}: {value!r}: {reason}")
