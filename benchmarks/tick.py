"""A tick of a thousand workloads in one invocation: `python benchmarks/tick.py`.

The deployed handler and plain boto3 clients make the same calls at the same concurrency, each in a separate
process, against a stub of AWS that answers after 10 ms. They alternate, and the best round of each counts, as
in timeit: other load on the machine can only slow a round down. A Lambda function per workload is measured as
well. Exits with 1 if 1000 workloads take more than 1.10 calls each, more than 1.5 times the plain
clients' time, or more memory than the function has.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "layers/sluice")]

from benchmarks import list_prices  # noqa: E402
from benchmarks.approaches import process  # noqa: E402
from benchmarks.counts import Counts  # noqa: E402
from benchmarks.cpu_share import NoControlGroupError, limited_to, share_of  # noqa: E402
from benchmarks.stub_aws import LATENCY_S, Stub, is_idle, stub  # noqa: E402
from benchmarks.tick_results import PER_WORKLOAD_CALLS, PerWorkload, Tick  # noqa: E402
from sluice import wiring  # noqa: E402
from sluice.usecases.shards import MAX_WORKLOADS_PER_INVOCATION  # noqa: E402
from sluice_cli.progress import ProgressBar  # noqa: E402
from sluice_sim.template import load  # noqa: E402

LIMITED_WORKLOADS = 1000
"""The number of workloads for which the limits are checked."""
MAX_CALLS, MAX_TIME_RATIO = 1.10, 1.5
SAMPLE = 30
"""Functions per workload that are measured; all make the same three calls."""
MIN_MEMORY_MB = 128
"""The smallest memory that Lambda offers."""


def measure(workloads: int, readers: int, cpu_share: float, rounds: int) -> Tick:
    """Measure with a fresh stub and fresh processes, which alternate."""
    with (
        stub(workloads=workloads, latency_s=LATENCY_S) as aws,
        process("tick", aws.endpoint, workloads, readers) as ours,
        process("bare", aws.endpoint, workloads, readers) as bare,
        process("slim", aws.endpoint, workloads, readers) as slim,
        limited_to(cpu_share, ours.pid, bare.pid, slim.pid),
    ):
        cold_calls, cold = _count_calls(aws, lambda: ours.invoke({}))
        bare.invoke({}), slim.invoke({})
        measurements = []
        for _ in range(rounds):
            calls, warm = _count_calls(aws, lambda: ours.invoke({}))
            bare_calls, floor = _count_calls(aws, lambda: bare.invoke({}))
            if calls != bare_calls:
                raise SystemExit(f"nothing is compared: the tick calls {calls}, the bare client {bare_calls}")
            measurements.append((warm, floor, slim.invoke({})))
    ticks, floors, slims = zip(*measurements, strict=True)
    return Tick(
        workloads=workloads,
        readers=readers,
        cpu_share=cpu_share,
        calls=calls.total() / workloads,
        cold_calls=cold_calls.total() / workloads,
        wall_s=min(warm.wall_s for warm in ticks),
        cpu_s=min(warm.cpu_s for warm in ticks),
        cold_s=cold.wall_s,
        floor_s=min(floor.wall_s for floor in floors),
        floor_cpu_s=min(floor.cpu_s for floor in floors),
        slim_s=min(one.wall_s for one in slims),
        peak_mb=max(warm.peak_mb for warm in ticks),
    )


def measure_per_workload(memory_mb: int, cpu_share: float) -> PerWorkload:
    """Measure warm invocations of one execution environment, one after another."""
    with (
        stub(workloads=SAMPLE, latency_s=LATENCY_S) as aws,
        process("per-workload", aws.endpoint, SAMPLE, 1) as running,
        limited_to(cpu_share, running.pid),
    ):
        running.invoke({"workload": 0})
        seconds = [running.invoke({"workload": number}).wall_s for number in range(SAMPLE)]
    billed_s = sum(math.ceil(one * 1000) for one in seconds) / 1000 / SAMPLE
    return PerWorkload(memory_mb=memory_mb, cpu_share=cpu_share, billed_s=billed_s)


def _count_calls(aws: Stub, step: Callable[[], Any]) -> tuple[Counter[str], Any]:
    """The AWS calls of a step by operation, and its result."""
    before = Counter(aws.counts().requests)
    done = step()
    return Counter(aws.counts().requests) - before, done


def month_of(tick: Tick, memory_mb: int) -> float:
    """Dollars per month for the tick's workloads."""
    minute = list_prices.Minute(
        invocations=1,
        billed_s=math.ceil(tick.wall_s * 1000) / 1000,
        memory_mb=memory_mb,
        sqs_requests=tick.workloads,
        puts=math.ceil(tick.workloads / 1000),
        metrics_read=sum(map(is_idle, range(tick.workloads))),
    )
    return list_prices.month(minute)


