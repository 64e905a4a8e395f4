"""CloudWatch metrics in memory: one value per metric and minute.

The store that alarms, policies and use cases of a simulated run share. It keeps at least one day, and nothing
in a simulation looks further back. Missing minutes stay missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

MINUTE_S = 60
DAY_S = 86_400

MetricId = tuple[str, str, frozenset[tuple[str, str]]]
"""Namespace, name and exactly these dimensions."""


def metric_id(namespace: str, name: str, dimensions: Mapping[str, str]) -> MetricId:
    """The identity of a metric in CloudWatch."""
    return namespace, name, frozenset(dimensions.items())


@dataclass(slots=True)
class MetricStore:
    """Every metric of the run; minutes are epoch seconds, multiples of 60."""

    _values: dict[MetricId, dict[int, float]] = field(default_factory=dict)
    _earliest_change: float = math.inf

    def put(self, metric: MetricId, minute: int, value: float) -> None:
        """Store one value, readable from now on."""
        values = self._values.setdefault(metric, {})
        values[minute] = value
        self._earliest_change = min(self._earliest_change, minute)
        if len(values) > 2 * DAY_S // MINUTE_S:
            oldest = minute - DAY_S
            self._values[metric] = {at: kept for at, kept in values.items() if at >= oldest}

    def earliest_change(self) -> float:
        """The earliest minute of which a value was stored since the previous call; infinite for none."""
        earliest, self._earliest_change = self._earliest_change, math.inf
        return earliest

    def read(self, metric: MetricId, start: int, end: int) -> dict[int, float]:
        """The values of start <= minute < end."""
        values = self._values.get(metric)
        if not values:
            return {}
        first = -(-start // MINUTE_S) * MINUTE_S
        return {at: values[at] for at in range(first, end, MINUTE_S) if at in values}
