"""Fakes of a worker's environment on an instance or in a task: AWS, the metadata service, the ECS agent.

Each listens on a local port and records the calls that it receives. The tests make the assertions.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import TYPE_RESPONSE, BaseResponse, EmptyResult
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.server import ThreadedMotoServer

HOST = "127.0.0.1"
LIMIT_S = 60.0
"""No condition takes this long: a longer wait is a failure."""
MISSING_IN_MOTO = {
    AutoScalingResponse: ("complete_lifecycle_action", "record_lifecycle_action_heartbeat"),
    EC2ContainerServiceResponse: ("update_task_protection",),
}
TOKEN = "a session's token"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """One call of an AWS API: the operation and its parameters."""

    operation: str
    parameters: Mapping[str, Any]


@dataclass(slots=True)
class CallRecorder:
    """The calls in order, for tests in other threads to wait for."""

    recorded: list[Any] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, call: Any) -> None:
        with self._changed:
            self.recorded.append(call)
            self._changed.notify_all()

    def wait_for(self, expected: Callable[[], bool]) -> None:
        """Wait until the condition holds; it is checked after each new call."""
        with self._changed:
            assert self._changed.wait_for(expected, LIMIT_S), f"still waiting after: {self.recorded}"


# ---- AWS ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedAws:
    """A moto server, and every call that it received."""

    endpoint: str
    calls: CallRecorder

    def of(self, operation: str, queue_url: str | None = None) -> list[Mapping[str, Any]]:
        """The parameters of each call of an operation, on one queue or on any."""
        return [
            call.parameters
            for call in list(self.calls.recorded)
            if call.operation == operation and queue_url in (None, call.parameters.get("QueueUrl"))
        ]


@contextmanager
def embedded_aws() -> Iterator[EmbeddedAws]:
    """An empty account on a free port, in which every Auto Scaling group exists that a call names."""
    calls = CallRecorder()
    with pytest.MonkeyPatch.context() as patch:
        add_missing_operations(patch)
        patch.setattr(AutoScalingResponse, "set_instance_protection", lambda _: EmptyResult())
        patch.setattr(BaseResponse, "call_action", _recording(BaseResponse.call_action, calls))
        server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
        server.start()
        try:
            yield EmbeddedAws(endpoint=f"http://{HOST}:{server.get_host_and_port()[1]}", calls=calls)
        finally:
            server.stop()


def add_missing_operations(patch: pytest.MonkeyPatch) -> None:
    """Add the operations of lifecycle hooks and task protection, which moto does not implement."""
    for service, operations in MISSING_IN_MOTO.items():
        for operation in operations:
            patch.setattr(service, operation, lambda _: EmptyResult(), raising=False)


def keep_enabled(patch: pytest.MonkeyPatch) -> None:
    """Keep whether a group's policy is enabled, which moto forgets."""
    put_scaling_policy = AutoScalingResponse.put_scaling_policy

    def put(response: AutoScalingResponse) -> TYPE_RESPONSE:
        answer, asked = put_scaling_policy(response), response._get_params()
        (policy,) = response.autoscaling_backend.describe_policies(
            asked["AutoScalingGroupName"], [asked["PolicyName"]]
        )
        vars(policy)["enabled"] = asked.get("Enabled", True)
        return answer

    patch.setattr(AutoScalingResponse, "put_scaling_policy", put)


def _recording(
    call_action: Callable[[BaseResponse], TYPE_RESPONSE], calls: CallRecorder
) -> Callable[[BaseResponse], TYPE_RESPONSE]:
    def recording(response: BaseResponse) -> TYPE_RESPONSE:
        response.parse_parameters(response.normalized_request)
        answer = call_action(response)
        calls.add(ApiCall(operation=response._get_action(), parameters=response.params))
        return answer

    return recording


# ---- The instance metadata service and the ECS agent -------------------------------------------------------


@dataclass(slots=True)
class Metadata:
    """The instance metadata service, version 2 only; `items` may be changed at any time."""

    items: dict[str, str]
    endpoint: str = ""


@contextmanager
def metadata(**items: str) -> Iterator[Metadata]:
    """Serve items at `/latest/meta-data/PATH`, given as keywords with `__` for `/` and `_` for `-`."""
    service = Metadata({name.replace("__", "/").replace("_", "-"): text for name, text in items.items()})

    def answer(method: str, path: str, headers: Mapping[str, str], _: str) -> tuple[int, str]:
        if (method, path) == ("PUT", "/latest/api/token"):
            return (200, TOKEN) if "X-aws-ec2-metadata-token-ttl-seconds" in headers else (400, "")
        if headers.get("X-aws-ec2-metadata-token") != TOKEN:
            return 401, ""
        found = service.items.get(path.removeprefix("/latest/meta-data/"))
        return (404, "") if found is None else (200, found)

    with _served(answer) as service.endpoint:
        yield service


@dataclass(slots=True)
class Agent:
    """The ECS agent's endpoint for task protection, and each state that was set through it."""

    calls: CallRecorder
    endpoint: str = ""


@contextmanager
def agent(on_state: Callable[[dict[str, Any]], object] = bool) -> Iterator[Agent]:
    """An agent that passes each state on to `on_state`."""
    agent_fake = Agent(CallRecorder())

    def answer(method: str, path: str, _: Mapping[str, str], body: str) -> tuple[int, str]:
        if (method, path) != ("PUT", "/task-protection/v1/state"):
            return 404, ""
        on_state(json.loads(body))
        agent_fake.calls.add(json.loads(body))
        return 200, json.dumps({"protection": json.loads(body)})

    with _served(answer) as agent_fake.endpoint:
        yield agent_fake


Answer = Callable[[str, str, Mapping[str, str], str], tuple[int, str]]


@contextmanager
def _served(answer: Answer) -> Iterator[str]:
    """Serve `answer`: (method, path, headers, body) -> (status, text); yields the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            status, text = answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_PUT = do_GET  # noqa: N815 - the names are the base class's

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
