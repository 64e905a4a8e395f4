"""Worker processes for a workload: one `python -m sluice_worker` per instance or task.

No process outlives its workload. One that exits by itself is reported with the end of its log. Each process
records the messages that it processed in a file, which is read from here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sluice.core import model
from sluice.core.model import MSG_PROCESSING_DURATION
from sluice_sim.account import ENVIRONMENT
from sluice_sim.aws_rules.alarms import MetricQuery
from sluice_sim.embedded import handler
from sluice_sim.embedded.cloud import EmbeddedAws
from sluice_sim.embedded.cloudwatch import MotoMetrics
from sluice_sim.embedded.timeline import (
    ProcessSummary,
    Scenario,
)
from sluice_sim.embedded.wall_clock import now_s
from sluice_sim.embedded.workers import Assignment
from sluice_worker import Settings

CHECK_INTERVAL_S = 5
"""Virtual seconds between two checks of all processes."""
MIN_VISIBILITY_S = 4
"""Wall seconds; a shorter timeout would expire while a process waits for a CPU."""
EXIT_GRACE_S = 10.0
"""Wall seconds that a stopped worker gets to exit, beyond its longest message."""
LAST_LINES = 3
MINUTE_S = 60
SCALED_SETTINGS = (
    "prefetch_s",
    "interval_s",
    "starving_after_s",
    "backoff_s",
    "max_backoff_s",
    "delete_linger_s",
)
"""Worker settings in seconds that no scenario sets; their defaults are divided by the pace too."""
METRICS_WINDOW_S = 600


class WorkersFailedError(RuntimeError):
    """A worker process failed before any message was processed."""


class WorkerProcess:
    """Implements `worker.Worker` with one operating-system process."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], root: Path, log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            # In a session of its own, so that Ctrl-C reaches the demo only, which then stops its workers.
            self._process = subprocess.Popen(  # noqa: S603 - no user input in it
                command,
                cwd=root,
                env=environment,
                stdin=subprocess.PIPE,  # what handler.py watches
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        self._when_drained: Callable[[], None] | None = None
        self._exit_reported = False
        """Whether its exit has been reported."""

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def protected(self) -> bool:
        """It runs with --no-protect: the embedded fleet waits for a worker that drains."""
        return False

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def drain(self, when_drained: Callable[[], None]) -> None:
        """SIGTERM, as systemd or ECS send it."""
        self._when_drained = when_drained
        self.terminate()

    def terminate(self) -> None:
        """Send SIGTERM without waiting."""
        self._process.terminate()

    def check_exit(self) -> str | None:
        """Report the process's exit once: a sentence if it failed or was not stopped, None otherwise.

        Also calls `when_drained` when a drained process has exited.
        """
        status = self._process.poll()
        if status is None or self._exit_reported:
            return None
        self._exit_reported = True
        was_drained = self._when_drained is not None
        if self._when_drained is not None:
            self._when_drained()
        # A process stopped before it installed its signal handler dies of SIGTERM.
        if was_drained and status in (0, -signal.SIGTERM):
            return None
        return f"worker process {self.pid} {_exit_text(status)}{self._last_log_lines()}"

    def wait_or_kill(self, by: float) -> None:
        """Wait for the exit until `by` (monotonic seconds), then kill the process."""
        try:
            self._process.wait(max(by - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.close_stdin()

    def close_stdin(self) -> None:
        """Close the process's standard input, as happens when this process dies; the worker then exits."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _last_log_lines(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "".join(f"\n      | {line}" for line in lines[-LAST_LINES:])


class WorkerProcesses:
    """Implements `workers.Workers` with processes."""

    def __init__(
        self, aws: EmbeddedAws, assignment: Assignment, *, root: Path, endpoint: str, folder: Path
    ) -> None:
        self._aws, self.assignment, self._root, self._folder = aws, assignment, root, folder
        self._record = folder / "record"
        self._record.touch()
        self._read_to = 0
        self._processed = self._failed = 0
        self._workers: list[WorkerProcess] = []
        self._environment = _environment(endpoint, self._record)
        self._options = options(assignment, endpoint, aws.pace)
        self._check_id = aws.clock.every(CHECK_INTERVAL_S, self._check_workers)

    def start(self) -> WorkerProcess:
        """Start a worker process."""
        log = self._folder / f"worker-{len(self._workers) + 1}.log"
        command = [sys.executable, "-m", "sluice_worker", *self._options, "--worker-id", log.stem]
        worker = WorkerProcess(command, self._environment, self._root, log)
        self._workers.append(worker)
        return worker

    def stop(self) -> ProcessSummary:
        """Stop all processes, and wait for the messages in flight."""
        self._aws.clock.cancel(self._check_id)
        for worker in self._workers:
            if worker.alive:
                worker.drain(lambda: None)
        by = time.monotonic() + EXIT_GRACE_S + _longest_s(self.assignment, self._aws.pace)
        for worker in self._workers:
            worker.wait_or_kill(by)
        self._check_workers()
        count, total_s = self._published()
        return ProcessSummary(
            started=len(self._workers),
            failed=self._failed,
            published=count,
            mean_s=total_s / count if count else None,
        )

    def kill(self) -> None:
        """Kill all remaining processes at once."""
        for worker in self._workers:
            worker.wait_or_kill(0)

    def _published(self) -> tuple[int, float]:
        """Count and sum (wall seconds) of the processing times published to CloudWatch."""
        self._aws.flush_metrics()
        metrics, now = MotoMetrics(self._aws.cloudwatch), now_s()
        sums = {
            stat: MetricQuery(
                id=stat,
                namespace=self.assignment.namespace,
                name=MSG_PROCESSING_DURATION,
                dimensions=tuple(self.assignment.fleet.dimensions.items()),
                stat=stat,
                period_s=MINUTE_S,
            )
            for stat in ("SampleCount", "Sum")
        }
        read = metrics.read(set(sums.values()), now - METRICS_WINDOW_S, now)
        count, total_s = (sum(read[query].values()) for query in sums.values())
        return int(count), total_s

    def _check_workers(self) -> None:
        self._read_record()
        for worker in self._workers:
            failure = worker.check_exit()
            if failure is None:
                continue
            self._failed += 1
            if not self._processed:
                raise WorkersFailedError(f"no message was processed, and {failure}")
            self.assignment.on_failure(failure)

    def _read_record(self) -> None:
        """Read new lines of the record; each is written in one call and therefore complete."""
        with self._record.open("rb") as record:
            record.seek(self._read_to)
            written = record.read()
        self._read_to += len(written)
        for line in written.decode().splitlines():
            message_id, *wall_s = line.split()
            self._processed += 1
            took_s, waited_s = (float(each_s) * self._aws.pace for each_s in wall_s)
            self.assignment.on_processed(message_id, took_s, waited_s)


def options(assignment: Assignment, endpoint: str, pace: float) -> list[str]:
    """The worker's command-line options; every duration is divided by the pace."""
    scenario, fleet = assignment.scenario, assignment.fleet
    given: dict[str, Any] = {
        "--queue": endpoint + urlsplit(assignment.queue_url).path,
        "--handler": f"{handler.__name__}:{handler.work.__name__}",
        "--min-concurrency": scenario.concurrency,
        "--max-concurrency": scenario.concurrency,
        "--visibility-s": visibility_s(scenario, pace),
        "--report-s": max(MINUTE_S / pace, 1),
        **{f"--{name.replace('_', '-')}": _default(name) / pace for name in SCALED_SETTINGS},
        "--grace-s": EXIT_GRACE_S + _longest_s(assignment, pace),
        "--namespace": assignment.namespace,
    }
    if isinstance(fleet, model.AutoScalingGroup):
        given["--auto-scaling-group"] = fleet.name
    else:
        given |= {"--cluster": fleet.cluster, "--service": fleet.service}
    words = [word for option, value in given.items() for word in (option, str(value))]
    return [*words, "--no-protect"]


def visibility_s(scenario: Scenario, pace: float) -> int:
    """The visibility timeout in wall seconds."""
    return max(round(scenario.visibility_timeout_s / pace), MIN_VISIBILITY_S)


def _environment(endpoint: str, record: Path) -> dict[str, str]:
    """The caller's environment without variables that select another account or configure a worker."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "SLUICE_WORKER_")) and not name.lower().endswith("_proxy")
    }
    return {
        **kept,
        **ENVIRONMENT,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "false",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint,
        handler.RECORD: str(record),
    }


def _default(setting: str) -> float:
    return float(Settings.model_fields[setting].default)


def _longest_s(assignment: Assignment, pace: float) -> float:
    return max(duration_s for _, duration_s in assignment.scenario.durations) / pace


def _exit_text(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended by itself ({status})"
