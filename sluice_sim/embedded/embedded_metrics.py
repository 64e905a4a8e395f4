"""CloudWatch's embedded metric format: a log line as the values that CloudWatch takes from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any


def is_embedded(line: Mapping[str, Any]) -> bool:
    """Whether CloudWatch takes metrics from this log line."""
    return "_aws" in line


def metric_data(line: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A request of PutMetricData for each set of dimensions in the line."""
    at = datetime.fromtimestamp(line["_aws"]["Timestamp"] / 1000, UTC)
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = [{"Name": name, "Value": line[name]} for name in names]
            yield {
                "Namespace": directive["Namespace"],
                "MetricData": [
                    {
                        "MetricName": metric["Name"],
                        "Dimensions": dimensions,
                        "Timestamp": at,
                        "Unit": metric["Unit"],
                        "Values": line[metric["Name"]],
                    }
                    for metric in directive["Metrics"]
                ],
            }
