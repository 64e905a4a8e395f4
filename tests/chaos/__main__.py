"""The long run: `python -m tests.chaos` runs 100,000 interleavings on all cores.

Every interleaving has a number, its seed, from which it can be run again:
`python -m tests.chaos --first SEED --count 1`.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from tests.chaos.reach import not_reached
from tests.chaos.seeds import failure_report, on_all_cores

FIRST_SEED = 10_000
"""Above the seeds that the tests run."""
MIN_COUNT_TO_REACH_ALL = 3_000
"""This many interleavings must meet every decision, reason, limit and trigger; fewer may miss a rare one."""
BAR = Console(stderr=True)
"""A progress bar on a terminal; in other outputs a dot for every batch."""


@click.command()
@click.option("--count", default=100_000, show_default=True, help="Interleavings to run.")
@click.option("--first", default=FIRST_SEED, show_default=True, help="Seed of the first.")
@click.option("--processes", default=os.cpu_count() or 1, show_default=True)
def main(count: int, first: int, processes: int) -> None:
    """Run the interleavings of COUNT seeds; the first that violates an invariant ends the run."""
    seeds, began = range(first, first + count), time.monotonic()
    click.echo(f"{count} interleavings, seeds {seeds[0]} to {seeds[-1]}, on {processes} processes")
    reached: Counter[str] = Counter()
    with Progress(BarColumn(40), MofNCompleteColumn(), TimeRemainingColumn(), console=BAR) as progress:
        bar = progress.add_task("interleavings", total=count)
        for batch, failed in on_all_cores(seeds, processes):
            reached += batch
            progress.update(bar, completed=reached["interleavings"])
            if not BAR.is_terminal:
                BAR.print(".", end="")
            if failed is not None:
                progress.stop()
                sys.exit(failure_report(failed))
    for what, times in sorted(reached.items()):
        click.echo(f"{times:>10}  {what}")
    click.echo(
        f"{reached['interleavings']} interleavings in {time.monotonic() - began:.0f} s: "
        "none violated an invariant"
    )
    unreached = not_reached(reached) if count >= MIN_COUNT_TO_REACH_ALL else []
    if unreached:
        sys.exit(f"but none reached: {', '.join(unreached)}")


if __name__ == "__main__":
    main()
