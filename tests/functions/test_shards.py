"""A tick's shards: one invocation sends them to a queue, and the queue delivers them to others."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from sluice import wiring
from sluice.aws.shard_queue import SqsShards
from sluice.errors import ConfigError, TransientError
from sluice.events import parse_shard
from tests.functions.conftest import NOON, Context, Plane, sample
from tests.sluice.aws import account
from tests.support.builders import (
    document,
    plenty,
)

SERVED = {"batchItemFailures": []}


@pytest.fixture
def shards(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> str:
    """The queue; one workload is an invocation's load here, and each of the two a shard."""
    url = account.create_queue("shards")
    monkeypatch.setenv("SLUICE_SHARD_QUEUE_URL", url)
    monkeypatch.setattr("sluice.usecases.shards.MAX_WORKLOADS_PER_INVOCATION", 1)
    monkeypatch.setattr("sluice.usecases.shards.WORKLOADS_PER_SHARD", 1)
    wiring.cold_start()
    return url


def delivered(url: str) -> dict[str, Any]:
    """What Lambda would invoke the function with: a batch of what waits in the queue."""
    messages = account.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=4).get("Messages", [])
    record = sample("shard")["Records"][0]
    return {"Records": [record | {"messageId": each["MessageId"], "body": each["Body"]} for each in messages]}


def test_a_tick_of_too_many_workloads_sends_them_on_and_publishes_nothing_itself(
    plane: Plane, shards: str
) -> None:
    assert plane.invoke("publish_backlog", sample("schedule")) is None
    assert (plane.points("asg"), plane.points("ecs")) == ({}, {})
    sent = [parse_shard(record["body"]) for record in delivered(shards)["Records"]]
    assert sorted((each.scheduled, *each.documents) for each in sent) == [
        (NOON, "queue-proc"),
        (NOON, "transcription"),
    ]
    [counted] = [line for line in plane.lines() if "_aws" in line]
    assert counted["ShardsSent"] == [2]


def test_the_shards_publish_and_bootstrap_for_the_ticks_minute_and_a_second_delivery_changes_nothing(
    plane: Plane, shards: str
) -> None:
    account.send(plane.queues["asg"], 3)
    plane.invoke("publish_backlog", sample("schedule"))
    batch = delivered(shards)
    for _ in range(2):
        assert plane.invoke("publish_backlog", batch) == SERVED
    assert (plane.points("asg"), plane.points("ecs")) == ({NOON: 3}, {NOON: 0})
    assert plane.desired("asg") == 1
    acted = [line for line in plane.lines() if line.get("outcome") == "acted"]
    assert [line["workload"] for line in acted] == ["transcription"]


def test_the_sample_shard_serves_its_workloads(plane: Plane, shards: str) -> None:
    plane.ask_for("asg", 2)
    account.send(plane.queues["asg"], 3)
    assert plane.invoke("publish_backlog", sample("shard")) == SERVED
    assert (plane.points("asg"), plane.points("ecs")) == ({NOON: 1.5}, {NOON: 0})


def test_a_shard_past_its_minute_is_counted_and_dropped(plane: Plane, shards: str) -> None:
    plane.at(NOON + timedelta(seconds=111))
    assert plane.invoke("publish_backlog", sample("shard")) == SERVED
    assert plane.points("asg") == {}
    [counted] = [line for line in plane.lines() if "_aws" in line]
    assert counted["StaleTick"] == [1]


def test_only_the_failed_shards_of_a_batch_are_retried_and_logged(plane: Plane, shards: str) -> None:
    plane.invoke("publish_backlog", sample("schedule"))
    batch = delivered(shards)
    batch["Records"].insert(0, sample("shard")["Records"][0] | {"messageId": "bad", "body": "hello"})
    answer = plane.invoke("publish_backlog", batch)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert (plane.points("asg"), plane.points("ecs")) == ({NOON: 0}, {NOON: 0})
    lines = plane.lines()
    [failed] = [line for line in lines if line.get("failure") == "ShardFailed"]
    assert failed["workload"] == "message bad"
    assert failed["message"] == "the message is not JSON, so not a shard of a tick: 'hello'"
    assert lines[-1]["ShardFailed"] == [1]


