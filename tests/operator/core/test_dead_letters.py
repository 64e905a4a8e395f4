"""How dead letters are grouped, and the sentences about a sample and a move task."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice_operator.core.dead_letters import (
    DeadLetter,
    DeadLetterQueue,
    MoveTask,
    TaskStatus,
    by_group,
    by_reason,
    ended,
    sampled,
    why_not_sampled,
)
from tests.support.builders import NOW, backlog

ARN = "arn:aws:sqs:eu-west-1:123456789012"
QUEUE = DeadLetterQueue(
    url="https://sqs.eu-west-1.amazonaws.com/123456789012/dead-work",
    arn=f"{ARN}:dead-work",
    source_arn=f"{ARN}:work",
    max_receive_count=3,
    retention_s=86_400,
    backlog=backlog(visible=5000),
    other_sources=(),
    next_arn=None,
)
FIFO = replace(QUEUE, arn=f"{ARN}:dead-work.fifo", source_arn=f"{ARN}:work.fifo")


def letter(reason=None, *, age_s=60, group=None, moved=False):
    return DeadLetter(
        message_id="1",
        sent_at=NOW - timedelta(seconds=age_s),
        first_received_at=None,
        receives=0,
        failure=reason,
        source_arn=QUEUE.source_arn if moved else None,
        group_id=group,
        body="",
    )


def task(status, **changes):
    told = MoveTask(
        handle=None,
        status=status,
        started_at=datetime(2026, 1, 15, tzinfo=UTC),
        moved=7,
        to_move=9,
        per_second=None,
        destination_arn=QUEUE.source_arn,
        failure=None,
    )
    return replace(told, **changes)


def test_reasons_of_one_kind_are_one_in_the_words_of_the_newest():
    found = by_reason([letter("file 1 is gone"), letter("file 2 is gone", age_s=5), letter("no disk space")])
    assert [(each.text, each.messages) for each in found] == [("file 2 is gone", 2), ("no disk space", 1)]
    assert found[0].newest_at == NOW - timedelta(seconds=5)


def test_a_reason_that_a_worker_wrote_counts_also_if_sqs_moved_the_message_later():
    assert [each.text for each in by_reason([letter("no disk space", moved=True)])] == ["no disk space"]


def test_messages_without_a_reason_say_how_they_came():
    assert {each.text for each in by_reason([letter(moved=True), letter()])} == {
        "no reason: SQS moved it, received too often (maxReceiveCount)",
        "no reason: sent to the dead-letter queue without one",
    }


def test_groups_are_counted_if_any_message_has_one():
    assert by_group([letter(), letter()]) == []
    found = by_group([letter(group="a"), letter(group="a"), letter()])
    assert [(each.text, each.messages) for each in found] == [("a", 2), ("no message group", 1)]


@pytest.mark.parametrize(
    ("letters", "queue", "said"),
    [
        (100, QUEUE, "100 sampled of about 5,000 visible messages"),
        (
            10,
            FIFO,
            "10 sampled of about 5,000 visible messages (a FIFO queue shows at most ten of a message group)",
        ),
        (3, replace(QUEUE, backlog=backlog(visible=3)), "all 3 visible messages"),
        (1, replace(QUEUE, backlog=backlog(visible=1)), "the only visible message"),
    ],
)
def test_a_sample_says_how_it_relates_to_all(letters, queue, said):
    assert sampled([letter()] * letters, queue) == said


def test_a_sample_that_would_do_harm_is_refused():
    assert why_not_sampled(QUEUE, is_moving=False) is None
    assert "a move task is running" in why_not_sampled(QUEUE, is_moving=True)
    further = replace(QUEUE, next_arn=f"{ARN}:deader")
    assert "could move messages on to deader" in why_not_sampled(further, is_moving=False)


@pytest.mark.parametrize(
    ("message", "queue", "left"),
    [
        (letter(moved=True), QUEUE, timedelta(days=1) - timedelta(seconds=60)),
        (letter(), FIFO, timedelta(days=1) - timedelta(seconds=60)),
        (letter(moved=True), FIFO, None),
    ],
    ids=["standard", "sent to a FIFO queue", "moved to a FIFO queue"],
)
def test_retention_counts_from_the_sending_but_in_a_fifo_queue_from_the_move(message, queue, left):
    assert message.expires_at(queue) == (None if left is None else NOW + left)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (task(TaskStatus.COMPLETED), "moved 7 messages from dead-work to work"),
        (task(TaskStatus.COMPLETED, moved=1), "moved 1 message from dead-work to work"),
        (
            task(TaskStatus.COMPLETED, destination_arn=None),
            "moved 7 messages from dead-work to the queues that they came from",
        ),
        (
            task(TaskStatus.CANCELLED),
            "the move task was cancelled after 7 messages; the others are still in dead-work",
        ),
        (task(TaskStatus.FAILED), "the move task failed after 7 messages: SQS gives no reason"),
    ],
)
def test_the_end_of_a_task_is_a_sentence(found, said):
    assert ended(found, QUEUE) == said


@pytest.mark.parametrize(
    ("failure", "way_out"),
    [
        (
            "CouldNotDetermineMessageSource",
            f"a message was sent to dead-work, so SQS does not know its queue: name one with --to {ARN}:work",
        ),
        (
            "AWS.SimpleQueueService.NonExistentQueue",
            "the queue that a message came from is gone: name another one with --to QUEUE_ARN",
        ),
    ],
)
def test_a_task_that_failed_says_the_way_out(failure, way_out):
    said = ended(task(TaskStatus.FAILED, failure=failure), QUEUE)
    assert said == f"the move task failed after 7 messages: {failure}; {way_out}"


@pytest.mark.parametrize("failure", ["AccessDenied", "KmsAccessDenied", "KMS.DisabledException"])
def test_a_task_without_permission_names_the_policy_and_the_keys_permissions(failure):
    said = ended(task(TaskStatus.FAILED, failure=failure), QUEUE)
    assert "docs/policies/dead-letters.json has the permissions" in said
    assert "kms:Decrypt and kms:GenerateDataKey" in said


@pytest.mark.parametrize(
    ("moved", "to_move", "share"), [(7, 14, 0.5), (9, 7, 1.0), (7, None, None), (0, 0, None)]
)
def test_the_share_of_a_task_is_known_only_with_a_count(moved, to_move, share):
    assert task(TaskStatus.RUNNING, moved=moved, to_move=to_move).share == share


@pytest.mark.parametrize("status", TaskStatus)
def test_a_task_that_is_being_cancelled_has_not_ended(status):
    assert task(status).is_moving == (status in ("RUNNING", "CANCELLING"))


def test_messages_of_one_source_return_to_it_by_name_and_those_of_several_each_to_its_own():
    assert QUEUE.redriven_to == QUEUE.source_arn
    assert replace(QUEUE, other_sources=("other",)).redriven_to is None
