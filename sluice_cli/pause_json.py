"""`sluice pause --json` and `sluice resume --json`; docs/schemas describes both."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sluice.core.pause import Pause
from sluice_operator.pauses import Paused, Resumed


def paused(done: Paused, now: datetime) -> dict[str, Any]:
    """What `sluice pause` has done."""
    return {
        "at": _time(now),
        "workload": done.workload,
        "pause": pause(done.pause),
        "replaced": pause(done.replaced),
        "aws_policy_held": done.aws_held,
        "end_scheduled": done.scheduled,
        "resized_by_schedule": done.resized,
    }


def resumed(done: Resumed, now: datetime) -> dict[str, Any]:
    """What `sluice resume` has done."""
    return {
        "at": _time(now),
        "workload": done.workload,
        "ended": pause(done.ended),
        "left": pause(done.left),
    }


def pause(one: Pause | None) -> dict[str, Any] | None:
    """One pause."""
    if one is None:
        return None
    return {
        "directions": sorted(one.directions),
        "by": one.by,
        "at": _time(one.at),
        "until": _time(one.until),
        "reason": one.reason,
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
