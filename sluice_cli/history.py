"""`sluice history`: write a queue's real arrivals from CloudWatch, as a trace to simulate.

CloudWatch keeps one-minute values for 15 days, five-minute values for 63 and hourly values for 455: the
finest period that covers all days is used. Reads with the caller's credentials, and writes to files only.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import numpy as np

from sluice.aws.cloudwatch import CloudWatchMetrics
from sluice.core.model import Workload
from sluice_cli.gap_sentences import gap_sentences
from sluice_cli.outputs import require_writable_file
from sluice_cli.usage_errors import (
    UsageError,
    as_usage_errors,
)
from sluice_cli.workloads import COMPLETE, config_file, registered
from sluice_operator.history import (
    CONCURRENT_CALLS,
    INGESTION_DELAY,
    PERIOD_S_BY_RETENTION_DAYS,
    read_arrivals,
    read_processing_times,
    start_of_period,
)
from sluice_operator.session import AwsSession
from sluice_sim.workloads import traces
from sluice_sim.workloads.service_times import (
    COLUMN,
    WEIGHT_COLUMN,
)
from sluice_sim.workloads.traces import Trace


@click.command()
@click.argument("workload", shell_complete=COMPLETE)
@config_file
@click.option(
    "--days", type=click.IntRange(1, max(PERIOD_S_BY_RETENTION_DAYS)), default=14, show_default=True
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, readable=False),
    default="arrivals.csv",
    show_default=True,
    help="The trace to write.",
)
@click.option(
    "--durations-out",
    type=click.Path(path_type=Path, readable=False),
    help="Write the processing times as well, for `simulate --durations`.",
)
@click.option("--region", help="Of the queue. [default: that of your AWS configuration]")
def history(workload: str, days: int, out: Path, durations_out: Path | None, region: str | None) -> None:
    """Write the arrivals of the last days as a trace, from CloudWatch.

    WORKLOAD is an environment of samconfig.toml or a file with a workload document. Arrivals are
    NumberOfMessagesSent of its queue: by the minute for 15 days, by five minutes for 63, by the hour for
    455. Of a queue without activity for six hours SQS publishes nothing, which is no messages; any other time
    without a value is a gap. Up to 15 minutes are filled with the mean of the values around them, and of what
    longer gaps leave the longest part is written. Processing times are MsgProcessingDuration, hour by hour,
    in twenty parts from its percentiles, or its average where CloudWatch has no percentiles. It takes
    cloudwatch:GetMetricData.
    """
    period_s = next(period for kept, period in PERIOD_S_BY_RETENTION_DAYS.items() if days <= kept)
    for path in filter(None, (out, durations_out)):
        require_writable_file(path)
    if durations_out is not None and out.resolve() == durations_out.resolve():
        raise UsageError(f"{out}: --out and --durations-out name the same file: give two names")
    until = start_of_period(datetime.now(UTC) - INGESTION_DELAY, period_s)
    since = until - timedelta(days=days)
    with as_usage_errors():
        described = registered(workload)
        client = AwsSession(region=region).client("cloudwatch")
        metrics = CloudWatchMetrics(lambda: client, ThreadPoolExecutor(CONCURRENT_CALLS))
        came = read_arrivals(metrics, described, period_s, since, until)
        if came is None or not any(came.counts):
            raise UsageError(
                f"CloudWatch has no message sent to queue {described.queue_name} in the last {days} days: "
                "check the queue's name, the region and the account of your credentials"
            )
        trace = Trace(
            interval_s=float(period_s),
            arrivals=np.round(came.counts).astype(np.int64),
            start_s=came.start.timestamp(),
        )
        _write(out, lambda: traces.write(trace, out))
        click.echo(f"{out}: {trace.total:,} messages in {trace.arrivals.size:,} intervals of {period_s} s")
        for sentence in gap_sentences(came):
            click.echo(sentence, err=True)
        if durations_out is not None:
            rows = _durations(metrics, described, since, until)
            text = "\n".join([f"{COLUMN},{WEIGHT_COLUMN}", *rows]) + "\n"
            _write(durations_out, lambda: durations_out.write_text(text, encoding="utf-8"))
            click.echo(f"{durations_out}: {len(rows):,} durations")


def _durations(metrics: CloudWatchMetrics, workload: Workload, since: datetime, until: datetime) -> list[str]:
    times, metric = read_processing_times(metrics, workload, since, until), workload.duration_metric
    if not times:
        raise UsageError(
            f"CloudWatch has no {metric.name} with {dict(metric.dimensions)} in {metric.namespace}: "
            "do the workers publish it? Otherwise leave --durations-out out, and simulate with --duration-s"
        )
    return [f"{each.seconds:.6g},{each.messages:.6g}" for each in times]


def _write(path: Path, write: Callable[[], object]) -> None:
    try:
        write()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error
