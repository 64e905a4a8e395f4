"""How a queue is named to a worker: its URL, and what sets it against others.

Owns the notation. Refuses to ask whether there is such a queue: the start does.
"""

from __future__ import annotations

import re

from sluice_worker.core.model import Priority, Queue

_QUEUE = re.compile(
    r"(?P<url>https?://[^=,/\s]+(?:/[^=:,/\s]+)+)(?:=(?P<priority>[^:=]*))?(?::(?P<weight>[^:=]*))?"
)


def parse_queue(text: object) -> object:
    """URL[=high|medium|low][:weight] as a Queue; whatever is not text passes through."""
    if not isinstance(text, str):
        return text
    found = _QUEUE.fullmatch(text)
    if found is None:
        raise ValueError("write URL[=high|medium|low][:weight], with the queue's whole URL")
    priority, weight = found["priority"], found["weight"]
    if priority is not None and priority not in list(Priority):
        raise ValueError(f"priority {priority!r} is none of {', '.join(Priority)}")
    try:
        weighs = 1.0 if weight is None else float(weight)
    except ValueError:
        raise ValueError(f"weight {weight!r} is not a number") from None
    if not 0 < weighs <= 1000:
        raise ValueError(f"weight {weight} is not within 0 (excluded) and 1000")
    return Queue(url=found["url"], priority=Priority(priority or Priority.MEDIUM), weight=weighs)
