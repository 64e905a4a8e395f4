"""A worker as the embedded fleets see it: it runs on one instance or task, and it can drain.

In a module of its own, so that fleets need to know neither which workers there are nor the account.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Worker(Protocol):
    """What runs on an instance or task from its boot on."""

    @property
    def alive(self) -> bool:
        """False once it has ended, whether or not it was stopped."""
        ...

    @property
    def protected(self) -> bool:
        """Whether it holds the scale-in protection of its instance."""
        ...

    def drain(self, when_drained: Callable[[], None]) -> None:
        """Receive nothing new, finish the messages in flight, then call `when_drained`."""
        ...
