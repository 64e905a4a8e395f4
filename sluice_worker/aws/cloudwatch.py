"""The metrics of a report interval by PutMetricData: values and counts, one call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from sluice.aws.errors import aws_errors
from sluice_worker.core.counters import ReportInterval
from sluice_worker.core.metrics import series

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

VALUES_PER_DATUM = 150
DATA_PER_CALL = 1000
"""Limits of PutMetricData (documented)."""


def client(region: str | None = None) -> CloudWatchClient:
    """A client whose calls fail within a minute."""
    return boto3.client(
        "cloudwatch",
        region_name=region,
        config=Config(
            connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3}
        ),
    )


class CloudWatchSink:
    """Implements `ports.MetricSink`."""

    def __init__(
        self, client: CloudWatchClient, namespace: str, dimensions: Mapping[str, str], *, with_wait: bool
    ) -> None:
        self._client, self._namespace = client, namespace
        self._dimensions, self._with_wait = dict(dimensions), with_wait

    def put(self, interval: ReportInterval) -> None:
        """One PutMetricData, with the timestamp of the clock's minute that the interval overlaps most."""
        data = self._data(interval)
        for first in range(0, len(data), DATA_PER_CALL):
            with aws_errors(f"publishing metrics to {self._namespace}"):
                self._client.put_metric_data(
                    Namespace=self._namespace, MetricData=data[first : first + DATA_PER_CALL]
                )

    def _data(self, interval: ReportInterval) -> list[Any]:
        at = datetime.fromtimestamp(interval.middle_at, UTC)
        data = []
        for each in series(interval, self._dimensions, with_wait=self._with_wait):
            values = sorted(each.counts)
            for first in range(0, len(values), VALUES_PER_DATUM):
                some = values[first : first + VALUES_PER_DATUM]
                data.append(
                    {
                        "MetricName": each.name,
                        "Dimensions": [{"Name": k, "Value": v} for k, v in each.dimensions.items()],
                        "Timestamp": at,
                        "Unit": each.unit.value,
                        "Values": some,
                        "Counts": [float(each.counts[value]) for value in some],
                    }
                )
        return data
