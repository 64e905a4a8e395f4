"""Ten thousand workloads through three minutes of the fan-out: `python benchmarks/shards.py`.

The deployed function sends its shards to a stub of AWS, and serves them as Lambda's event source would
deliver them: in batches of four, in any order, some a second time in the next minute. Exits with 1 where a
workload lacks the data point of a tick's minute or has one of another, or where an Average is not what one
delivery of each shard gives.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from json import dumps
from pathlib import Path
from typing import Any

import click
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "layers/sluice")]

from benchmarks.approaches import Invocation, Process, process  # noqa: E402
from benchmarks.cpu_share import NoControlGroupError, held_to  # noqa: E402
from benchmarks.stub_aws import LATENCY_S, Stub, backlog_per_instance, name_of, stub  # noqa: E402
from sluice import wiring  # noqa: E402
from sluice.aws.concurrent_reads import batches  # noqa: E402
from sluice.usecases.tick import MOST_IN_ONE_INVOCATION  # noqa: E402
from sluice_cli.progress import ProgressBar  # noqa: E402

MINUTES = 3
SCHEDULED_AT_S, TICKS_AT_S, SERVED_AT_S, AGAIN_AT_S = 30, 32, 35, 60
"""Seconds from the minute's start, by the function's clock: one process does what Lambda does side by side.

