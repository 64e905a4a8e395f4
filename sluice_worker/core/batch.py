"""Messages that a handler gets together: when a batch is due, and what a failure in it means for the others.

Messages are worked on in batches whatever the handler is: one at a time is a batch of one, due at once.
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
        """Messages to hold for a batch to fill: a poll has room for ten until the last one is there."""
        return self.size if self.size == 1 else self.size + MAX_BATCH_SIZE - 1


def behind_failures(groups: Sequence[Hashable | None], failed: Sequence[bool]) -> list[bool]:
    """Which messages follow a failed one of their group, in the order of the batch; None is no group.

    Whatever their handler says of them they do not count as done: the failed one comes again, and would then
    come after them. Lambda asks its handlers for the same with FIFO queues (documented).
    """
    broken: set[Hashable] = set()
    behind = []
    for group, has_failed in zip(groups, failed, strict=True):
        behind.append(group is not None and group in broken)
        if has_failed and group is not None:
            broken.add(group)
    return behind
