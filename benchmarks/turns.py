"""Starts, measures and compares contenders that take turns.

Each is a separate process that is stopped (SIGSTOP) between its turns. `contenders.py` has their code.
"""

from __future__ import annotations

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

from benchmarks.contenders import celery_body
from benchmarks.stub_sqs import BODY, ID, Stub, stub

LATENCY_S = 0.01
WARM_UP_S = 2.0
SETTLE_S = 0.25
"""The part of a turn that is not measured: the contender works off what came while it was stopped."""
BEFORE_FIRST_DELETE_S = 30.0
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
        """CPU seconds that it has used; ends the benchmark if it has died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(file=self._process.stdin, flush=True)
            return float(self._process.stdout.readline())
        except (OSError, ValueError):  # a closed pipe, an empty line
            output = self.end()
            raise SystemExit(f"{self._name} died, status {self._process.returncode}:\n{output}") from None

    def stand_still(self) -> None:
        """Stop it until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Continue it."""
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> str:
        """Kill it; returns what it wrote to stderr."""
        self._process.kill()
        return self._process.communicate()[1]


class Running:
    """A contender that is warmed up and stopped between its turns."""

    def __init__(self, name: str, connections: int, handler: str, sqs: Stub) -> None:
        self._name, self._connections, self._sqs = name, connections, sqs
        self._contender = Contender(name, sqs.queue_url, connections, handler)
        self._deleted = self._at_once = 0
        self._length_s = self._cpu_s = self._stub_cpu_s = 0.0

    def warm_up(self) -> None:
        """Wait until it has deleted messages, then stop it."""
        until = time.monotonic() + BEFORE_FIRST_DELETE_S
        while not self._sqs.counts().deleted:
            if time.monotonic() > until:
                raise SystemExit(f"{self._name} deleted nothing:\n{self._contender.end()}")
            time.sleep(0.05)
        time.sleep(WARM_UP_S)
        self._contender.stand_still()

    def measure(self, watch_s: float) -> None:
        """Measure it for `watch_s` seconds."""
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


def run_round(
    names: Sequence[str], connections: int, handler: str, turns: int, watch_s: float
) -> list[Watched]:
    """Run new processes with new stubs, in turns."""
    with ExitStack() as stack:
        field = []
        for name in names:
            sqs = stack.enter_context(stub(latency_s=LATENCY_S, body=BODIES.get(name, BODY)))
            field.append(Running(name, connections, handler, sqs))
            stack.callback(field[-1].end)
            field[-1].warm_up()
        for number in range(turns):
            for one in reversed(field) if number % 2 else field:
                one.measure(watch_s)
        return [one.watched() for one in field]


def median(watched: Sequence[Watched]) -> Watched:
    """The median of each figure over the rounds."""
    figures = {
        name: statistics.median(asdict(one)[name] for one in watched)
        for name in ("per_second", "cpu_s_per_1000", "at_once", "stub_cpu")
    }
    return Watched(contender=watched[0].contender, connections=watched[0].connections, **figures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The mean over the rounds of the ratio to the best one's rate within each."""

    mean: float
    error: float | None
    """Standard error of that mean; None for a single round."""


def share_of(best: Sequence[Watched], own: Sequence[Watched]) -> Share:
    """The share of the best rate; a disturbance affects both rates of a round."""
    ratios = [one.per_second / its.per_second for one, its in zip(own, best, strict=True)]
    error = statistics.stdev(ratios) / math.sqrt(len(ratios)) if len(ratios) > 1 else None
    return Share(mean=statistics.mean(ratios), error=error)
