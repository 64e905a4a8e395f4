"""Whether the queue exists and keeps a message safe until it is processed."""

from __future__ import annotations

from sluice.core.model import Unknown
from sluice_operator.core.checks.facts import Facts, QueueSettings
from sluice_operator.core.checks.finding import Check, Finding, failed, passed, unknown, warned

VISIBILITY_FACTOR = 2
"""The visibility timeout in longest processing times: a retry by SQS must not start beside a slow message."""
MIN_RECEIVE_COUNT = 3
"""Below, a message that a drain has handed back twice counts as failed (docs/worker.md)."""
NOT_FOUND = "SQS finds no such queue"


def exists(facts: Facts) -> Finding:
    """SQS knows the queue."""
    check, url = Check.QUEUE_EXISTS, facts.workload.queue_url
    match facts.queue:
        case Unknown():
            return unknown(check, facts.queue.reason)
        case None:
            return failed(
                check,
                f"{url} does not exist in this account and region",
                "create the queue, or set QueueName of the workload's stack to one that exists",
            )
        case QueueSettings():
            return passed(check, f"{url} exists")


def visibility_timeout(facts: Facts) -> Finding:
    """The visibility timeout is at least twice the longest processing time."""
    check, longest_s = Check.VISIBILITY_TIMEOUT, facts.longest_processing_s
    if not isinstance(facts.queue, QueueSettings):
        return _unread(check, facts)
    timeout_s = facts.queue.visibility_timeout_s
    if isinstance(longest_s, Unknown):
        return unknown(check, longest_s.reason)
    source = "the slowest message of the last day took"
    if longest_s is None:
        longest_s, source = facts.workload.tracking.processing_s, "by ProcessingSeconds a message takes"
    if longest_s is None:
        return unknown(
            check,
            f"the visibility timeout is {timeout_s} s, and nothing says how long a message takes",
            "let the workers publish MsgProcessingDuration, or set ProcessingSeconds",
        )
    found = f"the visibility timeout is {timeout_s} s, and {source} {longest_s:.4g} s"
    fix = (
        f"set the queue's VisibilityTimeout to at least {VISIBILITY_FACTOR * longest_s:.0f} s; until then "
        "such messages are received twice, unless the worker extends the timeout as sluice_worker does"
    )
    if timeout_s < longest_s:
        return failed(check, found, fix)
    return warned(check, found, fix) if timeout_s < VISIBILITY_FACTOR * longest_s else passed(check, found)


def dead_letter_queue(facts: Facts) -> Finding:
    """Messages that cannot be processed leave the queue, and no others do."""
    check = Check.DEAD_LETTER_QUEUE
    if not isinstance(facts.queue, QueueSettings):
        return _unread(check, facts)
    arn, receipts = facts.queue.dead_letter_queue_arn, facts.queue.max_receive_count
    if arn is None or receipts is None:
        return failed(
            check,
            "the queue has no dead-letter queue: a message that cannot be processed comes back until its "
            "retention ends, and holds the fleet above its minimum",
            "give the queue a RedrivePolicy with a dead-letter queue and a maxReceiveCount of 5",
        )
    found = f"after {receipts} receipts SQS moves a message to {arn}"
    if receipts < MIN_RECEIVE_COUNT:
        return warned(
            check,
            f"{found}: a good message that two drains hand back may end there",
            f"set maxReceiveCount to at least {MIN_RECEIVE_COUNT}",
        )
    return passed(check, found)


def _unread(check: Check, facts: Facts) -> Finding:
    return unknown(check, facts.queue.reason if isinstance(facts.queue, Unknown) else NOT_FOUND)
