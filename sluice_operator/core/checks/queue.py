"""Whether the queue exists, may be read, and keeps a message safe until it is processed."""

from __future__ import annotations

from shlex import quote

from sluice_operator.core.checks.facts import AWS_MANAGED_KEY, Facts, QueueSettings
from sluice_operator.core.checks.finding import Check, Finding, failed, passed, unknown, warned
from sluice_operator.core.checks.judging import UnreadError, judges, known

MANAGED = ("sluice", "managed")
"""The tag, as key and value, by which the roles of the functions admit a queue and a fleet."""
VISIBILITY_FACTOR = 2
"""The visibility timeout in longest processing times: a retry by SQS must not start beside a slow message."""
MIN_RECEIVE_COUNT = 3
"""Below, a message that a drain has handed back twice counts as failed (docs/worker.md)."""
DAY_S = 86400
MAX_RETENTION_S = 14 * DAY_S
"""The longest that SQS allows."""
NOT_FOUND = "SQS finds no such queue"
KEY_FIXES = {
    "Disabled": "aws kms enable-key --key-id {}",
    "PendingDeletion": "aws kms cancel-key-deletion --key-id {}",
}


def settings(facts: Facts) -> QueueSettings:
    """The queue's attributes; raises UnreadError if they are unknown or the queue does not exist."""
    queue = known(facts.queue)
    if queue is None:
        raise UnreadError(NOT_FOUND)
    return queue


def set_attribute(url: str, name: str, value: object) -> str:
    """The command that sets one attribute of a queue."""
    return f"aws sqs set-queue-attributes --queue-url {quote(url)} --attributes {name}={value}"


@judges(Check.QUEUE_EXISTS)
def exists(check: Check, facts: Facts) -> Finding:
    """SQS knows the queue."""
    url = facts.workload.queue_url
    if known(facts.queue) is None:
        return failed(
            check,
            f"{url} does not exist in this account and region",
            "create the queue, or set QueueName of the workload's stack to one that exists",
        )
    return passed(check, f"{url} exists")


@judges(Check.QUEUE_TAGGED)
def tagged(check: Check, facts: Facts) -> Finding:
    """The queue carries the tag that admits the functions."""
    tags = known(facts.queue_tags)
    if tags is None:
        raise UnreadError(NOT_FOUND)
    key, value = MANAGED
    if tags.get(key) == value:
        return passed(check, f"the queue has the tag {key} = {value}")
    return failed(
        check,
        f"the queue lacks the tag {key} = {value}, and without it the functions may not read the queue",
        f"aws sqs tag-queue --queue-url {quote(facts.workload.queue_url)} --tags {key}={value}",
    )


@judges(Check.VISIBILITY_TIMEOUT)
def visibility_timeout(check: Check, facts: Facts) -> Finding:
    """The visibility timeout is at least twice the longest processing time."""
    timeout_s = settings(facts).visibility_timeout_s
    longest_s, source = known(facts.longest_processing_s), "the slowest message of the last day took"
    if longest_s is None:
        longest_s, source = facts.workload.tracking.processing_s, "by ProcessingSeconds a message takes"
    if longest_s is None:
        return unknown(
            check,
            f"the visibility timeout is {timeout_s} s, and nothing says how long a message takes",
            "let the workers publish MsgProcessingDuration, or set ProcessingSeconds",
        )
    found = f"the visibility timeout is {timeout_s} s, and {source} {longest_s:.4g} s"
    command = set_attribute(
        facts.workload.queue_url, "VisibilityTimeout", round(VISIBILITY_FACTOR * longest_s)
    )
    fix = (
        f"{command}; until then such messages are received twice, unless the worker extends the timeout as "
        "sluice_worker does"
    )
    if timeout_s < longest_s:
        return failed(check, found, fix)
    return warned(check, found, fix) if timeout_s < VISIBILITY_FACTOR * longest_s else passed(check, found)


