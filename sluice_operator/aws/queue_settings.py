"""The settings of queues, their tags and their keys: a call for each, concurrently."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from sluice.aws.concurrent_reads import fan_out
from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, count, field
from sluice.core.model import Backlog, Unknown
from sluice.ports import RemainingS
from sluice_operator.core.checks import key_policy
from sluice_operator.core.checks.facts import KmsKey, QueueSettings
from sluice_operator.core.checks.key_policy import KeyPolicy

NO_QUEUE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
"""SQS's codes for a queue that does not exist, in its query and its JSON protocol."""
NO_KEY = frozenset({"NotFoundException"})
ATTRIBUTES = (
    "QueueArn",
    "Policy",
    "VisibilityTimeout",
    "MessageRetentionPeriod",
    "RedrivePolicy",
    "KmsMasterKeyId",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
Found = TypeVar("Found")


def read_queues(
    client: Any, pool: ThreadPoolExecutor, urls: Collection[str], remaining_s: RemainingS
) -> Mapping[str, QueueSettings | Unknown | None]:
    """The settings of each queue by its URL; None for one that does not exist."""

    def read(url: str) -> QueueSettings | None:
        answer = _found(
            f"GetQueueAttributes of {url}",
            NO_QUEUE,
            lambda: client.get_queue_attributes(QueueUrl=url, AttributeNames=list(ATTRIBUTES)),
        )
        with aws_errors(f"GetQueueAttributes of {url}"):
            return None if answer is None else _settings(field(answer, "Attributes"))

    return fan_out(pool, read, urls, lambda url: f"GetQueueAttributes of {url}", remaining_s)


def read_tags(
    client: Any, pool: ThreadPoolExecutor, urls: Collection[str], remaining_s: RemainingS
) -> Mapping[str, Mapping[str, str] | Unknown | None]:
    """The tags of each queue by its URL; None for one that does not exist."""

    def read(url: str) -> Mapping[str, str] | None:
        answer = _found(f"ListQueueTags of {url}", NO_QUEUE, lambda: client.list_queue_tags(QueueUrl=url))
        return None if answer is None else answer.get("Tags", {})

    return fan_out(pool, read, urls, lambda url: f"ListQueueTags of {url}", remaining_s)


def read_keys(
    client: Any, pool: ThreadPoolExecutor, key_ids: Collection[str], remaining_s: RemainingS
) -> Mapping[str, KmsKey | Unknown | None]:
    """Each key by its id, ARN or alias; None for one that does not exist."""

    def read(key_id: str) -> KmsKey | None:
        answer = _found(f"DescribeKey of {key_id}", NO_KEY, lambda: client.describe_key(KeyId=key_id))
        with aws_errors(f"DescribeKey of {key_id}"):
            if answer is None:
                return None
            found = field(answer, "KeyMetadata")
            return KmsKey(arn=field(found, "Arn"), state=field(found, "KeyState"))

    return fan_out(pool, read, key_ids, lambda key_id: f"DescribeKey of {key_id}", remaining_s)


def read_key_policies(
    client: Any, pool: ThreadPoolExecutor, arns: Collection[str], remaining_s: RemainingS
) -> Mapping[str, KeyPolicy | Unknown]:
    """The policy of each key by its ARN: KMS takes no alias here, and answers for keys of this account."""

    def read(arn: str) -> KeyPolicy:
        with aws_errors(f"GetKeyPolicy of {arn}"):
            text = field(client.get_key_policy(KeyId=arn, PolicyName="default"), "Policy")
            try:
                return key_policy.parse(json.loads(text))
            except (ValueError, KeyError, TypeError) as malformed:
                raise MalformedResponse(f"the policy of {arn} is {text!r}") from malformed

    return fan_out(pool, read, arns, lambda arn: f"GetKeyPolicy of {arn}", remaining_s)


def _found(what: str, absent: Collection[str], call: Callable[[], Found]) -> Found | None:
    """AWS's answer; None if its code says that there is no such thing."""
    with aws_errors(what):
        try:
            return call()
        except ClientError as refused:
            if refused.response.get("Error", {}).get("Code") in absent:
                return None
            raise


def _settings(attributes: Mapping[str, str]) -> QueueSettings:
    redrive = _redrive(attributes.get("RedrivePolicy"))
    return QueueSettings(
        arn=field(attributes, "QueueArn"),
        has_policy=bool(attributes.get("Policy")),
        visibility_timeout_s=count(field(attributes, "VisibilityTimeout")),
        retention_s=count(field(attributes, "MessageRetentionPeriod")),
        dead_letter_queue_arn=redrive and field(redrive, "deadLetterTargetArn"),
        max_receive_count=redrive and count(field(redrive, "maxReceiveCount")),
        key_id=attributes.get("KmsMasterKeyId") or None,
        backlog=Backlog(
            visible=count(field(attributes, "ApproximateNumberOfMessages")),
            in_flight=count(field(attributes, "ApproximateNumberOfMessagesNotVisible")),
            delayed=count(field(attributes, "ApproximateNumberOfMessagesDelayed")),
        ),
    )


def _redrive(text: str | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError as malformed:
        raise MalformedResponse(f"RedrivePolicy is {text!r}") from malformed
