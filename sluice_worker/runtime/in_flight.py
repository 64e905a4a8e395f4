"""Every message this process has received and not settled: hidden from others as long as it is ours.

Owns how a message ends (deleted, handed back, sent to the dead letters), and the visibility heartbeat, which
extends each one before SQS would show it to somebody else. Refuses to begin or to run anything.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable

from sluice_worker.core.attempts import Attempts
from sluice_worker.core.model import MAX_VISIBILITY_S
from sluice_worker.core.retry_policy import (
    DeadLetter,
    FailurePolicy,
)
from sluice_worker.message import Message, Stage
from sluice_worker.ports import Queues
from sluice_worker.runtime.ack_batcher import (
    AckBatcher,
    PendingAck,
)
from sluice_worker.runtime.dead_letters import DeadLetterSender
from sluice_worker.runtime.dispatcher import Dispatcher
from sluice_worker.runtime.loops import (
    call_logging_defects,
    defects_logged,
    start_loop,
)

log = logging.getLogger(__name__)

MIN_VISIBILITY_LEFT_S = 1.0
"""A message that SQS shows again within this is not begun: a delete would come too late."""

HEARTBEATS_PER_VISIBILITY = 8
"""Looks at every message within one visibility timeout."""


class InFlightMessages:
    """The messages in this process's hands."""

    def __init__(
        self,
        queues: Queues,
        dispatcher: Dispatcher,
        ack_batcher: AckBatcher,
        policy: FailurePolicy,
        *,
        dead_letter_queue: str | None,
        visibility_s: int,
        max_held: int,
        max_held_bytes: int,
    ) -> None:
        self._dispatcher, self._ack_batcher, self._policy = dispatcher, ack_batcher, policy
        self._dead_letters = DeadLetterSender(queues, dead_letter_queue or "")
        self._visibility_s = visibility_s
        self._max_held, self._max_held_bytes = max_held, max_held_bytes
        self._held: dict[int, Message] = {}
        self._held_bytes = 0
        self._count_lock = threading.Lock()
        self._attempts = Attempts()
        self._stage_lock = threading.Lock()
        self._ended = threading.Event()
        self.undeleted = 0
        """Messages that SQS would not delete: others will get them again."""
        self.expired = 0
        """Messages whose visibility ran out before they were begun."""
        self.released = 0
        """Messages handed back without having failed."""

    def start(self) -> None:
        """Start the heartbeat."""
        start_loop("heartbeat", self._heartbeat)

    def stop(self) -> None:
        """End the heartbeat."""
        self._ended.set()

    @property
    def count(self) -> int:
        """Messages held, running, or with their end on the way to SQS."""
        return len(self._held)

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be received: SQS does not keep up with what it is told."""
        return len(self._held) >= self._max_held or self._held_bytes >= self._max_held_bytes

    def add(self, messages: Iterable[Message]) -> None:
        """These were just received."""
        with self._count_lock:
            for message in messages:
                self._held[id(message)] = message
                self._held_bytes += message.size_bytes

    def may_begin(self, message: Message, now: float) -> bool:
        """Whether it may be begun; what expired or cannot be read is let go, with those behind it."""
        if message.visible_at - now <= min(MIN_VISIBILITY_LEFT_S, self._visibility_s / 4):
            self._release_expired(message, now)
            return False
        if message.unreadable is not None:
            self._return_unreadable(message, message.unreadable)
            return False
        return True

    def _release_expired(self, message: Message, now: float) -> None:
        self.expired += 1
        self._record_unstarted(message)
        log.warning("%s of %s expired before it was begun", message.message_id, message.queue.name)
        if message.visible_at > now:
            self._hide(message, 0)
        else:
            self._remove(message)
        self.release(self._unblock_group(message))

    def _return_unreadable(self, message: Message, reason: str) -> None:
        """Not to the dead letters, where a copy would lack what could not be read: redrive moves it whole."""
        log.error("%s of %s cannot be read: %s", message.message_id, message.queue.name, reason)
        self._return(message, self._policy.back_off(message.message_id, message.receive_count).after_s)

    # ---- how a message ends --------------------------------------------------------------------------------

    def succeeded(self, message: Message) -> None:
        """Delete it; the next of its group begins once SQS has confirmed."""
        message.stage = Stage.SETTLING
        self._attempts.forget(message.message_id)
        until = message.received_at + MAX_VISIBILITY_S
        self._ack_batcher.add(PendingAck(message, None, until, self._on_deleted))

    def failed(self, message: Message, reason: str, *, rejected: bool = False) -> None:
        """Back to the queue after a while, or to the dead letters; those behind it in its group go back."""
        attempts = self._attempts.count_started(message.message_id, message.receive_count)
        follows = self._policy.after(message.message_id, attempts, rejected=rejected)
        if isinstance(follows, DeadLetter):
            message.stage = Stage.SETTLING  # kept hidden meanwhile, also past its deadline
            self._dead_letters.send(message, reason, self._on_dead_letter_done)
        else:
            self._return(message, follows.after_s)

    @property
    def pending_dead_letters(self) -> int:
        """Messages on their way to the dead letters."""
        return self._dead_letters.pending

    def stop_dead_letters(self) -> None:
        """Send no more dead letters: those not begun go back to their queue."""
        self._dead_letters.stop()

    def release_with_successors(self, message: Message) -> None:
        """One before it in its group failed, in the same batch: it goes back, and so do those behind it."""
        behind = self._unblock_group(message)
        self.release([message, *behind])

    def release(self, messages: Iterable[Message]) -> None:
        """Show them to other workers at once."""
        for message in messages:
            self.released += 1
            if message.stage is Stage.BUFFERED:
                self._record_unstarted(message)
            call_logging_defects(f"handing {message.message_id} back", self._hide, message, 0)

    def forget(self, message: Message) -> None:
        """Keep it hidden no longer: it comes back by itself, and those behind it in its group at once."""
        try:
            self._remove(message)
        finally:
            self.release(self._unblock_group(message))

    def send_due_batch(self) -> bool:
        """Tell SQS how up to ten messages ended, in the caller's thread; says whether any waited."""
        return self._ack_batcher.send_due_batch()

    def delete_after_late_success(self, message: Message) -> None:
        """Its handler came back with success after it was given up: spare another worker the work."""
        until = time.monotonic() + self._visibility_s
        self._ack_batcher.add(PendingAck(message, None, until, lambda *_: None))

    def _on_dead_letter_done(self, message: Message, refused: str | None) -> None:
        """What follows once a dead letter is sent, or refused: then it is the queue's redrive policy's."""
        if refused is None:
            self.succeeded(message)
            return
        # Not for ever from one refusal to the next: a handler is run for each.
        attempts = self._attempts.count_started(message.message_id, message.receive_count)
        back_off = self._policy.back_off(message.message_id, attempts)
        after_s = max(back_off.after_s, self._visibility_s)
        log.error("%s: %s goes back to its queue for %d s instead", refused, message.message_id, after_s)
        self._return(message, after_s)

    def _return(self, message: Message, after_s: int) -> None:
        """The group stays blocked at SQS while it is hidden, so that those behind it cannot overtake."""
        behind = self._unblock_group(message)
        try:
            self._hide(message, after_s)
        finally:
            self.release(behind)

    def _unblock_group(self, message: Message, *, settled: bool = False) -> list[Message]:
        """Once for each message that began: the next of its group may begin, or those behind it go back.

        The latter are returned; nothing is behind a message whose group it freed before.
        """
        if message.message_group is None or message.group_unblocked:
            return []
        message.group_unblocked = True
        if settled:
            with defects_logged(f"the advance of group {message.group_id}"):
                self._dispatcher.advance(message.message_group)
                return []
            # What could not begin goes back, in place of staying hidden.
        return self._dispatcher.drop(message.message_group)

    def _record_unstarted(self, message: Message) -> None:
        with self._stage_lock:
            self._attempts.record_unstarted(message.message_id)

    def _hide(self, message: Message, after_s: int) -> None:
        """Give it back; behind an extension under way, which would otherwise have the last word."""
        with self._stage_lock:
            message.stage = Stage.RETURNING
            message.returns_in_s = after_s
            if message.extending:
                return
        self._ack_batcher.add(PendingAck(message, after_s, message.visible_at, self._on_returned))

    def _on_returned(self, ack: PendingAck, reason: str | None) -> None:
        if reason is not None:
            log.warning("%s comes back by itself in a while: %s", ack.message.message_id, reason)
        elif ack.hide_s and ack.message.message_group is not None:
            self._dispatcher.record_head_hidden(ack.message.message_group, ack.requested_at + ack.hide_s)
        self._remove(ack.message)

    def _on_deleted(self, ack: PendingAck, reason: str | None) -> None:
        message = ack.message
        if reason is not None:
            self.undeleted += 1
            log.error("%s was processed and could not be deleted: %s", message.message_id, reason)
        try:
            self._remove(message)
        finally:
            self.release(self._unblock_group(message, settled=reason is None))

    def _remove(self, message: Message) -> None:
        message.stage = Stage.SETTLED
        was_full = self.is_full
        with self._count_lock:
            if self._held.pop(id(message), None) is not None:
                self._held_bytes -= message.size_bytes
        if was_full and not self.is_full:
            self._dispatcher.recheck_capacity()

    # ---- the heartbeat -------------------------------------------------------------------------------------

    def _heartbeat(self) -> bool:
        now = time.monotonic()
        for message in list(self._held.values()):
            call_logging_defects(f"keeping {message.message_id} hidden", self._extend_if_due, message, now)
        return not self._ended.wait(min(1.0, self._visibility_s / HEARTBEATS_PER_VISIBILITY))

    def _extend_if_due(self, message: Message, now: float) -> None:
        late = message.stage is Stage.RUNNING and now > message.deadline_at
        expired = message.visible_at <= now  # SQS extends only what is in flight
        if (
            late
            or expired
            or not message.max_extension_s(now)
            or message.visible_at - now > self._visibility_s / 2
        ):
            return
        with self._stage_lock:
            if message.extending or message.stage in (Stage.RETURNING, Stage.SETTLED):
                return
            message.extending = True
        self._ack_batcher.add(PendingAck(message, self._visibility_s, message.visible_at, self._on_extended))

    def _on_extended(self, ack: PendingAck, reason: str | None) -> None:
        message = ack.message
        if reason is None:
            message.visible_at = ack.requested_at + (ack.hide_s or 0)
        elif message.stage is not Stage.SETTLED:
            log.warning("%s could not be kept hidden: %s", message.message_id, reason)
        with self._stage_lock:
            message.extending = False
            returns = message.stage is Stage.RETURNING
        if returns:
            self._hide(message, message.returns_in_s)
