import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sluice.aws.registry import SsmRegistry
from sluice.aws.shard_queue import SqsShards
from sluice.document.versions import VERSION
from tests.sluice.aws import account
from tests.sluice.aws.stubs import (
    refusal,
    stubbed,
    unchecked,
)
from tests.support.builders import (
    POOL,
    document,
    plenty,
    queue_url,
)

URL = queue_url("shards")


def shards(client: Any, pool: ThreadPoolExecutor, url: str = URL, *, reserve_s: float = 5) -> SqsShards:
    registry = SsmRegistry(lambda: account.client("ssm"), POOL, account.PREFIX)
    return SqsShards(lambda: client, pool, url, registry, reserve_s=reserve_s)


@pytest.mark.usefixtures("in_account")
def test_every_message_arrives_as_it_was_sent(pool: ThreadPoolExecutor) -> None:
    url, client, found = account.create_queue("shards"), account.client("sqs"), []
    bodies = {f"s{index:02}": f"body {index}" for index in range(23)}
    assert shards(client, pool, url).send(bodies, plenty) == {}
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [message["Body"] for message in messages]
    assert sorted(found) == sorted(bodies.values())


@pytest.mark.parametrize(
    ("count", "size_bytes", "calls"),
    [
        (10, 1000, [10]),
        (11, 1000, [1, 10]),
        (3, 256_000, [1, 1, 1]),
        (5, 131_072, [1, 2, 2]),
        (2, 131_073, [1, 1]),
    ],
)
@pytest.mark.usefixtures("in_account")
def test_a_call_holds_ten_messages_and_256_kib_of_them_at_most(
    pool: ThreadPoolExecutor, count: int, size_bytes: int, calls: list[int]
) -> None:
    """The account refuses a call above either limit, as AWS does."""
    url, client, made = account.create_queue("shards"), account.session().client("sqs"), []
    client.meta.events.register(
        "provide-client-params.sqs.SendMessageBatch",
        lambda params, **_: made.append(len(params["Entries"])),
    )
    bodies = {f"s{index:02}": "x" * size_bytes for index in range(count)}
    assert shards(client, pool, url).send(bodies, plenty) == {}
    assert sorted(made) == calls


def test_a_message_that_sqs_refuses_is_named_with_the_reason_and_the_others_are_counted(
    pool: ThreadPoolExecutor,
) -> None:
    answer = {"Successful": [], "Failed": [{"Id": "1", "Code": "InternalError", "Message": "try again"}]}
    with unchecked("sqs", SendMessageBatch=answer) as client:
        assert shards(client, pool).send({"a": "1", "b": "2", "c": "3"}, plenty) == {
            "b": "SQS refused it with InternalError: try again"
        }


def test_a_refused_call_is_returned_for_each_of_its_messages(pool: ThreadPoolExecutor) -> None:
    request = {
        "QueueUrl": URL,
        "Entries": [{"Id": "0", "MessageBody": "1"}, {"Id": "1", "MessageBody": "2"}],
    }
    with stubbed("sqs", ("send_message_batch", request, refusal("AccessDenied", "not yours", 403))) as client:
        reason = f"SendMessageBatch of 2 shards to {URL}: AWS answered AccessDenied: not yours"
        assert shards(client, pool).send({"a": "1", "b": "2"}, plenty) == {"a": reason, "b": reason}


@pytest.mark.parametrize("answer", [{"Failed": [{}]}, {"Failed": [{"Id": "7", "Code": "x"}]}, {"Failed": 3}])
def test_a_malformed_answer_counts_as_none(answer: Mapping[str, Any], pool: ThreadPoolExecutor) -> None:
    with unchecked("sqs", SendMessageBatch=answer) as client:
        [reason] = shards(client, pool).send({"a": "1"}, plenty).values()
    assert "AWS's answer cannot be read" in reason


def test_a_slow_registry_leaves_the_time_reserved_for_sending(
    pool: ThreadPoolExecutor,
) -> None:
    """A thousand pages of documents may take that long, every five minutes."""

    def answer(operation: str, parameters: object) -> Mapping[str, Any]:
        time.sleep(0.02)
        return {}

    with unchecked("sqs") as client:
        client._make_api_call = answer
        assert shards(client, pool, reserve_s=5).send({"a": "1"}, lambda: -2) == {}


def test_shards_that_are_not_sent_before_the_deadline_are_returned() -> None:
    released = threading.Event()

    def answer(operation: str, parameters: object) -> Mapping[str, Any]:
        released.wait(5)
        return {}

    with unchecked("sqs") as client, ThreadPoolExecutor(1) as one:
        client._make_api_call = answer
        unsent = shards(client, one, reserve_s=5).send({"a": "1"}, lambda: -4.95)
        released.set()
    assert unsent == {"a": f"SendMessageBatch of 1 shards to {URL}: not read before the deadline"}


@pytest.mark.usefixtures("in_account")
def test_a_shard_from_a_tick_of_another_release_is_served_as_far_as_its_versions_are() -> None:
    """During a deploy, code of one release may serve what a tick of the other has read."""
    before = document("a", version=VERSION - 1)
    del before["scaling"]
    newer = document("c", version=VERSION + 1, release="0.9.0", shape="round")
    texts = {"a": json.dumps(before), "b": json.dumps(document("b")), "c": json.dumps(newer)}
    registered = shards(account.client("sqs"), POOL).registry(texts).all(plenty)
    assert [workload.name for workload in registered.workloads] == ["a", "b"]
    assert list(registered.refused) == ["c"]
    assert registered.refused["c"].endswith("update the control plane's stack to release 0.9.0 first")