@judges(Check.DEAD_LETTER_QUEUE)
def dead_letter_queue(check: Check, facts: Facts) -> Finding:
    """Messages that cannot be processed leave the queue, and no others do."""
    queue = settings(facts)
    arn, receipts = queue.dead_letter_queue_arn, queue.max_receive_count
    if arn is None or receipts is None:
        return failed(
            check,
            "the queue has no dead-letter queue: a message that cannot be processed comes back until its "
            "retention ends, and holds the fleet above its minimum",
            "give the queue a RedrivePolicy with a dead-letter queue and a maxReceiveCount of 5",
        )
    found = f"after {receipts} receipts SQS moves a message to {arn}"
    if known(facts.dead_letter_queue) is None:
        return failed(
            check,
            f"{found}, which does not exist: a message that cannot be processed comes back",
            f"create the queue {arn.rsplit(':', 1)[-1]}, or name another one in the RedrivePolicy",
        )
    if receipts < MIN_RECEIVE_COUNT:
        return warned(
            check,
            f"{found}: a good message that two drains hand back may end there",
            f"set maxReceiveCount of the queue's RedrivePolicy to at least {MIN_RECEIVE_COUNT}",
        )
    return passed(check, found)


@judges(Check.QUEUE_RETENTION)
def retention(check: Check, facts: Facts) -> Finding:
    """A message outlives an outage of a day, and a dead letter outlives the queue it came from.

    A message of a standard queue keeps its age when SQS moves it; one of a FIFO queue starts anew.
    """
    queue, dead = settings(facts), known(facts.dead_letter_queue)
    found = f"SQS keeps a message for {_days(queue.retention_s)}"
    if queue.retention_s < DAY_S:
        return warned(
            check,
            f"{found}: those of an outage of a day are lost",
            set_attribute(facts.workload.queue_url, "MessageRetentionPeriod", 4 * DAY_S),
        )
    if dead is None:
        return passed(check, found)
    found += f", and a dead letter for {_days(dead.retention_s)}"
    if not facts.workload.is_fifo and dead.retention_s <= queue.retention_s < MAX_RETENTION_S:
        return warned(
            check,
            f"{found} of its arrival in the first queue: one that failed late is lost soon",
            set_attribute(dead_letter_url(facts), "MessageRetentionPeriod", MAX_RETENTION_S),
        )
    return passed(check, found)


@judges(Check.QUEUE_KEY)
def key(check: Check, facts: Facts) -> Finding:
    """The KMS key of an encrypted queue can be used."""
    key_id = settings(facts).key_id
    if key_id is None:
        return passed(check, "the queue uses no KMS key")
    if settings(facts).own_key_id is None:
        return passed(check, f"the queue uses {AWS_MANAGED_KEY}, which every role of this account may use")
    kms_key = known(facts.queue_key)
    if kms_key is not None and kms_key.state == "Enabled":
        return passed(check, f"the queue's KMS key {key_id} is enabled")
    if kms_key is None:
        return failed(
            check,
            f"the queue's KMS key {key_id} does not exist: nothing can be sent or received",
            "set the queue's KmsMasterKeyId to a key that exists in the queue's region",
        )
    fix = KEY_FIXES.get(kms_key.state, "give the queue another key, or wait until KMS can use this one")
    return failed(
        check,
        f"the queue's KMS key {key_id} is in state {kms_key.state}: nothing can be sent or received",
        fix.format(quote(key_id)),
    )


def dead_letter_url(facts: Facts) -> str:
    """The URL of the dead-letter queue, which is in the same account and region as its source."""
    arn = settings(facts).dead_letter_queue_arn
    if arn is None:
        raise UnreadError("the queue has no dead-letter queue")
    return url_of(arn, facts.workload.queue_url)


def url_of(arn: str, beside: str) -> str:
    """The URL of a queue by its ARN and the URL of another queue of its region."""
    *_, account, name = arn.split(":")
    return "/".join([*beside.split("/")[:-2], account, name])


def _days(seconds: int) -> str:
    return f"{seconds / DAY_S:.3g} days" if seconds >= DAY_S else f"{seconds / 3600:.3g} hours"
