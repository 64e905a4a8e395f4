"""The environment of one scenario's run: queues, messages and workers, until all is done or nothing
progresses.

Owns the course of a run. Knows no scenario's invariants.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.worker_chaos.cloud import BATCH, Cloud
from tests.worker_chaos.fleet import Fleet, WorkerSet
from tests.worker_chaos.handlers import Do
from tests.worker_chaos.records import Records

MAX_DURATION_S = 240.0
"""The longest run."""
STALLED_S = 45.0
"""Without a completed message or a changed queue for this long, the run has stalled."""
CHECK_INTERVAL_S = 0.02
DEPTHS_S = 0.2
MAX_UNPROCESSED = 500
"""Messages sent and not yet processed: more would only slow down the server."""

Instruction = Mapping[str, Any]
Progress = Callable[[int], None]


def instructions(queue: str, count: int, *, groups: int = 1, **more: Any) -> list[Instruction]:
    """The instructions of `count` messages, one group after the other; `more` is added to each."""
    return [
        {
            "queue": queue,
            "group": f"{queue}-{number % groups}",
            "place": number // groups,
            "do": Do.WORK,
            "s": 0.0,
            **more,
        }
        for number in range(count)
    ]


def key(instruction: Instruction) -> str:
    """The key of a message in the records."""
    return f"{instruction['queue']}/{instruction['group']}/{instruction['place']}"


def is_poison(instruction: Instruction) -> bool:
    """Whether the message never succeeds."""
    return instruction["do"] in (Do.RAISE, Do.REJECT)


@dataclass(slots=True, kw_only=True)
class Environment:
    """The environment that a scenario runs in."""

    cloud: Cloud
    folder: Path
    seed: int
    mutation: str | None = None
    limit_s: float = MAX_DURATION_S
    progress: Progress = field(default=lambda _: None)
    records: Records = field(init=False)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.records = Records(self.folder / "calls.log")
        self.chance = random.Random(self.seed)

    @contextmanager
    def workers(self, workers: WorkerSet) -> Iterator[Fleet]:
        """Start the workers; when the context ends, none is left running."""
        fleet = Fleet(workers, self.cloud.endpoint, self.folder, self.records, random.Random(self.seed))
        fleet.start()
        try:
            yield fleet
        finally:
            fleet.kill()

    def feed(self, url: str, messages: Sequence[Instruction]) -> None:
        """Send them in order while they are processed."""

        def send() -> None:
            for sent in range(0, len(messages), BATCH):
                while sent - len(self.records.completed) > MAX_UNPROCESSED:
                    time.sleep(CHECK_INTERVAL_S)
                self.cloud.send(url, messages[sent : sent + BATCH])

        threading.Thread(target=send, name="sender", daemon=True).start()

    def run_until_done(self, fleet: Fleet, expected: Iterable[str], urls: Sequence[str]) -> list[str]:
        """Run until all of `expected` are completed and the queues are empty; returns what stalled."""
        waiting, moved_at, look_at = set(expected), time.monotonic(), 0.0
        ends_at = time.monotonic() + self.limit_s
        before: object = None
        while True:
            self.records.read()
            self.progress(len(self.records.completed))
            now = time.monotonic()
            waiting -= self.records.completed
            if now >= look_at:
                look_at = now + DEPTHS_S
                depths = [self.cloud.depths(url) for url in urls]
                if not waiting and all(depth.empty for depth in depths):
                    return []
                state = (len(self.records.spans), len(self.records.completed), depths)
                if state != before:
                    before, moved_at = state, now
                if now - moved_at > STALLED_S:
                    return [f"the run stalled: {len(waiting)} messages wait, the queues hold {depths}"]
                if now > ends_at:
                    return [f"not done after {self.limit_s:g} s: {len(waiting)} messages wait"]
            fleet.replace_and_end()
            time.sleep(CHECK_INTERVAL_S)
