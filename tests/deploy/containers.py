"""The built functions in AWS's own Lambda image: SAM's warm containers, which call the embedded AWS.

Finds the address at which containers reach this machine, starts SAM and stops it. The embedded AWS listens
only at that address, and is not open to the network.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from sluice_sim.account import ENVIRONMENT
from tests.deploy.build import (
    ARCHITECTURE,
    ROOT,
)
from tests.deploy.processes import running

LOOPBACK = "127.0.0.1"
HOST_NAME = "host.docker.internal"
"""The name of this machine inside containers; on Linux it must be added, as in `OPTIONS`."""
REPOSITORY = "public.ecr.aws/lambda/python"
IMAGE = f"{REPOSITORY}:3.13-{ARCHITECTURE}"
"""The image that SAM asks for."""
OPTIONS = (
    *("--add-host", f"{HOST_NAME}:host-gateway"),
    *("--warm-containers", "EAGER", "--no-watch"),
    *("--parameter-overrides", f"Architecture={ARCHITECTURE}", "DownstreamGuard=true"),
)
SIOCGIFADDR = 0x8915
"""Linux's ioctl for the address of an interface, netdevice(7)."""
COMMAND_LIMIT_S = 300
READY_WITHIN_S = 300
"""For five containers; at the first start SAM also pulls the image."""
ANSWERS_WITHIN_S = 120
ENDS_WITHIN_S = 60

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]
Invoke = Callable[[str, Mapping[str, Any]], Any]
"""Logical id and event -> what the function answered."""


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program and return its status and output; 127 if it does not exist."""
    try:
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False
        )
    except FileNotFoundError as missing:
        return subprocess.CompletedProcess(command, 127, "", str(missing))


def unmet(built: Path, run: Run = run) -> str | None:
    """Why functions cannot be invoked here, or None if they can."""
    if run(["docker", "info"]).returncode != 0:
        return "skipped: no container engine runs here (`docker info` fails); `make e2e` needs none"
    if not (built / "template.yaml").is_file():
        return f"skipped: {built} holds no build; run `make build` first"
    return None


def host_address(run: Run = run) -> str:
    """The address of this machine to listen at, which only containers can reach.

    On Linux it is the engine's bridge. If the engine runs in a virtual machine (Docker Desktop), this machine
    has no such interface, and the engine forwards its containers to the loopback interface.
    """
    option = '{{index .Options "com.docker.network.bridge.name"}}'
    bridge = run(["docker", "network", "inspect", "bridge", "--format", option]).stdout.strip()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            response = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", bridge.encode()[:15]))
        except OSError:
            return LOOPBACK
    return socket.inet_ntoa(response[20:24])


def declaring(template: str, environments: Mapping[str, Mapping[str, str]]) -> str:
    """The built template with these variables declared: SAM passes on no others."""
    body = yaml_parse(template)
    for logical_id, environment in environments.items():
        properties = body["Resources"][logical_id]["Properties"]
        variables = properties.setdefault("Environment", {}).setdefault("Variables", {})
        variables.update(dict.fromkeys(environment, ""))
    return json.dumps(body)


@contextmanager
def containers(built: Path, environments: Mapping[str, Mapping[str, str]], folder: Path) -> Iterator[Invoke]:
    """Run every function of the built template with its environment, until the context ends.

    SAM's log and the values of the variables are written to `folder`.
    """
    template, values, log = built / "local-invoke.json", folder / "variables.json", folder / "sam-local.log"
    port = _free_port()
    pull = [] if run(["docker", "image", "inspect", IMAGE]).returncode else ["--skip-pull-image"]
    command = [
        *(Path(sys.executable).parent / "sam", "local", "start-lambda", "--port", str(port)),
        *("--template", template, "--env-vars", values, *OPTIONS, *pull),
    ]
    # SAM prefers the shell's value of a variable to the template's, and --env-vars to both.
    template.write_text(declaring((built / "template.yaml").read_text(), environments))
    values.write_text(json.dumps(environments))
    environment = {**os.environ, **ENVIRONMENT, "SAM_CLI_TELEMETRY": "0"}
    try:
        with running(command, cwd=ROOT, environment=environment, log=log) as process:
            try:
                _await(process, port, log)
                yield lambda function, event: _answer(port, function, event)
            finally:
                _end(process)
    finally:
        template.unlink()


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"`sam local start-lambda` did not start:\n{log.read_text()}")
        time.sleep(0.2)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGINT: if it were killed, SAM would leave its containers behind."""
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        process.send_signal(signal.SIGINT)
        process.wait(ENDS_WITHIN_S)


def _answer(port: int, function: str, event: Mapping[str, Any]) -> Any:
    """The function's response through SAM, or a `no answer` error if there is none."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=ANSWERS_WITHIN_S)
    try:
        connection.request("POST", f"/2015-03-31/functions/{function}/invocations", json.dumps(event))
        answered = connection.getresponse().read()
        return json.loads(answered)
    except (OSError, http.client.HTTPException, ValueError) as broken:
        return {"errorType": "no answer", "errorMessage": f"{type(broken).__name__}: {broken}"}
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
