"""What 1, 10 and 1000 workloads cost a month with each engine: `python benchmarks/bill.py`.

The deployed handlers serve minutes, and the ticks below a minute that these queue, against the stub of AWS
that benchmarks/tick.py uses. What they call, and how long they run with the function's share of a core, is
billed by list prices, beside the alarms and custom metrics of the templates: target tracking, the deadline
engine, and a function that loops inside its minute in place of the deadline engine's ticks. Exits with 1 if
the core of ten workloads costs more than 1.8 times as much with the deadline engine as with target tracking:
all that the control plane and the workloads cost, but for the alarms that only notify.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import click
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "layers/sluice")]

from benchmarks import list_prices as prices  # noqa: E402
from benchmarks.approaches import Invocation, Process, process  # noqa: E402
from benchmarks.counts import Counts  # noqa: E402
from benchmarks.cpu_share import NoControlGroupError, limited_to, share_of  # noqa: E402
from benchmarks.list_prices import Minute, month  # noqa: E402
from benchmarks.stub_aws import LATENCY_S, Stub, on_ecs, stub  # noqa: E402
from sluice import wiring  # noqa: E402
from sluice.aws.concurrent_reads import batches  # noqa: E402
from sluice_cli.progress import ProgressBar  # noqa: E402
from sluice_operator.core.prices import month_of_policy as tracking_alarms  # noqa: E402
from sluice_sim.template import ResolvedStack  # noqa: E402
from tests.templates import stacks  # noqa: E402

TRACKING, DEADLINE, LOOP = "target_tracking", "deadline", "loop"
SCALINGS = (TRACKING, DEADLINE)
TICK_S = 10
TICKS_A_MINUTE = 60 // TICK_S
WORKLOADS = "1,10,1000"
COMPARED_WORKLOADS, MAX_RATIO = 10, 1.8
"""The number of workloads for which the deadline engine may cost so many times target tracking."""
LOOPED_S = 50
"""Seconds of each minute in which a function that loops runs."""
NOTIFYING = "alarms that only notify"
"""Left out of the core: scaling does not need them, and they cost every engine the same."""
LEARNING = "deadline engine: learning every hour"
ACTING_ALARMS = ("BootstrapAlarm", "ShutdownAlarm")
STARTED_AFTER = timedelta(seconds=2)
DELIVERED_AFTER = timedelta(seconds=1)
UNITS = ("send_units", "metrics_read", "read_units", "write_units")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """What the ticks below a minute of all workloads use."""

    messages: float
    """A tick: the slices of the registry."""
    invocations: float
    """A tick."""
    slice_s: float
    """The mean time of a slice's tick."""
    slowest_s: float
    """The longest invocation."""
    calls: Mapping[str, float]
    """A tick, by operation; what SQS and DynamoDB bill by size, in units."""
    receive_units: float
    """A tick; SQS requests of 64 KiB each."""
    largest_item_bytes: int

    @property
    def busy(self) -> float:
        """Functions that run at once, on average."""
        return self.messages * self.slice_s / TICK_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What all workloads together use."""

    workloads: int
    scaling: str
    minute_s: float
    """The billed time of publish_backlog a minute."""
    calls: Mapping[str, float]
    """Those of publish_backlog a minute, by operation, and units as above."""
    hourly: Mapping[str, float]
    """Those of retune_target an hour."""
    ticks: Ticks | None


# ---- Measuring


def measure(workloads: int, scaling: str, core: float, rounds: int) -> Usage:
    """Serve that many warm minutes, then as many warm ticks, with this share of a core."""
    with (
        stub(workloads=workloads, latency_s=LATENCY_S, scaling=scaling) as aws,
        process("function", aws.endpoint, workloads, wiring.READERS) as minutes,
        process("deadline-tick", aws.endpoint, workloads, wiring.READERS) as ticks,
        process("retune", aws.endpoint, workloads, wiring.READERS) as hours,
        limited_to(core, minutes.pid, ticks.pid, hours.pid),
    ):
        start = datetime.now(UTC).replace(second=0, microsecond=0)
        served = []
        for number in range(rounds + 1):
            aws.sent("ticks")
            at = start + timedelta(minutes=number)
            served.append(_counted(aws, partial(minutes.invoke, _schedule(at), at=at + STARTED_AFTER)))
        warm = served[1:]
        sub_minute = _ticks(aws, ticks, rounds) if scaling == DEADLINE else None
        hourly, _ = _counted(aws, partial(hours.invoke, _schedule(start), at=start + STARTED_AFTER))
        return Usage(
            workloads=workloads,
            scaling=scaling,
            minute_s=mean(_billed_s(one) for _, one in warm),
            calls=_mean([calls for calls, _ in warm]),
            hourly=hourly,
            ticks=sub_minute,
        )


def _ticks(aws: Stub, function: Process, rounds: int) -> Ticks:
    """Deliver the ticks that the last minute queued, moment by moment; the first one is cold."""
    bodies = by_moment(aws.sent("ticks"))
    served = [
        [
            _counted(aws, partial(function.invoke, _delivery(batch), at=moment + DELIVERED_AFTER))
            for batch in batches(bodies[moment], batch_size())
        ]
        for moment in sorted(bodies)[: rounds + 1]
    ][1:]
    messages = len(bodies[min(bodies)])
    invocations = [one for of_moment in served for _, one in of_moment]
    return Ticks(
        messages=messages,
        invocations=len(invocations) / len(served),
        slice_s=sum(map(_billed_s, invocations)) / len(served) / messages,
        slowest_s=max(one.wall_s for one in invocations),
        calls=_mean([sum((calls for calls, _ in of_moment), Counter[str]()) for of_moment in served]),
        receive_units=sum(
            math.ceil(sum(len(body.encode()) for body in batch) / prices.SQS_BILLED_BYTES)
            for batch in batches(bodies[min(bodies)], batch_size())
        ),
        largest_item_bytes=aws.counts().largest_item_bytes,
    )


def by_moment(bodies: Sequence[str]) -> Mapping[datetime, list[str]]:
    """The ticks' messages by their moment."""
    found: dict[datetime, list[str]] = defaultdict(list)
    for body in bodies:
        found[datetime.fromisoformat(json.loads(body)["scheduled_time"])].append(body)
    return found


