"""The benchmark of cold starts measures every function, each on its whole path."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import pytest

from benchmarks import cold_start
from benchmarks.cold_start import (
    BURSTS,
    CLUSTER,
    COLORS,
    FUNCTIONS,
    GROUP,
    PURGE_AT_ANY_TIME,
    ROOT,
    SERVICE,
    SETTINGS,
    TABLE,
)
from sluice import wiring
from sluice.core.deadline.encoding import decoded_learned
from sluice.core.model import AutoScalingGroup, EcsService
from tests.functions.conftest import Context
from tests.sluice.aws import account
from tests.support.builders import queue_url
from tests.templates import stacks


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    session = account.session()
    with ExitStack() as contexts:
        contexts.enter_context(account.account())
        monkeypatch.setattr("boto3.Session", lambda: session)
        for name, value in (SETTINGS | PURGE_AT_ANY_TIME).items():
            monkeypatch.setenv(name, value)
        wiring.cold_start()
        contexts.callback(wiring.cold_start)
        cold_start.register_workloads()
        cold_start.reset_account()
        yield


def invoke(function: str) -> None:
    spec = spec_from_file_location(f"cold_start_{function}", ROOT / "functions" / function / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.logger.registered_handler.stream = sys.stdout
    _, event = FUNCTIONS[function]
    module.handler(event(), Context())


def desired() -> dict[str, int]:
    fleets = {
        GROUP: AutoScalingGroup(name=GROUP),
        SERVICE: EcsService(cluster=CLUSTER, service=SERVICE),
        BURSTS: AutoScalingGroup(name=BURSTS),
    }
    return {name: account.desired_of(fleet) for name, fleet in fleets.items()}


def target() -> float:
    found = account.client("autoscaling").describe_policies(AutoScalingGroupName=GROUP)["ScalingPolicies"]
    return float(found[0]["TargetTrackingConfiguration"]["TargetValue"])


def messages() -> int:
    attributes = account.client("sqs").get_queue_attributes(
        QueueUrl=queue_url(GROUP), AttributeNames=["ApproximateNumberOfMessages"]
    )
    return int(attributes["Attributes"]["ApproximateNumberOfMessages"])


def remembered() -> dict[str, set[str]]:
    """Workload -> the attributes of its item."""
    items = account.client("dynamodb").scan(TableName=TABLE)["Items"]
    return {item["workload"]["S"]: item.keys() - {"workload", "expires"} for item in items}


def processing_s() -> float:
    """What the deadline engine has learned of how long messages take."""
    [item] = account.client("dynamodb").scan(TableName=TABLE)["Items"]
    processing = decoded_learned(item["learned"]["B"]).processing
    assert processing is not None
    return processing.mean_s


AT_FIRST = {GROUP: 2, SERVICE: 0, BURSTS: 0}
AFTERWARDS: dict[str, tuple[Callable[[], Any], Any]] = {
    "publish_backlog": (desired, {GROUP: 0, SERVICE: 1, BURSTS: 1}),
    "deadline_tick": (
        lambda: (desired(), remembered()),
        (AT_FIRST | {BURSTS: 1}, {BURSTS: {"tick", "state", "write_id"}}),
    ),
    "retune_target": (
        lambda: (target(), remembered(), processing_s()),
        (20, {BURSTS: {"learned"}}, 5.0),
    ),
    "bootstrap": (desired, AT_FIRST | {SERVICE: 1}),
    "shutdown": (desired, AT_FIRST | {GROUP: 0}),
    "surge": (desired, AT_FIRST | {GROUP: 5}),
    "switch": (remembered, {COLORS: {"switch"}}),
    "guard_downstream": (remembered, {BURSTS: {"guard"}}),
    "send_test_messages": (messages, 50),
}
"""Function -> what its event changes."""


def test_every_function_of_the_template_is_measured() -> None:
    functions = stacks.of_type(stacks.plane(DownstreamGuard="true"), "AWS::Lambda::Function")
    assert {logical_id for logical_id, _ in FUNCTIONS.values()} == functions.keys()
    assert FUNCTIONS.keys() == AFTERWARDS.keys()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_event_takes_its_function_through_its_whole_path_every_time(function: str) -> None:
    read, expected = AFTERWARDS[function]
    for _ in range(2):
        cold_start.reset_account()
        invoke(function)
        assert read() == expected
