from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sluice.aws.registry import SsmRegistry
from sluice.aws.tick_queue import SqsTickQueue
from sluice.ports import DelayedMessage
from tests.sluice.aws import account
from tests.sluice.aws.stubs import refusal, stubbed
from tests.support.builders import POOL, plenty, queue_url

URL = queue_url("ticks")


def ticks(client: Any, pool: ThreadPoolExecutor, url: str = URL) -> SqsTickQueue:
    registry = SsmRegistry(lambda: account.client("ssm"), POOL, account.PREFIX)
    return SqsTickQueue(lambda: client, pool, url, registry, reserve_s=0)


def test_each_message_has_its_own_delay_and_one_that_is_due_now_has_none(pool: ThreadPoolExecutor) -> None:
    entries = [
        {"Id": "0", "MessageBody": "1"},
        {"Id": "1", "MessageBody": "2", "DelaySeconds": 10},
        {"Id": "2", "MessageBody": "3", "DelaySeconds": 240},
    ]
    request = {"QueueUrl": URL, "Entries": entries}
    messages = {
        "a": DelayedMessage(body="1", delay_s=0),
        "b": DelayedMessage(body="2", delay_s=10),
        "c": DelayedMessage(body="3", delay_s=240),
    }
    with stubbed("sqs", ("send_message_batch", request, {"Successful": [], "Failed": []})) as client:
        assert ticks(client, pool).send(messages, plenty) == {}


@pytest.mark.usefixtures("in_account")
def test_a_call_holds_ten_ticks_and_256_kib_of_them_at_most(pool: ThreadPoolExecutor) -> None:
    """Four of the longest ticks fit into a call. The account refuses a call above either limit."""
    url, client, made = account.create_queue("ticks"), account.session().client("sqs"), []
    client.meta.events.register(
        "provide-client-params.sqs.SendMessageBatch",
        lambda params, **_: made.append(len(params["Entries"])),
    )
    long = {f"a{index:02}": DelayedMessage(body="x" * 63_100, delay_s=10) for index in range(9)}
    short = {f"b{index:02}": DelayedMessage(body="x", delay_s=10) for index in range(11)}
    assert ticks(client, pool, url).send(long | short, plenty) == {}
    assert sorted(made) == [2, 4, 4, 10]


def test_a_refused_call_is_returned_for_each_of_its_ticks(pool: ThreadPoolExecutor) -> None:
    entries = [{"Id": "0", "MessageBody": "1", "DelaySeconds": 10}]
    request = {"QueueUrl": URL, "Entries": entries}
    with stubbed("sqs", ("send_message_batch", request, refusal("AccessDenied", "not yours", 403))) as client:
        assert ticks(client, pool).send({"a": DelayedMessage(body="1", delay_s=10)}, plenty) == {
            "a": f"SendMessageBatch of 1 ticks to {URL}: AWS answered AccessDenied: not yours"
        }
