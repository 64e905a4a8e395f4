"""The message of a response that is not as documented, as far as it can be read.

It is held like any other message, so that it is hidden for a growing time and keeps its place in its group;
no handler sees it. Assumes no field to be present.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from sluice_worker.core.model import Queue
from sluice_worker.message import Message

log = logging.getLogger(__name__)

MAX_DIGITS = 9
"""Of a number of receipts that can be true; Python refuses to parse one of thousands of digits."""


def unreadable(queue: Queue, sent: object, now: float, visible_at: float, reason: str) -> Message | None:
    """The message, with `why` it cannot be read; None if what was received after it might overtake it.

    `now` and `visible_at` are seconds of the worker's clock.
    """
    said = _mapping(sent)
    system = _mapping(said.get("Attributes"))
    group = system.get("MessageGroupId")
    if queue.is_fifo and not group:
        log.error(
            "message %s of %s and those received after it are redelivered after their visibility timeout: "
            "its group cannot be read",
            said.get("MessageId"),
            queue.name,
        )
        return None
    count = str(system.get("ApproximateReceiveCount"))
    return Message(
        queue=queue,
        message_id=str(said.get("MessageId")),
        body="",
        receive_count=int(count) if count.isdecimal() and len(count) <= MAX_DIGITS else 1,
        sent_at=time.time(),
        group_id=group and str(group),
        receipt_handle=str(said.get("ReceiptHandle")),
        received_at=now,
        visible_at=visible_at,
        unreadable=reason,
    )


def _mapping(said: object) -> Mapping[str, Any]:
    return said if isinstance(said, Mapping) else {}