def _counted(aws: Stub, step: Callable[[], Invocation]) -> tuple[Counter[str], Invocation]:
    """The AWS calls of a step by operation and what is billed by size, and its invocation."""
    before = _counts(aws)
    done = step()
    return _counts(aws) - before, done


def _counts(aws: Stub) -> Counter[str]:
    counts = aws.counts()
    return Counter(counts.requests | {unit: getattr(counts, unit) for unit in UNITS})


def _mean(counts: Sequence[Counter[str]]) -> dict[str, float]:
    total = sum(counts, Counter[str]())
    return {name: count / len(counts) for name, count in total.items()}


def _billed_s(invocation: Invocation) -> float:
    return math.ceil(invocation.wall_s * 1000) / 1000


def _schedule(minute: datetime) -> Mapping[str, Any]:
    return {"scheduled_time": minute.isoformat()}


def _delivery(bodies: Sequence[str]) -> Mapping[str, Any]:
    return {
        "Records": [
            {"messageId": f"{number:036}", "body": body, "eventSource": "aws:sqs"}
            for number, body in enumerate(bodies)
        ]
    }


# ---- The bill


def function_settings(logical_id: str) -> Mapping[str, Any]:
    """A function of template.yaml, with the settings of all."""
    template = stacks.template("template.yaml")
    return {
        **template["Globals"]["Function"],
        **template["Resources"][logical_id]["Properties"],
    }


def memory_mb() -> int:
    """The memory of the functions, in MB."""
    return int(function_settings("DeadlineTickFunction")["MemorySize"])


def batch_size() -> int:
    """Ticks that Lambda delivers in an invocation at most."""
    return int(function_settings("DeadlineTickFunction")["Events"]["Ticks"]["Properties"]["BatchSize"])


