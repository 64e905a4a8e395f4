"""Ten thousand workloads through three minutes of the fan-out: `python benchmarks/shards.py`.

The deployed function sends its shards to a stub of AWS, and receives them as Lambda's event source would
deliver them: in batches of four, in any order, some a second time in the next minute. With `--scaling
deadline` these are workloads of the deadline engine: the shards queue their ticks below a minute, and those
of a moment are delivered as well, some twice. Exits with 1 if a workload lacks the data point of a tick's
minute, has one for another minute, or has an Average that differs from what one delivery of each shard gives;
and if it lacks a tick, or its state is not that of the moment, written once.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from json import dumps, loads
from pathlib import Path
from typing import Any

import click
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "layers/sluice")]

from benchmarks import bill  # noqa: E402
from benchmarks.approaches import Invocation, Process, process  # noqa: E402
from benchmarks.cpu_share import NoControlGroupError, limited_to  # noqa: E402
from benchmarks.stub_aws import LATENCY_S, Stub, backlog_per_instance, name_of, stub  # noqa: E402
from sluice import wiring  # noqa: E402
from sluice.aws.concurrent_reads import batches  # noqa: E402
from sluice.usecases.queue_ticks import AHEAD  # noqa: E402
from sluice.usecases.shards import MAX_WORKLOADS_PER_INVOCATION  # noqa: E402
from sluice_cli.progress import ProgressBar  # noqa: E402

MINUTES = 3
SCHEDULED_AT_S, TICK_AT_S, DELIVERED_AT_S, REDELIVERED_AT_S = 30, 32, 35, 60
"""Seconds from the minute's start, by the function's clock; Lambda would run the batches in parallel.

Redeliveries arrive after the next minute has started, and are not stale yet.
"""
BATCH_SIZE = 4
"""Messages per invocation, as in template.yaml's event source."""
REDELIVERED_SHARE = 0.2
"""Share of the shards that are delivered a second time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """One tick with all its shards."""

    calls: float
    """AWS calls per workload, without the redeliveries."""
    tick_s: float
    """The invocation that creates the shards; the first one also imports and reads the registry."""
    shards: int
    delivered: int
    slowest_s: float
    """The longest invocation of a batch."""
    batches_s: float
    """All batches, one after another."""
    peak_mb: float


def serve_minute(
    aws: Stub, function: Process, workloads: int, minute: datetime, rng: random.Random
) -> Iterator[float | Minute]:
    """Yield the share that is done after each batch, and at the end the minute's measurements."""
    before = sum(aws.counts().requests.values())
    schedule = {"scheduled_time": (minute + timedelta(seconds=SCHEDULED_AT_S)).isoformat()}
    tick = function.invoke(schedule, at=minute + timedelta(seconds=TICK_AT_S))
    shards = aws.sent("shards")
    calls = sum(aws.counts().requests.values()) - before
    before_deliveries = sum(aws.counts().requests.values())
    served: list[Invocation] = []
    first, again = rng.sample(shards, len(shards)), rng.sample(shards, round(REDELIVERED_SHARE * len(shards)))
    delivered = len(first) + len(again)
    for deliveries, at_s in ((first, DELIVERED_AT_S), (again, REDELIVERED_AT_S)):
        for batch in batches(enumerate(deliveries), BATCH_SIZE):
            served.append(function.invoke(_delivery(batch), at=minute + timedelta(seconds=at_s)))
            if served[-1].result != {"batchItemFailures": []}:
                raise SystemExit(f"shards failed: {served[-1].result}")
            yield min(len(served) * BATCH_SIZE / delivered, 1)
    calls += round((sum(aws.counts().requests.values()) - before_deliveries) * len(shards) / delivered)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The ticks below a minute of one moment, after those of an earlier one, which are cold."""

    slices: int
    delivered: int
    slice_s: float
    """The mean time of a slice that is delivered once."""
    slowest_s: float
    """The longest invocation."""
    invocations_s: float
    """All of them, one after another."""
    peak_mb: float

    @property
    def at_once(self) -> float:
        """Functions that run at once, on average, if ticks are ten seconds apart."""
        return self.invocations_s / bill.TICK_S


def serve_moment(
    function: Process, moment: datetime, bodies: Sequence[str], rng: random.Random
) -> Iterator[float | Moment]:
    """Yield the share that is done after each batch, and at the end the moment's measurements."""
    again = rng.sample(bodies, round(REDELIVERED_SHARE * len(bodies)))
    served: list[Invocation] = []
    once_s = 0.0
    size = bill.batch_size()
    for deliveries in (rng.sample(bodies, len(bodies)), again):
        for batch in batches(enumerate(deliveries), size):
            served.append(function.invoke(_delivery(batch), at=moment + bill.DELIVERED_AFTER))
            yield min(len(served) * size / (len(bodies) + len(again)), 1)
        once_s = once_s or sum(one.wall_s for one in served)
    yield Moment(
        slices=len(bodies),
        delivered=len(bodies) + len(again),
        slice_s=once_s / len(bodies),
        slowest_s=max(one.wall_s for one in served),
        invocations_s=sum(one.wall_s for one in served),
        peak_mb=served[-1].peak_mb,
    )


