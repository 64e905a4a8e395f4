"""Whether a worker's memory stays flat over a million messages: `python benchmarks/worker_memory.py`.

Its transport uses no network, so that a million messages pass within a minute. Exits with 1 if memory after
the last message is more than a few percent above what it was after the first tenth.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import resource
import sys
import threading
import time
import tracemalloc
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "layers/sluice")]

from sluice_worker import Message, settings  # noqa: E402
from sluice_worker.core.model import Depth, Poll  # noqa: E402
from sluice_worker.ports import Refusal  # noqa: E402
from sluice_worker.runtime.worker import Worker  # noqa: E402

URL = "https://sqs.eu-west-1.amazonaws.com/000000000000/benchmark"
ENOUGH = 1.05
FAILS_EVERY = 100
"""One message of so many fails, so that the way back is walked too."""
LOOK_S = 0.02
PAGE_BYTES = resource.getpagesize()


class EndlessQueues:
    """A queue that holds so many messages and answers at once (`ports.Queues`)."""

    def __init__(self, messages: int) -> None:
        self._left, self._numbers = messages, itertools.count()
        self._lock = threading.Lock()
        self.settled = 0

    def receive(self, poll: Poll, visibility_s: int) -> list[Message]:
        """As many messages as the poll requests, while there are any."""
        with self._lock:
            count = min(poll.max_messages, self._left)
            self._left -= count
            numbers = [next(self._numbers) for _ in range(count)]
        if not numbers:
            time.sleep(LOOK_S)
        now = time.monotonic()
        return [
            Message(
                queue=poll.queue,
                message_id=f"{number:036}",
                body="",
                sent_at=time.time(),
                receipt_handle=f"receipt-{number}",
                received_at=now,
                visible_at=now + visibility_s,
            )
            for number in numbers
        ]

    def delete(self, messages: Sequence[Message]) -> dict[int, Refusal]:
        """All of them are gone."""
        return self._settle(len(messages))

    def hide(self, messages: Sequence[tuple[Message, int]]) -> dict[int, Refusal]:
        """All of them are hidden; those that failed never come back."""
        return self._settle(len(messages))

    def depth(self, url: str) -> Depth:  # noqa: ARG002 - the port's
        """What is left."""
        return Depth(visible=self._left, in_flight=0)

    def send_to_dead_letter_queue(self, url: str, message: Message, reason: str) -> None:
        """Never called here."""
        raise NotImplementedError

    def _settle(self, count: int) -> dict[int, Refusal]:
        with self._lock:
            self.settled += count
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Memory after so many messages."""

    messages: int
    resident_mb: float
    traced_mb: float
    """What Python holds, by its own account."""


class UnluckyError(Exception):
    """What the handler raises now and then."""


def handle(message: Message) -> None:
    """Fail now and then."""
    if int(message.message_id) % FAILS_EVERY == 0:
        raise UnluckyError


def resident_mb() -> float:
    """Megabytes of memory that this process holds now; its maximum so far if that is unknown."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def read(messages: int) -> Reading:
    """Measure the memory now."""
    gc.collect()
    traced_mb = tracemalloc.get_traced_memory()[0] / 1e6
    return Reading(messages=messages, resident_mb=resident_mb(), traced_mb=traced_mb)


def consume(messages: int) -> list[Reading]:
    """Process so many messages, and measure after each tenth that SQS has settled."""
    queues = EndlessQueues(messages)
    worker = Worker(settings({"queues": [URL], "report_s": 60, "metrics": "none"}), handle, queues)
    readings: list[Reading] = []

    def watch() -> None:
        for tenth in range(1, 11):
            while queues.settled < messages * tenth // 10:
                time.sleep(LOOK_S)
            readings.append(read(queues.settled))
        worker.drain("all is done")

    threading.Thread(target=watch, daemon=True).start()
    worker.run()
    return readings


@click.command()
@click.option("--messages", default=1_000_000, show_default=True, help="To work off.")
@click.option("--traced/--no-traced", default=False, help="Count what Python holds, at half the speed.")
def main(messages: int, traced: bool) -> None:
    """One worker, a handler that does nothing and fails once in a hundred."""
    logging.disable(logging.ERROR)  # ten thousand failures with their stack traces
    if traced:
        tracemalloc.start()
    began_at = time.monotonic()
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        readings = consume(messages)
    took_s = time.monotonic() - began_at
    for reading in readings:
        click.echo(
            f"{reading.messages:>10,} messages {reading.resident_mb:>8.1f} MB resident"
            + (f" {reading.traced_mb:>8.2f} MB traced" if traced else "")
        )
    first, last = readings[0], readings[-1]
    grown = last.traced_mb / first.traced_mb if traced else last.resident_mb / first.resident_mb
    click.echo(f"{grown:.3f} times as much at the end as after a tenth; {messages / took_s:,.0f} messages/s")
    sys.exit(0 if grown <= ENOUGH else 1)


if __name__ == "__main__":
    main()
