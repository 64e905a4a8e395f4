"""An instance of a group: its protection, its lifecycle state from the metadata, and its hooks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from sluice.errors import ConfigError, TransientError
from sluice_worker.aws.instance import MAX_LAUNCH_REFUSALS, GroupInstance
from sluice_worker.aws.metadata import InstanceMetadata
from tests.sluice.aws import account
from tests.sluice.aws.stubs import (
    refusal,
    stubbed,
)
from tests.worker.process.endpoints import (
    TOKEN_HEADER,
    Metadata,
    closed_endpoint,
    serving,
)

LIFECYCLE = "autoscaling/target-lifecycle-state"
SPOT = "spot/instance-action"
ACTION = {"AutoScalingGroupName": "workers", "LifecycleHookName": "drain", "InstanceId": "i-0abc"}
LAUNCHED = {**ACTION, "LifecycleHookName": "start", "LifecycleActionResult": "CONTINUE"}


@pytest.fixture
def metadata() -> Metadata:
    return Metadata()


@pytest.fixture
def address(metadata: Metadata) -> Iterator[str]:
    with serving(metadata) as address:
        yield address


def member(
    address: str, client: Any = None, *, hook: str | None = "drain", launch_hook: str | None = "start"
) -> GroupInstance:
    metadata = InstanceMetadata(address)
    return GroupInstance(client, metadata, group="workers", hook=hook, launch_hook=launch_hook)


def reason(instance: GroupInstance) -> str | None:
    out = instance.out_of_service()
    return None if out is None else out.reason


# ---- The metadata service ----------------------------------------------------------------------------------


def test_every_answer_is_asked_for_under_a_token_with_a_term(metadata: Metadata, address: str) -> None:
    assert InstanceMetadata(address).get("instance-id") == "i-0abc"
    token, item = metadata.requests
    assert (token.method, token.path) == ("PUT", "/latest/api/token")
    assert int(token.headers[f"{TOKEN_HEADER}-ttl-seconds"]) in range(1, 21_601)
    assert (item.method, item.path) == ("GET", "/latest/meta-data/instance-id")


def test_a_token_that_expires_after_one_use_is_renewed(metadata: Metadata, address: str) -> None:
    metadata.uses_per_token = 1
    service = InstanceMetadata(address)
    assert [service.get("instance-id") for _ in range(3)] == ["i-0abc"] * 3


def test_a_missing_metadata_item_is_none_and_a_failing_service_is_an_error(
    metadata: Metadata, address: str
) -> None:
    service = InstanceMetadata(address)
    assert service.get(SPOT) is None
    metadata.broken = 503
    with pytest.raises(TransientError, match="HTTP 503"):
        service.get(SPOT)


def test_an_unreachable_metadata_service_raises_an_error_and_logs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is called every few seconds: a line each time would fill the log of a worker that runs elsewhere."""
    with caplog.at_level(logging.INFO), pytest.raises(TransientError, match="instance metadata at"):
        InstanceMetadata(closed_endpoint()).get("instance-id")
    assert caplog.records == []


