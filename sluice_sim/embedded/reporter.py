"""Publishes MsgProcessingDuration and MsgWaitDuration as workers do: once a minute, by the fleet."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sluice.core.model import Metric
from sluice_sim.clock import VirtualClock

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

MINUTE_S = 60
VALUES_PER_DATUM = 150
DECIMALS = 2
"""Decimals of a value; rounding keeps a minute's distinct values within one datum."""


class DurationReporter:
    """Collects the durations of a minute and publishes them as values and counts."""

    def __init__(self, clock: VirtualClock, cloudwatch: CloudWatchClient, metric: Metric) -> None:
        self._clock, self._cloudwatch, self._metric = clock, cloudwatch, metric
        self._counts: Counter[float] = Counter()
        clock.every(MINUTE_S, self._publish)

    def record(self, duration_s: float) -> None:
        """Record the duration of one message, in seconds."""
        self._counts[round(duration_s, DECIMALS)] += 1

    def _publish(self) -> None:
        counts, self._counts = self._counts, Counter()
        values = sorted(counts)
        for first in range(0, len(values), VALUES_PER_DATUM):
            some = values[first : first + VALUES_PER_DATUM]
            self._cloudwatch.put_metric_data(
                Namespace=self._metric.namespace,
                MetricData=[
                    {
                        "MetricName": self._metric.name,
                        "Dimensions": [
                            {"Name": key, "Value": text} for key, text in self._metric.dimensions.items()
                        ],
                        "Timestamp": datetime.fromtimestamp(self._clock.now - MINUTE_S, UTC),
                        "Unit": "Seconds",
                        "Values": some,
                        "Counts": [float(counts[value]) for value in some],
                    }
                ],
            )
