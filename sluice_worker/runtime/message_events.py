"""Tells telemetry what happens to messages, where there is any; a defect in it affects no message."""

from __future__ import annotations

from collections.abc import Sequence

from sluice_worker.core.gauges import Gauges
from sluice_worker.message import Message
from sluice_worker.ports import Telemetry
from sluice_worker.runtime.loops import call_logging_defects
from sluice_worker.runtime.results import Result

WHAT = "telemetry"


class MessageEvents:
    """The telemetry of one process, or none."""

    def __init__(self, telemetry: Telemetry | None = None) -> None:
        self._telemetry = telemetry

    def began(self, batch: Sequence[Message]) -> None:
        """The handler is about to be called with this batch, in this thread."""
        if self._telemetry is not None:
            call_logging_defects(WHAT, self._telemetry.began, batch)

    def returned(self) -> None:
        """It has returned or raised, in this thread."""
        if self._telemetry is not None:
            call_logging_defects(WHAT, self._telemetry.returned)

    def ended(self, batch: Sequence[Message], ended: Sequence[Result], took_s: float) -> None:
        """The batch ended within `took_s`, of which each message has its share, as in the metrics."""
        if self._telemetry is not None:
            for message, result in zip(batch, ended, strict=True):
                call_logging_defects(
                    WHAT, self._telemetry.ended, message, result.outcome, took_s / len(batch), result.raised
                )

    def settled(self, message: Message, *, confirmed: bool) -> None:
        """The message left this process."""
        if self._telemetry is not None:
            call_logging_defects(WHAT, _settled, self._telemetry, message, confirmed)

    def observe(self, gauges: Gauges) -> None:
        """The gauges of a report."""
        if self._telemetry is not None:
            call_logging_defects(WHAT, self._telemetry.observe, gauges)

    def flush(self, timeout_s: float) -> None:
        """Export everything so far; give up after `timeout_s`."""
        if self._telemetry is not None:
            call_logging_defects(WHAT, self._telemetry.flush, timeout_s)


def _settled(telemetry: Telemetry, message: Message, confirmed: bool) -> None:
    telemetry.settled(message, confirmed=confirmed)


UNOBSERVED = MessageEvents()
