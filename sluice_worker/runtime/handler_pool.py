"""The processor: slots (threads) that work batches off one at a time, as many as they are busy enough for.

Owns the pool's growth and what a handler's end means for its messages; where a handler takes one message at a
time, a batch is one. A slot whose handler is not back at the deadline is written off: its messages are given
back, and another slot takes its place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sluice_worker.core.batch import behind_failures
from sluice_worker.core.counters import (
    Minute,
    Tally,
)
from sluice_worker.core.model import Outcome, Priority
from sluice_worker.core.pool_size import (
    Range,
    reach,
    slots_wanted,
)
from sluice_worker.core.retry_policy import Reject
from sluice_worker.message import Message, Stage
from sluice_worker.runtime import loops
from sluice_worker.runtime.batches import Call
from sluice_worker.runtime.dispatcher import Intake
from sluice_worker.runtime.in_flight import Custody
from sluice_worker.runtime.loops import (
    survive,
    tell_defect,
)
from sluice_worker.runtime.results import (
    Result,
    names,
    results,
    tell_failures,
    timeouts,
)

log = logging.getLogger(__name__)

PATIENCE_S = 1.0


@dataclass(slots=True, eq=False)
class Slot:
    """One thread, and what it works on."""

    number: int
    batch: Sequence[Message] = ()
    began_at: float = 0.0
    written_off: bool = False

    def is_late(self, now: float) -> bool:
        """Whether a deadline has passed; in a batch all have one, but that none lasts over twelve hours."""
        return bool(self.batch) and now > min(message.deadline_at for message in self.batch)


class Processor:
    """The slots of one process."""

    def __init__(
        self,
        call: Call,
        custody: Custody,
        tally: Tally,
        *,
        slots: Range,
        batch_reach: int = 1,
        prefetch_s: float,
        max_processing_s: float,
        on_exhausted: Callable[[], None],
    ) -> None:
        self._call, self._custody, self._tally = call, custody, tally
        self._batch_reach = batch_reach
        self._bounds, self._prefetch_s, self._max_processing_s = slots, prefetch_s, max_processing_s
        self._on_exhausted = on_exhausted
        self._lock = threading.Lock()
        self._slots: set[Slot] = set()
        self._lost: set[Slot] = set()
        self._numbers = 0
        self._wanted = slots.min
        self._busy = 0
        self._stopped = False
        self._intake: Intake | None = None

    # ---- what it looks like --------------------------------------------------------------------------------

    @property
    def busy(self) -> int:
        """Slots at work."""
        return self._busy

    @property
    def slots(self) -> int:
        """Slots there are, those written off left out."""
        return len(self._slots)

    @property
    def lost(self) -> int:
        """Handlers that are past their deadline and have not come back."""
        return len(self._lost)

    def reach(self) -> int:
        """Messages of one priority that may be held unstarted."""
        slots = len(self._slots)
        idle = max(slots - self._busy, 0) * self._batch_reach
        return reach(idle, slots, average_s=self._tally.mean_s, prefetch_s=self._prefetch_s)

    # ---- its life ------------------------------------------------------------------------------------------

    def start(self, intake: Intake) -> None:
        """Start the least number of slots."""
        self._intake = intake
        with self._lock:
            self._grow()

    def adjust(self) -> None:
        """Write off what is past its deadline; then one slot more, one fewer, or as many as there are."""
        assert self._intake is not None
        self._write_off(time.monotonic())
        high_use = self._intake.use(Priority.HIGH)
        with self._lock:
            self._wanted = slots_wanted(self._busy, len(self._slots), high_use=high_use, bounds=self._bounds)
            self._grow()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    def close_minute(self, now: float) -> Minute:
        """What was counted since the last call; no slot counts into it any more. `now` in epoch seconds."""
        with self._lock:
            return self._tally.close(now)

    def abandon(self) -> list[Message]:
        """Write off every slot at work; the answer is what they worked on, whose end is the caller's now."""
        with self._lock:
            return [message for slot in list(self._slots) for message in self._lose(slot)]

    def _grow(self) -> None:
        while len(self._slots) < self._wanted and not self._stopped:
            self._numbers += 1
            slot = Slot(self._numbers)
            self._slots.add(slot)
            threading.Thread(target=self._work, args=[slot], name=f"slot-{slot.number}", daemon=True).start()

    def _work(self, slot: Slot) -> None:
        """A slot's life: message after message, until there are too many slots or it is written off."""
        while self._goes_on(slot):
            batch = self._next_batch()
            if batch:
                try:
                    self._process(slot, batch)
                except BaseException as broken:  # noqa: BLE001 - it is logged
                    self._met_defect(broken, batch, slot)

    def _next_batch(self) -> Sequence[Message]:
        assert self._intake is not None
        try:
            return self._intake.take_batch(PATIENCE_S)
        except Exception as broken:  # noqa: BLE001 - it is logged
            tell_defect("a slot", broken)
            time.sleep(loops.AFTER_DEFECT_S)
            return ()

    def _met_defect(self, broken: BaseException, batch: Sequence[Message], slot: Slot | None = None) -> None:
        """A defect must not keep messages, their groups or their slot from anybody."""
        tell_defect(f"settling {names(batch)}, which comes back by itself", broken)
        with self._lock:
            if slot is not None and slot.batch:
                slot.batch = ()
                self._busy -= 1
        for message in batch:
            survive(f"letting go of {message.message_id}", self._custody.let_go, message)

    def _goes_on(self, slot: Slot) -> bool:
        if not self._is_over(slot):  # for each message: not worth the lock
            return True
        with self._lock:
            if not self._is_over(slot):  # another one ended meanwhile
                return True
            self._slots.discard(slot)
            self._lost.discard(slot)
            return False

    def _is_over(self, slot: Slot) -> bool:
        return slot.written_off or self._stopped or len(self._slots) > self._wanted

    def _process(self, slot: Slot, received: Sequence[Message]) -> None:
        now = time.monotonic()
        batch = self._still_ours(received, now)
        if not batch:
            return
        for message in batch:
            message.stage = Stage.RUNNING
            message.deadline_at = min(now + self._max_processing_s, message.hold_ends_at)
            message.batch = batch if len(batch) > 1 else ()
        with self._lock:
            slot.batch, slot.began_at = batch, now
            self._busy += 1
            for message in batch:
                self._tally.began(time.time() - message.sent_at)
        raised = self._call(batch)
        took_s = time.monotonic() - now
        ended = results(batch, raised)
        with self._lock:
            late = slot.written_off
            if not late:
                slot.batch = ()
                self._busy -= 1
                self._count(ended, took_s)
        if late:
            self._came_back_late(batch, ended, took_s)
        else:
            tell_failures(batch, ended)
            self._settle(batch, ended)

    def _count(self, ended: Sequence[Result], took_s: float) -> None:
        """A message's time is its share of the batch's."""
        for result in ended:
            self._tally.ended(result.outcome, took_s / len(ended))

    def _still_ours(self, received: Sequence[Message], now: float) -> Sequence[Message]:
        """Those that may be begun: one that SQS shows to others again takes back those behind it."""
        if len(received) == 1:
            return received if self._custody.still_ours(received[0], now) else ()
        gone = [not self._custody.still_ours(message, now) for message in received]
        behind = behind_failures([message.lane for message in received], gone)
        ours = []
        for message, is_gone, is_behind in zip(received, gone, behind, strict=True):
            if is_behind and not is_gone:
                self._custody.give_back_behind(message)
            elif not is_gone:
                ours.append(message)
        return ours

    def _settle(self, batch: Sequence[Message], ended: Sequence[Result]) -> None:
        """First what goes back behind a failure: its group is free once the failed one has ended too."""
        pairs = list(zip(batch, ended, strict=True))
        if len(pairs) > 1:
            pairs.sort(key=lambda pair: not pair[1].is_behind)
        for message, result in pairs:
            try:
                self._settle_one(message, result)
            except BaseException as broken:  # noqa: BLE001 - it is logged
                self._met_defect(broken, [message])

    def _settle_one(self, message: Message, result: Result) -> None:
        if result.is_behind:
            self._custody.give_back_behind(message)
        elif result.outcome is Outcome.SUCCESS:
            self._custody.succeeded(message)
        else:
            self._custody.failed(message, result.why, rejected=isinstance(result.raised, Reject))

    def _came_back_late(self, batch: Sequence[Message], ended: Sequence[Result], took_s: float) -> None:
        log.warning("the handler of %s came back after %.1f s, too late", names(batch), took_s)
        for message, result in zip(batch, ended, strict=True):
            if result.outcome is Outcome.SUCCESS:
                self._custody.deleted_late(message)

    # ---- what hangs ----------------------------------------------------------------------------------------

    def _write_off(self, now: float) -> None:
        with self._lock:
            given_up = []
            for slot in [slot for slot in self._slots if slot.is_late(now)]:
                took_s = now - slot.began_at
                batch = self._lose(slot)
                ended = timeouts(batch, took_s)
                self._count(ended, took_s)
                given_up.append((batch, ended, took_s))
            exhausted = len(self._lost) >= self._bounds.max
        for batch, ended, took_s in given_up:
            log.error("the handler of %s is not back after %.1f s", names(batch), took_s)
            self._settle(batch, ended)
        if exhausted:
            self._on_exhausted()

    def _lose(self, slot: Slot) -> Sequence[Message]:
        batch = slot.batch
        if batch:
            slot.written_off, slot.batch = True, ()
            self._busy -= 1
            self._slots.discard(slot)
            self._lost.add(slot)
        return batch
