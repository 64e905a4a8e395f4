"""The dead-letter queue of a workload's queue: its attributes, a sample of its messages, its move tasks.

A sample is received and shown again at once. Nothing here deletes a message or sends one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, count, field, list_field, optional_list_field
from sluice.aws.sqs import DELAYED, IN_FLIGHT, VISIBLE
from sluice.core.model import Backlog, Workload
from sluice.errors import ConfigError
from sluice.ports import RemainingS
from sluice_operator.core.dead_letters import DeadLetter, DeadLetterQueue, MoveTask, TaskStatus
from sluice_worker.aws.dead_letter import REASON

RECEIVED_AT_ONCE = 10
"""The most messages of one ReceiveMessage (SQS limit), and of one batch."""
HIDDEN_S = 30
"""How long a sampled message stays hidden if the command ends before it shows it again."""
MAX_EMPTY_RECEIVES = 5
"""A short poll asks some of SQS's servers (documented), so an empty answer does not mean an empty queue."""
SOURCE = "DeadLetterQueueSourceArn"
SYSTEM_ATTRIBUTES = (
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "MessageGroupId",
    SOURCE,
)
NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


def find(client: Any, workload: Workload) -> DeadLetterQueue:
    """The workload's dead-letter queue; raises ConfigError if it has none that can be read here."""
    source = _attributes(client, workload.queue_url, ["QueueArn", "RedrivePolicy"])
    with aws_errors(_read(workload.queue_url)):
        source_arn = field(source, "QueueArn")
        target, max_receive_count = _redrive_policy(source)
    if target is None:
        raise ConfigError(
            f"queue {workload.queue_name} has no dead-letter queue: give it a RedrivePolicy with a "
            "deadLetterTargetArn and a maxReceiveCount, and name the same queue to the workers "
            "(--dead-letter-queue)"
        )
    *_, region, account, name = target.split(":")
    *_, own_region, own_account, _ = source_arn.split(":")
    if (region, account) != (own_region, own_account):
        raise ConfigError(
            f"the dead-letter queue of {workload.queue_name}, {target}, is in account {account} and region "
            f"{region}, and the workload in {own_account} and {own_region}: SQS moves messages only within "
            "one account and region; give the queue a dead-letter queue beside it"
        )
    url = f"{workload.queue_url.rsplit('/', 1)[0]}/{name}"
    try:
        own = _attributes(
            client, url, [VISIBLE, IN_FLIGHT, DELAYED, "RedrivePolicy", "MessageRetentionPeriod"]
        )
    except ConfigError as failure:
        if any(code in str(failure) for code in NO_QUEUE):
            raise ConfigError(
                f"the redrive policy of {workload.queue_name} names {target}, which does not exist: create "
                "that queue, or name another one; until then SQS keeps what fails in its queue"
            ) from failure
        raise
    with aws_errors(_read(url)):
        next_arn, _ = _redrive_policy(own)
        return DeadLetterQueue(
            url=url,
            arn=target,
            source_arn=source_arn,
            max_receive_count=max_receive_count,
            retention_s=count(field(own, "MessageRetentionPeriod")),
            backlog=Backlog(
                visible=count(field(own, VISIBLE)),
                in_flight=count(field(own, IN_FLIGHT)),
                delayed=count(field(own, DELAYED)),
            ),
            other_sources=tuple(_other_sources(client, url, workload.queue_name)),
            next_arn=next_arn,
        )


def _attributes(client: Any, url: str, names: list[str]) -> Mapping[str, str]:
    with aws_errors(_read(url)):
        found: Mapping[str, str] = field(
            client.get_queue_attributes(QueueUrl=url, AttributeNames=names), "Attributes"
        )
        return found


def _read(url: str) -> str:
    return f"GetQueueAttributes of {url}"


def _redrive_policy(attributes: Mapping[str, str]) -> tuple[str | None, int]:
    """The ARN of the dead-letter queue and the most receives; None and 0 without a policy."""
    text = attributes.get("RedrivePolicy")
    if not text:
        return None, 0
    try:
        policy = json.loads(text)
    except ValueError as malformed:
        raise MalformedResponse(f"the redrive policy {text!r} is no JSON") from malformed
    return field(policy, "deadLetterTargetArn"), count(field(policy, "maxReceiveCount"))


def _other_sources(client: Any, url: str, own_name: str) -> Iterable[str]:
    with aws_errors(f"ListDeadLetterSourceQueues of {url}"):
        pages = client.get_paginator("list_dead_letter_source_queues").paginate(QueueUrl=url)
        names = {source.rsplit("/", 1)[-1] for page in pages for source in list_field(page, "queueUrls")}
    return sorted(names - {own_name})


