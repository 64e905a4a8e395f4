"""The queue of the ticks below a minute: SQS delivers each at its own moment, up to 15 minutes later."""

from __future__ import annotations

from collections.abc import Mapping

from sluice.aws.slice_queue import SliceQueue
from sluice.ports import DelayedMessage, RemainingS


class SqsTickQueue(SliceQueue):
    """Implements `ports.TickQueue`."""

    kind = "ticks"

    def send(self, messages: Mapping[str, DelayedMessage], remaining_s: RemainingS) -> Mapping[str, str]:
        """Send every message, keyed by its name; returns those not sent, with the reason."""
        return self._send(messages, remaining_s)
