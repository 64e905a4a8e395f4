"""Every message that this process has received and not settled; each is kept hidden from other consumers.

A message ends by being deleted, released to its queue or sent to the dead-letter queue. Until then the
visibility heartbeat extends it before SQS would show it to another consumer.

A little over 300 lines: the heartbeat and the ways in which a message ends share one lock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable

from sluice_worker.core.attempts import Attempts
from sluice_worker.core.model import MAX_VISIBILITY_S, Settlement
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
from sluice_worker.runtime.message_events import UNOBSERVED, MessageEvents

log = logging.getLogger(__name__)

MIN_VISIBILITY_LEFT_S = 1.0
"""A message that SQS shows again sooner than this is not started: its delete would come too late."""

HEARTBEATS_PER_VISIBILITY = 8
"""How often each message is checked within one visibility timeout."""


class InFlightMessages:
    """The in-flight messages of one process."""

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
        events: MessageEvents = UNOBSERVED,
    ) -> None:
        self._events = events
        self._dispatcher, self._ack_batcher, self._policy = dispatcher, ack_batcher, policy
        self._dead_letters = DeadLetterSender(queues, dead_letter_queue or "")
        self._visibility_s = visibility_s
        self._min_visibility_left_s = min(MIN_VISIBILITY_LEFT_S, visibility_s / 4)
        self._max_held, self._max_held_bytes = max_held, max_held_bytes
        self._held: dict[int, Message] = {}
        self._held_bytes = 0
        self._count_lock = threading.Lock()
        self._attempts = Attempts()
        self._stage_lock = threading.Lock()
        self._ended = threading.Event()
        self.undeleted = 0
        """Messages that were processed and that SQS did not delete: they are delivered again."""
        self.expired = 0
        """Messages whose visibility timeout ended before they were started."""
        self.released = 0
        """Messages released without having failed."""

    def start(self) -> None:
        """Start the heartbeat."""
        start_loop("heartbeat", self._heartbeat)

    def stop(self) -> None:
        """End the heartbeat."""
        self._ended.set()

    @property
    def count(self) -> int:
        """Messages buffered, running, or waiting for SQS to confirm their end."""
        return len(self._held)

    @property
    def is_full(self) -> bool:
        """Whether no more should be received, because SQS confirms deletes more slowly than messages end."""
        return len(self._held) >= self._max_held or self._held_bytes >= self._max_held_bytes

    def add(self, messages: Iterable[Message]) -> None:
        """Take on messages that were just received."""
        with self._count_lock:
            for message in messages:
                self._held[id(message)] = message
                self._held_bytes += message.size_bytes

    def may_begin(self, message: Message, now: float) -> bool:
        """Whether its handler may be called; one that expired or cannot be read goes back, with its group."""
        if message.visible_at - now <= self._min_visibility_left_s:
            self._release_expired(message, now)
            return False
        if message.unreadable is not None:
            self._return_unreadable(message, message.unreadable)
            return False
        return True

    def _release_expired(self, message: Message, now: float) -> None:
        self.expired += 1
        self._record_unstarted(message)
        log.warning("%s of %s expired before it was started", message.message_id, message.queue.name)
        message.settlement = Settlement.EXPIRED
        if message.visible_at > now:
            self._hide(message, 0)
        else:
            self._remove(message, confirmed=True)
        self.release(self._unblock_group(message))

    def _return_unreadable(self, message: Message, reason: str) -> None:
        """Return it to its queue, whose redrive policy moves it whole.

        A copy in the dead-letter queue would lack the part that could not be read.
        """
        log.error("%s of %s cannot be read: %s", message.message_id, message.queue.name, reason)
        self._return(message, self._policy.back_off(message.message_id, message.receive_count).after_s)

    # ---- how a message ends --------------------------------------------------------------------------------

    def succeeded(self, message: Message) -> None:
        """Delete it; the next of its group begins once SQS has confirmed."""
        message.settlement = Settlement.DELETED
        self._delete(message)

    def _delete(self, message: Message) -> None:
        message.stage = Stage.SETTLING
        self._attempts.forget(message.message_id)
        until = message.received_at + MAX_VISIBILITY_S
        self._ack_batcher.add(PendingAck(message, None, until, self._on_deleted))

    def failed(self, message: Message, reason: str, *, rejected: bool = False) -> None:
        """Return it to its queue after a back-off, or send it to the dead-letter queue.

        The messages behind it in its group go back to the queue as well.
        """
        attempts = self._attempts.count_started(message.message_id, message.receive_count)
        follows = self._policy.after(message.message_id, attempts, rejected=rejected)
        if isinstance(follows, DeadLetter):
            # The heartbeat keeps a settling message hidden even past its deadline. Otherwise it would be
            # delivered again while its copy is sent.
            message.stage = Stage.SETTLING
            self._dead_letters.send(message, reason, self._on_dead_letter_done)
        else:
            self._return(message, follows.after_s)

    @property
    def pending_dead_letters(self) -> int:
        """Messages being sent to the dead-letter queue."""
        return self._dead_letters.pending

    def stop_dead_letters(self) -> None:
        """Start no further send to the dead-letter queue; its waiting messages go back to their queues."""
        self._dead_letters.stop()

    def release_with_successors(self, message: Message) -> None:
        """Release a message behind a failed one of its batch, and those behind it in its group."""
        behind = self._unblock_group(message)
        self.release([message, *behind])

    def release(self, messages: Iterable[Message]) -> None:
        """Make them visible to other consumers at once."""
        for message in messages:
            self.released += 1
            message.settlement = Settlement.RELEASED
            if message.stage is Stage.BUFFERED:
                self._record_unstarted(message)
            call_logging_defects(f"releasing {message.message_id}", self._hide, message, 0)

    def forget(self, message: Message) -> None:
        """Stop extending it, so that its visibility ends; release those behind it in its group at once."""
        message.settlement = Settlement.FORGOTTEN
        try:
            self._remove(message, confirmed=False)
        finally:
            self.release(self._unblock_group(message))

    def send_due_batch(self) -> bool:
        """Send up to ten acknowledgements in the caller's thread; returns whether any were due."""
        return self._ack_batcher.send_due_batch()

    def delete_after_late_success(self, message: Message) -> None:
        """Delete a message whose handler succeeded after its deadline, unless another consumer has it."""
        until = time.monotonic() + self._visibility_s
        self._ack_batcher.add(PendingAck(message, None, until, lambda *_: None))

    def _on_dead_letter_done(self, message: Message, refused: str | None) -> None:
        """Delete the message once its copy is sent, or leave it to its queue's redrive policy."""
        if refused is None:
            message.settlement = Settlement.DEAD_LETTERED
            self._delete(message)
            return
        # Each return to the queue runs the handler again. With a short back-off, a dead-letter queue that
        # refuses everything would keep handlers busy with messages that are known to fail.
        attempts = self._attempts.count_started(message.message_id, message.receive_count)
        back_off = self._policy.back_off(message.message_id, attempts)
        after_s = max(back_off.after_s, self._visibility_s)
        log.error("%s: %s goes back to its queue for %d s instead", refused, message.message_id, after_s)
        self._return(message, after_s)

    def _return(self, message: Message, after_s: int) -> None:
        """Return it to its queue, hidden for `after_s`; SQS blocks its group for that time."""
        message.settlement = Settlement.RETURNED
        behind = self._unblock_group(message)
        # A defect while hiding the failed message must not keep those behind it hidden for up to twelve
        # hours.
        try:
            self._hide(message, after_s)
        finally:
            self.release(behind)

    def _unblock_group(self, message: Message, *, settled: bool = False) -> list[Message]:
        """Let the next message of its group begin, or return the messages behind it, which must go back.

        It does so once for each message. A second call would unblock the group while another of its messages
        is at work.
        """
        if message.message_group is None or message.group_unblocked:
            return []
        message.group_unblocked = True
        if settled:
            with defects_logged(f"the advance of group {message.group_id}"):
                self._dispatcher.advance(message.message_group)
                return []
            # A defect in `advance`: the rest of the group goes back instead of staying hidden for hours.
        return self._dispatcher.drop(message.message_group)

    def _record_unstarted(self, message: Message) -> None:
        with self._stage_lock:
            self._attempts.record_unstarted(message.message_id)

    def _hide(self, message: Message, after_s: int) -> None:
        """Change its visibility so that it returns to its queue in `after_s` seconds.

        An extension under way is awaited first. Sent side by side, the extension could reach SQS last and
        keep the message hidden for the whole visibility timeout. `_on_extended` then calls this again.
        """
        with self._stage_lock:  # the heartbeat checks the stage and sets `extending` under the same lock
            message.stage = Stage.RETURNING
            message.returns_in_s = after_s
            if message.extending:
                return
        self._ack_batcher.add(PendingAck(message, after_s, message.visible_at, self._on_returned))

    def _on_returned(self, ack: PendingAck, reason: str | None) -> None:
        if reason is not None:
            log.warning("%s is redelivered after its visibility timeout: %s", ack.message.message_id, reason)
        elif ack.hide_s and ack.message.message_group is not None:
            self._dispatcher.record_head_hidden(ack.message.message_group, ack.requested_at + ack.hide_s)
        self._remove(ack.message, confirmed=reason is None)

    def _on_deleted(self, ack: PendingAck, reason: str | None) -> None:
        message = ack.message
        if reason is not None:
            self.undeleted += 1
            log.error("%s was processed and could not be deleted: %s", message.message_id, reason)
        try:
            self._remove(message, confirmed=reason is None)
        finally:
            self.release(self._unblock_group(message, settled=reason is None))

    def _remove(self, message: Message, *, confirmed: bool) -> None:
        """Hold it no longer; `confirmed` if its settlement is known to have succeeded."""
        message.stage = Stage.SETTLED
        was_full = self.is_full
        with self._count_lock:
            held = self._held.pop(id(message), None) is not None
            if held:
                self._held_bytes -= message.size_bytes
        if held:
            self._events.settled(message, confirmed=confirmed)
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
        expired = message.visible_at <= now  # SQS extends only messages that are in flight
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
