"""The contract of `ports.Registry`, for every implementation."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import time_machine

from sluice.aws.registry import SsmRegistry
from sluice.core.model import Mode
from sluice.errors import ConfigError
from sluice.ports import Registry
from tests.sluice.aws import account
from tests.support.builders import (
    NOW,
    POOL,
    document,
    ecs_document,
    parsed,
    plenty,
)
from tests.support.fakes import (
    Clock,
    FakeRegistry,
)


@dataclass
class Subject:
    port: Registry
    register: Callable[[Mapping[str, Any]], None]
    spoil: Callable[[str], None]
    """Replace this workload's document with an invalid one."""
    delete: Callable[[str], None]
    wait: Callable[[int], None]
    """Advance the clock by these seconds."""


@pytest.fixture(params=["fake", "ssm"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "fake":
        clock = Clock()
        fake = FakeRegistry(clock=clock)

        def register(text: Mapping[str, Any]) -> None:
            fake.registered[text["name"]] = parsed(text)

        yield Subject(
            port=fake,
            register=register,
            spoil=lambda name: fake.bad.__setitem__(name, f"the document of workload {name} is refused"),
            delete=lambda name: fake.registered.__delitem__(name),
            wait=lambda seconds: clock.advance(seconds=seconds),
        )
        return
    with account.account(), time_machine.travel(NOW, tick=False) as travel:
        ssm = account.client("ssm")
        yield Subject(
            port=SsmRegistry(lambda: ssm, POOL, account.PREFIX),
            register=account.register,
            spoil=lambda name: account.register("{}", name),
            delete=lambda name: ssm.delete_parameter(Name=f"{account.PREFIX}/{name}"),
            wait=travel.shift,
        )


def names(subject: Subject, *, fresh: bool = False) -> set[str]:
    return {workload.name for workload in subject.port.all(plenty, fresh=fresh).workloads}


def test_every_registered_workload_is_served_as_its_document_says(subject: Subject) -> None:
    for text in (document(), ecs_document()):
        subject.register(text)
    registered = subject.port.all(plenty)
    assert {workload.name: workload for workload in registered.workloads} == {
        "transcription": parsed(document()),
        "queue-proc": parsed(ecs_document()),
    }
    assert (registered.refused, registered.stale) == ({}, None)


def test_nothing_registered_is_nothing_served(subject: Subject) -> None:
    assert subject.port.all(plenty).workloads == ()


def test_the_list_is_at_most_five_minutes_old(subject: Subject) -> None:
    subject.register(document())
    assert names(subject) == {"transcription"}
    subject.register(ecs_document())
    subject.wait(290)
    assert names(subject) == {"transcription"}
    subject.wait(20)
    assert names(subject) == {"transcription", "queue-proc"}


def test_a_fresh_read_returns_the_current_list(subject: Subject) -> None:
    assert names(subject) == set()
    subject.register(document())
    assert names(subject, fresh=True) == {"transcription"}
    assert names(subject) == {"transcription"}


def test_one_workload_is_read_as_it_is_this_moment(subject: Subject) -> None:
    subject.register(document())
    assert subject.port.one("transcription", plenty).mode is Mode.ACTIVE
    subject.register(document(mode="paused"))
    assert subject.port.one("transcription", plenty).mode is Mode.PAUSED


def test_a_workload_that_is_not_registered_is_refused_by_name(subject: Subject) -> None:
    with pytest.raises(ConfigError, match="nobody"):
        subject.port.one("nobody", plenty)


def test_a_workload_deleted_a_moment_ago_is_refused_though_the_list_still_holds_it(subject: Subject) -> None:
    subject.register(document())
    assert names(subject) == {"transcription"}
    subject.delete("transcription")
    with pytest.raises(ConfigError, match="transcription"):
        subject.port.one("transcription", plenty)


def test_a_bad_document_is_named_and_the_others_are_served(subject: Subject) -> None:
    subject.register(document())
    subject.spoil("broken")
    registered = subject.port.all(plenty)
    assert [workload.name for workload in registered.workloads] == ["transcription"]
    assert list(registered.refused) == ["broken"]
    assert "the document of workload broken is refused" in registered.refused["broken"]
    with pytest.raises(ConfigError, match="the document of workload broken is refused"):
        subject.port.one("broken", plenty)


def test_two_workloads_on_one_fleet_are_both_held_and_named(subject: Subject) -> None:
    shared = {"type": "asg", "name": "shared"}
    subject.register(document("one", fleet=shared))
    subject.register(document("two", fleet=shared))
    subject.register(ecs_document())
    registered = subject.port.all(plenty)
    assert [workload.name for workload in registered.workloads] == ["queue-proc"]
    assert set(registered.refused) == {"one", "two"}
    for name in ("one", "two"):
        assert "Auto Scaling group shared is claimed" in registered.refused[name]
        with pytest.raises(ConfigError, match="Auto Scaling group shared is claimed"):
            subject.port.one(name, plenty)
