"""The real worker as a process: with an example fleet's variables, against an AWS on this machine.

Owns the process, and the variables that a machine adds to a template's: the endpoint and the credentials.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluice_sim.account import ENVIRONMENT
from tests.deploy.processes import running
from tests.templates import fleet_workers
from tests.templates.stacks import ROOT

LIMIT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningWorker:
    """A worker, and what it prints."""

    process: subprocess.Popen[bytes]
    log: Path

    def drain(self) -> int:
        """Send SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait until it ends by itself; returns the exit status."""
        try:
            return self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not end:\n{self.log.read_text()}") from None

    def last_report(self) -> dict[str, Any]:
        """Its last JSON line."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        report: dict[str, Any] = json.loads(lines[-1])
        return report


@contextmanager
def started(
    variables: Mapping[str, str],
    endpoint: str,
    log: Path,
    *,
    python: Path | None = None,
    folder: Path = ROOT / "examples",
) -> Iterator[RunningWorker]:
    """The image's own command, where the handler lies; killed with the context at the latest."""
    _, *arguments = fleet_workers.entry_point()
    environment = {"PATH": os.environ["PATH"], **ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint, **variables}
    command = [python or Path(sys.executable), *arguments]
    with running(command, cwd=folder, environment=environment, log=log) as process:
        yield RunningWorker(process=process, log=log)
