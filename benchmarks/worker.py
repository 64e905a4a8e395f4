"""Messages a second of one worker process, beside what else one could run: `python benchmarks/worker.py`.

Every contender gets the same number of connections to a stub of SQS that answers after 10 ms, and in each
round a process of its own. The processes of a round take many short turns, from first to last and back, and
stand still (SIGSTOP) while it is not theirs. Rates are those of deletes that arrived at the stub; who is how
fast is judged within each round, because a machine is not as fast from second to second, nor a process as
fast as the next one of the same code. Exits with 1 where the worker is below 0.95 of the best.
"""

from __future__ import annotations

import json
import math
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("", "layers/sluice")]

from benchmarks.contenders import CONTENDERS, HANDLERS, celery_body  # noqa: E402
from benchmarks.stub_sqs import BODY, ID, Stub, stub  # noqa: E402
from sluice_cli.progress import Progressing  # noqa: E402

LATENCY_S = 0.01
WARM_UP_S = 2.0
SETTLE_S = 0.25
"""Of a turn, before it is watched: what came while it stood still is worked off."""
BEFORE_FIRST_DELETE_S = 30.0
ENOUGH = 0.95
BODIES = {"celery": celery_body(ID)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What one contender did while it was watched in one round."""

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
        self._name = name
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
        """CPU seconds that it has used; ends the benchmark where it is dead."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(file=self._process.stdin, flush=True)
            return float(self._process.stdout.readline())
        except (OSError, ValueError):  # a closed pipe, an empty line
            said = self.end()
            raise SystemExit(f"{self._name} died, status {self._process.returncode}:\n{said}") from None

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


class Running:
    """A contender that is warm, and stands still but for its turns."""

    def __init__(self, name: str, connections: int, handler: str, sqs: Stub) -> None:
        self._name, self._connections, self._sqs = name, connections, sqs
        self._contender = Contender(name, sqs.queue_url, connections, handler)
        self._deleted = self._at_once = 0
        self._length_s = self._cpu_s = self._stub_cpu_s = 0.0

    def warm_up(self) -> None:
        """Once it has deleted something."""
        until = time.monotonic() + BEFORE_FIRST_DELETE_S
        while not self._sqs.counts().deleted:
            if time.monotonic() > until:
                raise SystemExit(f"{self._name} deleted nothing:\n{self._contender.end()}")
            time.sleep(0.05)
        time.sleep(WARM_UP_S)
        self._contender.stand_still()

    def take_turn(self, watch_s: float) -> None:
        """Watch it for so long."""
        self._contender.go_on()
        time.sleep(SETTLE_S)
        cpu_before, before = self._contender.cpu_s(), self._sqs.counts()
        time.sleep(watch_s)
        after, cpu_after = self._sqs.counts(), self._contender.cpu_s()
        self._contender.stand_still()
        self._deleted += after.deleted - before.deleted
        self._length_s += after.at_s - before.at_s
        self._cpu_s += cpu_after - cpu_before
        self._stub_cpu_s += after.cpu_s - before.cpu_s
        self._at_once = max(self._at_once, after.at_once)

    def watched(self) -> Watched:
        """All turns together."""
        if not self._deleted:
            raise SystemExit(f"{self._name} deleted nothing in its turns:\n{self._contender.end()}")
        return Watched(
            contender=self._name,
            connections=self._connections,
            per_second=self._deleted / self._length_s,
            cpu_s_per_1000=self._cpu_s / self._deleted * 1000,
            at_once=self._at_once,
            stub_cpu=self._stub_cpu_s / self._length_s,
        )

    def end(self) -> None:
        """Kill it."""
        self._contender.end()


def play_round(
    names: Sequence[str], connections: int, handler: str, turns: int, watch_s: float
) -> list[Watched]:
    """Fresh processes with fresh stubs, in turns."""
    with ExitStack() as stack:
        field = []
        for name in names:
            sqs = stack.enter_context(stub(latency_s=LATENCY_S, body=BODIES.get(name, BODY)))
            field.append(Running(name, connections, handler, sqs))
            stack.callback(field[-1].end)
            field[-1].warm_up()
        for number in range(turns):
            for one in reversed(field) if number % 2 else field:
                one.take_turn(watch_s)
        return [one.watched() for one in field]


def median(watched: Sequence[Watched]) -> Watched:
    """Of each figure its median over the rounds."""
    figures = {
        name: statistics.median(asdict(one)[name] for one in watched)
        for name in ("per_second", "cpu_s_per_1000", "at_once", "stub_cpu")
    }
    return Watched(contender=watched[0].contender, connections=watched[0].connections, **figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Of the best one's rate: the mean over the rounds of the ratio within each."""

    mean: float
    error: float | None
    """Standard error of that mean; a single round tells none."""


def share_of(best: Sequence[Watched], own: Sequence[Watched]) -> Share:
    """What disturbs a round hits both."""
    ratios = [one.per_second / its.per_second for one, its in zip(own, best, strict=True)]
    error = statistics.stdev(ratios) / math.sqrt(len(ratios)) if len(ratios) > 1 else None
    return Share(mean=statistics.mean(ratios), error=error)


def _counts(_: click.Context, __: click.Parameter, text: str) -> list[int]:
    counts = _listed(text)
    for one in counts:
        if not one.isdecimal() or int(one) < 1:
            raise click.BadParameter(f"{one!r} is no number of connections: give some from 1, as in 4,10")
    return [int(one) for one in counts]


def _names(_: click.Context, __: click.Parameter, text: str) -> list[str]:
    names = _listed(text)
    for one in names:
        if one not in CONTENDERS:
            raise click.BadParameter(f"{one!r} is no contender: give some of {','.join(CONTENDERS)}")
    return names


def _listed(text: str) -> list[str]:
    return list(dict.fromkeys(one.strip() for one in text.split(",")))


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # `timeout` sends two: the second would break off the killing
    raise SystemExit(128 + number)


@click.command()
@click.option(
    "--connections", "counts", default="4,10", show_default=True, callback=_counts, help="Of each, to SQS."
)
@click.option(
    "--contenders",
    "names",
    default=",".join(CONTENDERS),
    show_default=True,
    callback=_names,
    help="Who takes part.",
)
@click.option("--handler", default="nothing", show_default=True, type=click.Choice(list(HANDLERS)))
@click.option("--rounds", type=click.IntRange(1), default=6, show_default=True, help="With fresh processes.")
@click.option("--turns", type=click.IntRange(1), default=5, show_default=True, help="Of each in a round.")
@click.option(
    "--watch-s", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Seconds watched of a turn."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object in place of the table.")
def main(
    counts: list[int],
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
    with Progressing(Console(stderr=True)) as progress:
        for place, count in enumerate(plan):
            progress.show(f"{count} connections", place / len(plan))
            for one in play_round(names, count, handler, turns, watch_s):
                watched[count, one.contender].append(one)
    rows, shares = [], []
    for count in counts:
        best = max((watched[count, name] for name in names), key=lambda own: median(own).per_second)
        for name in names:
            rows.append(median(watched[count, name]))
            shares.append(share_of(best, watched[count, name]))
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
        give_or_take = "" if share.error is None else f", give or take {share.error:.3f}"
        click.echo(
            f"at {row.connections} connections the worker is at {share.mean:.3f} of the best{give_or_take}: "
            f"less than {ENOUGH}",
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
