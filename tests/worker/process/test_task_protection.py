"""An ECS task asks its agent for protection, exactly as the agent's endpoint is documented."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from sluice.errors import ConfigError, SluiceError, TransientError
from sluice_worker.aws.task import TaskProtection
from tests.worker.process.endpoints import (
    Agent,
    closed_endpoint,
    serving,
)


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
def uri(agent: Agent) -> Iterator[str]:
    """As ECS_AGENT_URI: the address, and the container's own part of the path."""
    with serving(agent) as address:
        yield f"{address}/api/0123456789"


def test_a_busy_task_sends_its_protection_and_expiry_to_the_agents_path(agent: Agent, uri: str) -> None:
    TaskProtection(uri, visibility_s=60).protect()
    [request] = agent.requests
    assert (request.method, request.path) == ("PUT", "/api/0123456789/task-protection/v1/state")
    assert request.headers["Content-Type"] == "application/json"
    assert request.body == '{"ProtectionEnabled": true, "ExpiresInMinutes": 3}'


def test_an_idle_task_releases_its_protection(agent: Agent, uri: str) -> None:
    TaskProtection(uri, visibility_s=60).release()
    assert agent.requests[0].path == "/api/0123456789/task-protection/v1/state"
    assert agent.states == [{"ProtectionEnabled": False}]


@pytest.mark.parametrize("visibility_s", [2, 29, 30, 60, 61, 600, 43_200])
def test_the_protection_lasts_twice_the_visibility_timeout_within_ecs_limits(
    agent: Agent, uri: str, visibility_s: int
) -> None:
    protection = TaskProtection(uri, visibility_s=visibility_s)
    protection.protect()
    [state] = agent.states
    assert isinstance(state["ExpiresInMinutes"], int)
    assert 1 <= state["ExpiresInMinutes"] <= 2880
    assert state["ExpiresInMinutes"] * 60 > 2 * visibility_s
    assert protection.expires_after_s == state["ExpiresInMinutes"] * 60


@pytest.mark.parametrize(
    ("status", "body", "kind", "expected"),
    [
        (
            200,
            '{"failure":{"Arn":"arn:aws:ecs:eu-west-1:1:task/c/0","Detail":null,"Reason":"DEPLOYMENT_BLOCKED"}}',
            ConfigError,
            "DEPLOYMENT_BLOCKED",
        ),
        (
            400,
            '{"requestID":"1","error":{"Code":"InvalidParameterException","Message":"no service owns it"}}',
            ConfigError,
            "no service owns it",
        ),
        (400, '{"requestID":"1","error":{"Code":"AccessDeniedException"}}', ConfigError, "AccessDenied"),
        (404, '{"error":{"Code":"ResourceNotFoundException"}}', ConfigError, "HTTP 404"),
        (429, "too many", TransientError, "HTTP 429"),
        (500, '{"error":{"Code":"ServerException"}}', TransientError, "ServerException"),
        (504, '{"error":{"Code":"RequestCanceled"}}', TransientError, "HTTP 504"),
    ],
)
def test_a_response_without_a_protection_is_an_error_that_shows_it(
    agent: Agent, uri: str, status: int, body: str, kind: type[SluiceError], expected: str
) -> None:
    agent.status, agent.body = status, body
    with pytest.raises(kind, match=expected):
        TaskProtection(uri, visibility_s=60).protect()


def test_an_agent_that_is_gone_is_a_transient_error_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(TransientError, match="task protection"):
        TaskProtection(closed_endpoint(), visibility_s=60).protect()
    assert caplog.records == []


def test_an_agent_that_closed_the_connection_meanwhile_is_reached_anew(agent: Agent) -> None:
    """Between two transitions lie minutes or hours; agents are updated under their tasks."""
    with serving(agent) as address:
        protection = TaskProtection(address, visibility_s=60)
        protection.protect()
    with serving(agent, port=int(address.rsplit(":", 1)[1])):
        protection.release()
    assert [state["ProtectionEnabled"] for state in agent.states] == [True, False]