def bill(usage: Usage, engine: str) -> dict[str, float]:
    """Dollars per month, item by item; `engine` is the usage's scaling, or the loop in place of its ticks."""
    items = dict(_standing(usage, engine))
    items["publish_backlog: Lambda"] = month(
        Minute(invocations=1, billed_s=usage.minute_s, memory_mb=memory_mb())
    )
    items["publish_backlog: SQS and CloudWatch"] = month(
        Minute(
            sqs_requests=usage.calls.get("GetQueueAttributes", 0),
            puts=usage.calls.get("PutMetricData", 0),
            metrics_read=usage.calls.get("metrics_read", 0),
        )
    )
    if usage.ticks is not None:
        items |= _ticks_and_decisions(usage, usage.ticks, engine)
    return items


def _standing(usage: Usage, engine: str) -> Iterator[tuple[str, float]]:
    """What costs the same whatever happens: alarms, custom metrics, polls."""
    kinds = Counter("ecs" if on_ecs(number) else "asg" for number in range(usage.workloads))
    acting, notifying = 0.0, sum(map(prices.month_of_alarm, _alarms(stacks.plane()).values()))
    for kind, count in kinds.items():
        # The cheapest target tracking: that of the backlog alone.
        deployed = {"Scaling": usage.scaling, "ProcessingSeconds": "5", "TrackedMetric": "backlog"}
        for name, alarm in _alarms(stacks.workload(kind, **deployed)).items():
            cost = count * prices.month_of_alarm(alarm)
            acting, notifying = (
                (acting + cost, notifying) if name in ACTING_ALARMS else (acting, notifying + cost)
            )
        acting += count * month_of_policy(stacks.workload(kind, **deployed))
    yield NOTIFYING, notifying
    yield "alarms that start, scale or shut down fleets", acting
    yield "custom metric BacklogPerInstance", usage.workloads * prices.CUSTOM_METRIC
    if usage.ticks is not None:
        yield "custom metric MsgWaitDuration", usage.workloads * prices.CUSTOM_METRIC
    yield "Lambda's polls of empty queues", prices.month_of_polls() * (1 if engine == LOOP else 2)


def month_of_policy(stack: ResolvedStack) -> float:
    """AlarmHigh, and AlarmLow unless it never scales in, of the stack's target-tracking policy."""
    policies = [one for one in stack.resources.values() if one.type.endswith("::ScalingPolicy")]
    return sum(tracking_alarms(policy.properties, prices.PRICES) for policy in policies)


def _alarms(stack: ResolvedStack) -> Mapping[str, Mapping[str, Any]]:
    return stacks.of_type(stack, "AWS::CloudWatch::Alarm")


def _ticks_and_decisions(usage: Usage, ticks: Ticks, engine: str) -> dict[str, float]:
    items = {
        "deadline engine: reads of queues": month(
            Minute(sqs_requests=TICKS_A_MINUTE * ticks.calls["GetQueueAttributes"])
        ),
        "deadline engine: states in DynamoDB": month(
            Minute(
                write_units=TICKS_A_MINUTE * ticks.calls["write_units"],
                read_units=TICKS_A_MINUTE * ticks.calls["read_units"],
            )
        ),
        LEARNING: month(
            Minute(
                metrics_read=usage.hourly["metrics_read"] / 60,
                write_units=usage.hourly["write_units"] / 60,
                read_units=usage.hourly["read_units"] / 60,
            )
        ),
    }
    if engine == LOOP:
        functions = max(1, math.ceil(ticks.busy))
        looping = Minute(invocations=functions, billed_s=functions * LOOPED_S, memory_mb=memory_mb())
        return items | {"functions that loop: Lambda": month(looping)}
    received = TICKS_A_MINUTE * (ticks.receive_units + ticks.invocations)
    return items | {
        "ticks sent, received, deleted": month(Minute(sqs_requests=usage.calls["send_units"] + received)),
        "deadline_tick: Lambda": month(
            Minute(
                invocations=TICKS_A_MINUTE * ticks.invocations,
                billed_s=TICKS_A_MINUTE * ticks.messages * ticks.slice_s,
                memory_mb=memory_mb(),
            )
        ),
    }


