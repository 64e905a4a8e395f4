"""The shortcuts through moto answer as moto does."""

from collections.abc import Sequence

import pytest
from moto.core import utils
from moto.sqs.exceptions import InvalidAttributeName
from moto.sqs.models import Queue, SQSBackend, sqs_backends

from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.embedded import moto_shortcuts
from tests.aws import account

EVERY = [*Queue.BASE_ATTRIBUTES, *Queue.FIFO_ATTRIBUTES, *Queue.KMS_ATTRIBUTES]


@pytest.mark.parametrize("names", [[], ["All"], EVERY[::-1], ["ApproximateNumberOfMessages"] * 2], ids=str)
@pytest.mark.parametrize("queue", ["plain", "ordered.fifo"])
def test_a_queue_tells_the_attributes_that_moto_tells(queue: str, names: Sequence[str]) -> None:
    with account.account():
        url = account.create_queue(queue)
        if queue == "plain":
            account.send(url, 3)
            account.receive(url)
        backend = sqs_backends[ACCOUNT_ID][REGION]
        told = SQSBackend.get_queue_attributes(backend, queue, list(names))
        assert told == moto_shortcuts._moto_tells(backend, queue, list(names))
        assert bool(told) is bool(names)


def test_a_name_that_is_no_attribute_is_refused() -> None:
    with account.account():
        account.create_queue("plain")
        backend = sqs_backends[ACCOUNT_ID][REGION]
        with pytest.raises(InvalidAttributeName):
            SQSBackend.get_queue_attributes(backend, "plain", ["QueueArn", "Colour"])


def test_each_name_is_spelt_as_moto_spells_it() -> None:
    assert [moto_shortcuts._spelt(name) for name in EVERY] == list(map(utils.camelcase_to_underscores, EVERY))
