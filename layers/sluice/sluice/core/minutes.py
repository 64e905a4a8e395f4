"""Scheduled minutes, which number ticks, data points and rotations."""

from __future__ import annotations

from datetime import datetime, timedelta

MINUTE = timedelta(minutes=1)


def minute_of(moment: datetime) -> datetime:
    """The start of the minute that `moment` lies in."""
    return moment.replace(second=0, microsecond=0)


def minutes_since_epoch(moment: datetime) -> int:
    """The number of the minute that `moment` lies in, counted from 1970."""
    return int(moment.timestamp()) // 60