def sample(
    client: Any, queue: DeadLetterQueue, max_messages: int, remaining_s: RemainingS
) -> tuple[DeadLetter, ...]:
    """At most so many messages, each once; all are shown again, whatever happens meanwhile."""
    wanted = min(max_messages, queue.backlog.visible)
    found: dict[str, DeadLetter] = {}
    receipts: list[str] = []
    empty = 0
    try:
        while len(found) < wanted and empty < MAX_EMPTY_RECEIVES and remaining_s() > 0:
            messages = _receive(client, queue.url, min(wanted - len(found), RECEIVED_AT_ONCE))
            with aws_errors(f"ReceiveMessage from {queue.url}"):
                receipts += [field(message, "ReceiptHandle") for message in messages]
                found |= {field(message, "MessageId"): _dead_letter(message) for message in messages}
            empty = 0 if messages else empty + 1
    finally:
        _show_again(client, queue.url, receipts)
    return tuple(sorted(found.values(), key=lambda letter: letter.sent_at))


def _receive(client: Any, url: str, messages: int) -> list[Any]:
    with aws_errors(f"ReceiveMessage from {url}"):
        answer = client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=messages,
            VisibilityTimeout=HIDDEN_S,
            WaitTimeSeconds=0,
            MessageSystemAttributeNames=list(SYSTEM_ATTRIBUTES),
            MessageAttributeNames=[REASON],
        )
        return optional_list_field(answer, "Messages")


def _show_again(client: Any, url: str, receipts: list[str]) -> None:
    """What SQS refuses here appears again by itself, after `HIDDEN_S`."""
    for first in range(0, len(receipts), RECEIVED_AT_ONCE):
        batch = receipts[first : first + RECEIVED_AT_ONCE]
        with aws_errors(f"ChangeMessageVisibilityBatch of {url}"):
            client.change_message_visibility_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                    for index, receipt in enumerate(batch)
                ],
            )


def _dead_letter(message: Mapping[str, Any]) -> DeadLetter:
    attributes = field(message, "Attributes")
    receives = count(field(attributes, "ApproximateReceiveCount")) - 1  # without this one
    first_ms = attributes.get("ApproximateFirstReceiveTimestamp")
    return DeadLetter(
        message_id=field(message, "MessageId"),
        sent_at=_moment(field(attributes, "SentTimestamp")),
        first_received_at=_moment(first_ms) if first_ms and receives else None,
        receives=max(receives, 0),
        failure=message.get("MessageAttributes", {}).get(REASON, {}).get("StringValue"),
        source_arn=attributes.get(SOURCE),
        group_id=attributes.get("MessageGroupId"),
        body=field(message, "Body"),
    )


def _moment(ms: object) -> datetime:
    try:
        return datetime.fromtimestamp(float(str(ms)) / 1000, UTC)
    except (ValueError, OverflowError, OSError) as malformed:
        raise MalformedResponse(f"{ms!r} is no time in milliseconds since 1970") from malformed


def newest_task(client: Any, queue: DeadLetterQueue) -> MoveTask | None:
    """The newest move task of the queue; None if there was none."""
    with aws_errors(f"ListMessageMoveTasks of {queue.arn}"):
        answer = client.list_message_move_tasks(SourceArn=queue.arn, MaxResults=1)
        return next(map(_task, optional_list_field(answer, "Results")), None)


def start_task(
    client: Any, queue: DeadLetterQueue, destination_arn: str | None, max_per_second: int | None
) -> None:
    """Start moving the messages that are visible; raises SluiceError if AWS refuses."""
    asked: dict[str, Any] = {"SourceArn": queue.arn}
    if destination_arn is not None:
        asked["DestinationArn"] = destination_arn
    if max_per_second is not None:
        asked["MaxNumberOfMessagesPerSecond"] = max_per_second
    with aws_errors(f"StartMessageMoveTask of {queue.arn}"):
        client.start_message_move_task(**asked)


def _task(described: Mapping[str, Any]) -> MoveTask:
    status = field(described, "Status")
    if status not in list(TaskStatus):
        raise MalformedResponse(f"{status!r} is no state of a move task")
    to_move = described.get("ApproximateNumberOfMessagesToMove")
    return MoveTask(
        handle=described.get("TaskHandle"),
        status=TaskStatus(status),
        started_at=_moment(field(described, "StartedTimestamp")),
        moved=count(described.get("ApproximateNumberOfMessagesMoved", 0)),
        to_move=None if to_move is None else count(to_move),
        per_second=described.get("MaxNumberOfMessagesPerSecond"),
        destination_arn=described.get("DestinationArn"),
        failure=described.get("FailureReason"),
    )
