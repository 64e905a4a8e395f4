"""moto's SQS with what it lacks for dozens of workers that end at random.

Owns the state of the queues under one lock: no message is handed out twice, long polls sleep until something
changes, a FIFO group is blocked while any of its messages is in flight, a receipt handle is good for one
receipt, and a receive that is retried with its attempt id returns the same messages again.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Sequence
from typing import Any

from moto.sqs.exceptions import ReceiptHandleIsInvalid
from moto.sqs.models import Message, Queue, SQSBackend
from moto.sqs.responses import SQSResponse

MAX_POLL_SLEEP_S = 0.5
"""The longest time between two checks of a long poll, if nothing changes and nothing becomes visible."""

MAX_POLL_S = 2.0
"""A long poll returns empty after this, whatever WaitTimeSeconds says: a drain waits for it."""

_state = threading.RLock()
_changed = threading.Condition(_state)
_request = threading.local()
"""The ReceiveRequestAttemptId of this thread's request, which moto does not pass on."""
_attempts: dict[str, list[Message]] = {}
_respond, _send, _describe = (
    SQSResponse.receive_message,
    SQSBackend.send_message,
    SQSBackend.get_queue_attributes,
)


def install() -> None:
    """Patch moto in this process, permanently."""
    # moto would count all messages three times for any attribute: only `_attributes` counts them.
    Queue.BASE_ATTRIBUTES = [name for name in Queue.BASE_ATTRIBUTES if name not in COUNTS]
    SQSResponse.receive_message = _received
    SQSBackend.send_message = _sent
    SQSBackend.receive_message = _receive
    SQSBackend.delete_message = _delete
    SQSBackend.change_message_visibility = _change_visibility
    SQSBackend.get_queue_attributes = _attributes


# ---- receiving ---------------------------------------------------------------------------------------------


def _received(response: SQSResponse) -> Any:
    _request.attempt = response._get_param("ReceiveRequestAttemptId")
    return _respond(response)


def _receive(
    backend: SQSBackend,
    queue_name: str,
    count: int,
    wait_seconds_timeout: int,
    visibility_timeout: int,
    message_attribute_names: Sequence[str] = (),
) -> list[Message]:
    until = time.monotonic() + min(wait_seconds_timeout, MAX_POLL_S)
    with _changed:
        while True:
            queue = backend.get_queue(queue_name)
            messages = _repeat_of_lost_response(visibility_timeout) or _take(queue, count, visibility_timeout)
            left_s = until - time.monotonic()
            if messages or left_s <= 0:
                return [copy.copy(message) for message in messages]
            _changed.wait(min(left_s, _next_visible_in_s(queue)))


def _repeat_of_lost_response(visibility_s: int) -> list[Message]:
    """The messages that this attempt received before, while all of them are still hidden for it."""
    messages = _attempts.get(_request.attempt or "", [])
    if not all(_in_flight(message) for message in messages):
        return []
    for message in messages:
        message.change_visibility(visibility_s)
    return messages


def _take(queue: Queue, count: int, visibility_s: int) -> list[Message]:
    now_ms = time.time() * 1000
    blocked = (
        {each.group_id for each in queue._messages if each.visible_at > now_ms} if queue.fifo_queue else set()
    )
    taken: list[Message] = []
    for message in list(queue._messages):
        if len(taken) == count:
            break
        if max(message.visible_at, message.delayed_until) > now_ms or message.group_id in blocked:
            continue
        if _is_poison(queue, message):
            assert queue.dead_letter_queue is not None
            queue._messages.remove(message)
            queue.dead_letter_queue._messages.append(message)
            continue
        message.mark_received(visibility_s)
        taken.append(message)
    if taken and _request.attempt:
        _attempts[_request.attempt] = taken
    return taken


def _is_poison(queue: Queue, message: Message) -> bool:
    policy = queue.redrive_policy
    return bool(policy) and message.approximate_receive_count >= policy["maxReceiveCount"]


def _next_visible_in_s(queue: Queue) -> float:
    now_ms = time.time() * 1000
    hidden = [message.visible_at - now_ms for message in queue._messages if message.visible_at > now_ms]
    return min([MAX_POLL_SLEEP_S, *(left_ms / 1000 for left_ms in hidden)])


# ---- the rest ----------------------------------------------------------------------------------------------


def _sent(backend: SQSBackend, *args: Any, **kwargs: Any) -> Message:
    with _changed:
        message = _send(backend, *args, **kwargs)
        _changed.notify_all()
        return message


def _delete(backend: SQSBackend, queue_name: str, receipt_handle: str) -> None:
    """An outdated handle deletes nothing, and only a FIFO queue reports that as an error."""
    with _changed:
        queue = backend.get_queue(queue_name)
        if receipt_handle in queue.deleted_messages:
            return
        message = _holder(queue, receipt_handle)
        good = message.receipt_handle == receipt_handle
        if queue.fifo_queue and not (good and _in_flight(message)):
            raise ReceiptHandleIsInvalid
        if good:
            queue._messages.remove(message)
            queue.deleted_messages.update(handle for handle in message.all_receipt_handles if handle)
            _changed.notify_all()


def _change_visibility(
    backend: SQSBackend, queue_name: str, receipt_handle: str, visibility_timeout: int
) -> None:
    """Only a message in flight, and only with its newest receipt handle."""
    with _changed:
        message = _holder(backend.get_queue(queue_name), receipt_handle)
        if message.receipt_handle != receipt_handle or not _in_flight(message):
            raise ReceiptHandleIsInvalid
        message.visible_at = time.time() * 1000 + visibility_timeout * 1000
        _changed.notify_all()


def _holder(queue: Queue, receipt_handle: str) -> Message:
    for message in queue._messages:
        if message.had_receipt_handle(receipt_handle):
            return message
    raise ReceiptHandleIsInvalid


def _in_flight(message: Message) -> bool:
    return message.visible_at > time.time() * 1000


def _attributes(backend: SQSBackend, queue_name: str, attribute_names: Sequence[str]) -> dict[str, Any]:
    with _changed:
        queue = backend.get_queue(queue_name)
        others = [name for name in attribute_names if name not in COUNTS]
        counted = COUNTS if "All" in others else set(attribute_names) & COUNTS.keys()
        return {**_describe(backend, queue_name, others), **{name: COUNTS[name](queue) for name in counted}}


def _count_visible(queue: Queue) -> int:
    now_ms = time.time() * 1000
    return sum(max(message.visible_at, message.delayed_until) <= now_ms for message in queue._messages)


def _count_in_flight(queue: Queue) -> int:
    now_ms = time.time() * 1000
    return sum(message.visible_at > now_ms for message in queue._messages)


def _count_delayed(queue: Queue) -> int:
    now_ms = time.time() * 1000
    return sum(message.delayed_until > now_ms for message in queue._messages)


COUNTS = {
    "ApproximateNumberOfMessages": _count_visible,
    "ApproximateNumberOfMessagesNotVisible": _count_in_flight,
    "ApproximateNumberOfMessagesDelayed": _count_delayed,
}
