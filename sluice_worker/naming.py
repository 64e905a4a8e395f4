"""The notation of a queue in the settings: its URL, priority and weight.

Whether a queue exists is checked at the start, not here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from sluice_worker.core.model import Priority, Queue

_QUEUE = re.compile(
    r"(?P<url>https?://[^=,/\s]+(?:/[^=:,/\s]+)+)/*(?:=(?P<priority>[^:=]*))?(?::(?P<weight>[^:=]*))?"
)


_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-\d+")
_LEGACY_HOST, _LEGACY_REGION = "queue.amazonaws.com", "us-east-1"


@dataclass(frozen=True, slots=True)
class QueueIdentity:
    """The identity of a queue; `region` None if its URL does not contain it."""

    account: str
    region: str | None
    name: str

    def may_be(self, other: QueueIdentity) -> bool:
        """Whether both may be the same queue: a custom endpoint's region is unknown."""
        regions = {self.region, other.region} - {None}
        return (self.account, self.name) == (other.account, other.name) and len(regions) < 2


def identity(url: str) -> QueueIdentity:
    """The identity of a queue, from any of its URLs, which end with the account and the name.

    The region is a part of the host's name (sqs.REGION.amazonaws.com, REGION.queue.amazonaws.com, FIPS,
    dual-stack and VPC endpoints) or, in emulators, of the path.
    """
    split = urlsplit(url)
    host = split.hostname or ""
    *path, name = [part for part in split.path.split("/") if part] or [""]
    regions = [part for part in [*path, *host.split(".")] if _REGION.fullmatch(part)]
    if host == _LEGACY_HOST:
        regions.append(_LEGACY_REGION)
    return QueueIdentity(path[-1] if path else "", regions[-1] if regions else None, name)


def parse_queue(text: object) -> object:
    """URL[=high|medium|low][:weight] as a Queue; a value that is not text passes through."""
    if isinstance(text, Queue):
        return replace(text, url=text.url.rstrip("/"))
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