What comes again does so when the next minute has begun, and is not yet stale.
"""
BATCH = 4
"""Messages an invocation, as template.yaml's event source has them."""
TWICE = 0.2
"""Of the shards, how many are delivered a second time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """One tick with all its shards."""

    calls: float
    """A workload, the second deliveries left out."""
    tick_s: float
    """The invocation that slices; the first one also imports and reads the registry."""
    shards: int
    delivered: int
    slowest_s: float
    """The longest invocation of a batch."""
    batches_s: float
    """All of them, one after another."""
    peak_mb: float


def serve_minute(
    aws: Stub, function: Process, workloads: int, minute: datetime, dice: random.Random
) -> Iterator[float | Minute]:
    """The share that is done, again and again; at the end the minute."""
    before = sum(aws.counts().requests.values())
    schedule = {"scheduled_time": (minute + timedelta(seconds=SCHEDULED_AT_S)).isoformat()}
    tick = function.invoke(schedule, at=minute + timedelta(seconds=TICKS_AT_S))
    shards = aws.sent()
    calls = sum(aws.counts().requests.values()) - before
    once = sum(aws.counts().requests.values())
    served: list[Invocation] = []
    first, again = dice.sample(shards, len(shards)), dice.sample(shards, round(TWICE * len(shards)))
    delivered = len(first) + len(again)
    for deliveries, at_s in ((first, SERVED_AT_S), (again, AGAIN_AT_S)):
        for batch in batches(enumerate(deliveries), BATCH):
            served.append(function.invoke(_delivery(batch), at=minute + timedelta(seconds=at_s)))
            if served[-1].answered != {"batchItemFailures": []}:
                raise SystemExit(f"shards failed: {served[-1].answered}")
            yield min(len(served) * BATCH / delivered, 1)
    calls += round((sum(aws.counts().requests.values()) - once) * len(shards) / delivered)
    yield Minute(
        calls=calls / workloads,
        tick_s=tick.wall_s,
        shards=len(shards),
        delivered=delivered,
        slowest_s=max(one.wall_s for one in served),
        batches_s=sum(one.wall_s for one in served),
        peak_mb=served[-1].peak_mb,
    )


def _delivery(batch: Sequence[tuple[int, str]]) -> Mapping[str, Any]:
    return {
        "Records": [
            {"messageId": f"{number:036}", "body": body, "eventSource": "aws:sqs"} for number, body in batch
        ]
    }


def misses(aws: Stub, workloads: int, minutes: Sequence[datetime]) -> Iterator[str]:
    """What is not as one delivery of each shard would have it."""
    points, ticked = aws.points(), {f"{minute:%Y-%m-%dT%H:%M}" for minute in minutes}
    for number in range(workloads):
        name, value = name_of(number), backlog_per_instance(number)
        of_minute = points.get(name, {})
        if missing := ticked - of_minute.keys():
            yield f"{name} has no data point of {', '.join(sorted(missing))}"
        if strange := of_minute.keys() - ticked:
            yield f"{name} has a data point of {', '.join(sorted(strange))}, where no tick was"
        for minute, (total, count) in of_minute.items():
            if total / count != value:
                yield f"{name} averages {total / count:g} at {minute}: {value:g} was to be published"


def _in_shards(_: click.Context, __: click.Parameter, workloads: int) -> int:
    if workloads <= MOST_IN_ONE_INVOCATION:
        raise click.BadParameter(
            f"{workloads}: up to {MOST_IN_ONE_INVOCATION} workloads go in no shards; ask for "
            f"{MOST_IN_ONE_INVOCATION + 1} or more, or measure them with benchmarks/tick.py"
        )
    return workloads


@click.command()
@click.option("--workloads", default=10_000, show_default=True, callback=_in_shards, help="Registered.")
@click.option(
    "--minutes", type=click.IntRange(min=1), default=MINUTES, show_default=True, help="Consecutive ticks."
)
@click.option("--seed", default=0, show_default=True, help="Of the order and of what comes twice.")
@click.option(
    "--core",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="The function's share of one; 512 MB buy 0.29.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of the table.")
def main(workloads: int, minutes: int, seed: int, core: float, as_json: bool) -> None:
    """One process serves the ticks and all their shards, one batch after another."""
    try:
        served, missed, put = play(workloads, minutes, seed, core)
    except NoControlGroupError as refused:
        raise click.ClickException(str(refused)) from refused
    said = {
        "workloads": workloads,
        "core": core,
        "points": put,
        "twice": put - workloads * minutes,
        "missed": len(missed),
        "minutes": [asdict(one) for one in served],
    }
    click.echo(dumps(said) if as_json else _table(said, served))
    for miss in missed[:10]:
        click.echo(miss, err=True)
    sys.exit(1 if missed else 0)


def play(workloads: int, minutes: int, seed: int, core: float) -> tuple[list[Minute], list[str], int]:
    """The minutes, what is missing or changed, and how many data points were put."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    first = datetime.now(UTC).replace(second=0, microsecond=0)
    ticked = [first + timedelta(minutes=place) for place in range(minutes)]
    served: list[Minute] = []
    with (
        stub(workloads=workloads, latency_s=LATENCY_S) as aws,
        process("function", aws.endpoint, workloads, wiring.READERS) as function,
        held_to(core, function.pid),
        ProgressBar(Console(stderr=True)) as progress,
    ):
        for place, minute in enumerate(ticked):
            for step in serve_minute(aws, function, workloads, minute, dice):
                if isinstance(step, Minute):
                    served.append(step)
                else:
                    progress.show(f"{workloads} workloads", (place + step) / minutes)
        missed = list(misses(aws, workloads, ticked))
        put = sum(count for points in aws.points().values() for _, count in points.values())
    return served, missed, put


def _table(said: Mapping[str, Any], served: Sequence[Minute]) -> str:
    heads = ("calls", "tick s", "shards", "delivered", "slowest s", "all s", "peak MB")
    lines = ["".join(f"{head:>11}" for head in heads)]
    lines += [
        f"{one.calls:>11.3f}{one.tick_s:>11.2f}{one.shards:>11}{one.delivered:>11}{one.slowest_s:>11.2f}"
        f"{one.batches_s:>11.1f}{one.peak_mb:>11.0f}"
        for one in served
    ]
    lines.append(
        f"{said['workloads']} workloads, {said['points']} data points, {said['twice']} of them a second "
        f"time: {said['missed']} missing or changed"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
