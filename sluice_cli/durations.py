"""Durations of the command line: 90m, 6h, 2d, or several units at once, such as 1h30m."""

from __future__ import annotations

import re
from datetime import timedelta

from sluice_cli.usage_errors import UsageError

MINUTE = timedelta(minutes=1)
UNITS_S = {"d": 86_400, "h": 3600, "m": 60}


def duration(option: str, text: str, shortest: timedelta, longest: timedelta, why: str = "") -> timedelta:
    """The duration; UsageError names the option, and after its bounds `why` they are so."""
    if not re.fullmatch(r"(\d{1,9}[dhm])+", text, re.ASCII):
        raise UsageError(f"{option} {text}: give a number with d, h or m, such as 90m, 6h or 2d")
    parts = re.findall(r"(\d+)([dhm])", text)
    if len({unit for _, unit in parts}) < len(parts):
        raise UsageError(
            f"{option} {text} gives two durations of one unit: give one, such as {parts[0][0]}{parts[0][1]}"
        )
    span_s = sum(int(number) * UNITS_S[unit] for number, unit in parts)
    if not shortest.total_seconds() <= span_s <= longest.total_seconds():
        raise UsageError(f"{option} {text}: give between {shortest // MINUTE}m and {longest.days}d{why}")
    return timedelta(seconds=span_s)