def test_the_service_is_found_where_the_sdks_look_for_it(
    metadata: Metadata, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{address}/")
    assert InstanceMetadata().get("instance-id") == "i-0abc"


# ---- Protection --------------------------------------------------------------------------------------------


def test_the_instance_is_protected_in_its_group_and_released_again(metadata: Metadata, address: str) -> None:
    with account.account():
        account.create_group("workers", desired=2)
        autoscaling = account.client("autoscaling")
        [own_id, other] = sorted(
            each["InstanceId"]
            for each in autoscaling.describe_auto_scaling_instances()["AutoScalingInstances"]
        )
        metadata.items["instance-id"] = own_id

        def protected() -> dict[str, bool]:
            answer = autoscaling.describe_auto_scaling_instances()["AutoScalingInstances"]
            return {each["InstanceId"]: each["ProtectedFromScaleIn"] for each in answer}

        member(address, autoscaling).protect()
        assert protected() == {own_id: True, other: False}
        member(address, autoscaling).release()
        assert protected() == {own_id: False, other: False}


def test_a_refused_protection_names_the_instance_and_the_group(address: str) -> None:
    request = {"InstanceIds": ["i-0abc"], "AutoScalingGroupName": "workers", "ProtectedFromScaleIn": True}
    answer = refusal("ValidationError", "The instance i-0abc is not part of Auto Scaling group workers.")
    expected = r"protection of i-0abc in workers: .*is not part of"
    call = ("set_instance_protection", request, answer)
    with stubbed("autoscaling", call) as client, pytest.raises(ConfigError, match=expected):
        member(address, client).protect()


def test_an_instance_without_its_id_makes_no_call_and_retries(metadata: Metadata, address: str) -> None:
    del metadata.items["instance-id"]
    with stubbed("autoscaling") as client:
        instance = member(address, client)
        with pytest.raises(TransientError, match="instance-id"):
            instance.protect()
        metadata.items["instance-id"] = "i-0abc"
    request = {"InstanceIds": ["i-0abc"], "AutoScalingGroupName": "workers", "ProtectedFromScaleIn": True}
    with stubbed("autoscaling", ("set_instance_protection", request, {})) as client:
        instance._client = client
        instance.protect()


# ---- Notices -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [None, "InService"])
def test_an_instance_that_is_in_service_or_in_no_group_works(
    metadata: Metadata, address: str, state: str | None
) -> None:
    if state is not None:
        metadata.items[LIFECYCLE] = state
    assert member(address).out_of_service() is None
    assert metadata.paths == [f"/latest/meta-data/{SPOT}", f"/latest/meta-data/{LIFECYCLE}"]


def test_a_spot_interruption_and_a_termination_are_each_a_reason_to_drain(
    metadata: Metadata, address: str
) -> None:
    instance = member(address)
    metadata.items[SPOT] = '{"action": "terminate", "time": "2026-01-01T00:00:00Z"}'
    assert reason(instance) == "EC2 takes the Spot instance back"
    metadata.items[LIFECYCLE] = "Terminated"
    assert reason(instance) == "workers terminates the instance"


# ---- The lifecycle hook ------------------------------------------------------------------------------------


def test_an_instance_that_drains_for_another_reason_completes_nothing(address: str) -> None:
    with stubbed("autoscaling") as client:
        instance = member(address, client)
        assert instance.out_of_service() is None
        instance.extend_hook()
        instance.complete_hook()


def test_a_spot_interruption_alone_has_no_hook_to_complete(metadata: Metadata, address: str) -> None:
    metadata.items[SPOT] = "{}"
    with stubbed("autoscaling") as client:
        instance = member(address, client)
        assert instance.out_of_service()
        instance.extend_hook()
        instance.complete_hook()


def test_a_terminated_instance_keeps_the_hook_waiting_and_completes_it_once_it_has_drained(
    metadata: Metadata, address: str
) -> None:
    metadata.items[LIFECYCLE] = "Terminated"
    with stubbed(
        "autoscaling",
        ("record_lifecycle_action_heartbeat", ACTION, {}),
        ("record_lifecycle_action_heartbeat", ACTION, {}),
        ("complete_lifecycle_action", {**ACTION, "LifecycleActionResult": "CONTINUE"}, {}),
    ) as client:
        instance = member(address, client)
        assert instance.out_of_service()
        instance.extend_hook()
        instance.extend_hook()
        instance.complete_hook()


def test_a_spot_instance_that_its_group_then_terminates_completes_the_hook(
    metadata: Metadata, address: str
) -> None:
    metadata.items |= {SPOT: "{}", LIFECYCLE: "Terminated"}
    complete = {**ACTION, "LifecycleActionResult": "CONTINUE"}
    with stubbed("autoscaling", ("complete_lifecycle_action", complete, {})) as client:
        instance = member(address, client)
        assert instance.out_of_service()
        instance.complete_hook()


def test_without_a_hook_there_is_no_wait(metadata: Metadata, address: str) -> None:
    metadata.items[LIFECYCLE] = "Terminated"
    with stubbed("autoscaling") as client:
        instance = member(address, client, hook=None)
        assert instance.out_of_service()
        instance.extend_hook()
        instance.complete_hook()


def test_a_hook_that_is_no_longer_waiting_is_a_readable_refusal(metadata: Metadata, address: str) -> None:
    metadata.items[LIFECYCLE] = "Terminated"
    answer = refusal("ValidationError", "No active Lifecycle Action found with instance ID i-0abc")
    with stubbed("autoscaling", ("record_lifecycle_action_heartbeat", ACTION, answer)) as client:
        instance = member(address, client)
        assert instance.out_of_service()
        with pytest.raises(ConfigError, match=r"asking workers for more time: .*No active Lifecycle Action"):
            instance.extend_hook()


def test_an_instance_that_returns_to_the_warm_pool_completes_the_hook_once_each_time(
    metadata: Metadata, address: str
) -> None:
    """Target states InService, Warmed:Running, InService, Warmed:Running: two returns, two waiting hooks."""
    complete = ("complete_lifecycle_action", {**ACTION, "LifecycleActionResult": "CONTINUE"}, {})
    with stubbed("autoscaling", complete, complete) as client:
        instance = member(address, client)
        for _ in range(2):
            metadata.items[LIFECYCLE] = "InService"
            assert instance.out_of_service() is None
            metadata.items[LIFECYCLE] = "Warmed:Running"
            for _ in range(2):
                assert instance.out_of_service()
                instance.complete_hook()


@pytest.mark.parametrize("states", [["Warmed:Stopped"], ["InService", "Standby"], ["InService", "Detached"]])
def test_without_a_running_termination_hook_none_is_completed(
    metadata: Metadata, address: str, states: list[str]
) -> None:
    with stubbed("autoscaling") as client:
        instance = member(address, client)
        for state in states:
            metadata.items[LIFECYCLE] = state
            instance.out_of_service()
        instance.extend_hook()
        instance.complete_hook()


# ---- The launch hook ---------------------------------------------------------------------------------------


def test_an_instance_completes_its_launch_once_on_the_way_into_the_pool_and_once_out_of_it(
    metadata: Metadata, address: str
) -> None:
    complete = ("complete_lifecycle_action", LAUNCHED, {})
    with stubbed("autoscaling", complete, complete) as client:
        instance = member(address, client)
        for state in ("Warmed:Running", "InService"):
            metadata.items[LIFECYCLE] = state
            for _ in range(3):
                instance.out_of_service()
                instance.complete_launch_hook()


def test_an_instance_of_the_pool_that_was_stopped_completes_its_start_in_a_new_process(
    metadata: Metadata, address: str
) -> None:
    complete = ("complete_lifecycle_action", LAUNCHED, {})
    with stubbed("autoscaling", complete, complete) as client:
        for state in ("Warmed:Stopped", "InService"):
            metadata.items[LIFECYCLE] = state
            instance = member(address, client)
            instance.out_of_service()
            instance.complete_launch_hook()


def test_a_launch_that_could_not_be_completed_is_completed_later(metadata: Metadata, address: str) -> None:
    """However long AWS fails, and as long as it may not have begun to wait."""
    metadata.items[LIFECYCLE] = "InService"
    failed = ("complete_lifecycle_action", LAUNCHED, refusal("Throttling", "Rate exceeded"))
    early = refusal("ValidationError", "No active Lifecycle Action found with instance ID i-0abc")
    refused = ("complete_lifecycle_action", LAUNCHED, early)
    outcomes = [failed] * (2 * MAX_LAUNCH_REFUSALS) + [refused] * (MAX_LAUNCH_REFUSALS - 1)
    with stubbed("autoscaling", *outcomes, ("complete_lifecycle_action", LAUNCHED, {})) as client:
        instance = member(address, client)
        assert instance.out_of_service() is None
        for _ in outcomes:
            with pytest.raises((TransientError, ConfigError)):
                instance.complete_launch_hook()
        for _ in range(2):
            instance.complete_launch_hook()


def test_a_launch_whose_completion_is_refused_again_and_again_is_left_to_its_timeout(
    metadata: Metadata, address: str
) -> None:
    """A worker that was restarted in service, or one whose role may not complete lifecycle actions."""
    metadata.items[LIFECYCLE] = "InService"
    answer = refusal("AccessDenied", "not authorized to perform: autoscaling:CompleteLifecycleAction")
    refused = ("complete_lifecycle_action", LAUNCHED, answer)
    with stubbed("autoscaling", *[refused] * MAX_LAUNCH_REFUSALS) as client:
        instance = member(address, client)
        assert instance.out_of_service() is None
        for _ in range(MAX_LAUNCH_REFUSALS):
            with pytest.raises(ConfigError, match="completing the lifecycle action start of workers"):
                instance.complete_launch_hook()
        instance.complete_launch_hook()


@pytest.mark.parametrize("states", [[], ["Terminated"], ["Standby"], ["InService", "Warmed:Running"]])
def test_no_launch_is_completed_unless_its_hook_may_wait(
    metadata: Metadata, address: str, states: list[str]
) -> None:
    with stubbed("autoscaling") as client:
        instance = member(address, client)
        instance.out_of_service()
        for state in states:
            metadata.items[LIFECYCLE] = state
            instance.out_of_service()
        instance.complete_launch_hook()


def test_without_a_launch_hook_none_is_completed(metadata: Metadata, address: str) -> None:
    metadata.items[LIFECYCLE] = "InService"
    with stubbed("autoscaling") as client:
        instance = member(address, client, launch_hook=None)
        instance.out_of_service()
        instance.complete_launch_hook()