def core(items: Mapping[str, float]) -> float:
    """Dollars per month without the alarms that only notify."""
    return sum(items.values()) - items[NOTIFYING]


def ratio(tracking: Usage, deadline: Usage) -> float:
    """The core of the deadline engine's bill as a multiple of target tracking's."""
    return core(bill(deadline, DEADLINE)) / core(bill(tracking, TRACKING))


# ---- Printing


def _table(usages: Mapping[tuple[int, str], Usage], sizes: Sequence[int]) -> str:
    bills = {
        (size, engine): bill(usages[size, TRACKING if engine == TRACKING else DEADLINE], engine)
        for size in sizes
        for engine in (TRACKING, DEADLINE, LOOP)
    }
    labels = dict.fromkeys(label for items in bills.values() for label in items)
    heads = [f"{size} {engine}" for size, engine in bills]
    lines = ["".join([f"{'USD a month':60}", *(f"{head:>22}" for head in heads)])]
    for label in labels:
        cells = [f"{items[label]:>22.2f}" if label in items else f"{'':>22}" for items in bills.values()]
        lines.append(f"{label:60}" + "".join(cells))
    lines.append(f"{'together':60}" + "".join(f"{sum(items.values()):>22.2f}" for items in bills.values()))
    lines.append(f"{'core':60}" + "".join(f"{core(items):>22.2f}" for items in bills.values()))
    for size in sizes:
        tracking, deadline = usages[size, TRACKING], usages[size, DEADLINE]
        lines.append(f"{size} workloads: {ratio(tracking, deadline):.2f} times target tracking's core")
        lines += [f"  publish_backlog, {one.scaling}: {_called(one.calls)}" for one in (tracking, deadline)]
        ticks = deadline.ticks
        assert ticks is not None
        lines.append(f"  a tick: {_called(ticks.calls)}")
        lines.append(
            f"  a tick: {ticks.messages} slices of {ticks.slice_s:.2f} s, the longest invocation "
            f"{ticks.slowest_s:.2f} s; {ticks.busy:.2f} functions at once; items of up to "
            f"{ticks.largest_item_bytes} bytes"
        )
    return "\n".join(lines)


def _called(calls: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {count:g}" for name, count in sorted(calls.items()))


@click.command()
@click.option(
    "--workloads", type=Counts(), default=WORKLOADS, show_default=True, help="Numbers of workloads."
)
@click.option(
    "--rounds",
    type=click.IntRange(1, TICKS_A_MINUTE - 1),
    default=3,
    show_default=True,
    help="Warm minutes, and warm ticks, of each.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of the table.")
def main(workloads: Sequence[int], rounds: int, as_json: bool) -> None:
    """Measure minutes and ticks, and print the bills."""
    usages: dict[tuple[int, str], Usage] = {}
    plan = [(size, scaling) for size in workloads for scaling in SCALINGS]
    try:
        with ProgressBar(Console(stderr=True)) as progress:
            for done, (size, scaling) in enumerate(plan):
                progress.show(f"{size} workloads, {scaling}", done / len(plan))
                usages[size, scaling] = measure(size, scaling, share_of(memory_mb()), rounds)
    except NoControlGroupError as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        json.dumps([asdict(usage) for usage in usages.values()]) if as_json else _table(usages, workloads)
    )
    if COMPARED_WORKLOADS in workloads:
        actual = ratio(usages[COMPARED_WORKLOADS, TRACKING], usages[COMPARED_WORKLOADS, DEADLINE])
        if actual > MAX_RATIO:
            raise click.ClickException(
                f"the core of {COMPARED_WORKLOADS} workloads costs {actual:.2f} times as much with the "
                f"deadline engine as with target tracking; at most {MAX_RATIO} allowed"
            )


if __name__ == "__main__":
    main()
