"""Trace ids as X-Ray forms them: the seconds of their creation first, so that X-Ray takes them too."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator


class TraceIds(RandomIdGenerator):
    """New ids, or the one that a header asks for."""

    def __init__(self) -> None:
        self._next = threading.local()

    @contextmanager
    def next_is(self, trace_id: int | None) -> Iterator[None]:
        """Within the context a root span of this thread belongs to this trace, if one is given."""
        self._next.trace_id = trace_id
        try:
            yield
        finally:
            self._next.trace_id = None

    def generate_trace_id(self) -> int:
        """32 bits of seconds and 96 that are random."""
        given: int | None = getattr(self._next, "trace_id", None)
        return given or int(time.time()) << 96 | random.getrandbits(96)

    def is_trace_id_random(self) -> bool:
        """The last 56 bits are, which is what the W3C asks."""
        return True
