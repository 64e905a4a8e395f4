"""What surrounds a worker's process on an instance or in a task: AWS, the metadata service, the agent.

Owns fakes of them on ports of this machine, and what was asked of each. Refuses to judge it.
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
"""No condition takes so long; whoever waits longer has failed."""
UNKNOWN_TO_MOTO = {
    AutoScalingResponse: ("complete_lifecycle_action", "record_lifecycle_action_heartbeat"),
    EC2ContainerServiceResponse: ("update_task_protection",),
}
TOKEN = "a session's token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call of AWS, as its API names it."""

    operation: str
    parameters: Mapping[str, Any]


@dataclass(slots=True)
class Heard:
    """What was asked, in order; others wait for what they expect of it."""

    asked: list[Any] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)

    def add(self, one: Any) -> None:
        with self._news:
            self.asked.append(one)
            self._news.notify_all()

    def wait_for(self, expected: Callable[[], bool]) -> None:
        """Return once it holds; it is looked at after each new call."""
        with self._news:
            assert self._news.wait_for(expected, LIMIT_S), f"still waiting after: {self.asked}"


# ---- AWS ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedAws:
    """A moto server and every call that it heard."""

    endpoint: str
    heard: Heard

    def of(self, operation: str, queue_url: str | None = None) -> list[Mapping[str, Any]]:
        """The parameters of each call of an operation, on one queue or on any."""
        return [
            asked.parameters
            for asked in list(self.heard.asked)
            if asked.operation == operation and queue_url in (None, asked.parameters.get("QueueUrl"))
        ]


@contextmanager
def embedded_aws() -> Iterator[EmbeddedAws]:
    """An empty account on a free port, groups that exist for whoever names them."""
    heard = Heard()
    with pytest.MonkeyPatch.context() as patch:
        know_what_workers_ask(patch)
        patch.setattr(AutoScalingResponse, "set_instance_protection", lambda _: EmptyResult())
        patch.setattr(BaseResponse, "call_action", _listening(BaseResponse.call_action, heard))
        server = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
        server.start()
        try:
            yield EmbeddedAws(endpoint=f"http://{HOST}:{server.get_host_and_port()[1]}", heard=heard)
        finally:
            server.stop()


def know_what_workers_ask(patch: pytest.MonkeyPatch) -> None:
    """Let moto answer the calls of a lifecycle hook and of task protection, which it does not have."""
    for service, operations in UNKNOWN_TO_MOTO.items():
        for operation in operations:
            patch.setattr(service, operation, lambda _: EmptyResult(), raising=False)


def _listening(
    call_action: Callable[[BaseResponse], TYPE_RESPONSE], heard: Heard
) -> Callable[[BaseResponse], TYPE_RESPONSE]:
    def listening(response: BaseResponse) -> TYPE_RESPONSE:
        response.parse_parameters(response.normalized_request)
        answer = call_action(response)
        heard.add(Asked(operation=response._get_action(), parameters=response.params))
        return answer

    return listening


# ---- What the instance and the task find beside them -------------------------------------------------------


@dataclass(slots=True)
class Metadata:
    """The instance metadata service, version 2 only; `says` may change at any time."""

    says: dict[str, str]
    endpoint: str = ""


@contextmanager
def metadata(**says: str) -> Iterator[Metadata]:
    """Answers at `/latest/meta-data/PATH`, given as words with `__` for `/` and `_` for `-`."""
    service = Metadata({name.replace("__", "/").replace("_", "-"): text for name, text in says.items()})

    def answer(method: str, path: str, headers: Mapping[str, str], _: str) -> tuple[int, str]:
        if (method, path) == ("PUT", "/latest/api/token"):
            return (200, TOKEN) if "X-aws-ec2-metadata-token-ttl-seconds" in headers else (400, "")
        if headers.get("X-aws-ec2-metadata-token") != TOKEN:
            return 401, ""
        found = service.says.get(path.removeprefix("/latest/meta-data/"))
        return (404, "") if found is None else (200, found)

    with _served(answer) as service.endpoint:
        yield service


@dataclass(slots=True)
class Agent:
    """The ECS agent's endpoint for task protection, and each state that it was told."""

    heard: Heard
    endpoint: str = ""


@contextmanager
def agent(passed_on: Callable[[dict[str, Any]], object] = bool) -> Iterator[Agent]:
    """An agent that passes on what it is told."""
    one = Agent(Heard())

    def answer(method: str, path: str, _: Mapping[str, str], body: str) -> tuple[int, str]:
        if (method, path) != ("PUT", "/task-protection/v1/state"):
            return 404, ""
        passed_on(json.loads(body))
        one.heard.add(json.loads(body))
        return 200, json.dumps({"protection": json.loads(body)})

    with _served(answer) as one.endpoint:
        yield one


Answer = Callable[[str, str, Mapping[str, str], str], tuple[int, str]]


@contextmanager
def _served(answer: Answer) -> Iterator[str]:
    """The endpoint at which `answer` gives (status, text) for (method, path, headers, body)."""

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
