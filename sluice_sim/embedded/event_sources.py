"""Lambda's event source mappings: a queue invokes a function with what becomes visible in it.

A poller of AWS receives a message as soon as it is visible, so each message is delivered at the end of its
delay. A batch whose invocation fails becomes visible again after the queue's visibility timeout. Both pass on
the virtual clock, even while SQS is on the wall clock for worker processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import boto3
from moto.sqs import models
from moto.sqs.models import Message, sqs_backends

from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.clock import VirtualClock

Deliver = Callable[[dict[str, Any]], Exception | None]
"""Invokes the function with an event; returns the exception it raised, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSource:
    """One queue and the function that it invokes."""

    queue_name: str
    batch_size: int
    deliver: Deliver
    visible_at: dict[str, float] = field(default_factory=dict)
    """Message id -> virtual time of the poll that receives it."""


class EventSources:
    """The event source mappings of the account."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock, self._sqs = clock, boto3.client("sqs")
        self._sources: list[EventSource] = []

    def add(self, properties: Mapping[str, Any], deliver: Deliver) -> None:
        """Map a queue to a function, from the properties of an event of type SQS; replaces its mapping."""
        name = str(properties["Queue"]).rpartition(":")[2]
        self._sources = [source for source in self._sources if source.queue_name != name]
        self._sources.append(
            EventSource(queue_name=name, batch_size=int(properties["BatchSize"]), deliver=deliver)
        )

    def schedule_polls(self) -> None:
        """Schedule a poll for each moment at which a message becomes visible."""
        for source in self._sources:
            for message in _messages(source):
                if message.id not in source.visible_at:
                    moment = self._clock.now + _hidden_s(message)
                    if moment not in source.visible_at.values():
                        self._clock.at(moment, partial(self._poll, source))
                    source.visible_at[message.id] = moment

    def _poll(self, source: EventSource) -> None:
        for message in _messages(source):
            if source.visible_at.get(message.id, math.inf) <= self._clock.now:
                message.delayed_until = message.visible_at = 0.0
                del source.visible_at[message.id]
        sqs = self._sqs
        url = sqs.get_queue_url(QueueName=source.queue_name)["QueueUrl"]
        while batch := sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=source.batch_size, AttributeNames=["All"]
        ).get("Messages"):
            if source.deliver({"Records": [_record(each, source.queue_name) for each in batch]}) is None:
                for each in batch:
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        self.schedule_polls()


def _messages(source: EventSource) -> list[Message]:
    queue = sqs_backends[ACCOUNT_ID][REGION].queues.get(source.queue_name)
    # moto's public list omits delayed messages and those in flight.
    return list(queue._messages) if queue is not None else []  # noqa: SLF001


def _hidden_s(message: Message) -> float:
    """Seconds until the message can be received, by the clock of SQS."""
    # moto compares whole milliseconds, and a message in flight is visible only after the end of its timeout.
    now_ms = models.unix_time_millis()  # type: ignore[attr-defined]  # the clock that SQS is on
    return max(0.0, max(message.delayed_until, message.visible_at + 1) - float(now_ms)) / 1000


def _record(message: Mapping[str, Any], queue_name: str) -> dict[str, Any]:
    """A received message as Lambda passes it to a function."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{queue_name}",
        "awsRegion": REGION,
    }
