"""CloudWatch of the embedded account: delayed metric values in moto, and the event of an alarm action.

Without the delay, moto lets a value be read the moment it was put.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

from moto.cloudwatch.models import CloudWatchBackend, MetricDatumBase

from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.aws_rules.alarm_states import AlarmChange
from sluice_sim.aws_rules.alarms import MetricQuery
from sluice_sim.aws_rules.metric_math import Series
from sluice_sim.aws_rules.monitoring import (
    CUSTOM_METRIC_DELAY_S,
    Values,
)
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.alarms import alarm_arn, reason_data

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient


class MotoMetrics:
    """Implements `monitoring.MetricData` with PutMetricData and GetMetricData of moto."""

    def __init__(self, client: CloudWatchClient) -> None:
        self._client = client

    def put(self, minute: float, values: Values) -> None:
        """Put the values, with one call per namespace."""
        at = datetime.fromtimestamp(minute, UTC)
        for namespace in {metric.namespace for metric, _ in values}:
            self._client.put_metric_data(
                Namespace=namespace,
                MetricData=[
                    {
                        "MetricName": metric.name,
                        "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions],
                        "Timestamp": at,
                        "Value": value,
                    }
                    for metric, value in values
                    if metric.namespace == namespace
                ],
            )

    def earliest_change(self) -> float:
        """The beginning of time: the functions publish to moto, so any value may be new."""
        return 0.0

    def read(self, queries: set[MetricQuery], start: float, end: float) -> Mapping[MetricQuery, Series]:
        """Read all series in one call."""
        if not queries:
            return {}
        ids = {f"q{index}": query for index, query in enumerate(sorted(queries, key=repr))}
        answer = self._client.get_metric_data(
            MetricDataQueries=[data_query(query_id, query) for query_id, query in ids.items()],
            StartTime=datetime.fromtimestamp(start, UTC),
            EndTime=datetime.fromtimestamp(end, UTC),
        )
        return {
            ids[result["Id"]]: {
                int(moment.timestamp()): value
                for moment, value in zip(result["Timestamps"], result["Values"], strict=True)
            }
            for result in answer["MetricDataResults"]
        }


@contextmanager
def delayed_custom_metrics(
    clock: VirtualClock, after_s: float = CUSTOM_METRIC_DELAY_S
) -> Iterator[Callable[[], None]]:
    """Within the context, values put by PutMetricData become readable `after_s` seconds later.

    Metrics in AWS's own namespaces are not delayed here: `Monitoring` does that. Yields a function that makes
    everything readable at once, for counting at the end of a run.
    """
    put, every_metric = CloudWatchBackend.put_metric_data, CloudWatchBackend.get_all_metrics
    unread: deque[tuple[float, CloudWatchBackend, list[MetricDatumBase]]] = deque()

    def put_for_later(backend: CloudWatchBackend, namespace: str, metric_data: list[dict[str, Any]]) -> None:
        known = len(backend.metric_data)
        put(backend, namespace, metric_data)
        if not namespace.startswith(("AWS/", "ECS/")):
            unread.append((clock.now + after_s, backend, backend.metric_data[known:]))
            del backend.metric_data[known:]

    def release(until: float) -> None:
        while unread and unread[0][0] <= until:
            _, backend, data = unread.popleft()
            backend.metric_data += data

    def read_by_now(backend: CloudWatchBackend) -> list[MetricDatumBase]:
        release(clock.now)
        return every_metric(backend)

    with (
        mock.patch.object(CloudWatchBackend, "put_metric_data", put_for_later),
        mock.patch.object(CloudWatchBackend, "get_all_metrics", read_by_now),
    ):
        yield partial(release, math.inf)


def action_payload(change: AlarmChange) -> dict[str, Any]:
    """The event that a Lambda alarm action receives."""
    moment = datetime.fromtimestamp(change.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    return {
        "source": "aws.cloudwatch",
        "alarmArn": alarm_arn(change.alarm.name),
        "accountId": ACCOUNT_ID,
        "time": moment,
        "region": REGION,
        "alarmData": {
            "alarmName": change.alarm.name,
            "state": {
                "value": change.state.value,
                "reason": change.reason,
                "reasonData": json.dumps(reason_data(change)),
                "timestamp": moment,
            },
            "previousState": {"value": change.previous.value, "timestamp": moment},
            "configuration": {"description": change.alarm.description, "metrics": []},
        },
    }


def data_query(query_id: str, query: MetricQuery) -> Any:
    """The metric as an entry of GetMetricData."""
    return {
        "Id": query_id,
        "MetricStat": {
            "Metric": {
                "Namespace": query.namespace,
                "MetricName": query.name,
                "Dimensions": [{"Name": name, "Value": value} for name, value in query.dimensions],
            },
            "Period": query.period_s,
            "Stat": query.stat,
        },
    }
