"""Batches of messages: when one is due, and what a failure in it means for the other messages.

Messages are always processed in batches: a handler that takes one at a time gets batches of one, due at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from sluice_worker.core.model import MAX_BATCH_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRule:
    """A batch is due with `size` messages, or once its oldest was received `wait_s` ago."""

    size: int = 1
    wait_s: float = 0.0

    @property
    def prefetch_per_slot(self) -> int:
        """Messages to prefetch for an idle slot: a full batch, and room for a poll of ten until then."""
        return self.size if self.size == 1 else self.size + MAX_BATCH_SIZE - 1


def behind_failures(groups: Sequence[Hashable | None], failed: Sequence[bool]) -> list[bool]:
    """Which messages follow a failed one of their group, in the order of the batch; None is no group.

    They do not count as done, even if the handler succeeded: the failed one is delivered again, and would be
    processed after them. Lambda requires the same of its handlers with FIFO queues (documented).
    """
    broken: set[Hashable] = set()
    behind = []
    for group, has_failed in zip(groups, failed, strict=True):
        behind.append(group is not None and group in broken)
        if has_failed and group is not None:
            broken.add(group)
    return behind
