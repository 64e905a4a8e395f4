"""SQS in memory, keeping the worker's port as AWS does: visibility, receive counts, group locks, redrive.

Failures are switched on by assigning, each under an operation's name: `raising` answers a call with an error,
`refusing` refuses single messages of a batch, `before` runs as a call begins and `after` once it has had its
effect, which is how a test holds a call up or loses its answer.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sluice.errors import ConfigError, SluiceError, TransientError
from sluice_worker.core.model import LONG_POLL_S, MAX_BATCH_SIZE, MAX_VISIBILITY_S, Depth, Poll
from sluice_worker.message import Message
from sluice_worker.ports import Refusal
from tests.support.builders import queue_url

UNKNOWN_HANDLE = Refusal(reason="ReceiptHandleIsInvalid", final=True)
EXPIRED_HANDLE = Refusal(reason="InvalidParameterValue: the receipt handle has expired", final=True)
NOT_IN_FLIGHT = Refusal(reason="MessageNotInflight", final=True)
BEYOND_LIMIT = Refusal(reason="InvalidParameterValue: beyond the limit [43200 seconds]", final=True)
THROTTLED = Refusal(reason="RequestThrottled", final=False)

REASON = "SluiceWorkerFailure"
MAX_ATTRIBUTES = 10

DOWN = TransientError("SQS is down")


@dataclass(slots=True, kw_only=True, eq=False)
class StoredMessage:
    """A message as the queue holds it; times are seconds of the fake's clock."""

    message_id: str
    body: str
    attributes: Mapping[str, str | bytes]
    types: Mapping[str, str]
    group: str | None
    trace_header: str | None
    sent_at: float
    receipts: int = 0
    handles: list[str] = field(default_factory=list)
    received_at: float = 0.0
    visible_at: float = float("-inf")


@dataclass(slots=True, kw_only=True)
class FakeQueue:
    """One queue; messages received `max_receipts` times move to `dead_letters`."""

    stored: list[StoredMessage] = field(default_factory=list)
    dead_letters: str | None = None
    max_receipts: int = 0
    max_bytes: int = 1_048_576


@dataclass(frozen=True, slots=True)
class Call:
    """One call that the worker made."""

    operation: str
    url: str
    bodies: tuple[str, ...] = ()
    seconds: tuple[int, ...] = ()
    """The timeouts that `hide` requested, or the maximum wait of a `receive`."""
    at: float = 0.0


