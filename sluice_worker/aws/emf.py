"""The metrics of a report interval as log lines in CloudWatch's embedded metric format.

The lines have no pairs of values and counts: some of AWS's own exporters write them, but the specification
allows only numbers and arrays of numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from sluice_worker import json_lines
from sluice_worker.core.counters import ReportInterval
from sluice_worker.core.metrics import Series, series

VALUES_PER_LINE = 100
"""Values of one metric in one document (documented)."""


class EmfSink:
    """Implements `ports.MetricSink`; each value is written as often as it occurred."""

    def __init__(
        self, namespace: str, dimensions: Mapping[str, str], *, with_wait: bool, out: TextIO | None = None
    ) -> None:
        self._namespace, self._dimensions, self._with_wait = namespace, dict(dimensions), with_wait
        self._out = out

    def put(self, interval: ReportInterval) -> None:
        """One line for every hundred values of a series."""
        for each in series(interval, self._dimensions, with_wait=self._with_wait):
            for line in self._lines(each, interval.middle_at):
                json_lines.write(line, self._out)

    def _lines(self, each: Series, at: float) -> Iterator[dict[str, Any]]:
        values = [value for value, count in sorted(each.counts.items()) for _ in range(count)]
        for first in range(0, len(values), VALUES_PER_LINE):
            yield {
                "_aws": {
                    "Timestamp": int(at * 1000),
                    "CloudWatchMetrics": [
                        {
                            "Namespace": self._namespace,
                            "Dimensions": [list(each.dimensions)],
                            "Metrics": [{"Name": each.name, "Unit": each.unit.value}],
                        }
                    ],
                },
                **each.dimensions,
                each.name: values[first : first + VALUES_PER_LINE],
            }
