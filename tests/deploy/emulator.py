"""The Lambda runtime interface emulator: runs a deployed function as Lambda would, without Docker.

The environment of the process has what Lambda sets, what the stack sets, a session of the function's role,
the layer and the runtime's own libraries. Everything else is excluded, the virtual environment too, so that a
package that the layer lacks is not found by accident.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import platform
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluice_sim.account import ENVIRONMENT
from tests.deploy.build import ARCHITECTURE
from tests.deploy.deployment import DeployedFunction
from tests.deploy.distributions import (
    closure,
    roots,
)
from tests.deploy.processes import running

HOST = "127.0.0.1"
STARTS_WITHIN_S = 15
ANSWERS_WITHIN_S = 30
# No site packages: only what PYTHONPATH names, and the standard library.
PYTHON = (sys.executable, "-S")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningFunction:
    """A function that waits for events."""

    port: int
    log_path: Path

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """The handler's return value; an AssertionError with its log if it raised instead."""
        answer = self.answer(event)
        if isinstance(answer, dict) and "errorType" in answer:
            raise AssertionError(f"{answer['errorType']}: {answer.get('errorMessage')}\n{self.log()}")
        return answer

    def answer(self, event: Mapping[str, Any]) -> Any:
        """The payload of the response, a value or an error."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=ANSWERS_WITHIN_S)
        try:
            connection.request("POST", "/2015-03-31/functions/function/invocations", json.dumps(event))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def log(self) -> str:
        """All that the function and the emulator printed."""
        return self.log_path.read_text()

    def embedded_metrics(self) -> list[dict[str, Any]]:
        """The log lines from which CloudWatch would extract metrics."""
        lines = [line for line in self.log().splitlines() if line.startswith('{"_aws"')]
        return [json.loads(line) for line in lines]


def lambda_runtime(into: Path) -> Path:
    """A folder with the runtime's own packages only: boto3 and the runtime client."""
    into.mkdir()
    for name in closure(["boto3", "awslambdaric"]):
        for root in roots(name):
            (into / root.name).symlink_to(root)
    return into


def process_environment(
    function: DeployedFunction, runtime: Path, endpoint: str, credentials: Mapping[str, str]
) -> dict[str, str]:
    """The whole environment of the function's process."""
    layers = [str(layer / "python") for layer in function.layers]
    return {
        **ENVIRONMENT,
        **credentials,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout_s),
        "LAMBDA_TASK_ROOT": str(function.folder),
        # Compiled once for all tests, and not into the built folders.
        "PYTHONPYCACHEPREFIX": str(runtime.parent / "bytecode"),
        "PYTHONPATH": os.pathsep.join([*layers, str(runtime)]),
        **function.environment,
    }


@contextmanager
def emulated(
    function: DeployedFunction, runtime: Path, endpoint: str, credentials: Mapping[str, str], log: Path
) -> Iterator[RunningFunction]:
    """Start the function and wait until it accepts events; it ends with the context."""
    with ExitStack() as contexts:
        port, runtime_port = (contexts.enter_context(_reserved_port()) for _ in range(2))
        command = [
            _emulator(),
            *("--runtime-interface-emulator-address", f"{HOST}:{port}"),
            *("--runtime-api-address", f"{HOST}:{runtime_port}"),
            *(*PYTHON, "-m", "awslambdaric", function.handler),
        ]
        environment = process_environment(function, runtime, endpoint, credentials)
        process = contexts.enter_context(
            running(command, cwd=function.folder, environment=environment, log=log)
        )
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the emulator did not start:\n{log.read_text()}")
            time.sleep(0.02)
        yield RunningFunction(port=port, log_path=log)


def _emulator() -> Path:
    """The emulator ships inside the SAM CLI, one binary per architecture."""
    sam = importlib.util.find_spec("samcli")
    if sam is None or sam.origin is None:
        raise AssertionError("aws-sam-cli is not installed: run `make setup`")
    binary = Path(sam.origin).parent / "local" / "rapid" / f"aws-lambda-rie-{ARCHITECTURE}"
    if not binary.is_file():
        raise AssertionError(f"{binary} is missing: this SAM CLI has no emulator for {platform.machine()}")
    return binary


@contextmanager
def _reserved_port() -> Iterator[int]:
    """A free port that no other process gets meanwhile: bound but not listening, so it can be reused."""
    with socket.socket() as reservation:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind((HOST, 0))
        yield reservation.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
