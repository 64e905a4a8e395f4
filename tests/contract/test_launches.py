"""The contract of `ports.Launches`, for every implementation and both kinds of fleet."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from sluice.aws import clients
from sluice.aws.launch_failures import (
    EVENT_FIELDS,
    AwsLaunches,
)
from sluice.core.model import EcsService, Fleet, LaunchAttempt, Unknown
from sluice.ports import Launches
from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from tests.sim.embedded.test_embedded import (
    ROOT,
    Idle,
)
from tests.sluice.aws import account
from tests.support.fakes import (
    Clock,
    FakeLaunches,
)

WORDS = {
    "groups": "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity.",
    "services": "(service work) was unable to place a task. Reason: Capacity is unavailable at this time.",
}


@dataclass
class Subject:
    port: Launches
    create: Callable[[str], Fleet]
    """A fleet of this name without any launch attempt."""
    ask: Callable[[Fleet, str | None], datetime]
    """Launch an instance, which starts or fails with this message; returns the time."""
    words: str
    missing: Fleet


@pytest.fixture(params=["fake groups", "fake services", "groups", "services"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    kind = request.param.split()[-1]
    if request.param.startswith("fake"):
        yield fake(kind)
        return
    with embedded_aws(ROOT) as aws, account.threads() as pool:
        autoscaling = clients.client(account.session(), "autoscaling")
        ecs = clients.client(account.session(), "ecs", read=EVENT_FIELDS)
        port = AwsLaunches(lambda: autoscaling, lambda: ecs, pool)
        yield embedded(kind, port, aws)


def named(kind: str, name: str) -> Fleet:
    from tests.contract.test_fleets import group, service

    return group(name) if kind == "groups" else service(name)


def fake(kind: str) -> Subject:
    clock, port = Clock(), FakeLaunches()

    def ask(fleet: Fleet, words: str | None) -> datetime:
        clock.advance(minutes=1)
        port.attempts.setdefault(fleet, []).append(LaunchAttempt(at=clock(), failure=words))
        return clock()

    return Subject(
        port=port,
        create=lambda name: named(kind, name),
        ask=ask,
        words=WORDS[kind],
        missing=named(kind, "gone"),
    )


def embedded(kind: str, port: Launches, aws: EmbeddedAws) -> Subject:
    def create(name: str) -> Fleet:
        fleet = named(kind, name)
        if isinstance(fleet, EcsService):
            aws.create_service(fleet.cluster, fleet.service, boot_s=0, start=Idle)
        else:
            aws.create_group(name, minimum=0, maximum=5, boot_s=0, start=Idle)
        return fleet

    def ask(fleet: Fleet, words: str | None) -> datetime:
        aws.clock.run_until(aws.clock.now + 60)
        fleets, key = (
            (aws.services, f"service/{fleet.cluster}/{fleet.service}")
            if isinstance(fleet, EcsService)
            else (aws.groups, fleet.name)
        )
        fleets.fail_launches(key, words)
        fleets.set_desired(key, fleets.fleet(key).size().desired + 1)
        at = datetime.fromtimestamp(aws.clock.now, UTC)
        aws.clock.run_until(aws.clock.now + 1)
        return at

    return Subject(port=port, create=create, ask=ask, words=WORDS[kind], missing=named(kind, "gone"))


def plenty() -> float:
    return 30


def newest(subject: Subject, fleet: Fleet) -> LaunchAttempt:
    found = subject.port.read([fleet], plenty)[fleet]
    assert not isinstance(found, Unknown)
    return max(found, key=lambda attempt: attempt.at)


def test_a_failed_launch_has_its_time_and_message(subject: Subject) -> None:
    fleet = subject.create("work")
    at = subject.ask(fleet, subject.words)
    assert newest(subject, fleet) == LaunchAttempt(at=at, failure=subject.words)


def test_a_launch_that_succeeds_later_is_the_newest(subject: Subject) -> None:
    fleet = subject.create("work")
    subject.ask(fleet, subject.words)
    at = subject.ask(fleet, None)
    found = newest(subject, fleet)
    assert (found.failure, found.at >= at) == (None, True)


def test_each_fleet_has_its_own_attempts(subject: Subject) -> None:
    one, other = subject.create("work"), subject.create("other")
    subject.ask(one, subject.words)
    found = subject.port.read([one, other], plenty)
    assert found.keys() == {one, other}
    assert not isinstance(found[one], Unknown)
    assert [attempt.failure for attempt in found[one]] == [subject.words]
    assert found[other] == []


def test_a_missing_fleet_has_no_attempts_and_does_not_affect_the_others(subject: Subject) -> None:
    fleet = subject.create("work")
    subject.ask(fleet, subject.words)
    found = subject.port.read([fleet, subject.missing], plenty)
    assert not found[subject.missing]
    assert found[fleet]


def test_without_fleets_nothing_is_read(subject: Subject) -> None:
    assert subject.port.read([], plenty) == {}


def test_a_value_that_is_not_read_in_time_is_unknown(subject: Subject) -> None:
    fleet = subject.create("work")
    read = subject.port.read([fleet], lambda: -1)[fleet]
    assert isinstance(read, Unknown) or read == []
