import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest
import time_machine
from botocore.exceptions import ClientError, EndpointConnectionError

from sluice.aws.registry import SsmRegistry
from sluice.document import parsing
from sluice.errors import ConfigError, TransientError
from tests.sluice.aws import account
from tests.support.builders import (
    NOW,
    POOL,
    document,
    plenty,
)

pytestmark = pytest.mark.usefixtures("in_account")


class Ssm:
    """A client that counts its calls and can be made to fail."""

    def __init__(self) -> None:
        self.client = account.session().client("ssm")
        self.calls: Counter[str] = Counter()
        self.failing: Exception | None = None
        self._really = self.client._make_api_call
        self.client._make_api_call = self._call

    def _call(self, operation: str, parameters: Any) -> Any:
        self.calls[operation] += 1
        if self.failing:
            raise self.failing
        return self._really(operation, parameters)


def throttled(operation: str = "GetParametersByPath") -> ClientError:
    return ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow down"}}, operation)


@pytest.fixture
def ssm() -> Ssm:
    return Ssm()


@pytest.fixture
def registry(ssm: Ssm) -> SsmRegistry:
    return SsmRegistry(lambda: ssm.client, POOL, account.PREFIX)


@pytest.fixture
def time() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as travel:
        yield travel


def test_twenty_five_documents_are_three_pages_of_ten(ssm: Ssm, registry: SsmRegistry) -> None:
    for index in range(25):
        account.register(document(f"w{index:02}"))
    assert [workload.name for workload in registry.all(plenty).workloads] == [
        f"w{index:02}" for index in range(25)
    ]
    assert ssm.calls == {"GetParametersByPath": 3}


def test_the_list_is_asked_for_once_in_five_minutes(
    ssm: Ssm, registry: SsmRegistry, time: time_machine.Traveller
) -> None:
    account.register(document())
    for _ in range(5):
        registry.all(plenty)
        time.shift(59)
    assert ssm.calls["GetParametersByPath"] == 1
    time.shift(10)
    registry.all(plenty)
    assert ssm.calls["GetParametersByPath"] == 2