def misses_of_ticks(
    workloads: int, ticks: Mapping[datetime, Sequence[str]], moment: datetime, until: datetime
) -> Iterator[str]:
    """Every moment from this one until another that lacks the tick of a workload."""
    step = timedelta(seconds=bill.TICK_S)
    names = {name_of(number) for number in range(workloads)}
    while moment < until:
        lacking = names - {name for body in ticks.get(moment, ()) for name in loads(body)["documents"]}
        if lacking:
            yield f"{len(lacking)} workloads have no tick of {moment:%H:%M:%S}, the first {min(lacking)}"
        moment += step


def misses_of_moment(aws: Stub, workloads: int, moment: datetime, writes: int) -> Iterator[str]:
    """Every workload without a state of this moment, and writes that duplicates have made."""
    states = aws.states()
    for number in range(workloads):
        stored_s = states.get(name_of(number), 0.0)
        if stored_s != moment.timestamp():
            yield f"{name_of(number)} has a state of {stored_s:.0f}: expected {moment.timestamp():.0f}"
    if writes != workloads:
        yield f"{writes} states were written for {workloads} workloads"


def misses(aws: Stub, workloads: int, minutes: Sequence[datetime]) -> Iterator[str]:
    """Every deviation from what one delivery of each shard gives."""
    points, expected_minutes = aws.points(), {f"{minute:%Y-%m-%dT%H:%M}" for minute in minutes}
    for number in range(workloads):
        name, value = name_of(number), backlog_per_instance(number)
        of_minute = points.get(name, {})
        if missing := expected_minutes - of_minute.keys():
            yield f"{name} has no data point of {', '.join(sorted(missing))}"
        if unexpected := of_minute.keys() - expected_minutes:
            yield f"{name} has a data point of {', '.join(sorted(unexpected))}, where there was no tick"
        for minute, (total, count) in of_minute.items():
            if total / count != value:
                yield f"{name} averages {total / count:g} at {minute}: expected {value:g}"


def _require_shards(_: click.Context, __: click.Parameter, workloads: int) -> int:
    if workloads <= MAX_WORKLOADS_PER_INVOCATION:
        raise click.BadParameter(
            f"{workloads}: up to {MAX_WORKLOADS_PER_INVOCATION} workloads are not sharded; give "
            f"{MAX_WORKLOADS_PER_INVOCATION + 1} or more, or measure them with benchmarks/tick.py"
        )
    return workloads


@click.command()
@click.option(
    "--workloads",
    default=10_000,
    show_default=True,
    callback=_require_shards,
    help="Number of registered workloads.",
)
@click.option(
    "--minutes", type=click.IntRange(min=1), default=MINUTES, show_default=True, help="Consecutive ticks."
)
@click.option("--seed", default=0, show_default=True, help="Seed of the order and of the redeliveries.")
@click.option(
    "--core",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="The function's share of a core; 512 MB give 0.29.",
)
@click.option(
    "--scaling",
    type=click.Choice(bill.SCALINGS),
    default=bill.TRACKING,
    show_default=True,
    help="What decides the fleets' sizes.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of the table.")