class InMemorySqs:
    """Keeps `sluice_worker.ports.Queues`; `longest_wait_s` shortens long polls."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, longest_wait_s: float = LONG_POLL_S
    ) -> None:
        self._clock = clock
        self.longest_wait_s = longest_wait_s
        self._changed = threading.Condition(threading.RLock())
        self._queues: dict[str, FakeQueue] = {}
        self._origins: dict[str, StoredMessage] = {}
        self.calls: list[Call] = []
        self.raising: dict[str, Callable[[Call], SluiceError | None]] = {}
        self.refusing: dict[str, Callable[[Message], Refusal | None]] = {}
        self.before: dict[str, Callable[[Call], None]] = {}
        self.after: dict[str, Callable[[Call], None]] = {}

    # ---- what a test arranges and looks at -----------------------------------------------------------------

    def create(self, name: str, **more: Any) -> str:
        """A queue, empty, with these fields of `FakeQueue`; the answer is its URL."""
        self._queues[queue_url(name)] = FakeQueue(**more)
        return queue_url(name)

    def send(
        self,
        url: str,
        *bodies: str,
        group: str | None = None,
        attributes: Mapping[str, str | bytes] | None = None,
        types: Mapping[str, str] | None = None,
        trace_header: str | None = None,
    ) -> None:
        """Messages, visible at once; ConfigError for one that SQS would refuse."""
        typed = {**_types(attributes or {}), **(types or {})}
        for body in bodies:
            if _size_bytes(body, attributes or {}, typed) > self._queues[url].max_bytes:
                raise ConfigError(f"Message must be shorter than {self._queues[url].max_bytes} bytes.")
        if len(typed) > MAX_ATTRIBUTES:
            raise ConfigError(f"Number of message attributes [{len(typed)}] exceeds the allowed maximum")
        with self._changed:
            self._queues[url].stored.extend(
                StoredMessage(
                    message_id=uuid.uuid4().hex,
                    body=body,
                    attributes=dict(attributes or {}),
                    types=typed,
                    group=group,
                    trace_header=trace_header,
                    sent_at=time.time(),
                )
                for body in bodies
            )
            self._changed.notify_all()

    def failing(self, *operations: str, error: SluiceError = DOWN) -> None:
        """Make these operations raise until `healed`."""
        for operation in operations:
            self.raising[operation] = lambda _: error

    def healed(self) -> None:
        """Stop all failures."""
        self.raising.clear()
        self.refusing.clear()

    def made(self, operation: str) -> list[Call]:
        """The calls of one kind, in their order."""
        return [call for call in list(self.calls) if call.operation == operation]

    def all(self, url: str) -> list[StoredMessage]:
        """What the queue holds, hidden or not, in its order."""
        with self._changed:
            return list(self._queues[url].stored)

    def bodies(self, url: str) -> list[str]:
        """The bodies of all that the queue holds."""
        return [stored.body for stored in self.all(url)]

    def visible(self, url: str) -> list[str]:
        """The bodies of what the queue would deliver now."""
        now = self._clock()
        return [stored.body for stored in self.all(url) if stored.visible_at <= now]

    # ---- the port ------------------------------------------------------------------------------------------

    def receive(self, poll: Poll, visibility_s: int) -> list[Message]:
        """A long poll waits for the first message to be there."""
        call = self._begin(Call("receive", poll.queue.url, seconds=(poll.wait_s,), at=self._clock()))
        began_at = time.monotonic()
        with self._changed:
            while not (taken := self._take(poll, visibility_s)):
                # Read again each time: a test ends long polls in progress by shortening them.
                remaining_s = began_at + min(poll.wait_s, self.longest_wait_s) - time.monotonic()
                if remaining_s <= 0:
                    break
                self._changed.wait(min(remaining_s, 0.02))
        self._end(call)
        return taken

    def delete(self, messages: Sequence[Message]) -> dict[int, Refusal]:
        """Each is refused or deleted by itself."""
        url = _one_queue(messages)
        call = self._begin(Call("delete", url, tuple(message.body for message in messages), at=self._clock()))
        refused = {}
        with self._changed:
            for place, message in enumerate(messages):
                refusal = self._refusal("delete", message) or self._delete(url, message)
                if refusal is not None:
                    refused[place] = refusal
            self._changed.notify_all()
        self._end(call)
        return refused

    def hide(self, messages: Sequence[tuple[Message, int]]) -> dict[int, Refusal]:
        """Each is refused or hidden by itself."""
        url = _one_queue([message for message, _ in messages])
        bodies = tuple(message.body for message, _ in messages)
        call = self._begin(
            Call("hide", url, bodies, tuple(seconds for _, seconds in messages), at=self._clock()),
        )
        refused = {}
        with self._changed:
            for place, (message, seconds) in enumerate(messages):
                refusal = self._refusal("hide", message) or self._hide(url, message, seconds)
                if refusal is not None:
                    refused[place] = refusal
            self._changed.notify_all()
        self._end(call)
        return refused

    def depth(self, url: str) -> Depth:
        """Exact; AWS's is approximate."""
        self._begin(Call("depth", url, at=self._clock()))
        visible, everything = len(self.visible(url)), len(self.all(url))
        return Depth(visible=visible, in_flight=everything - visible)

    def send_to_dead_letter_queue(self, url: str, message: Message, reason: str) -> None:
        """Send the original message with as much of the reason as fits."""
        call = self._begin(Call("send_to_dead_letter_queue", url, (message.body,), at=self._clock()))
        own = {name: value for name, value in message.attributes.items() if name != REASON}
        used = _size_bytes(message.body, own, message.attribute_types)
        room = self._queues[url].max_bytes - used - len(REASON) - len("String")
        shortened = (
            reason.encode()[: max(room, 0)].decode(errors="ignore") if len(own) < MAX_ATTRIBUTES else ""
        )
        self.send(
            url,
            message.body,
            group=message.group_id,
            attributes=own | ({REASON: shortened} if shortened else {}),
            types={name: message.attribute_types.get(name, "String") for name in own},
            trace_header=message.trace_header,
        )
        self._end(call)

    # ---- how it keeps it -----------------------------------------------------------------------------------

    def _begin(self, call: Call) -> Call:
        self.calls.append(call)
        self.before.get(call.operation, _nothing)(call)
        if call.url not in self._queues:
            raise ConfigError(f"{call.url}: AWS answered NonExistentQueue")
        failed = self.raising.get(call.operation, _nothing)(call)
        if failed is not None:
            raise failed
        return call

    def _end(self, call: Call) -> None:
        self.after.get(call.operation, _nothing)(call)

    def _refusal(self, operation: str, message: Message) -> Refusal | None:
        refusing = self.refusing.get(operation)
        return None if refusing is None else refusing(message)

    def _take(self, poll: Poll, visibility_s: int) -> list[Message]:
        now, queue = self._clock(), self._queues[poll.queue.url]
        locked = {stored.group for stored in queue.stored if stored.visible_at > now}
        taken = []
        for stored in list(queue.stored):
            if stored.visible_at > now or (stored.group in locked and poll.queue.is_fifo):
                continue
            if queue.dead_letters is not None and stored.receipts >= queue.max_receipts:
                queue.stored.remove(stored)
                stored.receipts = 0
                self._queues[queue.dead_letters].stored.append(stored)
                continue
            taken.append(self._received(poll, stored, now, visibility_s))
            if len(taken) == min(poll.max_messages, MAX_BATCH_SIZE):
                break
        return taken

    def _received(self, poll: Poll, stored: StoredMessage, now: float, visibility_s: int) -> Message:
        stored.receipts += 1
        stored.handles.append(uuid.uuid4().hex)
        stored.received_at, stored.visible_at = now, now + visibility_s
        self._origins[stored.handles[-1]] = stored
        return Message(
            queue=poll.queue,
            message_id=stored.message_id,
            body=stored.body,
            attributes=stored.attributes,
            attribute_types=stored.types,
            trace_header=stored.trace_header,
            receive_count=stored.receipts,
            sent_at=stored.sent_at,
            group_id=stored.group,
            receipt_handle=stored.handles[-1],
            received_at=now,
            visible_at=now + visibility_s,
        )

    def _delete(self, url: str, message: Message) -> Refusal | None:
        stored = self._origins.get(message.receipt_handle)
        if stored is None:
            return UNKNOWN_HANDLE
        newest = stored.handles[-1] == message.receipt_handle
        if url.endswith(".fifo") and not (newest and stored.visible_at > self._clock()):
            return None if stored not in self._queues[url].stored else EXPIRED_HANDLE
        # With an older handle a standard queue says yes and need not delete (documented).
        if newest and stored in self._queues[url].stored:
            self._queues[url].stored.remove(stored)
        return None

    def _hide(self, url: str, message: Message, seconds: int) -> Refusal | None:
        stored = self._origins.get(message.receipt_handle)
        now = self._clock()
        if stored is None:
            return UNKNOWN_HANDLE
        if stored not in self._queues[url].stored or stored.visible_at <= now:
            return NOT_IN_FLIGHT
        if stored.handles[-1] != message.receipt_handle:
            return EXPIRED_HANDLE
        if now + seconds > stored.received_at + MAX_VISIBILITY_S:
            return BEYOND_LIMIT
        stored.visible_at = now + seconds
        return None


def _types(attributes: Mapping[str, str | bytes]) -> dict[str, str]:
    return {name: "Binary" if isinstance(value, bytes) else "String" for name, value in attributes.items()}


def _size_bytes(body: str, attributes: Mapping[str, str | bytes], types: Mapping[str, str]) -> int:
    """As SQS counts: the body, and the names, types and values of the attributes."""
    texts = [body, *attributes, *attributes.values(), *(types[name] for name in attributes)]
    return sum(len(text if isinstance(text, bytes) else text.encode()) for text in texts)


def _nothing(_: Call) -> None:
    return None


def _one_queue(messages: Sequence[Message]) -> str:
    urls = {message.queue.url for message in messages}
    assert len(urls) == 1, f"a batch for {len(urls)} queues"
    assert len(messages) <= MAX_BATCH_SIZE, f"a batch of {len(messages)}"
    return urls.pop()
