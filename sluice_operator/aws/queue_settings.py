"""The settings of queues: one GetQueueAttributes each, concurrently."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import ClientError

from sluice.aws.concurrent_reads import fan_out
from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, count, field
from sluice.core.model import Unknown
from sluice.ports import RemainingS
from sluice_operator.core.checks.facts import QueueSettings

NOT_FOUND = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
"""SQS's codes for a queue that does not exist, in its query and its JSON protocol."""


def read_queues(
    client: Any, pool: ThreadPoolExecutor, urls: Collection[str], remaining_s: RemainingS
) -> Mapping[str, QueueSettings | Unknown | None]:
    """The settings of each queue by its URL; None for one that does not exist."""

    def read(url: str) -> QueueSettings | None:
        with aws_errors(_read(url)):
            try:
                answer = client.get_queue_attributes(
                    QueueUrl=url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"]
                )
            except ClientError as refused:
                if refused.response.get("Error", {}).get("Code") in NOT_FOUND:
                    return None
                raise
            attributes = field(answer, "Attributes")
            redrive = _redrive(attributes.get("RedrivePolicy"))
            return QueueSettings(
                visibility_timeout_s=count(field(attributes, "VisibilityTimeout")),
                dead_letter_queue_arn=redrive and field(redrive, "deadLetterTargetArn"),
                max_receive_count=redrive and count(field(redrive, "maxReceiveCount")),
            )

    return fan_out(pool, read, urls, _read, remaining_s)


def _read(url: str) -> str:
    return f"GetQueueAttributes of {url}"


def _redrive(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError as malformed:
        raise MalformedResponse(f"RedrivePolicy is {text!r}") from malformed
