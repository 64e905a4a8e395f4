"""An embedded account whose CloudWatch has two days of queue-proc: what the embedded AWS played before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from moto.cloudwatch.models import MetricDatum, cloudwatch_backends

from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.embedded import recorded_days
from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.recorded_days import COUNTS, SAMPLES, RecordedMinute
from sluice_sim.embedded.scenarios import QUEUE_PROC

MINUTE = timedelta(minutes=1)


@contextmanager
def account_with_a_past(
    root: Path,
    *,
    minutes: Sequence[RecordedMinute] | None = None,
) -> Iterator[EmbeddedAws]:
    """Deploy the control plane and queue-proc, whose metrics are those of the recorded days up to now.

    Within the context, boto3 in this process reaches this account alone.
    """
    recorded = recorded_days.read() if minutes is None else minutes
    with embedded_aws(root) as aws:
        run = Demo(aws, root).add_workload(QUEUE_PROC, recorded_days.PARAMETERS)
        put(recorded, aws.clock.now, run.deployed)
        yield aws


def put(recorded: Sequence[RecordedMinute], now_s: float, deployed: Mapping[str, str]) -> None:
    """Put the recorded metrics, the last minute of which ends at `now_s`, under the workload's names."""
    # moto keeps timestamps without a zone.
    end = datetime.fromtimestamp(now_s // 60 * 60, UTC).replace(tzinfo=None)
    start = end - MINUTE * len(recorded)
    backend = cloudwatch_backends[ACCOUNT_ID][REGION]
    metrics = recorded_days.metrics_of(deployed)

    def put_value(column: str, value: float, at: datetime) -> None:
        metric = metrics[column]
        dimensions = [{"Name": key, "Value": text} for key, text in metric.dimensions.items()]
        backend.metric_data.append(MetricDatum(metric.namespace, metric.name, value, dimensions, at))

    for place, minute in enumerate(recorded):
        at = start + MINUTE * place
        for column in COUNTS:
            if (count := getattr(minute, column)) is not None:
                put_value(column, count, at)
        for column in SAMPLES:
            for value in getattr(minute, column).elements():
                put_value(column, value, at)
