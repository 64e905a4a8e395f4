"""Days of a workload that the embedded AWS has played, as a file: a past for `recommend` and `plan`.

Two days take the embedded AWS many minutes, so they are played once and what CloudWatch had of them is kept
in `recorded-days.csv`; `python -m sluice_sim.embedded.recorded_days` plays them again.
"""

from __future__ import annotations

import csv
import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from moto.cloudwatch.models import CloudWatchBackend, MetricDatum, cloudwatch_backends

from sluice.core.model import Metric
from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.embedded.cloud import NAMESPACE, EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import QUEUE_PROC
from sluice_sim.embedded.timeline import Scenario
from sluice_sim.embedded.workers import Assignment, SimulatedWorkers

FILE = Path(__file__).with_name("recorded-days.csv")
MINUTE_S, HOUR, DAY = 60, 60, 24 * 60
MINUTES = 2 * DAY + HOUR
SEED = 17
PHASE_S = 23.4
"""Seconds past the full minute at which the workload is deployed."""
METRIC_DELAY_S = 45.0
DAWN, DUSK = 5 * HOUR, 23 * HOUR
PEAK_PER_MINUTE, BURSTS_PER_DAY, BURST = 12, 6, 40
PARAMETERS = {
    "AcceptableLatencySeconds": "300",
    "MessagesPerInstance": "6",
    "MinMessagesPerInstance": "1",
    "MaxCapacity": "30",
}
"""Of the workload, beside those of samconfig.toml: messages of 40 to 55 s that start within five minutes."""
FIRST_MINUTE = 12 * HOUR + 20
"""Of the day, at which the embedded account begins."""
KEPT = timedelta(hours=6)
"""Older values are taken out of moto, which looks through all of them for every read."""
COUNTS = ("sent", "visible", "desired", "running")
SAMPLES = ("durations", "waits")
QUEUE_METRICS = {"sent": "NumberOfMessagesSent", "visible": "ApproximateNumberOfMessagesVisible"}
FLEET_METRICS = {
    "asg": {
        "desired": ("AWS/AutoScaling", "GroupDesiredCapacity"),
        "running": ("AWS/AutoScaling", "GroupInServiceInstances"),
    },
    "ecs": {
        "desired": ("ECS/ContainerInsights", "DesiredTaskCount"),
        "running": ("ECS/ContainerInsights", "RunningTaskCount"),
    },
}
"""By the workload's FleetType."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedMinute:
    """What CloudWatch has of one minute; a value is None where it has none."""

    sent: int | None
    visible: int | None
    desired: int | None
    running: int | None
    durations: Counter[float]
    """MsgProcessingDuration: seconds -> messages."""
    waits: Counter[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Days(Scenario):
    """A scenario whose arrivals are given minute by minute."""

    flow: tuple[int, ...]

    def arriving(self, minute: int) -> int:
        """Messages that arrive in this minute."""
        return self.flow[minute] if minute < len(self.flow) else 0

    def sends(self, minute: int) -> Iterator[tuple[float, int]]:
        """Each message is sent at a random moment of the minute."""
        drawn = random.Random(f"{SEED} {minute}")  # noqa: S311 - not for cryptography
        for _ in range(self.arriving(minute)):
            yield drawn.uniform(0, MINUTE_S), 1

    @property
    def last_arrival(self) -> int:
        """The last minute of the flow."""
        return len(self.flow) - 1


def days(minutes: int, first: int, *, seed: int = SEED) -> Days:
    """queue-proc by day: a half wave of Poisson arrivals, and bursts; `first` is the first minute of the day.

    The workers take one message at a time.
    """
    drawn = random.Random(seed)  # noqa: S311 - not for cryptography
    flow = [poisson(drawn, _per_minute((first + minute) % DAY)) for minute in range(minutes)]
    for day in range(minutes // DAY + 1):
        for _ in range(BURSTS_PER_DAY):
            at = day * DAY + drawn.randrange(DAWN, DUSK) - first
            if 0 <= at < minutes:
                flow[at] += BURST
    same = {field.name: getattr(QUEUE_PROC, field.name) for field in fields(Scenario)}
    durations = ((0, 45.0), (minutes // 2, 55.0), (minutes, 40.0))
    changed = {"steady": None, "batch": 1, "boot_s": 70, "durations": durations}
    return Days(**same | changed | {"max_minutes": minutes + 1}, flow=tuple(flow))


def metrics_of(deployed: Mapping[str, str]) -> dict[str, Metric]:
    """The metric of each column, for the workload that is deployed with these parameters."""
    kind = deployed["FleetType"]
    named = ("AutoScalingGroupName",) if kind == "asg" else ("ClusterName", "ServiceName")
    fleet = {name: deployed[name] for name in named}
    queue = {"QueueName": deployed["QueueName"]}
    of_queue = {column: ("AWS/SQS", name, queue) for column, name in QUEUE_METRICS.items()}
    of_fleet = {column: (*metric, fleet) for column, metric in FLEET_METRICS[kind].items()}
    of_workers = {
        "durations": (NAMESPACE, "MsgProcessingDuration", fleet),
        "waits": (NAMESPACE, "MsgWaitDuration", fleet),
    }
    return {
        column: Metric(namespace=namespace, name=name, dimensions=dimensions)
        for column, (namespace, name, dimensions) in (of_queue | of_fleet | of_workers).items()
    }


def record(
    root: Path,
    scenario: Scenario,
    minutes: int,
    *,
    parameters: Mapping[str, str] | None = None,
    seed: int = SEED,
    phase_s: float = PHASE_S,
    metric_delay_s: float = METRIC_DELAY_S,
) -> list[RecordedMinute]:
    """Play a scenario for so many minutes on an embedded AWS, and return what CloudWatch has of each.

    `seed` draws how late each schedule starts, `phase_s` is how far into a minute the workload is deployed,
    and published metrics can be read after `metric_delay_s`.
    """
    with embedded_aws(root, seed=seed, custom_metric_delay_s=metric_delay_s) as aws:
        aws.clock.run_until(aws.clock.now + phase_s)
        demo = Demo(aws, root, worker_factory=_publishing_waits)
        start = datetime.fromtimestamp(aws.clock.now // MINUTE_S * MINUTE_S, UTC)
        demo.add_workload(scenario, parameters)
        backend: CloudWatchBackend = cloudwatch_backends[ACCOUNT_ID][REGION]
        played, kept = demo.minutes(), list[MetricDatum]()
        for _ in range(minutes):
            if next(played) % HOUR == 0:
                old = datetime.fromtimestamp(aws.clock.now, UTC) - KEPT
                kept += [each for each in _data(backend) if _at(each) < old]
                backend.metric_data = [each for each in _data(backend) if _at(each) >= old]
        aws.flush_metrics()
        return _minutes([*kept, *_data(backend)], metrics_of(demo.runs[0].deployed), start, minutes)


def _publishing_waits(aws: EmbeddedAws, assignment: Assignment) -> SimulatedWorkers:
    return SimulatedWorkers(aws, replace(assignment, publishes_waits=True))


def _data(backend: CloudWatchBackend) -> list[MetricDatum]:
    return [each for each in backend.metric_data if isinstance(each, MetricDatum)]


def _at(datum: MetricDatum) -> datetime:
    """The timestamp, which moto keeps as its caller gave it, with or without a zone."""
    at: datetime = datum.timestamp
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _minutes(
    data: Iterable[MetricDatum], metrics: Mapping[str, Metric], start: datetime, minutes: int
) -> list[RecordedMinute]:
    columns = {_key(metric): column for column, metric in metrics.items()}
    found: dict[str, dict[int, list[float]]] = {column: {} for column in metrics}
    for datum in data:
        dimensions = {str(dimension.name): str(dimension.value) for dimension in datum.dimensions}
        of = Metric(namespace=datum.namespace, name=datum.name, dimensions=dimensions)
        if column := columns.get(_key(of)):
            minute = math.floor((_at(datum) - start).total_seconds() / MINUTE_S)
            found[column].setdefault(minute, []).append(float(datum.value))

    def count(minute: int, column: str) -> int | None:
        values = found[column].get(minute)
        return None if values is None else round(values[-1])

    def sampled(minute: int, column: str) -> Counter[float]:
        return Counter(round(each, 1) for each in found[column].get(minute, []))

    return [_recorded(partial(count, minute), partial(sampled, minute)) for minute in range(minutes)]


def _key(metric: Metric) -> tuple[object, ...]:
    return metric.namespace, metric.name, tuple(sorted(metric.dimensions.items()))


def _recorded(count: Callable[[str], int | None], sampled: Callable[[str], Counter[float]]) -> RecordedMinute:
    return RecordedMinute(
        sent=count("sent"),
        visible=count("visible"),
        desired=count("desired"),
        running=count("running"),
        durations=sampled("durations"),
        waits=sampled("waits"),
    )


def write(recorded: Sequence[RecordedMinute], path: Path = FILE) -> None:
    """Write the minutes as CSV, samples as `seconds*messages`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([*COUNTS, *SAMPLES])
        for minute in recorded:
            counts = [getattr(minute, column) for column in COUNTS]
            samples = [
                " ".join(f"{value:g}*{times}" for value, times in sorted(getattr(minute, column).items()))
                for column in SAMPLES
            ]
            rows.writerow([*("" if count is None else count for count in counts), *samples])


