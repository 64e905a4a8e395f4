"""Messages a second of one worker process, beside what else one could run: `python benchmarks/worker.py`.

Every contender gets the same number of connections to a stub of SQS that answers after 10 ms, a process of
its own, and its turn in each round, from first to last and back. Rates are those of deletes that arrived at
the stub; who is how fast is judged within each round, because a machine is not as fast from minute to minute.
Exits with 1 where the worker is below 0.95 of the best.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("", "layers/sluice")]

from benchmarks.contenders import CONTENDERS, HANDLERS, celery_body  # noqa: E402
from benchmarks.stub_sqs import BODY, ID, Counts, Stub, stub  # noqa: E402

LATENCY_S = 0.01
WARM_UP_S = 2.0
BEFORE_FIRST_DELETE_S = 30.0
ENOUGH = 0.95
BODIES = {"celery": celery_body(ID)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one contender did while it was watched."""

    contender: str
    connections: int
    per_second: float
    cpu_s_per_1000: float
    """CPU seconds of its process for 1000 messages."""
    at_once: int
    """Most requests under way, as the stub saw it."""
    stub_cpu: float
    """Share of a core that the stub used."""


class Contender:
    """A running one."""

    def __init__(self, name: str, url: str, connections: int, handler: str) -> None:
        script = Path(__file__).with_name("contenders.py")
        command = [
            sys.executable,
            str(script),
            name,
            url,
            f"--connections={connections}",
            f"--handler={handler}",
        ]
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def cpu_s(self) -> float:
        """CPU seconds that it has used."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def end(self) -> str:
        """Kill it; the answer is what it said on stderr."""
        self._process.kill()
        return self._process.communicate()[1]


def take_turn(name: str, connections: int, handler: str, watch_s: float) -> Turn:
    """Start a contender with a fresh stub, warm it up, watch it."""
    with stub(latency_s=LATENCY_S, body=BODIES.get(name, BODY)) as sqs:
        contender = Contender(name, sqs.queue_url, connections, handler)
        try:
            if not _begins(sqs):
                raise SystemExit(f"{name} deleted nothing:\n{contender.end()}")
            time.sleep(WARM_UP_S)
            cpu_before, before = contender.cpu_s(), sqs.counts()
            time.sleep(watch_s)
            after, cpu_after = sqs.counts(), contender.cpu_s()
        finally:
            contender.end()
    return turn(name, connections, before, after, cpu_after - cpu_before)


def _begins(sqs: Stub) -> bool:
    until = time.monotonic() + BEFORE_FIRST_DELETE_S
    while not sqs.counts().deleted:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def turn(name: str, connections: int, before: Counts, after: Counts, cpu_s: float) -> Turn:
    """The difference of two readings."""
    deleted, length_s = after.deleted - before.deleted, after.at_s - before.at_s
    return Turn(
        contender=name,
        connections=connections,
        per_second=deleted / length_s,
        cpu_s_per_1000=cpu_s / max(deleted, 1) * 1000,
        at_once=after.at_once,
        stub_cpu=(after.cpu_s - before.cpu_s) / length_s,
    )


def median(turns: Sequence[Turn]) -> Turn:
    """Of each figure its median over the rounds."""
    figures = {
        name: statistics.median(asdict(turn)[name] for turn in turns)
        for name in ("per_second", "cpu_s_per_1000", "at_once", "stub_cpu")
    }
    return Turn(contender=turns[0].contender, connections=turns[0].connections, **figures)


def share_of_best(turns: Sequence[Turn], rows: Sequence[Turn], row: Turn) -> float:
    """The median over the rounds of its rate to the best one's in the same round: what disturbs hits both."""
    best = max((other for other in rows if other.connections == row.connections), key=lambda r: r.per_second)

    def rates(of: Turn) -> list[float]:
        return [turn.per_second for turn in turns if _who(turn) == _who(of)]

    return statistics.median(own / its for own, its in zip(rates(row), rates(best), strict=True))


def _who(turn: Turn) -> tuple[str, int]:
    return turn.contender, turn.connections


@click.command()
@click.option("--connections", default="4,10", show_default=True, help="To SQS, of each contender.")
@click.option("--contenders", default=",".join(CONTENDERS), show_default=True, help="Who takes part.")
@click.option("--handler", default="nothing", show_default=True, type=click.Choice(list(HANDLERS)))
@click.option("--rounds", default=7, show_default=True, help="Turns of each contender.")
@click.option("--watch-s", default=2.0, show_default=True, help="Seconds of a turn, after its warm-up.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of the table.")
def main(connections: str, contenders: str, handler: str, rounds: int, watch_s: float, as_json: bool) -> None:
    """Side by side, in turns; medians over the rounds."""
    counts, names = [int(count) for count in connections.split(",")], contenders.split(",")
    turns = [
        take_turn(name, count, handler, watch_s)
        for number in range(rounds)
        for count in counts
        for name in (names if number % 2 else reversed(names))
    ]
    rows = [
        median([turn for turn in turns if _who(turn) == (name, count)]) for count in counts for name in names
    ]
    shares = [share_of_best(turns, rows, row) for row in rows]
    if as_json:
        said = [{**asdict(row), "of_best": share} for row, share in zip(rows, shares, strict=True)]
        click.echo(json.dumps({"handler": handler, "latency_s": LATENCY_S, "rounds": rounds, "rows": said}))
    else:
        click.echo(_table(rows, shares))
    behind = [
        (row, share)
        for row, share in zip(rows, shares, strict=True)
        if row.contender == "worker" and share < ENOUGH
    ]
    for row, share in behind:
        click.echo(f"at {row.connections} connections the worker is at {share:.2f} of the best", err=True)
    sys.exit(1 if behind else 0)


def _table(rows: Sequence[Turn], shares: Sequence[float]) -> str:
    heads = ("msg/s", "of best", "CPU s/1000", "at once", "stub CPU")
    lines = [f"{'connections':>11}  {'':8}" + "".join(f"{head:>12}" for head in heads)]
    lines += [
        f"{row.connections:>11}  {row.contender:8}{row.per_second:>12,.0f}{share:>12.2f}"
        f"{row.cpu_s_per_1000:>12.3f}{row.at_once:>12.0f}{row.stub_cpu:>12.0%}"
        for row, share in zip(rows, shares, strict=True)
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
