"""The calls for every message, read from the log that the handlers of all processes append to.

Owns the reading. Times are seconds of the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.worker_chaos.handlers import Do


@dataclass(slots=True, kw_only=True)
class Span:
    """One call of a handler."""

    key: str
    """The message's key, the same for all its receipts."""
    queue: str
    group: str
    place: int
    """Within its group, from 0."""
    do: Do
    receipt: int
    pid: int
    began_at: float
    completed_at: float | None = None
    failed_at: float | None = None
    """When it raised. Without either time it was killed, or still runs."""

    @property
    def ended_at(self) -> float | None:
        """When it returned or raised."""
        return self.completed_at or self.failed_at


@dataclass(slots=True)
class Records:
    """All calls so far; `read` adds those that were appended since."""

    path: Path
    spans: list[Span] = field(default_factory=list)
    completed: set[str] = field(default_factory=set)
    processes: dict[int, int] = field(default_factory=dict)
    """Process -> its parent, of those that began a message."""
    died: dict[int, float] = field(default_factory=dict)
    """Process -> when a handler ended it."""
    _calls: dict[str, Span] = field(default_factory=dict)
    _offset: int = 0

    def read(self) -> None:
        """Read the complete lines that were appended."""
        if not self.path.exists():
            return
        with self.path.open("rb") as log:
            log.seek(self._offset)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            self._add(json.loads(line))

    def by_message(self) -> dict[str, list[Span]]:
        """The calls for each message, in the order in which they began."""
        calls = defaultdict(list)
        for span in sorted(self.spans, key=lambda span: span.began_at):
            calls[span.key].append(span)
        return calls

    def _add(self, line: dict[str, Any]) -> None:
        call = line["call"]
        if line["event"] == "died":
            self.died[line["pid"]] = line["at"]
            return
        if line["event"] == "completed":
            self._calls[call].completed_at = line["at"]
            self.completed.add(self._calls[call].key)
            return
        if line["event"] == "failed":
            self._calls[call].failed_at = line["at"]
            return
        instruction = line["instruction"]
        span = Span(
            key=f"{instruction['queue']}/{instruction['group']}/{instruction['place']}",
            queue=instruction["queue"],
            group=instruction["group"],
            place=instruction["place"],
            do=Do(instruction["do"]),
            receipt=line["receipt"],
            pid=line["pid"],
            began_at=line["at"],
        )
        self.processes[line["pid"]] = line["parent"]
        self._calls[call] = span
        self.spans.append(span)
