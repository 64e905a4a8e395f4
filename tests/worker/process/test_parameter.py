"""The parameter over loopback HTTP as workers read it, and the refusals of Systems Manager."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import boto3
import botocore.endpoint
import pytest
from moto.server import ThreadedMotoServer

from sluice.errors import ConfigError, TransientError
from sluice_worker import settings, wiring
from sluice_worker.aws import parameter
from sluice_worker.aws.parameter import SsmParameter
from sluice_worker.runtime.draining_color import DrainingColor
from sluice_worker.runtime.lifecycle import PeriodicTask
from tests.sluice.aws.stubs import refusal, stubbed
from tests.worker.process.endpoints import closed_endpoint

NAME = "/sluice/workloads/builds/draining-color"
GREEN = {
    "queues": ["http://h/1/builds"],
    "cluster": "workers",
    "service": "builds-green",
    "color": "green",
    "draining_color_parameter": NAME,
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    served = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    served.start()
    host, port = served.get_host_and_port()
    yield f"http://{host}:{port}"
    served.stop()


@pytest.fixture
def ssm(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    with closing(boto3.client("ssm")) as client:
        yield client
        for found in client.describe_parameters()["Parameters"]:
            client.delete_parameter(Name=found["Name"])


def test_the_value_is_read_anew_each_time(ssm: Any) -> None:
    with closing(parameter.client()) as client:
        read = SsmParameter(client, NAME)
        values = []
        for value in ("none", "blue", "green"):
            ssm.put_parameter(Name=NAME, Value=value, Type="String", Overwrite=True)
            values.append(read.value())
    assert values == ["none", "blue", "green"]


def test_a_worker_of_a_color_follows_the_parameter_and_keeps_its_state_while_there_is_none(
    ssm: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A switch seen by a green worker; then somebody deletes the parameter in the middle of a drain."""
    monkeypatch.setenv("ECS_AGENT_URI", "http://127.0.0.1:9")
    platform = wiring.detect_platform(settings(GREEN))
    assert isinstance(platform.draining_color, DrainingColor)
    now, received = 0.0, []

    def receives() -> bool:
        nonlocal now
        now += 60
        platform.draining_color.read_if_due(now)
        return platform.is_receiving()

    received.append(receives())
    for value in ("none", "blue", "green"):
        ssm.put_parameter(Name=NAME, Value=value, Type="String", Overwrite=True)
        received.append(receives())
    ssm.delete_parameter(Name=NAME)
    received += [receives(), receives()]
    ssm.put_parameter(Name=NAME, Value="none", Type="String")
    received.append(receives())
    assert received == [True, True, True, False, False, False, True]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2  # before the first reading, and once it was gone
    assert all(f"reading the parameter {NAME}" in line and "ParameterNotFound" in line for line in warnings)


def test_the_parameter_is_read_before_the_first_receive(ssm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that starts while its color drains receives nothing, not even for a moment."""
    monkeypatch.setenv("ECS_AGENT_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(PeriodicTask, "start", lambda task: None)
    ssm.put_parameter(Name=NAME, Value="green", Type="String")
    configured = settings(GREEN)
    platform = wiring.detect_platform(configured)
    with wiring.lifecycle_tasks(configured, platform, lambda: False, lambda: False, print):
        assert not platform.is_receiving()


def test_a_worker_without_a_color_reads_no_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECS_AGENT_URI", "http://127.0.0.1:9")
    without = {name: value for name, value in GREEN.items() if "color" not in name}
    platform = wiring.detect_platform(settings(without))
    assert platform.draining_color is None
    assert platform.is_receiving()


def test_a_worker_of_a_color_that_nothing_protects_logs_what_a_switch_cannot_see(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("ECS_AGENT_URI", raising=False)
    wiring.detect_platform(settings(GREEN))
    assert "a switch of colors cannot see whether this worker" in caplog.text


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ParameterNotFound", ConfigError),
        ("AccessDeniedException", ConfigError),
        ("ThrottlingException", TransientError),
        ("InternalServerError", TransientError),
    ],
)
def test_a_refusal_names_the_parameter(code: str, kind: type[Exception]) -> None:
    with (
        stubbed("ssm", ("get_parameter", {"Name": NAME}, refusal(code))) as client,
        pytest.raises(kind, match=f"reading the parameter {NAME}.*{code}"),
    ):
        SsmParameter(client, NAME).value()


def test_an_unreachable_systems_manager_is_asked_once_and_gives_up_within_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first reading is made before the worker receives, and must not hold it up."""
    pauses: list[float] = []
    monkeypatch.setattr(botocore.endpoint.time, "sleep", pauses.append)
    monkeypatch.setenv("AWS_ENDPOINT_URL", closed_endpoint())
    with closing(parameter.client("eu-west-1")) as client:
        with pytest.raises(TransientError, match="no answer from AWS"):
            SsmParameter(client, NAME).value()
        assert pauses == []
        assert client.meta.config.connect_timeout + client.meta.config.read_timeout <= 5
