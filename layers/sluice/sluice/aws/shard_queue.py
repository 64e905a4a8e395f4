"""The queue through which a large tick sends its shards to other invocations of its function."""

from __future__ import annotations

from collections.abc import Mapping

from sluice.aws.slice_queue import SliceQueue
from sluice.ports import DelayedMessage, RemainingS


class SqsShards(SliceQueue):
    """Implements `ports.Shards`."""

    kind = "shards"

    def send(self, bodies: Mapping[str, str], remaining_s: RemainingS) -> Mapping[str, str]:
        """Send every shard's message at once, keyed by its name; returns those not sent, with the reason."""
        return self._send(
            {name: DelayedMessage(body=body, delay_s=0) for name, body in bodies.items()}, remaining_s
        )
