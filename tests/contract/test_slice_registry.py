"""The contract of `ports.Shards.registry`, for every implementation."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from sluice.aws.registry import SsmRegistry
from sluice.aws.shard_queue import SqsShards
from sluice.core.model import Mode
from sluice.errors import ConfigError, SluiceError, TransientError
from sluice.ports import Registry, Shards
from tests.sluice.aws import account
from tests.support.builders import (
    POOL,
    document,
    ecs_document,
    parsed,
    plenty,
)
from tests.support.fakes import (
    FakeRegistry,
    FakeShards,
)


@dataclass
class Subject:
    whole: Registry
    shards: Shards
    register: Callable[[Mapping[str, Any]], None]
    delete: Callable[[str], None]
    requests: Callable[[], int]
    """How often the whole registry was read."""

    def slice(self, *names: str) -> Registry:
        """The slice of these names as a tick reads it now."""
        documents = self.whole.all(plenty, fresh=True).documents
        return self.shards.registry({name: documents[name] for name in names})


@pytest.fixture(params=["fake", "ssm"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "fake":
        fake = FakeRegistry()
        yield Subject(
            whole=fake,
            shards=FakeShards(fake),
            register=lambda text: fake.registered.__setitem__(text["name"], parsed(text)),
            delete=lambda name: fake.registered.__delitem__(name),
            requests=lambda: len(fake.calls.named("registry.all")),
        )
        return
    with account.account(), account.threads() as pool:
        ssm, pages = account.session().client("ssm"), []
        ssm.meta.events.register("before-call.ssm.GetParametersByPath", lambda **_: pages.append(1))
        registry = SsmRegistry(lambda: ssm, POOL, account.PREFIX)
        yield Subject(
            whole=registry,
            shards=SqsShards(lambda: account.client("sqs"), pool, "", registry, reserve_s=0),
            register=account.register,
            delete=lambda name: ssm.delete_parameter(Name=f"{account.PREFIX}/{name}"),
            requests=lambda: len(pages),
        )


def test_a_slice_registry_holds_only_its_slice(subject: Subject) -> None:
    for text in (document("a"), ecs_document("b"), document("c")):
        subject.register(text)
    registered = subject.slice("a", "b").all(plenty)
    assert registered.workloads == (parsed(document("a")), parsed(ecs_document("b")))
    assert set(registered.documents) == {"a", "b"}
    assert (registered.refused, registered.stale) == ({}, None)


def test_a_slice_registry_keeps_the_ticks_documents_and_reads_no_list(subject: Subject) -> None:
    subject.register(document("a"))
    sliced = subject.slice("a")
    before = subject.requests()
    subject.register(document("a", mode="paused"))
    subject.register(document("b"))
    assert [workload.mode for workload in sliced.all(plenty, fresh=True).workloads] == [Mode.ACTIVE]
    sliced.one("a", plenty)
    assert subject.requests() == before


def test_one_workload_is_read_as_it_is_this_moment(subject: Subject) -> None:
    subject.register(document("a"))
    sliced = subject.slice("a")
    subject.register(document("a", mode="paused"))
    assert sliced.one("a", plenty).mode is Mode.PAUSED


def test_a_deleted_workload_is_refused_by_name(subject: Subject) -> None:
    subject.register(document("gone"))
    sliced = subject.slice("gone")
    subject.delete("gone")
    with pytest.raises(ConfigError, match="gone"):
        sliced.one("gone", plenty)


def test_a_workload_that_moved_to_another_fleet_waits_for_the_next_ticks_claim_check(
    subject: Subject,
) -> None:
    subject.register(document("a"))
    sliced = subject.slice("a")
    subject.register(document("a", fleet={"type": "asg", "name": "elsewhere"}))
    with pytest.raises(TransientError, match=r"workload a is on Auto Scaling group elsewhere, .*tick"):
        sliced.one("a", plenty)


def test_a_workload_of_another_slice_is_refused(subject: Subject) -> None:
    for name in ("a", "b"):
        subject.register(document(name))
    with pytest.raises(SluiceError, match="workload b "):
        subject.slice("a").one("b", plenty)
