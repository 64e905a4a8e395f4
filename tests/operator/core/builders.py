"""Demands with defaults, for plans."""

from __future__ import annotations

from typing import Any

from sluice_operator.core.demand import Arrivals, Demand

DAY_S = 86_400.0


def per_day(messages: float) -> Arrivals:
    return Arrivals(per_s=messages / DAY_S)


def demand(**changes: Any) -> Demand:
    """600,000 messages a day of 2 s each, of which 99 % start within ten minutes; a boot takes three."""
    fields: dict[str, Any] = {
        "arrivals": per_day(600_000),
        "processing_s": 2.0,
        "longest_s": 10.0,
        "promise_s": 600.0,
        "promise_percent": 99.0,
        "boot_s": 180.0,
    }
    return Demand(**(fields | changes))
