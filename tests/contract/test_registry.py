"""The contract of `ports.Registry`, for every implementation."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import time_machine

from sluice.aws.colors import SsmColors
from sluice.aws.registry import SsmRegistry
from sluice.core.model import AutoScalingGroup, Color, Mode
from sluice.errors import ConfigError
from sluice.ports import Registry
from tests.sluice.aws import account
from tests.support.builders import (
    NOW,
    POOL,
    blue_green,
    blue_green_document,
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
    paint: Callable[[str, str | None], None]
    """Put the parameter with this workload's active color, or delete it."""
    drain: Callable[[str, str], None]
    """Put the parameter with this workload's draining color."""
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
            paint=lambda name, color: fake.colors.__setitem__(name, color),
            drain=lambda name, color: fake.draining.__setitem__(
                name, None if color == "none" else Color(color)
            ),
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
            paint=lambda name, color: paint(ssm, name, "active-color", color),
            drain=lambda name, color: paint(ssm, name, "draining-color", color),
            wait=travel.shift,
        )


def paint(ssm: Any, name: str, which: str, color: str | None) -> None:
    parameter = f"{account.PREFIX}/{name}/{which}"
    if color is None:
        ssm.delete_parameter(Name=parameter)
    else:
        ssm.put_parameter(Name=parameter, Value=color, Type="String", Overwrite=True)


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


class TestBlueGreen:
    """Which of two fleets is active is a parameter of its own, read anew every time."""

    @pytest.fixture(autouse=True)
    def _registered(self, subject: Subject) -> None:
        subject.register(blue_green_document())
        subject.paint("transcription", "blue")
        subject.drain("transcription", "none")

    @pytest.mark.parametrize("color", ["none", "blue", "green"])
    def test_the_draining_color_is_read_anew_with_the_active_one(self, subject: Subject, color: str) -> None:
        assert [each.draining for each in subject.port.all(plenty).workloads] == [None]
        subject.drain("transcription", color)
        [served] = subject.port.all(plenty).workloads
        assert served.draining == (None if color == "none" else color)
        assert subject.port.one("transcription", plenty) == served

    def test_the_active_color_is_the_fleet_that_is_served(self, subject: Subject) -> None:
        subject.paint("transcription", "green")
        [served] = subject.port.all(plenty).workloads
        assert served == blue_green(active=Color.GREEN)
        assert served.fleet == AutoScalingGroup(name="transcription-green")
        assert subject.port.one("transcription", plenty) == served

    def test_a_switch_is_seen_at_once_though_documents_are_cached(self, subject: Subject) -> None:
        assert [each.color for each in subject.port.all(plenty).workloads] == [Color.BLUE]
        subject.paint("transcription", "green")
        assert [each.color for each in subject.port.all(plenty).workloads] == [Color.GREEN]

    @pytest.mark.parametrize("color", [None, "purple", "Blue"])
    def test_without_a_color_the_workload_is_held_and_named_and_the_others_are_served(
        self, subject: Subject, color: str | None
    ) -> None:
        subject.register(ecs_document())
        subject.paint("transcription", color)
        registered = subject.port.all(plenty)
        assert [each.name for each in registered.workloads] == ["queue-proc"]
        assert "active color" in registered.refused["transcription"]
        with pytest.raises(ConfigError, match=r"transcription.*active.color"):
            subject.port.one("transcription", plenty)
        subject.paint("transcription", "blue")
        assert names(subject) == {"queue-proc", "transcription"}

    def test_the_first_color_counts_until_a_switch_has_made_one_and_never_afterwards(self) -> None:
        with account.account(), account.threads() as pool:
            ssm = account.client("ssm")
            account.register(blue_green_document())
            registry = SsmRegistry(lambda: ssm, pool, account.PREFIX)
            paint(ssm, "transcription", "first-color", "blue")
            assert registry.one("transcription", plenty).color is Color.BLUE
            SsmColors(lambda: ssm, account.PREFIX).set_active("transcription", Color.GREEN)
            # What CloudFormation does when a tag of the stack changes.
            paint(ssm, "transcription", "first-color", "blue")
            assert registry.one("transcription", plenty).color is Color.GREEN
            paint(ssm, "transcription", "active-color", "purple")
            with pytest.raises(ConfigError, match="active color"):
                registry.one("transcription", plenty)

    def test_another_workload_may_not_claim_the_idle_color(self, subject: Subject) -> None:
        subject.register(document("other", fleet={"type": "asg", "name": "transcription-green"}))
        assert set(subject.port.all(plenty).refused) == {"other", "transcription"}
