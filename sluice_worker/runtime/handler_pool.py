"""The handler pool: slots (threads) that each work on one batch at a time; the pool grows with their use.

A handler that takes one message gets batches of one. Python cannot stop a thread, so a slot whose handler has
not returned at the deadline is detached: its messages go back to their queue, and another slot takes its
place.

A little over 300 lines: a slot's life and what its end means for messages share one lock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sluice_worker.core.batch import behind_failures
from sluice_worker.core.counters import (
    Counters,
    ReportInterval,
)
from sluice_worker.core.model import Outcome, Priority
from sluice_worker.core.pool_size import (
    Range,
    desired_slots,
    prefetch_limit,
)
from sluice_worker.core.retry_policy import Reject
from sluice_worker.message import Message, Stage
from sluice_worker.runtime import loops
from sluice_worker.runtime.batches import Call
from sluice_worker.runtime.dispatcher import Dispatcher
from sluice_worker.runtime.in_flight import InFlightMessages
from sluice_worker.runtime.loops import (
    call_logging_defects,
    log_defect,
)
from sluice_worker.runtime.message_events import UNOBSERVED, MessageEvents
from sluice_worker.runtime.results import (
    ONE_SUCCEEDED,
    Result,
    describe,
    log_failures,
    results,
    timeouts,
)

log = logging.getLogger(__name__)

TIMEOUT_S = 1.0


@dataclass(slots=True, eq=False)
class Slot:
    """One thread, and the batch that it works on."""

    number: int
    batch: Sequence[Message] = ()
    began_at: float = 0.0
    detached: bool = False

    def is_overdue(self, now: float) -> bool:
        """Whether a deadline has passed.

        The messages of a batch share a deadline, except that none lasts beyond its own twelve hours.
        """
        return bool(self.batch) and now > min(message.deadline_at for message in self.batch)


class HandlerPool:
    """The slots of one process."""

    def __init__(
        self,
        call: Call,
        in_flight: InFlightMessages,
        counters: Counters,
        *,
        slots: Range,
        prefetch_per_slot: int = 1,
        prefetch_s: float,
        max_processing_s: float,
        on_exhausted: Callable[[], None],
        events: MessageEvents = UNOBSERVED,
    ) -> None:
        self._events = events
        self._call, self._in_flight, self._counters = call, in_flight, counters
        self._prefetch_per_slot = prefetch_per_slot
        self._bounds, self._prefetch_s, self._max_processing_s = slots, prefetch_s, max_processing_s
        self._on_exhausted = on_exhausted
        self._lock = threading.Lock()
        self._slots: set[Slot] = set()
        self._hung: set[Slot] = set()
        self._numbers = 0
        self._desired = slots.min
        self._busy = 0
        self._stopped = False
        self._dispatcher: Dispatcher | None = None

    # ---- its state --------------------------------------------------------------------------------

    @property
    def busy(self) -> int:
        """Slots at work."""
        return self._busy

    @property
    def slots(self) -> int:
        """Slots in the pool, detached ones not included."""
        return len(self._slots)

    @property
    def hung(self) -> int:
        """Handlers that are past their deadline and have not come back."""
        return len(self._hung)

    def prefetch_limit(self) -> int:
        """Messages of one priority that may be held before they begin."""
        slots = len(self._slots)
        idle = max(slots - self._busy, 0) * self._prefetch_per_slot
        return prefetch_limit(idle, slots, average_s=self._counters.mean_s, prefetch_s=self._prefetch_s)

    # ---- its lifecycle
    # ------------------------------------------------------------------------------------------

    def start(self, dispatcher: Dispatcher) -> None:
        """Start the minimum number of slots."""
        self._dispatcher = dispatcher
        with self._lock:
            self._grow()

    def adjust(self) -> None:
        """Detach slots that are past their deadline; then grow or shrink the pool by one slot, or keep it."""
        assert self._dispatcher is not None
        self._detach_hung(time.monotonic())
        high_use = self._dispatcher.utilization(Priority.HIGH)
        with self._lock:
            self._desired = desired_slots(
                self._busy, len(self._slots), high_use=high_use, bounds=self._bounds
            )
            self._grow()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    def close_interval(self, now: float) -> ReportInterval:
        """The counts since the last call, which no slot changes any more. `now` in epoch seconds."""
        with self._lock:
            return self._counters.close(now)

    def abandon(self) -> list[Message]:
        """Detach every slot at work; returns their messages, which the caller has to settle."""
        with self._lock:
            return [message for slot in list(self._slots) for message in self._detach(slot)]

    def _grow(self) -> None:
        while len(self._slots) < self._desired and not self._stopped:
            self._numbers += 1
            slot = Slot(self._numbers)
            self._slots.add(slot)
            threading.Thread(target=self._work, args=[slot], name=f"slot-{slot.number}", daemon=True).start()

    def _work(self, slot: Slot) -> None:
        """The loop of a slot: batch after batch, until there are too many slots or it is detached."""
        while self._should_continue(slot):
            batch = self._next_batch()
            if batch:
                try:
                    self._process(slot, batch)
                except BaseException as broken:  # noqa: BLE001 - it is logged
                    self._handle_defect(broken, batch, slot)

    def _next_batch(self) -> Sequence[Message]:
        assert self._dispatcher is not None
        try:
            return self._dispatcher.take_batch(TIMEOUT_S)
        except Exception as broken:  # noqa: BLE001 - it is logged
            log_defect("a slot", broken)
            time.sleep(loops.AFTER_DEFECT_S)
            return ()

    def _handle_defect(
        self, broken: BaseException, batch: Sequence[Message], slot: Slot | None = None
    ) -> None:
        """Give up the messages of a batch whose settling met a defect, and free its slot and its groups."""
        log_defect(f"settling {describe(batch)}, which is redelivered after its visibility timeout", broken)
        with self._lock:
            if slot is not None and slot.batch:
                slot.batch = ()
                self._busy -= 1
        for message in batch:
            call_logging_defects(f"forgetting {message.message_id}", self._in_flight.forget, message)

    def _should_continue(self, slot: Slot) -> bool:
        if not self._should_end(slot):  # checked for each message, so without the lock at first
            return True
        with self._lock:
            if not self._should_end(slot):  # another slot may have ended meanwhile, and then this one stays
                return True
            self._slots.discard(slot)
            self._hung.discard(slot)
            return False

    def _should_end(self, slot: Slot) -> bool:
        return slot.detached or self._stopped or len(self._slots) > self._desired

    def _process(self, slot: Slot, received: Sequence[Message]) -> None:
        now = time.monotonic()
        batch = self._startable(received, now)
        if not batch:
            return
        for message in batch:
            message.stage = Stage.RUNNING
            message.deadline_at = min(now + self._max_processing_s, message.visibility_limit_at)
            message.batch = batch if len(batch) > 1 else ()
        with self._lock:
            slot.batch, slot.began_at = batch, now
            self._busy += 1
            started_at = time.time()
            for message in batch:
                self._counters.record_start(started_at - message.sent_at)
        self._events.began(batch)
        raised = self._call(batch)
        self._events.returned()
        took_s = time.monotonic() - now
        ended = results(batch, raised)
        with self._lock:
            # Read under the lock: a slot that `_detach` has taken must not be counted or settled a second
            # time.
            late = slot.detached
            if not late:
                slot.batch = ()
                self._busy -= 1
                self._count(ended, took_s)
        if late:
            self._on_late_return(batch, ended, took_s)
        else:
            if ended is not ONE_SUCCEEDED:
                log_failures(batch, ended)
            self._events.ended(batch, ended, took_s)
            self._settle(batch, ended)

    def _count(self, ended: Sequence[Result], took_s: float) -> None:
        """Count each message, with its share of the batch's time."""
        for result in ended:
            self._counters.record_end(result.outcome, took_s / len(ended))

    def _startable(self, received: Sequence[Message], now: float) -> Sequence[Message]:
        """The messages that may begin; behind one that expired, those of its group are released."""
        if len(received) == 1:
            return received if self._in_flight.may_begin(received[0], now) else ()
        gone = [not self._in_flight.may_begin(message, now) for message in received]
        behind = behind_failures([message.message_group for message in received], gone)
        ours = []
        for message, is_gone, is_behind in zip(received, gone, behind, strict=True):
            if is_behind and not is_gone:
                self._in_flight.release_with_successors(message)
            elif not is_gone:
                ours.append(message)
        return ours

    def _settle(self, batch: Sequence[Message], ended: Sequence[Result]) -> None:
        """Settle each message, first those that go back behind a failure.

        The buffer unblocks a group with the last of its messages to be settled; that has to be the failed
        one.
        """
        pairs: Iterable[tuple[Message, Result]] = zip(batch, ended, strict=True)
        if len(batch) > 1:
            pairs = sorted(pairs, key=lambda pair: not pair[1].is_behind)
        for message, result in pairs:
            try:
                self._settle_one(message, result)
            except BaseException as broken:  # noqa: BLE001 - it is logged
                self._handle_defect(broken, [message])

    def _settle_one(self, message: Message, result: Result) -> None:
        if result.is_behind:
            self._in_flight.release_with_successors(message)
        elif result.outcome is Outcome.SUCCESS:
            self._in_flight.succeeded(message)
        else:
            self._in_flight.failed(message, result.reason, rejected=isinstance(result.raised, Reject))

    def _on_late_return(self, batch: Sequence[Message], ended: Sequence[Result], took_s: float) -> None:
        log.warning("the handler of %s came back after %.1f s, too late", describe(batch), took_s)
        for message, result in zip(batch, ended, strict=True):
            if result.outcome is Outcome.SUCCESS:
                self._in_flight.delete_after_late_success(message)

    # ---- hung handlers
    # ----------------------------------------------------------------------------------------

    def _detach_hung(self, now: float) -> None:
        with self._lock:
            given_up = []
            for slot in [slot for slot in self._slots if slot.is_overdue(now)]:
                took_s = now - slot.began_at
                batch = self._detach(slot)
                ended = timeouts(batch, took_s)
                self._count(ended, took_s)
                given_up.append((batch, ended, took_s))
            exhausted = len(self._hung) >= self._bounds.max
        for batch, ended, took_s in given_up:
            log.error("the handler of %s is not back after %.1f s", describe(batch), took_s)
            self._events.ended(batch, ended, took_s)
            self._settle(batch, ended)
        if exhausted:
            self._on_exhausted()

    def _detach(self, slot: Slot) -> Sequence[Message]:
        batch = slot.batch
        if batch:
            slot.detached, slot.batch = True, ()
            self._busy -= 1
            self._slots.discard(slot)
            self._hung.add(slot)
        return batch
