"""Messages a second of one worker process, beside what else one could run: `python benchmarks/worker.py`.

Every contender gets the same number of connections to a stub of SQS that answers after 10 ms, and a process
of its own. They live through all rounds, and take turns in each, from first to last and back; whose turn it
is not stands still (SIGSTOP). Rates are those of deletes that arrived at the stub; who is how fast is judged
within each round, because a machine is not as fast from second to second. Exits with 1 where the worker is
below 0.95 of the best.
"""

from __future__ import annotations

import json
import math
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("", "layers/sluice")]

from benchmarks.contenders import CONTENDERS, HANDLERS, celery_body  # noqa: E402
from benchmarks.stub_sqs import BODY, ID, Counts, Stub, stub  # noqa: E402
from sluice_cli.progress import Progressing  # noqa: E402

LATENCY_S = 0.01
WARM_UP_S = 2.0
SETTLE_S = 0.25
"""Of a turn, before it is watched: what came while it stood still is worked off."""
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

    def stand_still(self) -> None:
        """Until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Where it stood still."""
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> str:
        """Kill it; the answer is what it said on stderr."""
        self._process.kill()
        return self._process.communicate()[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A contender that is warm, and stands still but for its turns."""

    name: str
    connections: int
    sqs: Stub
    contender: Contender

    def turn(self, watch_s: float) -> Turn:
        """Watch it for so long."""
        self.contender.go_on()
        time.sleep(SETTLE_S)
        cpu_before, before = self.contender.cpu_s(), self.sqs.counts()
        time.sleep(watch_s)
        after, cpu_after = self.sqs.counts(), self.contender.cpu_s()
        self.contender.stand_still()
        return turn(self.name, self.connections, before, after, cpu_after - cpu_before)


@contextmanager
def running(name: str, connections: int, handler: str) -> Iterator[Running]:
    """Start a contender with a stub of its own, and warm it up."""
    with stub(latency_s=LATENCY_S, body=BODIES.get(name, BODY)) as sqs:
        contender = Contender(name, sqs.queue_url, connections, handler)
        try:
            if not _begins(sqs):
                raise SystemExit(f"{name} deleted nothing:\n{contender.end()}")
            time.sleep(WARM_UP_S)
            contender.stand_still()
            yield Running(name=name, connections=connections, sqs=sqs, contender=contender)
        finally:
            contender.end()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Of the best one's rate: the mean over the rounds of the ratio within each."""

    mean: float
    error: float
    """Standard error of that mean."""


def share_of_best(turns: Sequence[Turn], rows: Sequence[Turn], row: Turn) -> Share:
    """What disturbs a round hits both."""
    best = max((other for other in rows if other.connections == row.connections), key=lambda r: r.per_second)

    def rates(of: Turn) -> list[float]:
        return [turn.per_second for turn in turns if _who(turn) == _who(of)]

    ratios = [own / its for own, its in zip(rates(row), rates(best), strict=True)]
    spread = statistics.stdev(ratios) if len(ratios) > 1 else math.nan
    return Share(mean=statistics.mean(ratios), error=spread / math.sqrt(len(ratios)))


def _who(turn: Turn) -> tuple[str, int]:
    return turn.contender, turn.connections


@click.command()
@click.option("--connections", default="4,10", show_default=True, help="To SQS, of each contender.")
@click.option("--contenders", default=",".join(CONTENDERS), show_default=True, help="Who takes part.")
@click.option("--handler", default="nothing", show_default=True, type=click.Choice(list(HANDLERS)))
@click.option("--rounds", default=20, show_default=True, help="Turns of each contender.")
@click.option("--watch-s", default=1.0, show_default=True, help="Seconds of a turn that are watched.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of the table.")
def main(connections: str, contenders: str, handler: str, rounds: int, watch_s: float, as_json: bool) -> None:
    """Side by side, in turns; medians over the rounds."""
    counts, names = [int(count) for count in connections.split(",")], contenders.split(",")
    turns: list[Turn] = []
    with Progressing(Console(stderr=True)) as progress:
        for place, count in enumerate(counts):
            progress.show(f"{count} connections", place / len(counts))
            for number, round_ in enumerate(_rounds(names, count, handler, rounds, watch_s)):
                turns += round_
                progress.show(f"{count} connections", (place + (number + 1) / rounds) / len(counts))
    rows = [
        median([turn for turn in turns if _who(turn) == (name, count)]) for count in counts for name in names
    ]
    shares = [share_of_best(turns, rows, row) for row in rows]
    if as_json:
        said = [{**asdict(row), "of_best": asdict(share)} for row, share in zip(rows, shares, strict=True)]
        click.echo(json.dumps({"handler": handler, "latency_s": LATENCY_S, "rounds": rounds, "rows": said}))
    else:
        click.echo(_table(rows, shares))
    behind = [
        (row, share)
        for row, share in zip(rows, shares, strict=True)
        if row.contender == "worker" and share.mean < ENOUGH
    ]
    for row, share in behind:
        click.echo(
            f"at {row.connections} connections the worker is at {share.mean:.3f} of the best, "
            f"give or take {share.error:.3f}: less than {ENOUGH}",
            err=True,
        )
    sys.exit(1 if behind else 0)


def _rounds(
    names: Sequence[str], connections: int, handler: str, rounds: int, watch_s: float
) -> Iterator[list[Turn]]:
    """A turn of each, again and again."""
    with ExitStack() as stack:
        field = [stack.enter_context(running(name, connections, handler)) for name in names]
        for number in range(rounds):
            yield [one.turn(watch_s) for one in (field if number % 2 else reversed(field))]


def _table(rows: Sequence[Turn], shares: Sequence[Share]) -> str:
    heads = ("msg/s", "of best", "+-", "CPU s/1000", "at once", "stub CPU")
    lines = [f"{'connections':>11}  {'':8}" + "".join(f"{head:>12}" for head in heads)]
    lines += [
        f"{row.connections:>11}  {row.contender:8}{row.per_second:>12,.0f}{share.mean:>12.3f}"
        f"{share.error:>12.3f}{row.cpu_s_per_1000:>12.3f}{row.at_once:>12.0f}{row.stub_cpu:>12.0%}"
        for row, share in zip(rows, shares, strict=True)
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
