"""The worker's metrics as OpenTelemetry instruments: the counts of the CloudWatch metrics, by queue.

Names of the semantic conventions where they have one, else `sluice.`. Every attribute has few values: the
fleet, the queues, three priorities, three outcomes.
"""

from __future__ import annotations

import time

from opentelemetry.metrics import Meter

from sluice_worker.core.gauges import Gauges
from sluice_worker.core.model import Outcome, Queue
from sluice_worker.message import Message

BOUNDARIES_S = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    *(60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200),
)
"""From milliseconds to the twelve hours for which SQS hides a message."""


class Instruments:
    """Records what happens; what it recorded is exported by the meter's reader."""

    def __init__(self, meter: Meter, fleet: str | None) -> None:
        self._fleet = {} if fleet is None else {"sluice.fleet": fleet}
        self._process = meter.create_histogram(
            "messaging.process.duration",
            "s",
            "Seconds of each message, as its share of the handler's batch.",
            explicit_bucket_boundaries_advisory=BOUNDARIES_S,
        )
        self._wait = meter.create_histogram(
            "sluice.message.wait.duration",
            "s",
            "Seconds from a message's sending to its start.",
            explicit_bucket_boundaries_advisory=BOUNDARIES_S,
        )
        self._consumed = meter.create_counter(
            "messaging.client.consumed.messages", "{message}", "Messages that were given to the handler."
        )
        self._buffered = meter.create_gauge(
            "sluice.buffer.messages", "{message}", "Messages received and not begun."
        )
        self._buffer_use = meter.create_gauge(
            "sluice.buffer.utilization", "1", "What is buffered, of what may be now."
        )
        self._pollers = meter.create_gauge("sluice.pollers", "{thread}", "Threads that receive.")
        self._slots = meter.create_gauge("sluice.slots", "{thread}", "Threads that work.")
        self._busy = meter.create_gauge("sluice.slots.busy", "{thread}", "Threads at work.")
        self._visible = meter.create_gauge(
            "sluice.queue.messages.visible", "{message}", "The queue's visible messages as last read."
        )
        self._in_flight = meter.create_gauge(
            "sluice.queue.messages.in_flight", "{message}", "The queue's messages in flight as last read."
        )

    def began(self, message: Message) -> None:
        """Count a message that is given to the handler."""
        attributes = self._of(message.queue)
        self._consumed.add(1, attributes)
        self._wait.record(max(time.time() - message.sent_at, 0.0), attributes)

    def ended(self, message: Message, outcome: Outcome, took_s: float) -> None:
        """Count a message that ended."""
        attributes = self._of(message.queue) | {"sluice.outcome": outcome.value}
        if outcome is not Outcome.SUCCESS:
            attributes["error.type"] = outcome.value
        self._process.record(took_s, attributes)

    def observe(self, gauges: Gauges) -> None:
        """Set the gauges."""
        for priority, buffered in gauges.buffered.items():
            self._buffered.set(buffered, {**self._fleet, "sluice.priority": priority.value})
        self._buffer_use.set(gauges.buffer_use, self._fleet)
        self._pollers.set(gauges.pollers, self._fleet)
        self._slots.set(gauges.slots, self._fleet)
        self._busy.set(gauges.busy, self._fleet)
        for name, depth in gauges.depths.items():
            if depth is not None:
                named = {**self._fleet, "messaging.system": "aws_sqs", "messaging.destination.name": name}
                self._visible.set(depth.visible, named)
                self._in_flight.set(depth.in_flight, named)

    def _of(self, queue: Queue) -> dict[str, str]:
        return {
            **self._fleet,
            "messaging.system": "aws_sqs",
            "messaging.destination.name": queue.name,
            "messaging.operation.name": "process",
            "sluice.priority": queue.priority.value,
        }