def month_of_each(one: PerWorkload, workloads: int) -> float:
    """Dollars per month for one function per workload."""
    minute = list_prices.Minute(
        invocations=workloads,
        billed_s=one.billed_s * workloads,
        memory_mb=one.memory_mb,
        sqs_requests=workloads,
        puts=workloads,
    )
    return list_prices.month(minute)


def _require_writable(_: click.Context, __: click.Parameter, plot: Path | None) -> Path | None:
    """Check the path before measuring, not after it."""
    if plot and not plot.parent.is_dir():
        raise click.BadParameter(f"{plot}: there is no folder {plot.parent}; make it or name another")
    if plot and not os.access(plot if plot.exists() else plot.parent, os.W_OK):
        raise click.BadParameter(f"{plot}: cannot be written: no permission; name a file in another folder")
    return plot


@click.command()
@click.option(
    "--workloads",
    type=Counts(),
    default="10,30,100,300,1000,3000",
    show_default=True,
    help="In one invocation.",
)
@click.option(
    "--readers",
    type=Counts(),
    default=str(wiring.READERS),
    show_default=True,
    help="Threads, at 1000 workloads.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Rounds of each.")
@click.option("--full-core", is_flag=True, help="Skip the measurements with the function's share of a core.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_require_writable,
    help="Draw the growth as an SVG.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of the tables.")
