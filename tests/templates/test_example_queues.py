"""The queue of the example fleets, standard or FIFO, and its dead letters."""

from __future__ import annotations

import pytest

from tests.templates import fleet_workers, stacks
from tests.templates.stacks import of_type

QUEUE = "AWS::SQS::Queue"


def test_both_queues_are_encrypted_and_poison_ends_in_the_second(fleet: str) -> None:
    queues = of_type(stacks.example_fleet(fleet), QUEUE)
    assert {name: queue["SqsManagedSseEnabled"] for name, queue in queues.items()} == {
        "Queue": True,
        "DeadLetterQueue": True,
    }
    assert queues["Queue"]["RedrivePolicy"] == {
        "deadLetterTargetArn": stacks.arn("sqs", "DeadLetterQueue"),
        "maxReceiveCount": 3,
    }


@pytest.mark.parametrize("queue", ["compilations", "compilations.fifo"])
def test_a_fleet_may_read_the_queue_of_another_one_and_makes_none(fleet: str, queue: str) -> None:
    stack = stacks.example_fleet(fleet, FleetName="green", ExistingQueueName=queue)
    assert of_type(stack, QUEUE) == {}
    settings, _ = fleet_workers.understood(
        fleet_workers.variables(fleet, FleetName="green", ExistingQueueName=queue)
    )
    [read] = settings.queues
    assert read.url == f"https://sqs.{stacks.REGION}.amazonaws.com/{stacks.ACCOUNT}/{queue}"
    assert {"QueueUrl", "DeadLetterQueueUrl", "QueueName"} & set(stack.outputs) == set()


def test_a_fifo_queue_has_more_receipts_than_the_fleet_has_processes(fleet: str) -> None:
    """Each may receive what is behind a failing message once without beginning it."""
    queues = of_type(stacks.example_fleet(fleet, Fifo="true"), QUEUE)
    assert queues["Queue"]["RedrivePolicy"]["maxReceiveCount"] == 10


def test_dead_letters_are_kept_longer_than_the_queue_keeps_its_own(fleet: str) -> None:
    queues = of_type(stacks.example_fleet(fleet), QUEUE)
    assert queues["DeadLetterQueue"]["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert "MessageRetentionPeriod" not in queues["Queue"]  # 4 days


def test_a_standard_queue_has_no_fifo_properties(fleet: str) -> None:
    for queue in of_type(stacks.example_fleet(fleet, FleetName="one"), QUEUE).values():
        assert not {"FifoQueue", "ContentBasedDeduplication"} & set(queue)
        assert not queue.get("QueueName", "").endswith(".fifo")


def test_a_fifo_queue_has_fifo_dead_letters_and_both_names_end_so(fleet: str) -> None:
    queues = of_type(stacks.example_fleet(fleet, FleetName="one", Fifo="true"), QUEUE)
    assert {name: (queue["QueueName"], queue["FifoQueue"]) for name, queue in queues.items()} == {
        "Queue": ("one.fifo", True),
        "DeadLetterQueue": ("one-failed.fifo", True),
    }
    assert queues["Queue"]["ContentBasedDeduplication"] is True


@pytest.mark.parametrize("fifo", ["true", "false"])
def test_the_longest_fleet_name_leaves_room_for_what_a_queues_name_ends_in(fleet: str, fifo: str) -> None:
    for queue in of_type(stacks.example_fleet(fleet, FleetName="q" * 64, Fifo=fifo), QUEUE).values():
        assert len(queue.get("QueueName", "")) <= 80


@pytest.mark.parametrize("fifo", ["true", "false"])
def test_the_queue_that_sluice_reads_carries_its_tag(fleet: str, fifo: str) -> None:
    queue = of_type(stacks.example_fleet(fleet, Fifo=fifo), QUEUE)["Queue"]
    assert {"Key": "sluice", "Value": "managed"} in queue["Tags"]
