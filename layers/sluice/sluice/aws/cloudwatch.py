"""CloudWatch metrics: publishing data points and reading series back.

Gaps are not filled: a period without data is absent from a series, and a query that CloudWatch could not
answer is Unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from sluice.aws.concurrent_reads import (
    batches,
    fan_out,
    parse_item,
    per_item,
)
from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, field, list_field
from sluice.core.model import DataPoint, Metric, Unknown
from sluice.errors import SluiceError, TransientError
from sluice.ports import RemainingS, Series, SeriesQuery

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import (
        DimensionTypeDef,
        MetricDataQueryTypeDef,
        MetricDataResultTypeDef,
        MetricDatumTypeDef,
    )

POINTS_PER_CALL = 1000
QUERIES_PER_CALL = 500


class CloudWatchMetrics:
    """Implements `ports.Metrics`."""

    def __init__(self, client: Callable[[], CloudWatchClient], pool: ThreadPoolExecutor) -> None:
        self._client, self._pool = client, pool

    def publish(self, points: Mapping[str, Sequence[DataPoint]]) -> Mapping[str, str]:
        """PutMetricData for each namespace; a workload's points share a call, and are refused together."""
        refused: dict[str, str] = {}
        by_namespace: dict[str, list[str]] = {}
        for name, own in points.items():
            by_namespace.setdefault(own[0].metric.namespace, []).append(name)
        for namespace, names in by_namespace.items():
            max_points = max(len(points[name]) for name in names)
            for batch in batches(names, POINTS_PER_CALL // max_points):
                data = [_datum(point) for name in batch for point in points[name]]
                try:
                    with aws_errors(f"PutMetricData of {len(data)} points to {namespace}"):
                        self._client().put_metric_data(Namespace=namespace, MetricData=data)
                except SluiceError as failure:
                    refused |= dict.fromkeys(batch, str(failure))
        return refused

    def read(
        self,
        queries: Mapping[str, SeriesQuery],
        start: datetime,
        end: datetime,
        remaining_s: RemainingS,
    ) -> Mapping[str, Series | Unknown]:
        """GetMetricData with five hundred queries a call and all its pages; the calls run concurrently."""
        read = partial(_series, self._client(), queries, start, end)
        return per_item(fan_out(self._pool, read, batches(queries, QUERIES_PER_CALL), _read, remaining_s))


def _read(names: tuple[str, ...]) -> str:
    return f"GetMetricData of {len(names)} queries"


def _series(
    client: CloudWatchClient,
    queries: Mapping[str, SeriesQuery],
    start: datetime,
    end: datetime,
    names: tuple[str, ...],
) -> dict[str, Series | Unknown]:
    name_of = {f"q{index}": name for index, name in enumerate(names)}
    pages = client.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[_query(query_id, queries[name]) for query_id, name in name_of.items()],
        StartTime=start,
        EndTime=end,
        ScanBy="TimestampAscending",
    )
    values: dict[str, dict[datetime, float]] = {name: {} for name in names}
    failed: dict[str, Unknown] = {}
    with aws_errors(_read(names)):
        results = [
            (field(name_of, field(result, "Id")), result)
            for page in pages
            for result in list_field(page, "MetricDataResults")
        ]
    for name, result in results:
        metric = queries[name].metric
        points = parse_item(f"GetMetricData of {metric}", partial(_points, result, metric))
        if isinstance(points, Unknown):
            failed[name] = points
        else:
            values[name] |= points
    return {**values, **failed}


def _points(result: MetricDataResultTypeDef, metric: Metric) -> dict[datetime, float]:
    if (status := field(result, "StatusCode")) in ("InternalError", "Forbidden"):
        raise TransientError(f"GetMetricData answered {status} for {metric}")
    times, values = list_field(result, "Timestamps"), list_field(result, "Values")
    if len(times) != len(values):
        raise MalformedResponse(f"{len(times)} Timestamps of {len(values)} Values")
    return dict(zip(times, values, strict=True))


def _dimensions(metric: Metric) -> list[DimensionTypeDef]:
    return [{"Name": name, "Value": value} for name, value in metric.dimensions.items()]


def _datum(point: DataPoint) -> MetricDatumTypeDef:
    return {
        "MetricName": point.metric.name,
        "Dimensions": _dimensions(point.metric),
        "Timestamp": point.at,
        "Value": point.value,
        "Unit": "Count",
    }


def _query(query_id: str, query: SeriesQuery) -> MetricDataQueryTypeDef:
    return {
        "Id": query_id,
        "MetricStat": {
            "Metric": {
                "Namespace": query.metric.namespace,
                "MetricName": query.metric.name,
                "Dimensions": _dimensions(query.metric),
            },
            "Period": query.period_s,
            "Stat": query.statistic,
        },
    }
