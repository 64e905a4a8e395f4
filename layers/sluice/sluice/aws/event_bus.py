"""An EventBridge bus that decisions are put on, in this account and region or in another."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sluice.aws.concurrent_reads import batches, fan_out
from sluice.aws.errors import TRANSIENT_CODES, aws_errors
from sluice.aws.responses import MalformedResponse, list_field
from sluice.core.model import Unknown
from sluice.ports import DecisionEvent, RemainingS

EVENTS_PER_CALL = 10
SOURCE = "sluice"


class EventBridgeBus:
    """Implements `ports.EventBus`; the client is one of the bus's region."""

    def __init__(self, client: Callable[[], Any], pool: ThreadPoolExecutor, bus_arn: str) -> None:
        self._client, self._pool, self._arn = client, pool, bus_arn

    def put(self, events: Sequence[DecisionEvent], remaining_s: RemainingS) -> Mapping[int, Unknown]:
        """PutEvents, ten a call, all calls concurrently; what AWS could not take at first is put again."""
        unsent, passing = self._put(range(len(events)), events, remaining_s)
        if passing:
            again, _ = self._put(sorted(passing), events, remaining_s)
            unsent = {place: why for place, why in unsent.items() if place not in passing} | again
        return unsent

    def _put(
        self, places: Sequence[int], events: Sequence[DecisionEvent], remaining_s: RemainingS
    ) -> tuple[dict[int, Unknown], set[int]]:
        """Which are not on the bus, and which of those AWS may take a moment later."""
        client, unsent, passing = self._client(), dict[int, Unknown](), set[int]()

        def call(some: tuple[int, ...]) -> Mapping[int, str]:
            """The places of what AWS refused, with its code and message."""
            with aws_errors(self._putting(some)):
                response = client.put_events(Entries=[self._entry(events[place]) for place in some])
                entries = list_field(response, "Entries")
                if len(entries) != len(some):
                    raise MalformedResponse(f"{len(entries)} entries for {len(some)} events")
                return {
                    place: f"{entry.get('ErrorCode', 'no EventId')}: {entry.get('ErrorMessage', '')}"
                    for place, entry in zip(some, entries, strict=True)
                    if "EventId" not in entry
                }

        answers = fan_out(self._pool, call, batches(places, EVENTS_PER_CALL), self._putting, remaining_s)
        for some, refused in answers.items():
            if isinstance(refused, Unknown):
                unsent |= dict.fromkeys(some, refused)
                continue
            for place, answer in refused.items():
                unsent[place] = Unknown(reason=f"{self._putting(some)}: AWS refused one with {answer}")
                if answer.partition(":")[0] in TRANSIENT_CODES:
                    passing.add(place)
        return unsent, passing

    def _putting(self, places: tuple[int, ...]) -> str:
        return f"PutEvents of {len(places)} events to {self._arn}"

    def _entry(self, event: DecisionEvent) -> dict[str, str]:
        return {
            "EventBusName": self._arn,
            "Source": SOURCE,
            "DetailType": event.detail_type,
            "Detail": json.dumps(event.detail, ensure_ascii=False),
        }
