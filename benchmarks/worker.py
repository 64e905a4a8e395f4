"""Messages a second of one worker process, compared with alternatives: `python benchmarks/worker.py`.

Every contender has the same number of connections to a stub of SQS that answers after 10 ms, and a new
process in each round. The processes of a round take many short turns, forwards and backwards, and are
stopped (SIGSTOP) between their turns. A rate counts the deletes that arrive at the stub. Rates are compared
within each round, because the speed of a machine changes from second to second, and two processes of the same
code differ too. Exits with 1 if the worker is below 0.95 of the best.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("", "layers/sluice")]

from benchmarks.contenders import CONTENDERS, HANDLERS  # noqa: E402
from benchmarks.counts import Counts  # noqa: E402
from benchmarks.turns import LATENCY_S, Share, Watched, median, run_round, share_of  # noqa: E402
from sluice_cli.progress import ProgressBar  # noqa: E402

MIN_SHARE = 0.95


def _names(_: click.Context, __: click.Parameter, text: str) -> list[str]:
    names = list(dict.fromkeys(one.strip() for one in text.split(",")))
    for one in names:
        if one not in CONTENDERS:
            raise click.BadParameter(f"{one!r} is no contender: give some of {','.join(CONTENDERS)}")
    return names


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # `timeout` sends two: the second would break off the killing
    raise SystemExit(128 + number)


@click.command()
@click.option(
    "--connections",
    "counts",
    type=Counts(),
    default="4,10",
    show_default=True,
    help="Connections of each contender to SQS.",
)
@click.option(
    "--contenders",
    "names",
    default="worker,loop,celery",
    show_default=True,
    callback=_names,
    help="Contenders to compare.",
)
@click.option("--handler", default="nothing", show_default=True, type=click.Choice(list(HANDLERS)))
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=6,
    show_default=True,
    help="Rounds, each with fresh processes.",
)
@click.option(
    "--turns",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Turns of each contender in a round.",
)
@click.option(
    "--watch-s",
    type=click.FloatRange(0.1),
    default=1.0,
    show_default=True,
    help="Seconds that are measured of a turn.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of the table.")
def main(
    counts: Sequence[int],
    names: list[str],
    handler: str,
    rounds: int,
    turns: int,
    watch_s: float,
    as_json: bool,
) -> None:
    """Side by side, in turns; medians over the rounds, and the mean of the ratios."""
    signal.signal(signal.SIGTERM, _end)  # else whoever stands still would outlive it
    plan = [count for count in counts for _ in range(rounds)]
    watched: dict[tuple[int, str], list[Watched]] = {(count, name): [] for count in counts for name in names}
    with ProgressBar(Console(stderr=True)) as progress:
        for place, count in enumerate(plan):
            progress.show(f"{count} connections", place / len(plan))
            for one in run_round(names, count, handler, turns, watch_s):
                watched[count, one.contender].append(one)
    rows, shares = [], []
    for count in counts:
        best = max((watched[count, name] for name in names), key=lambda own: median(own).per_second)
        for name in names:
            rows.append(median(watched[count, name]))
            shares.append(share_of(best, watched[count, name]))
    if as_json:
        compared = [
            {**asdict(row), "of_best": asdict(share)} for row, share in zip(rows, shares, strict=True)
        ]
        click.echo(
            json.dumps({"handler": handler, "latency_s": LATENCY_S, "rounds": rounds, "rows": compared})
        )
    else:
        click.echo(_table(rows, shares))
    behind = [
        (row, share)
        for row, share in zip(rows, shares, strict=True)
        if row.contender == "worker" and share.mean < MIN_SHARE
    ]
    for row, share in behind:
        give_or_take = "" if share.error is None else f", give or take {share.error:.3f}"
        click.echo(
            f"at {row.connections} connections the worker is at {share.mean:.3f} of the best{give_or_take}: "
            f"less than {MIN_SHARE}",
            err=True,
        )
    sys.exit(1 if behind else 0)


def _table(rows: Sequence[Watched], shares: Sequence[Share]) -> str:
    heads = ("msg/s", "of best", "+-", "CPU s/1000", "at once", "stub CPU")
    lines = [f"{'connections':>11}  {'':8}" + "".join(f"{head:>12}" for head in heads)]
    errors = ["-" if share.error is None else f"{share.error:.3f}" for share in shares]
    lines += [
        f"{row.connections:>11}  {row.contender:8}{row.per_second:>12,.0f}{share.mean:>12.3f}"
        f"{error:>12}{row.cpu_s_per_1000:>12.3f}{row.at_once:>12.0f}{row.stub_cpu:>12.0%}"
        for row, share, error in zip(rows, shares, errors, strict=True)
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
