"""What SQS has yet to be told: deletes and changes of visibility, in batches of ten by size or by time.

Owns who carries a batch, and that nothing is lost: what SQS refuses for now is told again, with a growing
pause, for as long as it matters. Pollers carry full batches between their polls (`help`), which spares waking
a thread; couriers, threads of the outbox's own, carry what must not wait and what no poller came for. Refuses
to decide what becomes of a message.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sluice.errors import SluiceError
from sluice_worker.core.model import BATCH
from sluice_worker.message import Message
from sluice_worker.ports import Queues, Refusal
from sluice_worker.runtime.loops import (
    looping,
    survive,
)

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
MOST_DOUBLINGS = 20
"""Of the pause: entries are told again for up to twelve hours, and a float holds 1023."""
IDLE_LOOK_S = 1.0
POLLERS_FIRST_S = 0.2
"""For so long a full batch is left to the pollers, which come by after each short poll."""


@dataclass(slots=True, eq=False)
class Entry:
    """One thing to tell; `hide_s` None deletes. `told` hears once how it ended: None, or why it did not.

    Times are seconds of `time.monotonic()`.
    """

    message: Message
    hide_s: int | None
    until: float
    """When it does not matter any more."""
    told: Callable[[Entry, str | None], None]
    attempts: int = 0
    since: float = 0.0
    """When it was last entered."""
    asked_at: float = 0.0
    """When SQS was last asked: what it hides, it hides from then or later."""


@dataclass(slots=True)
class _Lot:
    """What waits for one queue and one operation."""

    linger_s: float
    entries: deque[Entry] = field(default_factory=deque)

    def due_at(self, full_waits_s: float) -> float:
        """When to tell the next batch, where a full one waits so long."""
        full = len(self.entries) >= BATCH
        return self.entries[0].since + min(self.linger_s, full_waits_s if full else math.inf)


class Outbox:
    """Entries on their way."""

    def __init__(self, queues: Queues, *, linger_s: float, couriers: int) -> None:
        self._queues, self._linger_s = queues, linger_s
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._emptied = threading.Condition(self._lock)
        """Of its own, lest who waits for the end takes a courier's call."""
        self._lots: dict[tuple[str, bool], _Lot] = {}
        self._later: list[tuple[float, int, Entry]] = []
        self._numbers = itertools.count()
        self._open = 0
        self._hurry = False
        self._stopped = False
        self._couriers = couriers

    def start(self) -> None:
        """Start the couriers."""
        for number in range(self._couriers):
            looping(f"courier-{number}", self._carry)

    @property
    def open(self) -> int:
        """Entries that are neither done nor given up."""
        return self._open

    def add(self, entry: Entry) -> None:
        """Take one entry on."""
        with self._lock:
            self._open += 1
            self._enter(entry, time.monotonic())

    def help(self) -> bool:
        """Tell one batch that is due, in the caller's thread; says whether there was one."""
        with self._lock:
            lot, _ = self._due(time.monotonic(), full_waits_s=0.0)
            if lot is None:
                return False
            batch = self._batch(lot)
        self._tell(batch)
        return True

    def hurry(self) -> None:
        """From now on nothing lingers."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()

    def wait_empty(self, deadline: float) -> bool:
        """Wait until everything is told, at most until `deadline`; says whether it is."""
        with self._changed:
            while self._open and time.monotonic() < deadline:
                self._emptied.wait(min(IDLE_LOOK_S, max(deadline - time.monotonic(), 0.0)))
            return not self._open

    def stop(self) -> None:
        """Let the couriers end; what is still open is not told."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _enter(self, entry: Entry, now: float) -> None:
        key = (entry.message.queue.url, entry.hide_s is None)
        lot = self._lots.get(key)
        if lot is None:
            # Order in a FIFO group waits for its deletes: they do not linger. Nor does a message handed back.
            patient = entry.hide_s is None and not entry.message.queue.is_fifo
            lot = self._lots[key] = _Lot(self._linger_s if patient else 0.0)
        entry.since = now
        lot.entries.append(entry)
        # What lingers wakes nobody: while anything is open, some courier looks again in time.
        if len(lot.entries) == 1 and (not lot.linger_s or self._open == 1):
            self._changed.notify()

    def _carry(self) -> bool:
        with self._changed:
            batch = self._next_batch()
        if batch is None:
            return False
        self._tell(batch)
        return True

    def _next_batch(self) -> list[Entry] | None:
        """Wait for the next batch that is due; None once stopped."""
        while not self._stopped:
            now = time.monotonic()
            while self._later and self._later[0][0] <= now:
                self._enter(heapq.heappop(self._later)[2], now)
            lot, pause_s = self._due(now, full_waits_s=POLLERS_FIRST_S)
            if lot is not None:
                return self._batch(lot)
            self._changed.wait(pause_s)
        return None

    def _batch(self, lot: _Lot) -> list[Entry]:
        batch = [lot.entries.popleft() for _ in range(min(BATCH, len(lot.entries)))]
        if lot.entries and not lot.linger_s:
            self._changed.notify()
        return batch

    def _due(self, now: float, *, full_waits_s: float) -> tuple[_Lot | None, float]:
        """The lot to tell now, or how long to wait for one.

        Of several it is the one that has waited longest: a queue whose deletes always fill a batch must not
        keep others' messages from being hidden in time.
        """
        longest: _Lot | None = None
        pause_s = min(POLLERS_FIRST_S, self._linger_s or IDLE_LOOK_S) if self._open else IDLE_LOOK_S
        if self._later:
            pause_s = min(pause_s, self._later[0][0] - now)
        for lot in self._lots.values():
            if not lot.entries:
                continue
            due_at = now if self._hurry else lot.due_at(full_waits_s)
            if due_at > now:
                pause_s = min(pause_s, due_at - now)
            elif longest is None or lot.entries[0].since < longest.entries[0].since:
                longest = lot
        return longest, pause_s

    def _tell(self, batch: Sequence[Entry]) -> None:
        now = time.monotonic()
        for entry in batch:
            entry.asked_at = now
            if entry.hide_s is not None:  # SQS refuses as a whole what reaches beyond the twelve hours
                entry.hide_s = min(entry.hide_s, entry.message.hideable_s(now))
        # What a defect breaks off counts as refused for now: nothing is lost by it.
        refused = _all_refused(batch, "the call broke off")
        try:
            refused = self._call(batch)
        except SluiceError as failed:
            refused = _all_refused(batch, str(failed))
        finally:
            self._settle(batch, refused)

    def _settle(self, batch: Sequence[Entry], refused: Mapping[int, Refusal]) -> None:
        ended = [
            (entry, None if refusal is None else refusal.why)
            for place, entry in enumerate(batch)
            if (refusal := refused.get(place)) is None or not self._again(entry, refusal)
        ]
        for entry, why in ended:
            survive(f"what follows the end of {entry.message.message_id}", entry.told, entry, why)
        with self._lock:
            self._open -= len(ended)
            if not self._open:
                self._emptied.notify_all()

    def _call(self, batch: Sequence[Entry]) -> dict[int, Refusal]:
        if batch[0].hide_s is None:
            return self._queues.delete([entry.message for entry in batch])
        return self._queues.hide([(entry.message, entry.hide_s or 0) for entry in batch])

    def _again(self, entry: Entry, refusal: Refusal) -> bool:
        """Try later, as long as it matters: half of what is left of that, at the most."""
        now = time.monotonic()
        longest_s = max(min(LONGEST_PAUSE_S, (entry.until - now) / 2), FIRST_PAUSE_S)
        pause_s = min(FIRST_PAUSE_S * 2 ** min(entry.attempts, MOST_DOUBLINGS), longest_s)
        due = now + pause_s
        if refusal.final or due > entry.until:
            return False
        if entry.attempts == 0:
            log.warning("told again in %.1f s: %s", pause_s, refusal.why)
        entry.attempts += 1
        with self._changed:
            heapq.heappush(self._later, (due, next(self._numbers), entry))
            self._changed.notify()
        return True


def _all_refused(batch: Sequence[Entry], why: str) -> dict[int, Refusal]:
    return dict.fromkeys(range(len(batch)), Refusal(why=why, final=False))
