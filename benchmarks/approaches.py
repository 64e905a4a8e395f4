"""The approaches to publishing every workload's backlog that are compared, each in a separate process.

`python benchmarks/approaches.py tick ENDPOINT 1000`: each line of stdin is one invocation, and one line of
stdout says what it took. The process ends with its stdin.

A little over 300 lines: each approach is a class that runs alone in its process.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "layers/sluice")]

from benchmarks.stub_aws import CLUSTER, PREFIX, is_idle, name_of, on_ecs  # noqa: E402
from sluice.aws.concurrent_reads import batches  # noqa: E402
from tests.support.builders import queue_url  # noqa: E402

NAMESPACE = "Sluice"
TIMEOUT_S = {"publish_backlog": 50, "deadline_tick": 30, "retune_target": 300}
"""The functions' timeouts in template.yaml."""
COUNTS = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
Event = Mapping[str, Any]
Handler = Callable[[Event], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What one invocation took, and its result."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    """Peak memory of the process so far."""
    result: Any = None


class Context:
    """The Lambda context of an invocation."""

    memory_limit_in_mb = 512
    aws_request_id = "5f0c3a6e-0000-4000-8000-000000000000"

    def __init__(self, name: str) -> None:
        self.function_name = name
        self.invoked_function_arn = f"arn:aws:lambda:eu-west-1:123456789012:function:{name}"
        self._ends_at = time.monotonic() + TIMEOUT_S[name]

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the timeout."""
        return int((self._ends_at - time.monotonic()) * 1000)


class Clock:
    """The function's clock, which an invocation can set, so that the benchmark need not wait for a minute."""

    _ahead_s = 0.0

    def set(self, epoch_s: float | None) -> None:
        """Set the clock to this time; None is the wall clock."""
        self._ahead_s = 0.0 if epoch_s is None else epoch_s - time.time()

    def now(self) -> datetime:
        """The current time, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._ahead_s)


CLOCK = Clock()


def deployed(name: str, readers: int) -> Handler:
    """A function as deployed."""
    sys.path.insert(0, str(ROOT / "functions" / name))
    import app  # type: ignore[import-not-found]

    from sluice import wiring

    wiring.READERS = readers
    wiring.now = CLOCK.now
    return lambda event: app.handler(dict(event), Context(name))


def function(workloads: int, readers: int) -> Handler:  # noqa: ARG001 - the registry has them
    """Every minute's function."""
    return deployed("publish_backlog", readers)


def deadline_tick(workloads: int, readers: int) -> Handler:  # noqa: ARG001 - a tick has them
    """The function of the ticks below a minute."""
    return deployed("deadline_tick", readers)


def retune(workloads: int, readers: int) -> Handler:  # noqa: ARG001 - the registry has them
    """Every hour's function."""
    return deployed("retune_target", readers)


def tick(workloads: int, readers: int) -> Handler:
    """Every minute's function, made to serve any number of workloads in one invocation."""
    from sluice.usecases import shards

    shards.MAX_WORKLOADS_PER_INVOCATION = max(shards.MAX_WORKLOADS_PER_INVOCATION, workloads)
    return function(workloads, readers)


def bare(workloads: int, readers: int) -> Handler:
    """The AWS calls of a warm tick, made by plain boto3 clients on a thread pool."""
    import boto3
    from botocore.config import Config

    settings = Config(max_pool_connections=readers)
    return _calls(workloads, readers, lambda name: boto3.client(name, config=settings))  # type: ignore[call-overload]


def slim(workloads: int, readers: int) -> Handler:
    """The same calls, made by clients that are configured like the function's."""
    import boto3

    from sluice.aws import clients

    session = boto3.Session()
    return _calls(
        workloads, readers, lambda name: clients.client(session, name, max_pool_connections=readers)
    )


def _calls(workloads: int, readers: int, client: Callable[[str], Any]) -> Handler:
    """The bare calls of a tick, in one function as a script would make them."""
    services = ("sqs", "autoscaling", "ecs", "application-autoscaling", "cloudwatch")
    sqs, autoscaling, ecs, scaling, cloudwatch = (client(name) for name in services)
    pool = ThreadPoolExecutor(readers)
    numbers = range(workloads)
    groups = [name_of(number) for number in numbers if not on_ecs(number)]
    members = [name_of(number) for number in numbers if on_ecs(number)]
    resources = [f"service/{CLUSTER}/{name}" for name in members]
    queues = [
        partial(sqs.get_queue_attributes, QueueUrl=queue_url(name_of(number)), AttributeNames=COUNTS)
        for number in numbers
    ]
    fleets = [
        *(
            partial(autoscaling.describe_auto_scaling_groups, AutoScalingGroupNames=batch, MaxRecords=100)
            for batch in batches(groups, 100)
        ),
        *(partial(ecs.describe_services, cluster=CLUSTER, services=batch) for batch in batches(members, 10)),
        *(
            partial(
                scaling.describe_scalable_targets,
                ServiceNamespace="ecs",
                ScalableDimension="ecs:service:DesiredCount",
                ResourceIds=batch,
            )
            for batch in batches(resources, 50)
        ),
    ]

    def put(minute: datetime) -> None:
        for batch in batches(numbers, 1000):
            cloudwatch.put_metric_data(
                Namespace=NAMESPACE, MetricData=[_datum(number, minute) for number in batch]
            )

    def history(end: datetime) -> None:
        for batch in batches(filter(is_idle, numbers), 500):
            cloudwatch.get_metric_data(
                MetricDataQueries=[_query(number) for number in batch],
                StartTime=end.timestamp() - 120 * 60,
                EndTime=end,
            )

    def invoke(_: Event) -> None:
        minute = datetime.now(UTC).replace(second=0, microsecond=0)
        list(pool.map(lambda call: call(), queues))
        list(pool.map(lambda call: call(), fleets))
        put(minute)
        history(minute)

    return invoke


def per_workload(workloads: int, readers: int) -> Handler:  # noqa: ARG001 - the event names the workload
    """A Lambda function per workload, as in AWS's samples: three calls, one after another."""
    import boto3

    session: Any = boto3.Session()
    services = ("sqs", "autoscaling", "ecs", "cloudwatch")
    sqs, autoscaling, ecs, cloudwatch = (session.client(name) for name in services)

    def invoke(event: Event) -> None:
        number = event["workload"]
        name = name_of(number)
        counts = sqs.get_queue_attributes(QueueUrl=queue_url(name), AttributeNames=COUNTS)["Attributes"]
        if on_ecs(number):
            service = ecs.describe_services(cluster=CLUSTER, services=[name])["services"][0]
            running = service["runningCount"]
        else:
            groups = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
            running = len(groups["AutoScalingGroups"][0]["Instances"])
        value = sum(map(int, counts.values())) / max(running, 1)
        datum = _datum(number, datetime.now(UTC)) | {"Value": value}
        cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=[datum])

    return invoke


