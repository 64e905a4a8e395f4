"""Whether messages are received, processed once, and leave the queue."""

from __future__ import annotations

import math
from datetime import timedelta
from shlex import quote

from sluice.core.model import DynamicTarget, Workload
from sluice_operator.core.checks.facts import Facts
from sluice_operator.core.checks.finding import Check, Finding, failed, passed, warned
from sluice_operator.core.checks.judging import judges, known
from sluice_operator.core.checks.queue import settings

RECENT = timedelta(minutes=15)
"""SQS's metrics are one to three minutes late, and sums of five minutes."""
OLD_S = 900
PROMISES = 3
"""Age of the oldest message that is too old, as in workload.yaml: a quarter of an hour, or three promises."""


@judges(Check.MESSAGES_RECEIVED)
def received(check: Check, facts: Facts) -> Finding:
    """Running instances receive the messages that wait."""
    backlog, capacity = settings(facts).backlog, known(facts.capacity)
    if not backlog.visible or not capacity.running:
        waiting = f"{backlog.visible} messages wait, and {capacity.running} instances run"
        return passed(check, f"{waiting}: nothing to receive, or nothing to receive it")
    recent = [count for at, count in known(facts.received).items() if facts.now - at <= RECENT]
    if backlog.in_flight or math.fsum(recent):
        return passed(check, f"the workers receive: {backlog.in_flight} messages are in flight")
    return failed(
        check,
        f"{backlog.visible} messages wait, {capacity.running} instances run, and none received a message in "
        "the last quarter of an hour",
        "mend worker-permissions and key-permissions if they do not pass; then read the log of one instance: "
        "is the worker running, is there a route to SQS? A worker in a warm pool or behind a launch hook "
        "receives only once it is InService",
    )


@judges(Check.MESSAGES_DELETED)
def deleted(check: Check, facts: Facts) -> Finding:
    """What is received is deleted: at most half of the receipts are repeated ones."""
    receipts, deletions = (math.fsum(known(series).values()) for series in (facts.received, facts.deleted))
    found = f"of {receipts:,.0f} receipts in the last hour {deletions:,.0f} ended in a deletion"
    repeated = receipts - deletions - settings(facts).backlog.in_flight
    if repeated <= deletions:
        return passed(check, found)
    fix = (
        "read the workers' log for the reason: handlers fail, the visibility timeout ends before they do "
        "(visibility-timeout), or the role may not delete (worker-permissions)"
    )
    return warned(check, found, fix) if deletions else failed(check, f"{found}: none is processed", fix)


@judges(Check.MESSAGE_GROUPS)
def groups(check: Check, facts: Facts) -> Finding:
    """A FIFO queue has as many message groups in flight as instances run, while messages wait."""
    if not facts.workload.is_fifo:
        return passed(check, "the queue is no FIFO queue")
    capacity, waiting = known(facts.capacity), settings(facts).backlog.visible
    in_flight = known(facts.groups_in_flight)
    found = f"{in_flight or 0:g} message groups are in flight, and {capacity.running} instances run"
    if not waiting or not in_flight or in_flight >= capacity.running:
        return passed(check, found)
    return warned(
        check,
        f"{found}, while {waiting} messages wait: a group is processed by one instance at a time",
        "send with more message groups, or lower MaxCapacity of the workload's stack",
    )


@judges(Check.OLDEST_MESSAGE)
def oldest(check: Check, facts: Facts) -> Finding:
    """The oldest message is younger than the age at which the workload's alarm notifies by default."""
    age_s, limit_s = known(facts.oldest_age_s), _limit_s(facts.workload)
    if age_s is None or not settings(facts).backlog.total:
        return passed(check, "no message is old")
    found = f"the oldest message is {age_s:,.0f} s old"
    if age_s <= limit_s:
        return passed(check, f"{found}, and at most {limit_s:,.0f} s are in order")
    return failed(
        check,
        f"{found}, more than {limit_s:,.0f} s: messages are processed too slowly, or one is stuck",
        "mend messages-received, messages-deleted, instances-start and below-maximum if they do not pass; "
        "docs/operations.md, The oldest message is too old, has the further steps",
    )


def _limit_s(workload: Workload) -> float:
    if workload.deadline is not None:
        return max(OLD_S, PROMISES * workload.deadline.promise_s)
    target = workload.target
    return max(OLD_S, PROMISES * target.acceptable_latency_s) if isinstance(target, DynamicTarget) else OLD_S


@judges(Check.DEAD_LETTERS)
def dead_letters(check: Check, facts: Facts) -> Finding:
    """The dead-letter queue is empty; poison pills would fill it."""
    queue = known(facts.dead_letter_queue)
    if queue is None:
        settings(facts)  # unknown, not passed, if the queue itself could not be read
        return passed(check, "there is no dead-letter queue to look at: see dead-letter-queue")
    waiting, series = queue.backlog.total, known(facts.dead_letters)
    if not waiting:
        return passed(check, "the dead-letter queue is empty")
    fix = (
        f"sluice dead-letters {quote(facts.workload.name)} shows them with the reasons; mend the cause, then "
        "redrive them"
    )
    found = f"{waiting:,} messages are in the dead-letter queue"
    before = series[min(series)] if series else None
    if before is not None and waiting > before:
        return failed(check, f"{found}, and {waiting - before:,.0f} more than within the last hour", fix)
    return warned(check, found, fix)