def main(
    workloads: Sequence[int],
    readers: Sequence[int],
    rounds: int,
    full_core: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure ticks of growing size, and one of 1000 workloads compared with a function per workload."""
    memory_mb = load(ROOT / "template.yaml")["Globals"]["Function"]["MemorySize"]
    part = 1.0 if full_core else _core_share(memory_mb)
    ticks, each = _measure_all(_plan(workloads, readers, part), rounds, memory_mb, part)
    growth = [one for one in ticks if one.readers == wiring.READERS]
    if plot:
        from benchmarks import tick_plot  # matplotlib takes over a second to import

        plot.write_text(tick_plot.svg(growth, latency_s=LATENCY_S), encoding="utf-8")
    limited = [one for one in ticks if one.workloads == LIMITED_WORKLOADS]
    compared = next((one for one in limited if one.cpu_share == part and one.readers == wiring.READERS), None)
    if as_json:
        click.echo(json.dumps(_as_json(ticks, compared, each, rounds, memory_mb)))
    else:
        click.echo(_table(ticks))
        if compared:
            click.echo(f"\n{_comparison(compared, each, memory_mb)}")
    misses = [miss for one in limited for miss in _misses(one, memory_mb)]
    for miss in misses:
        click.echo(miss, err=True)
    sys.exit(1 if misses else 0)


def _core_share(memory_mb: int) -> float:
    """The share of a core that the function's memory gives; 1 if the share cannot be limited."""
    part = share_of(memory_mb)
    try:
        with process("bare", "", 0, 1) as running, limited_to(part, running.pid):
            return part
    except NoControlGroupError as error:
        click.echo(f"{error}; everything is measured with a whole core", err=True)
        return 1.0


def _plan(sizes: Sequence[int], readers: Sequence[int], part: float) -> list[tuple[int, int, float]]:
    """The measurements: workloads, readers, share of a core.

    With a share of a core one invocation cannot read many more than 1000 workloads in time: they are sharded.
    """
    shares = (1.0, part)
    growth = [(size, wiring.READERS, 1.0) for size in sizes]
    growth += [(size, wiring.READERS, part) for size in sizes if size <= MAX_WORKLOADS_PER_INVOCATION]
    limited = [
        (LIMITED_WORKLOADS, count, share)
        for share in shares
        for count in readers
        if LIMITED_WORKLOADS in sizes
    ]
    return list(dict.fromkeys(growth + limited))


def _measure_all(
    plan: Sequence[tuple[int, int, float]], rounds: int, memory_mb: int, part: float
) -> tuple[list[Tick], list[PerWorkload]]:
    ticks, each = [], []
    with ProgressBar(Console(stderr=True)) as progress:
        for done, (size, readers, cpu_share) in enumerate(plan):
            progress.show(f"{size} workloads, {readers} readers", done / (len(plan) + 1))
            ticks.append(measure(size, readers, cpu_share, rounds))
        progress.show("a function for each workload", len(plan) / (len(plan) + 1))
        for size_mb in (MIN_MEMORY_MB, memory_mb):
            each.append(measure_per_workload(size_mb, 1 if part == 1 else share_of(size_mb)))
    return ticks, each


def _misses(tick: Tick, memory_mb: int) -> Iterator[str]:
    what = f"{tick.workloads} workloads, {tick.readers} readers, {tick.cpu_share:.2f} of a core"
    if tick.calls > MAX_CALLS:
        yield f"{what}: {tick.calls:.3f} calls each, more than {MAX_CALLS:.2f}"
    if tick.of_floor > MAX_TIME_RATIO:
        yield f"{what}: {tick.of_floor:.2f} times the bare clients' time, more than {MAX_TIME_RATIO}"
    if tick.peak_mb > memory_mb:
        yield f"{what}: {tick.peak_mb:.0f} MB, more than the function's {memory_mb}"


def _table(ticks: Sequence[Tick]) -> str:
    heads = ("workloads", "readers", "core", "calls", "cold", "s", "of bare", "of slim", "CPU s", "of bare")
    lines = ["".join(f"{head:>10}" for head in (*heads, "cold s", "peak MB"))]
    lines += [
        f"{one.workloads:>10}{one.readers:>10}{one.cpu_share:>10.2f}{one.calls:>10.3f}{one.cold_calls:>10.3f}"
        f"{one.wall_s:>10.3f}{one.of_floor:>10.2f}{one.wall_s / one.slim_s:>10.2f}{one.cpu_s:>10.3f}"
        f"{one.cpu_s / one.floor_cpu_s:>10.2f}{one.cold_s:>10.2f}{one.peak_mb:>10.0f}"
        for one in ticks
    ]
    return "\n".join(lines)


def _comparison(tick: Tick, each: Sequence[PerWorkload], memory_mb: int) -> str:
    """The function per workload, as a multiple of the tick."""
    ours = month_of(tick, memory_mb)
    rows = [f"{tick.workloads} workloads, a month by list prices: one tick {ours:.2f} USD"]
    for one in each:
        dollars = month_of_each(one, tick.workloads)
        rows.append(
            f"a function of {one.memory_mb} MB and {one.cpu_share:.2f} of a core for each: "
            f"{PER_WORKLOAD_CALLS / tick.calls:.1f} x calls, "
            f"{one.billed_s * tick.workloads / tick.wall_s:.1f} x billed time "
            f"({one.billed_s * 1000:.0f} ms each), {dollars / ours:.1f} x cost ({dollars:.2f} USD)"
        )
    return "\n".join(rows)


def _as_json(
    ticks: Sequence[Tick], compared: Tick | None, each: Sequence[PerWorkload], rounds: int, memory_mb: int
) -> dict[str, Any]:
    output: dict[str, Any] = {
        "latency_s": LATENCY_S,
        "rounds": rounds,
        "memory_mb": memory_mb,
        "ticks": [{**asdict(one), "of_floor": one.of_floor} for one in ticks],
        "per_workload": [asdict(one) for one in each],
    }
    if compared:
        output["month_usd"] = {
            "tick": month_of(compared, memory_mb),
            **{f"per_workload_{one.memory_mb}_mb": month_of_each(one, LIMITED_WORKLOADS) for one in each},
        }
    return output


if __name__ == "__main__":
    main()