def _metric(number: int) -> dict[str, Any]:
    name = name_of(number)
    fleet = (
        {"ClusterName": CLUSTER, "ServiceName": name} if on_ecs(number) else {"AutoScalingGroupName": name}
    )
    dimensions = [{"Name": key, "Value": value} for key, value in fleet.items()]
    return {"MetricName": "BacklogPerInstance", "Dimensions": dimensions}


def _datum(number: int, at: datetime) -> dict[str, Any]:
    return {**_metric(number), "Timestamp": at, "Value": 1.0, "Unit": "Count"}


def _query(number: int) -> dict[str, Any]:
    metric = {"Namespace": NAMESPACE, **_metric(number)}
    return {"Id": f"q{number}", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Maximum"}}


APPROACHES: dict[str, Callable[[int, int], Handler]] = {
    "function": function,
    "deadline-tick": deadline_tick,
    "retune": retune,
    "tick": tick,
    "bare": bare,
    "slim": slim,
    "per-workload": per_workload,
}


class Process:
    """A running approach, seen from the benchmark."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def invoke(self, event: Event, *, at: datetime | None = None) -> Invocation:
        """Serve one event; `at` sets the function's clock."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"event": event, "at": at and at.timestamp()}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the approach ended with status {self._process.wait()} before it answered")
        return Invocation(**json.loads(line))

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def process(name: str, endpoint: str, workloads: int, readers: int) -> Iterator[Process]:
    """Start an approach in a separate process; it imports nothing heavy before the first event."""
    options = [name, endpoint, str(workloads), f"--readers={readers}"]
    running = Process([sys.executable, str(Path(__file__).resolve()), *options])
    try:
        yield running
    finally:
        running.end()


@click.command()
@click.argument("name", type=click.Choice(list(APPROACHES)))
@click.argument("endpoint")
@click.argument("workloads", type=int)
@click.option("--readers", default=32, show_default=True, help="Threads and connections.")
def main(name: str, endpoint: str, workloads: int, readers: int) -> None:
    """Serve events until stdin ends."""
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "SLUICE_REGISTRY_PREFIX": PREFIX,
        "SLUICE_METRIC_NAMESPACE": NAMESPACE,
        "SLUICE_SHARD_QUEUE_URL": queue_url("shards"),
        "SLUICE_TICK_QUEUE_URL": queue_url("ticks"),
        "SLUICE_STATE_TABLE": "states",
        "POWERTOOLS_METRICS_NAMESPACE": f"{NAMESPACE}/ControlPlane",
        "POWERTOOLS_SERVICE_NAME": name,
    }
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the log: Lambda reads it from a pipe
    handler: Handler | None = None
    for line in sys.stdin:
        request, started_at, cpu_s = json.loads(line), time.perf_counter(), time.process_time()
        CLOCK.set(request["at"])
        handler = handler or APPROACHES[name](workloads, readers)
        result = handler(request["event"])
        invocation = Invocation(
            wall_s=time.perf_counter() - started_at,
            cpu_s=time.process_time() - cpu_s,
            peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            result=result,
        )
        print(json.dumps(asdict(invocation)), file=answers, flush=True)


if __name__ == "__main__":
    main()