def test_a_batch_that_fails_as_a_whole_fails_the_invocation(plane: Plane, shards: str) -> None:
    record = sample("shard")["Records"][0] | {"body": "hello"}
    with pytest.raises(TransientError, match="all 2 shards of this batch failed"):
        plane.invoke("publish_backlog", {"Records": [record, record | {"messageId": "other"}]})
    counted = plane.lines()[-1]
    assert (counted["ShardFailed"], counted["InvocationFailed"]) == ([1, 1], [1])


def test_a_workload_that_changed_its_fleet_meanwhile_is_not_resized_by_the_shard(
    plane: Plane, shards: str
) -> None:
    account.send(plane.queues["asg"], 3)
    plane.invoke("publish_backlog", sample("schedule"))
    account.create_group("other")
    account.register(document(fleet={"type": "asg", "name": "other"}))
    plane.invoke("publish_backlog", delivered(shards))
    assert plane.desired("asg") == 0
    [failed] = [line for line in plane.lines() if line.get("failure") == "ActionFailed"]
    assert "workload transcription is on Auto Scaling group other" in failed["message"]


def test_too_many_workloads_and_no_queue_fail_with_the_missing_setting(
    plane: Plane, shards: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLUICE_SHARD_QUEUE_URL")
    wiring.cold_start()
    with pytest.raises(ConfigError, match=r"template\.yaml sets SLUICE_SHARD_QUEUE_URL"):
        plane.invoke("publish_backlog", sample("schedule"))


def test_a_missing_shard_queue_fails_the_tick_and_names_the_slices(plane: Plane, shards: str) -> None:
    account.client("sqs").delete_queue(QueueUrl=shards)
    with pytest.raises(TransientError, match="2 of 2 shards could not be sent"):
        plane.invoke("publish_backlog", sample("schedule"))
    failed = [line for line in plane.lines() if line.get("failure") == "ShardFailed"]
    assert [line["workload"] for line in failed] == [
        "queue-proc to queue-proc at 12:00",
        "transcription to transcription at 12:00",
    ]
    assert all("SendMessageBatch of" in line["message"] for line in failed)


@pytest.fixture
def slow_sending(shards: str) -> Iterator[None]:
    """Sending takes a while; the test ends when it is done."""
    events = account.session().events

    def linger(**_: object) -> None:
        time.sleep(0.5)

    events.register("before-call.sqs.SendMessageBatch", linger)
    yield
    ports = wiring.ports()
    assert isinstance(ports.shards, SqsShards)
    ports.shards._pool.shutdown()
    events.unregister("before-call.sqs.SendMessageBatch", linger)


def test_a_tick_without_time_to_read_can_still_send_in_the_publishing_reserve(
    plane: Plane, slow_sending: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiring.ports().registry.all(plenty)
    monkeypatch.setattr(Context, "get_remaining_time_in_millis", lambda _: 5_000)
    plane.invoke("publish_backlog", sample("schedule"))
    assert plane.lines()[-1]["ShardsSent"] == [2]


def test_a_tick_stops_sending_a_second_before_lambda_ends_it_and_logs_what_is_not_sent(
    plane: Plane, slow_sending: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda would end it while it waits: no log line or counter would name the missing shards."""
    wiring.ports().registry.all(plenty)
    monkeypatch.setattr(Context, "get_remaining_time_in_millis", lambda _: 1_050)
    with pytest.raises(TransientError, match="2 of 2 shards could not be sent"):
        plane.invoke("publish_backlog", sample("schedule"))
    failed = [line for line in plane.lines() if line.get("failure") == "ShardFailed"]
    assert len(failed) == 2
    assert all("not read before the deadline" in line["message"] for line in failed)