def read(path: Path = FILE) -> list[RecordedMinute]:
    """The minutes that `write` has written."""
    with path.open(encoding="utf-8", newline="") as file:
        return [_recorded(partial(_count, row), partial(_counted, row)) for row in csv.DictReader(file)]


def _count(row: Mapping[str, str], column: str) -> int | None:
    return int(row[column]) if row[column] else None


def _counted(row: Mapping[str, str], column: str) -> Counter[float]:
    pairs = (pair.split("*") for pair in row[column].split())
    return Counter({float(value): int(times) for value, times in pairs})


def _per_minute(minute_of_day: int) -> float:
    if not DAWN <= minute_of_day < DUSK:
        return 0.0
    return PEAK_PER_MINUTE * math.sin(math.pi * (minute_of_day - DAWN) / (DUSK - DAWN))


def poisson(drawn: random.Random, mean: float) -> int:
    """Knuth's method: how many exponential times fit into one interval."""
    count, product = 0, drawn.random()
    while product > math.exp(-mean):
        count, product = count + 1, product * drawn.random()
    return count


def main(minutes: int = MINUTES, path: Path = FILE) -> None:
    """Play the days, and write them."""
    root = Path(__file__).resolve().parents[2]
    write(record(root, days(minutes, FIRST_MINUTE), minutes, parameters=PARAMETERS), path)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(int(given[0]) if given else MINUTES, Path(given[1]) if given[1:] else FILE)
