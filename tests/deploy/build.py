"""The SAM CLI: building the control plane, deploying and deleting stacks.

Owns how `sam` is started: with this project's samconfig.toml, the interpreter that runs the tests, and no way
to any account but the embedded one.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from sluice_sim.account import ENVIRONMENT
from tests.deploy.processes import running

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(sys.executable).parent
ARCHITECTURE = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
WHEEL_MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}
SAM_LIMIT_S = 180
"""A build takes some eight seconds; the first on a machine also downloads wheels."""


def sam(*arguments: str | Path, folder: Path, endpoint: str = "http://localhost:1") -> str:
    """What `sam` printed, run in this project; the test fails if sam does."""
    status, printed = sam_status(*arguments, folder=folder, endpoint=endpoint)
    if status != 0:
        pytest.fail(f"sam {arguments[0]} ended with status {status}:\n{printed}")
    return printed


def sam_status(*arguments: str | Path, folder: Path, endpoint: str = "http://localhost:1") -> tuple[int, str]:
    """Sam's exit status and what it printed; `folder` takes the log."""
    log = folder / f"sam-{arguments[0]}.log"
    environment = {
        **os.environ,
        **ENVIRONMENT,
        "AWS_ENDPOINT_URL": endpoint,
        "NO_PROXY": "localhost",
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        # Seconds between two looks at a stack: here it is done when sam first looks.
        "SAM_CLI_POLL_DELAY": "0.1",
        "SAM_CLI_TELEMETRY": "0",
    }
    command = [SCRIPTS / "sam", *arguments]
    with running(command, cwd=ROOT, environment=environment, log=log) as process:
        try:
            return process.wait(SAM_LIMIT_S), log.read_text()
        except subprocess.TimeoutExpired:
            pytest.fail(f"sam {arguments[0]} took longer than {SAM_LIMIT_S} s:\n{log.read_text()}")


def sam_build(into: Path, architecture: str = ARCHITECTURE) -> Path:
    """Build template.yaml below `into`; the folder with the built template."""
    sam(
        *("build", "--no-cached", "--parameter-overrides", f"Architecture={architecture}"),
        *("--build-dir", into / "build", "--cache-dir", into / "cache"),
        folder=into,
    )
    return into / "build"