def main(workloads: int, minutes: int, seed: int, core: float, scaling: str, as_json: bool) -> None:
    """Serve the ticks and all their shards in one process, one batch after another."""
    try:
        served, moment, missed, put = run_minutes(workloads, minutes, seed, core, scaling)
    except NoControlGroupError as error:
        raise click.ClickException(str(error)) from error
    output = {
        "workloads": workloads,
        "core": core,
        "points": put,
        "twice": put - workloads * minutes,
        "missed": len(missed),
        "minutes": [asdict(one) for one in served],
        "moment": moment and asdict(moment),
    }
    click.echo(dumps(output) if as_json else _table(output, served, moment))
    for miss in missed[:10]:
        click.echo(miss, err=True)
    sys.exit(1 if missed else 0)


def run_minutes(
    workloads: int, minutes: int, seed: int, core: float, scaling: str
) -> tuple[list[Minute], Moment | None, list[str], int]:
    """The measured minutes, the ticks of a moment, the deviations, and the number of data points put."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    first = datetime.now(UTC).replace(second=0, microsecond=0)
    ticked = [first + timedelta(minutes=number) for number in range(minutes)]
    served: list[Minute] = []
    with (
        stub(workloads=workloads, latency_s=LATENCY_S, scaling=scaling) as aws,
        process("function", aws.endpoint, workloads, wiring.READERS) as function,
        process("deadline-tick", aws.endpoint, workloads, wiring.READERS) as deadline_tick,
        limited_to(core, function.pid, deadline_tick.pid),
        ProgressBar(Console(stderr=True)) as progress,
    ):
        for number, minute in enumerate(ticked):
            for step in serve_minute(aws, function, workloads, minute, rng):
                if isinstance(step, Minute):
                    served.append(step)
                else:
                    progress.show(f"{workloads} workloads", (number + step) / minutes)
        missed = list(misses(aws, workloads, ticked))
        put = sum(count for points in aws.points().values() for _, count in points.values())
        moment = None
        if scaling == bill.DEADLINE:
            ticks = bill.by_moment(aws.sent("ticks"))
            # The first minute's shards are served in its second half.
            missed += misses_of_ticks(workloads, ticks, first + timedelta(minutes=1), ticked[-1] + AHEAD)
            for at in sorted(ticks)[-2:]:
                before = aws.counts().requests.get("UpdateItem", 0)
                for done in serve_moment(deadline_tick, at, ticks[at], rng):
                    if isinstance(done, Moment):
                        moment = done
                    else:
                        progress.show(f"ticks of {at:%H:%M:%S}", done)
                writes = aws.counts().requests["UpdateItem"] - before
                missed += misses_of_moment(aws, workloads, at, writes)
    return served, moment, missed, put


def _table(output: Mapping[str, Any], served: Sequence[Minute], moment: Moment | None) -> str:
    heads = ("calls", "tick s", "shards", "delivered", "slowest s", "all s", "peak MB")
    lines = ["".join(f"{head:>11}" for head in heads)]
    lines += [
        f"{one.calls:>11.3f}{one.tick_s:>11.2f}{one.shards:>11}{one.delivered:>11}{one.slowest_s:>11.2f}"
        f"{one.batches_s:>11.1f}{one.peak_mb:>11.0f}"
        for one in served
    ]
    lines.append(
        f"{output['workloads']} workloads, {output['points']} data points, {output['twice']} of them twice: "
        f"{output['missed']} missing or changed"
    )
    if moment is not None:
        lines.append(
            f"the ticks of a moment: {moment.slices} slices of {moment.slice_s:.2f} s, {moment.delivered} "
            f"delivered in {moment.invocations_s:.1f} s, the slowest invocation {moment.slowest_s:.2f} s, "
            f"{moment.peak_mb:.0f} MB: {moment.at_once:.1f} functions at once"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