@pytest.fixture
def parses(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each document was parsed."""
    counted: Counter[str] = Counter()
    parse = parsing.parse

    def counting(text: str, *, what: str) -> object:
        counted[what] += 1
        return parse(text, what=what)

    monkeypatch.setattr(parsing, "parse", counting)
    return counted


def test_a_document_is_parsed_anew_only_when_its_text_has_changed(
    registry: SsmRegistry, time: time_machine.Traveller, parses: Counter[str]
) -> None:
    account.register(document())
    account.register(document("other"))
    for _ in range(3):
        registry.all(plenty, fresh=True)
    assert set(parses.values()) == {1}
    account.register(document("other", mode="paused"))
    assert {each.name: each.mode for each in registry.all(plenty, fresh=True).workloads} == {
        "other": "paused",
        "transcription": "active",
    }
    assert parses == {
        "the document of workload other": 2,
        "the document of workload transcription": 1,
    }


def test_an_unregistered_workload_is_forgotten_until_it_is_registered_again(registry: SsmRegistry) -> None:
    account.register(document())
    registry.all(plenty)
    account.client("ssm").delete_parameter(Name=f"{account.PREFIX}/transcription")
    assert registry.all(plenty, fresh=True).documents == {}
    account.register(document())
    assert [each.name for each in registry.all(plenty, fresh=True).workloads] == ["transcription"]


def test_the_documents_of_served_workloads_are_returned_unchanged(registry: SsmRegistry) -> None:
    text = json.dumps(document(), indent=2)
    account.register(text)
    account.register("{}", "broken")
    for name in ("one", "two"):
        account.register(document(name, fleet={"type": "asg", "name": "shared"}))
    assert registry.all(plenty).documents == {"transcription": text}


@pytest.mark.parametrize(
    "failure", [throttled(), EndpointConnectionError(endpoint_url="https://ssm.eu-west-1.amazonaws.com")]
)
def test_while_ssm_fails_the_last_good_copy_is_served_and_marked(
    ssm: Ssm, registry: SsmRegistry, time: time_machine.Traveller, failure: Exception
) -> None:
    account.register(document())
    account.register("{}", "broken")
    before = registry.all(plenty)
    ssm.failing = failure
    time.shift(3600)
    stale = registry.all(plenty)
    assert (stale.workloads, stale.refused) == (before.workloads, before.refused)
    assert stale.stale is not None
    assert stale.stale.startswith("GetParametersByPath of /sluice/workloads: ")
    ssm.failing = None
    assert registry.all(plenty).stale is None


def test_a_registry_that_was_never_read_raises_what_aws_said(ssm: Ssm, registry: SsmRegistry) -> None:
    ssm.failing = throttled()
    with pytest.raises(TransientError, match="AWS answered ThrottlingException: slow down"):
        registry.all(plenty)


def test_a_registry_without_read_permission_is_a_config_error(ssm: Ssm, registry: SsmRegistry) -> None:
    ssm.failing = ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetParametersByPath")
    with pytest.raises(ConfigError, match="AWS answered AccessDeniedException"):
        registry.all(plenty)


def test_one_bad_document_is_logged_with_all_its_problems_and_the_others_are_served(
    registry: SsmRegistry,
) -> None:
    account.register(document())
    account.register(json.dumps(document("bad", mode="on", idle_minutes=0)))
    account.register("no json", "worse")
    registered = registry.all(plenty)
    assert [workload.name for workload in registered.workloads] == ["transcription"]
    assert registered.refused["bad"].startswith("the document of workload bad is refused; mode: 'on'")
    assert "idle_minutes: 0" in registered.refused["bad"]
    assert "not valid JSON" in registered.refused["worse"]


def test_a_document_under_another_name_is_refused(registry: SsmRegistry) -> None:
    account.register(document(), name="elsewhere")
    assert registry.all(plenty).refused == {
        "elsewhere": "the document of workload elsewhere has the name 'transcription': "
        "name and parameter must agree"
    }
    with pytest.raises(ConfigError, match="name and parameter must agree"):
        registry.one("elsewhere", plenty)


def test_a_single_workload_is_read_every_time(ssm: Ssm, registry: SsmRegistry) -> None:
    account.register(document())
    for _ in range(3):
        registry.one("transcription", plenty)
    assert ssm.calls["GetParameter"] == 3
    assert ssm.calls["GetParametersByPath"] == 1


def test_one_workload_that_cannot_be_read_now_is_never_served_from_memory(
    ssm: Ssm, registry: SsmRegistry
) -> None:
    account.register(document())
    registry.one("transcription", plenty)
    ssm.failing = throttled("GetParameter")
    with pytest.raises(
        TransientError, match=r"GetParameter of /sluice/workloads/transcription: .*ThrottlingException"
    ):
        registry.one("transcription", plenty)


def test_one_workload_is_refused_while_another_claims_its_fleet(registry: SsmRegistry) -> None:
    fleet = {"type": "asg", "name": "shared"}
    account.register(document("one", fleet=fleet))
    account.register(document("two", fleet=fleet))
    with pytest.raises(ConfigError) as refused:
        registry.one("two", plenty)
    assert str(refused.value) == (
        "Auto Scaling group shared is claimed by workloads one and two: "
        "one fleet serves one workload; all are held"
    )


def test_a_workload_that_just_moved_off_a_shared_fleet_is_served_by_its_new_document(
    registry: SsmRegistry,
) -> None:
    account.register(document("one", fleet={"type": "asg", "name": "shared"}))
    account.register(document("two", fleet={"type": "asg", "name": "shared"}))
    registry.all(plenty)
    account.register(document("two", fleet={"type": "asg", "name": "own"}))
    assert registry.one("two", plenty).fleet.dimensions == {"AutoScalingGroupName": "own"}


def test_a_prefix_with_a_slash_at_its_end_is_the_same_prefix(ssm: Ssm) -> None:
    account.register(document())
    registry = SsmRegistry(lambda: ssm.client, POOL, account.PREFIX + "/")
    assert registry.one("transcription", plenty).name == "transcription"
    assert len(registry.all(plenty).workloads) == 1


def test_parameters_below_a_workloads_own_are_not_documents(registry: SsmRegistry) -> None:
    account.register(document())
    account.register("secret", "transcription/token")
    registered = registry.all(plenty)
    assert (len(registered.workloads), registered.refused) == (1, {})


@pytest.fixture
def hanging(ssm: Ssm) -> Iterator[Callable[[], None]]:
    """Make SSM hang from the call until the end of the test."""
    over = threading.Event()

    def hang() -> None:
        ssm.client._make_api_call = lambda *_: over.wait()

    yield hang
    over.set()


def test_while_ssm_hangs_the_last_good_copy_is_served_in_half_of_the_time(
    registry: SsmRegistry, hanging: Callable[[], None]
) -> None:
    account.register(document())
    registry.all(plenty)
    hanging()
    began, left_s = monotonic(), 0.4
    registered = registry.all(lambda: left_s - (monotonic() - began), fresh=True)
    assert left_s - (monotonic() - began) > 0, "the other half is left for what is served"
    assert [each.name for each in registered.workloads] == ["transcription"]
    assert registered.stale == "GetParametersByPath of /sluice/workloads: not read before the deadline"


def test_a_registry_that_was_never_read_may_use_all_the_time_and_then_fails(
    registry: SsmRegistry, hanging: Callable[[], None]
) -> None:
    hanging()
    with pytest.raises(TransientError, match=r"GetParametersByPath of .* not read before the deadline"):
        registry.all(lambda: 0.01)


def test_one_document_that_hangs_is_given_up_in_time(
    registry: SsmRegistry, hanging: Callable[[], None]
) -> None:
    hanging()
    with pytest.raises(TransientError, match=r"GetParameter of .*/one: not read before the deadline"):
        registry.one("one", lambda: 0.01)
