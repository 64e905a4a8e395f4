"""The contract of `ports.Queues`, for every implementation."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from sluice.aws.sqs import SqsQueues
from sluice.core.model import Backlog, Unknown
from sluice.errors import SluiceError
from sluice.ports import Queues
from sluice_sim.simulator.ports import SimulatedQueues
from tests.sim.simulator.contexts import context
from tests.sim.simulator.fleets import (
    at,
    simulated_fleet,
)
from tests.sluice.aws import account
from tests.support.builders import (
    backlog,
    plenty,
    queue_url,
)
from tests.support.fakes import FakeQueues


@dataclass
class Subject:
    port: Queues
    create: Callable[[str], str]
    fill: Callable[[str, Backlog], None]
    """Fill the empty queue to these counts."""


OPEN = ["fake", "sqs"]
"""A simulated run receives messages only from its trace."""


@pytest.fixture(params=[*OPEN, "simulated"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "fake":
        fake = FakeQueues()

        def create(name: str) -> str:
            fake.backlogs[queue_url(name)] = backlog()
            return queue_url(name)

        yield Subject(port=fake, create=create, fill=fake.backlogs.__setitem__)
        return

    if request.param == "simulated":
        yield simulated()
        return

    def fill(url: str, counts: Backlog) -> None:
        account.send(url, counts.in_flight)
        account.receive(url, counts.in_flight)
        account.send(url, counts.visible)
        account.send(url, counts.delayed, delay_s=600)

    with account.account(), account.threads() as pool:
        sqs = account.client("sqs")
        yield Subject(port=SqsQueues(lambda: sqs, pool), create=account.create_queue, fill=fill)


def simulated() -> Subject:
    """Its queue delays each message by ten minutes; one worker for each that is to be in flight."""
    run = context("transcription")

    def fill(url: str, counts: Backlog) -> None:
        arrivals = [0.0] * (counts.visible + counts.in_flight) + [650.0] * counts.delayed
        run.fleets = {run.deployed.workload.fleet: simulated_fleet(arrivals, 9999, delay_s=600)}
        run.fleet.set_desired(counts.in_flight)
        at(run.fleet, 700)

    return Subject(port=SimulatedQueues(run), create=lambda name: run.deployed.workload.queue_url, fill=fill)


def test_all_three_counts_are_read(subject: Subject) -> None:
    url = subject.create("transcription")
    subject.fill(url, backlog(visible=3, in_flight=2, delayed=1))
    assert subject.port.read([url], plenty) == {url: backlog(visible=3, in_flight=2, delayed=1)}


def test_reading_changes_nothing(subject: Subject) -> None:
    url = subject.create("transcription")
    subject.fill(url, backlog(visible=3))
    assert subject.port.read([url], plenty) == subject.port.read([url], plenty)


def test_an_empty_queue_reads_as_zeros(subject: Subject) -> None:
    url = subject.create("transcription")
    assert subject.port.read([url], plenty) == {url: backlog()}


def test_a_queue_that_is_not_there_is_unknown_and_the_others_are_read(subject: Subject) -> None:
    url = subject.create("transcription")
    backlogs = subject.port.read([url, queue_url("gone")], plenty)
    assert backlogs[url] == backlog()
    missing = backlogs[queue_url("gone")]
    assert isinstance(missing, Unknown)
    assert "gone" in missing.reason


def test_when_no_time_is_left_every_queue_is_unknown(subject: Subject) -> None:
    url = subject.create("transcription")
    observed = subject.port.read([url], lambda: -1)[url]
    # Threads may be done before they are waited for: then it is the value, but never anything else.
    assert observed == backlog() or (
        isinstance(observed, Unknown) and "not read before the deadline" in observed.reason
    )


def test_no_queues_are_no_readings(subject: Subject) -> None:
    assert subject.port.read([], plenty) == {}


@pytest.mark.parametrize("subject", OPEN, indirect=True)
@pytest.mark.parametrize("name", ["load", "load.fifo"])
def test_every_sent_body_is_in_the_queue(subject: Subject, name: str) -> None:
    url = subject.create(name)
    subject.port.send(url, [json.dumps({"duration_s": 5})] * 23)
    assert subject.port.read([url], plenty) == {url: backlog(visible=23)}


def test_sending_to_a_queue_that_is_not_there_raises(subject: Subject) -> None:
    with pytest.raises(SluiceError, match="gone"):
        subject.port.send(queue_url("gone"), ["body"])
