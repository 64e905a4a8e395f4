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
from sluice_worker.core.model import LONGEST_HOLD_S
from sluice_worker.core.retry_policy import (
    DeadLetter,
    FailurePolicy,
)
from sluice_worker.message import Message, Stage
from sluice_worker.ports import Queues
from sluice_worker.runtime.ack_batcher import (
    Entry,
    Outbox,
)
from sluice_worker.runtime.dead_letters import DeadLetterSender
from sluice_worker.runtime.dispatcher import Intake
from sluice_worker.runtime.loops import (
    looping,
    survive,
    surviving,
)

log = logging.getLogger(__name__)

MARGIN_S = 1.0
"""A message that SQS shows again within this is not begun: a delete would come too late."""

BEATS = 8
"""Looks at every message within one visibility timeout."""


class Custody:
    """The messages in this process's hands."""

    def __init__(
        self,
        queues: Queues,
        intake: Intake,
        outbox: Outbox,
        policy: FailurePolicy,
        *,
        dead_letter_queue: str | None,
        visibility_s: int,
        most_held: int,
        most_held_bytes: int,
    ) -> None:
        self._intake, self._outbox, self._policy = intake, outbox, policy
        self._dead_letters = DeadLetterSender(queues, dead_letter_queue or "")
        self._visibility_s = visibility_s
        self._most_held, self._most_held_bytes = most_held, most_held_bytes
        self._held: dict[int, Message] = {}
        self._held_bytes = 0
        self._counting = threading.Lock()
        self._attempts = Attempts()
        self._returning = threading.Lock()
        self._ended = threading.Event()
        self.given_up = 0
        """Messages that SQS would not delete: others will get them again."""
        self.expired = 0
        """Messages whose visibility ran out before they were begun."""
        self.handed_back = 0
        """Messages handed back without having failed."""

    def start(self) -> None:
        """Start the heartbeat."""
        looping("heartbeat", self._beat)

    def stop(self) -> None:
        """End the heartbeat."""
        self._ended.set()

    @property
    def count(self) -> int:
        """Messages held, running, or with their end on the way to SQS."""
        return len(self._held)

    @property
    def full(self) -> bool:
        """Whether nothing more should be received: SQS does not keep up with what it is told."""
        return len(self._held) >= self._most_held or self._held_bytes >= self._most_held_bytes

    def take_in(self, messages: Iterable[Message]) -> None:
        """These were just received."""
        with self._counting:
            for message in messages:
                self._held[id(message)] = message
                self._held_bytes += message.size_bytes

    def still_ours(self, message: Message, now: float) -> bool:
        """Whether it may be begun; what expired or cannot be read is let go, with those behind it."""
        if message.visible_at - now <= min(MARGIN_S, self._visibility_s / 4):
            self._expired(message, now)
            return False
        if message.unreadable is not None:
            self._unreadable(message, message.unreadable)
            return False
        return True

    def _expired(self, message: Message, now: float) -> None:
        self.expired += 1
        self._not_begun(message)
        log.warning("%s of %s expired before it was begun", message.message_id, message.queue.name)
        if message.visible_at > now:
            self._hide(message, 0)
        else:
            self._leave(message)
        self.hand_back(self._free_group(message))

    def _unreadable(self, message: Message, why: str) -> None:
        """Not to the dead letters, where a copy would lack what could not be read: redrive moves it whole."""
        log.error("%s of %s cannot be read: %s", message.message_id, message.queue.name, why)
        self._return(message, self._policy.back_off(message.message_id, message.receive_count).after_s)

    # ---- how a message ends --------------------------------------------------------------------------------

    def succeeded(self, message: Message) -> None:
        """Delete it; the next of its group begins once SQS has confirmed."""
        message.stage = Stage.SETTLING
        self._attempts.ended(message.message_id)
        until = message.received_at + LONGEST_HOLD_S
        self._outbox.add(Entry(message, None, until, self._deleted))

    def failed(self, message: Message, why: str, *, rejected: bool = False) -> None:
        """Back to the queue after a while, or to the dead letters; those behind it in its group go back."""
        attempts = self._attempts.begun(message.message_id, message.receive_count)
        follows = self._policy.after(message.message_id, attempts, rejected=rejected)
        if isinstance(follows, DeadLetter):
            message.stage = Stage.SETTLING  # kept hidden meanwhile, also past its deadline
            self._dead_letters.send(message, why, self._buried)
        else:
            self._return(message, follows.after_s)

    @property
    def burying(self) -> int:
        """Messages on their way to the dead letters."""
        return self._dead_letters.open

    def stop_burying(self) -> None:
        """Send no more dead letters: those not begun go back to their queue."""
        self._dead_letters.stop()

    def give_back_behind(self, message: Message) -> None:
        """One before it in its group failed, in the same batch: it goes back, and so do those behind it."""
        behind = self._free_group(message)
        self.hand_back([message, *behind])

    def hand_back(self, messages: Iterable[Message]) -> None:
        """Show them to other workers at once."""
        for message in messages:
            self.handed_back += 1
            if message.stage is Stage.BUFFERED:
                self._not_begun(message)
            survive(f"handing {message.message_id} back", self._hide, message, 0)

    def let_go(self, message: Message) -> None:
        """Keep it hidden no longer: it comes back by itself, and those behind it in its group at once."""
        try:
            self._leave(message)
        finally:
            self.hand_back(self._free_group(message))

    def help(self) -> bool:
        """Tell SQS how up to ten messages ended, in the caller's thread; says whether any waited."""
        return self._outbox.help()

    def deleted_late(self, message: Message) -> None:
        """Its handler came back with success after it was given up: spare another worker the work."""
        until = time.monotonic() + self._visibility_s
        self._outbox.add(Entry(message, None, until, lambda *_: None))

    def _buried(self, message: Message, refused: str | None) -> None:
        """What follows once a dead letter is sent, or refused: then it is the queue's redrive policy's."""
        if refused is None:
            self.succeeded(message)
            return
        # Not for ever from one refusal to the next: a handler is run for each.
        attempts = self._attempts.begun(message.message_id, message.receive_count)
        back_off = self._policy.back_off(message.message_id, attempts)
        after_s = max(back_off.after_s, self._visibility_s)
        log.error("%s: %s goes back to its queue for %d s instead", refused, message.message_id, after_s)
        self._return(message, after_s)

    def _return(self, message: Message, after_s: int) -> None:
        """The group stays blocked at SQS while it is hidden, so that those behind it cannot overtake."""
        behind = self._free_group(message)
        try:
            self._hide(message, after_s)
        finally:
            self.hand_back(behind)

    def _free_group(self, message: Message, *, settled: bool = False) -> list[Message]:
        """Once for each message that began: the next of its group may begin, or those behind it go back.

        The latter are returned; nothing is behind a message whose group it freed before.
        """
        if message.lane is None or message.freed_group:
            return []
        message.freed_group = True
        if settled:
            with surviving(f"the advance of group {message.group_id}"):
                self._intake.advance(message.lane)
                return []
            # What could not begin goes back, in place of staying hidden.
        return self._intake.drop(message.lane)

    def _not_begun(self, message: Message) -> None:
        with self._returning:
            self._attempts.not_begun(message.message_id)

    def _hide(self, message: Message, after_s: int) -> None:
        """Give it back; behind an extension under way, which would otherwise have the last word."""
        with self._returning:
            message.stage = Stage.RETURNING
            message.returns_in_s = after_s
            if message.extending:
                return
        self._outbox.add(Entry(message, after_s, message.visible_at, self._returned))

    def _returned(self, entry: Entry, why: str | None) -> None:
        if why is not None:
            log.warning("%s comes back by itself in a while: %s", entry.message.message_id, why)
        elif entry.hide_s and entry.message.lane is not None:
            self._intake.hidden(entry.message.lane, entry.asked_at + entry.hide_s)
        self._leave(entry.message)

    def _deleted(self, entry: Entry, why: str | None) -> None:
        message = entry.message
        if why is not None:
            self.given_up += 1
            log.error("%s was processed and could not be deleted: %s", message.message_id, why)
        try:
            self._leave(message)
        finally:
            self.hand_back(self._free_group(message, settled=why is None))

    def _leave(self, message: Message) -> None:
        message.stage = Stage.SETTLED
        was_full = self.full
        with self._counting:
            if self._held.pop(id(message), None) is not None:
                self._held_bytes -= message.size_bytes
        if was_full and not self.full:
            self._intake.look_again()

    # ---- the heartbeat -------------------------------------------------------------------------------------

    def _beat(self) -> bool:
        now = time.monotonic()
        for message in list(self._held.values()):
            survive(f"keeping {message.message_id} hidden", self._extend_if_due, message, now)
        return not self._ended.wait(min(1.0, self._visibility_s / BEATS))

    def _extend_if_due(self, message: Message, now: float) -> None:
        late = message.stage is Stage.RUNNING and now > message.deadline_at
        expired = message.visible_at <= now  # SQS extends only what is in flight
        if (
            late
            or expired
            or not message.hideable_s(now)
            or message.visible_at - now > self._visibility_s / 2
        ):
            return
        with self._returning:
            if message.extending or message.stage in (Stage.RETURNING, Stage.SETTLED):
                return
            message.extending = True
        self._outbox.add(Entry(message, self._visibility_s, message.visible_at, self._extended))

    def _extended(self, entry: Entry, why: str | None) -> None:
        message = entry.message
        if why is None:
            message.visible_at = entry.asked_at + (entry.hide_s or 0)
        elif message.stage is not Stage.SETTLED:
            log.warning("%s could not be kept hidden: %s", message.message_id, why)
        with self._returning:
            message.extending = False
            returns = message.stage is Stage.RETURNING
        if returns:
            self._hide(message, message.returns_in_s)
