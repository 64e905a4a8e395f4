"""Dead letters of the embedded AWS are redriven by message move tasks, as SQS documents them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.redrive import oldest_dead_letter_s
from tests.sim.embedded.test_embedded import ROOT, wait

DEAD = "arn:aws:sqs:eu-west-1:123456789012:dead-work"


@pytest.fixture
def aws() -> Iterator[EmbeddedAws]:
    """Twenty messages were received three times each, and the next receive dead-letters them."""
    with embedded_aws(ROOT) as account:
        url = account.create_queue("work", visibility_timeout_s=1)
        for number in range(20):
            account.sqs.send_message(QueueUrl=url, MessageBody=str(number))
        for _ in range(8):
            account.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            wait(account, 2)
            account.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            wait(account, 2)
        assert count(account, "dead-work") == 20
        yield account


def count(aws: EmbeddedAws, queue: str) -> int:
    url = aws.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    answer = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def test_a_task_moves_so_many_messages_a_second_back_to_their_queue(aws: EmbeddedAws) -> None:
    handle = aws.sqs.start_message_move_task(SourceArn=DEAD, MaxNumberOfMessagesPerSecond=5)["TaskHandle"]
    started_ms = int(aws.clock.now * 1000)
    wait(aws, 2)
    assert (count(aws, "work"), count(aws, "dead-work")) == (10, 10)
    assert aws.sqs.list_message_move_tasks(SourceArn=DEAD)["Results"] == [
        {
            "TaskHandle": handle,
            "Status": "RUNNING",
            "SourceArn": DEAD,
            "MaxNumberOfMessagesPerSecond": 5,
            "ApproximateNumberOfMessagesMoved": 10,
            "ApproximateNumberOfMessagesToMove": 20,
            "StartedTimestamp": started_ms,
        }
    ]
    wait(aws, 5)
    (task,) = aws.sqs.list_message_move_tasks(SourceArn=DEAD)["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 20)
    assert "TaskHandle" not in task
    assert (count(aws, "work"), count(aws, "dead-work")) == (20, 0)


def test_a_moved_message_begins_anew(aws: EmbeddedAws) -> None:
    aws.sqs.start_message_move_task(SourceArn=DEAD)
    wait(aws, 1)
    url = aws.sqs.get_queue_url(QueueName="work")["QueueUrl"]
    answer = aws.sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=["All"])
    attributes = answer["Messages"][0]["Attributes"]
    assert attributes["ApproximateReceiveCount"] == "1"
    assert float(attributes["SentTimestamp"]) == aws.clock.now * 1000


def test_each_message_returns_to_the_queue_that_it_comes_from(aws: EmbeddedAws) -> None:
    redrive = f'{{"deadLetterTargetArn": "{DEAD}", "maxReceiveCount": "1"}}'
    attributes = {"RedrivePolicy": redrive, "VisibilityTimeout": "1"}
    url = aws.sqs.create_queue(QueueName="second", Attributes=attributes)["QueueUrl"]
    aws.sqs.send_message(QueueUrl=url, MessageBody="of the second queue")
    for _ in range(2):
        aws.sqs.receive_message(QueueUrl=url)
        wait(aws, 2)
    assert count(aws, "dead-work") == 21
    aws.sqs.start_message_move_task(SourceArn=DEAD)
    wait(aws, 2)
    assert (count(aws, "work"), count(aws, "second")) == (20, 1)


def test_a_destination_takes_the_messages_of_all_queues(aws: EmbeddedAws) -> None:
    aws.sqs.create_queue(QueueName="other")
    aws.sqs.start_message_move_task(SourceArn=DEAD, DestinationArn=DEAD.replace("dead-work", "other"))
    wait(aws, 2)
    assert (count(aws, "work"), count(aws, "other")) == (0, 20)


def test_a_cancelled_task_leaves_the_rest_where_it_is(aws: EmbeddedAws) -> None:
    handle = aws.sqs.start_message_move_task(SourceArn=DEAD, MaxNumberOfMessagesPerSecond=5)["TaskHandle"]
    wait(aws, 1)
    answer = aws.sqs.cancel_message_move_task(TaskHandle=handle)
    assert answer["ApproximateNumberOfMessagesMoved"] == 5
    wait(aws, 5)
    assert count(aws, "dead-work") == 15
    assert aws.sqs.list_message_move_tasks(SourceArn=DEAD)["Results"][0]["Status"] == "CANCELLED"
    with pytest.raises(ClientError, match="ResourceNotFound"):
        aws.sqs.cancel_message_move_task(TaskHandle=handle)


def test_a_queue_has_one_running_task_and_only_a_dead_letter_queue_has_any(aws: EmbeddedAws) -> None:
    aws.sqs.start_message_move_task(SourceArn=DEAD)
    with pytest.raises(ClientError, match="UnsupportedOperation"):
        aws.sqs.start_message_move_task(SourceArn=DEAD)
    with pytest.raises(ClientError, match="Dead Letter Queue"):
        aws.sqs.start_message_move_task(SourceArn=DEAD.replace("dead-work", "work"))
    with pytest.raises(ClientError, match="ResourceNotFound"):
        aws.sqs.start_message_move_task(SourceArn=DEAD.replace("dead-work", "none"))


def test_the_newest_tasks_are_listed_first(aws: EmbeddedAws) -> None:
    for _ in range(2):
        aws.sqs.start_message_move_task(SourceArn=DEAD)
        wait(aws, 5)
    assert len(aws.sqs.list_message_move_tasks(SourceArn=DEAD)["Results"]) == 1
    newest, first = aws.sqs.list_message_move_tasks(SourceArn=DEAD, MaxResults=10)["Results"]
    assert newest["StartedTimestamp"] > first["StartedTimestamp"]


def test_a_received_dead_letter_names_the_queue_that_it_comes_from_unless_it_was_sent(
    aws: EmbeddedAws,
) -> None:
    url = aws.sqs.get_queue_url(QueueName="dead-work")["QueueUrl"]
    sent = aws.sqs.send_message(QueueUrl=url, MessageBody="by a worker")["MessageId"]
    received = [
        message
        for _ in range(3)
        for message in aws.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=30,
            MessageSystemAttributeNames=["DeadLetterQueueSourceArn"],
        )["Messages"]
    ]
    sources = {
        one["MessageId"]: one.get("Attributes", {}).get("DeadLetterQueueSourceArn") for one in received
    }
    assert sources.pop(sent) is None
    assert {*sources.values()} == {DEAD.replace("dead-work", "work")}


def test_a_task_without_a_destination_fails_at_a_message_that_was_sent_to_the_dead_letter_queue(
    aws: EmbeddedAws,
) -> None:
    url = aws.sqs.get_queue_url(QueueName="dead-work")["QueueUrl"]
    aws.sqs.send_message(QueueUrl=url, MessageBody="by a worker")
    aws.sqs.start_message_move_task(SourceArn=DEAD)
    wait(aws, 2)
    (task,) = aws.sqs.list_message_move_tasks(SourceArn=DEAD)["Results"]
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "CouldNotDetermineMessageSource")
    assert (count(aws, "work"), count(aws, "dead-work")) == (20, 1)
    aws.sqs.start_message_move_task(SourceArn=DEAD, DestinationArn=DEAD.replace("dead-work", "work"))
    wait(aws, 2)
    assert (count(aws, "work"), count(aws, "dead-work")) == (21, 0)


def test_the_age_of_a_dead_letter_counts_from_its_move(aws: EmbeddedAws) -> None:
    since_s = oldest_dead_letter_s("dead-work")
    assert since_s is not None
    assert aws.clock.now - 32 < since_s < aws.clock.now, "all were sent 32 s ago"
