"""A batch handler: called with a list of messages, it returns those that failed.

Nothing is taken for success by mistake: an exception, or a return value that cannot be read, fails the whole
batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluice_worker.core.retry_policy import Reject
from sluice_worker.message import Message
from sluice_worker.runtime.handler_runner import (
    Caller,
    Handler,
    caught,
)


@dataclass(frozen=True, slots=True)
class Failed:
    """One message of a batch that failed; the others succeeded.

    `why` is a text or the exception that was caught; a `Reject` sends the message to the dead letters at
    once, as raising it does where messages are handled one at a time.
    """

    message: Message
    why: str | BaseException = "failed"


Call = Callable[[Sequence[Message]], Sequence[BaseException | None]]
"""Calls the handler with a batch; returns for each message what it failed with, or None."""
BatchHandler = Callable[[list[Message]], Any]
"""Returns None if all succeeded, else an iterable of `Failed`; may be a coroutine function."""

WAY_OUT = "return None, or an iterable of Failed(message, why) for those of its messages that failed"


def one_at_a_time(handler: Handler) -> Call:
    """A call for a handler that takes one message: it gets the only one of its batch."""
    caller = Caller(handler)
    return lambda batch: [caller.call(batch[0])]


class BatchCaller:
    """Calls a `BatchHandler`."""

    def __init__(self, handler: Callable[[Any], Any]) -> None:
        self._caller = Caller(handler)

    def call(self, batch: Sequence[Message]) -> list[BaseException | None]:
        """Call it with messages of one queue; returns for each what it failed with, or None."""
        answered, raised = self._caller.answer(
            list(batch), lambda: min(message.remaining_s for message in batch)
        )
        failed: dict[str, BaseException] | None = None
        if raised is None:
            # The handler may be a generator, which runs only as its answer is read.
            failed, raised = caught(lambda: _by_receipt(batch, answered))
        if failed is not None:
            return [failed.get(message.receipt_handle) for message in batch]
        if isinstance(raised, Reject):
            said = f"a Reject of a whole batch rejects none of its messages: {raised}; {WAY_OUT}"
            raised = RuntimeError(said)
        return [raised] * len(batch)


def _by_receipt(batch: Sequence[Message], answered: object) -> dict[str, BaseException]:
    """The failed messages by receipt handle; TypeError or ValueError for a return value of another shape."""
    if answered is None:
        return {}
    if not isinstance(answered, Iterable) or isinstance(answered, str | bytes | Mapping):
        raise TypeError(f"the batch handler returned {answered!r:.200}; {WAY_OUT}")
    # By receipt handle: a copy of a message, for example from another process, is the same message.
    receipts = {message.receipt_handle for message in batch}
    failed: dict[str, BaseException] = {}
    for one in answered:
        if not isinstance(one, Failed) or not isinstance(one.message, Message):
            raise TypeError(f"the batch handler's answer holds {one!r:.200}; {WAY_OUT}")
        if one.message.receipt_handle not in receipts:
            raise ValueError(
                f"the batch handler says that {one.message.message_id} failed, which it was not called with; "
                + WAY_OUT
            )
        failed[one.message.receipt_handle] = (
            one.why if isinstance(one.why, BaseException) else MessageFailedError(str(one.why))
        )
    return failed


class MessageFailedError(Exception):
    """The failure of one message, in the batch handler's words."""
