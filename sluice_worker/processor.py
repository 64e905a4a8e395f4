"""The processor: slots (threads) that work messages off one at a time, as many as they are busy enough for.

Owns the pool's growth and what a handler's end means for its message. A slot whose handler is not back at the
deadline is written off: its message is given back, and another slot takes its place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sluice_worker import threads
from sluice_worker.core.failure import Reject
from sluice_worker.core.minute import Minute, Tally
from sluice_worker.core.model import Outcome, Priority
from sluice_worker.core.sizing import Range, reach, slots_wanted
from sluice_worker.custody import Custody
from sluice_worker.handler import Caller, DeadlineError
from sluice_worker.intake import Intake
from sluice_worker.message import Message
from sluice_worker.threads import surviving, tell_defect

log = logging.getLogger(__name__)

PATIENCE_S = 1.0


@dataclass(slots=True, eq=False)
class Slot:
    """One thread, and what it works on."""

    number: int
    message: Message | None = None
    began_at: float = 0.0
    written_off: bool = False


class Processor:
    """The slots of one process."""

    def __init__(
        self,
        caller: Caller,
        custody: Custody,
        tally: Tally,
        *,
        slots: Range,
        prefetch_s: float,
        max_processing_s: float,
        on_exhausted: Callable[[], None],
    ) -> None:
        self._caller, self._custody, self._tally = caller, custody, tally
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
        return reach(
            max(slots - self._busy, 0), slots, average_s=self._tally.mean_s, prefetch_s=self._prefetch_s
        )

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
            return [message for slot in list(self._slots) if (message := self._lose(slot)) is not None]

    def _grow(self) -> None:
        while len(self._slots) < self._wanted and not self._stopped:
            self._numbers += 1
            slot = Slot(self._numbers)
            self._slots.add(slot)
            threading.Thread(target=self._work, args=[slot], name=f"slot-{slot.number}", daemon=True).start()

    def _work(self, slot: Slot) -> None:
        """A slot's life: message after message, until there are too many slots or it is written off."""
        while self._goes_on(slot):
            message = self._next_message()
            if message is not None:
                with self._settling(message, slot):
                    self._process(slot, message)

    def _next_message(self) -> Message | None:
        assert self._intake is not None
        try:
            return self._intake.take(PATIENCE_S)
        except Exception as broken:  # noqa: BLE001 - it is logged
            tell_defect("a slot", broken)
            time.sleep(threads.AFTER_DEFECT_S)
            return None

    @contextmanager
    def _settling(self, message: Message, slot: Slot | None = None) -> Iterator[None]:
        """A defect within must not keep a message, its group or its slot from anybody."""
        try:
            yield
        except BaseException as broken:  # noqa: BLE001 - it is logged
            tell_defect(f"settling {message.message_id}, which comes back by itself", broken)
            with self._lock:
                if slot is not None and slot.message is message:
                    slot.message = None
                    self._busy -= 1
            with surviving(f"letting go of {message.message_id}"):
                self._custody.let_go(message)

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

    def _process(self, slot: Slot, message: Message) -> None:
        now = time.monotonic()
        if not self._custody.still_ours(message, now):
            return
        message.deadline_at = min(now + self._max_processing_s, message.hold_ends_at)
        with self._lock:
            slot.message, slot.began_at = message, now
            self._busy += 1
            self._tally.began(time.time() - message.sent_at)
        raised = self._caller.call(message)
        took_s = time.monotonic() - now
        with self._lock:
            late = slot.written_off
            if not late:
                slot.message = None
                self._busy -= 1
                self._tally.ended(_outcome(raised), took_s)
        if late:
            self._came_back_late(message, raised, took_s)
        elif raised is None:
            self._custody.succeeded(message)
        else:
            self._failed(message, raised)

    def _failed(self, message: Message, raised: BaseException) -> None:
        why = _words(raised)
        rejected = isinstance(raised, Reject)
        log.warning(
            "%s of %s failed at receipt %d: %s",
            message.message_id,
            message.queue.name,
            message.receive_count,
            why,
            exc_info=None if rejected else raised,
        )
        self._custody.failed(message, why, rejected=rejected)

    def _came_back_late(self, message: Message, raised: BaseException | None, took_s: float) -> None:
        log.warning("the handler of %s came back after %.1f s, too late", message.message_id, took_s)
        if raised is None:
            self._custody.deleted_late(message)

    # ---- what hangs ----------------------------------------------------------------------------------------

    def _write_off(self, now: float) -> None:
        with self._lock:
            late = [
                slot for slot in self._slots if slot.message is not None and now > slot.message.deadline_at
            ]
            given_up = []
            for slot in late:
                took_s = now - slot.began_at
                message = self._lose(slot)
                if message is not None:
                    self._tally.ended(Outcome.TIMEOUT, took_s)
                    given_up.append((message, took_s))
            exhausted = len(self._lost) >= self._bounds.max
        for message, took_s in given_up:
            log.error("the handler of %s is not back after %.1f s", message.message_id, took_s)
            with self._settling(message):
                self._custody.failed(message, f"the handler was not back after {took_s:.0f} s")
        if exhausted:
            self._on_exhausted()

    def _lose(self, slot: Slot) -> Message | None:
        message = slot.message
        if message is not None:
            slot.written_off, slot.message = True, None
            self._busy -= 1
            self._slots.discard(slot)
            self._lost.add(slot)
        return message


def _outcome(raised: BaseException | None) -> Outcome:
    if raised is None:
        return Outcome.SUCCESS
    return Outcome.TIMEOUT if isinstance(raised, DeadlineError) else Outcome.FAILURE


def _words(raised: BaseException) -> str:
    try:
        return f"{type(raised).__name__}: {raised}"
    except BaseException:  # noqa: BLE001 - putting it into words is the user's code too
        return f"{type(raised).__name__}, which cannot be put into words"
