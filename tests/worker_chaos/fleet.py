"""Worker processes: started, ended at random, and replaced until the work is done.

Owns every process that it starts, including their children, and the record of what ended each and when.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.worker_chaos import handlers
from tests.worker_chaos.cloud import ROOT, process_environment
from tests.worker_chaos.mutant import MUTATION
from tests.worker_chaos.records import Records

MAX_DURATION_S = 60.0
"""The longest that a worker may take to end."""
CHECK_INTERVAL_S = 0.01
BEFORE_IT_BEGAN = "SIGTERM before its first message"
CHILD_KILL_SHARE = 0.5
"""The share of SIGKILLs that hit a child, if a command has several processes; its parent starts another."""


@dataclass(frozen=True, slots=True)
class Member:
    """One worker command, which is replaced when it ends."""

    options: Sequence[str]
    processes: int = 1
    module: str = "sluice_worker"
    """What is run, unless a defect is planted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSet:
    """The worker commands of a scenario, and how they are ended."""

    members: Sequence[Member]
    ends: Sequence[signal.Signals] = ()
    """The signals to choose from; empty if no worker is ended."""
    every: int = 500
    """Messages completed between two ends on average. Counting messages makes a slow machine end as many
    workers as a fast one."""
    mutation: str | None = None


@dataclass(slots=True, eq=False)
class _Command:
    """One `python -m sluice_worker`."""

    member: Member
    process: subprocess.Popen[bytes]
    sent_signal: signal.Signals | None = None


@dataclass(slots=True)
class Fleet:
    """A running `WorkerSet`."""

    workers: WorkerSet
    endpoint: str
    folder: Path
    records: Records
    chance: random.Random
    deaths: dict[int, float] = field(default_factory=dict)
    """Process -> when it was killed."""
    ended: Counter[str] = field(default_factory=Counter)
    """Ended processes, by what ended them."""
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """(by what, exit status) of the commands that have ended."""
    _running: list[_Command] = field(default_factory=list)
    _signalled: list[_Command] = field(default_factory=list)
    _leaders: set[int] = field(default_factory=set)
    _next_end_at: float = 0.0
    """Messages completed."""

    def start(self) -> None:
        """Start all commands at once."""
        for member in self.workers.members:
            self._begin(member)
        self._plan_next_end()

    def replace_and_end(self) -> None:
        """Replace commands that have ended; end one when it is time."""
        for command in [each for each in self._running + self._signalled if each.process.poll() is not None]:
            self._record_end(command)
            if command.sent_signal is None:
                self._begin(command.member)
        if self.workers.ends and len(self.records.completed) >= self._next_end_at:
            self._end_one()

    def drain(self) -> list[str]:
        """Send SIGTERM to all commands and wait for them; returns those that did not end."""
        for command in [each for each in self._running if each.process.poll() is None]:
            self._signal(command, signal.SIGTERM)
        commands = self._running + self._signalled
        if not awaited(lambda: all(each.process.poll() is not None for each in commands), MAX_DURATION_S):
            left = [each.process.pid for each in commands if each.process.poll() is None]
            return [f"workers {left} did not end within {MAX_DURATION_S:g} s of a SIGTERM"]
        for command in commands:
            self._record_end(command)
        if not awaited(lambda: not self._children(), MAX_DURATION_S):
            return [f"processes {self._children()} outlived the command that started them"]
        return []

    def kill(self) -> None:
        """Kill every process that is left."""
        for command in [*self._running, *self._signalled]:
            command.process.kill()
            command.process.wait()
        for pid in self._children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    # ---- one of them ---------------------------------------------------------------------------------------

    def _begin(self, member: Member) -> None:
        module = member.module if self.workers.mutation is None else "tests.worker_chaos.mutant"
        with (self.folder / "workers.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", module),
                    *("--handler", f"{handlers.__name__}:handle"),
                    *("--processes", str(member.processes)),
                    *member.options,
                ],
                cwd=ROOT,
                env=process_environment(
                    **{
                        "AWS_ENDPOINT_URL": self.endpoint,
                        handlers.LOG: str(self.records.path),
                        MUTATION: self.workers.mutation or "",
                    }
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._leaders.add(process.pid)
        self._running.append(_Command(member, process))

    def _record_end(self, command: _Command) -> None:
        (self._running if command.sent_signal is None else self._signalled).remove(command)
        by = "itself" if command.sent_signal is None else command.sent_signal.name
        if command.sent_signal is signal.SIGTERM and command.process.pid not in self._started():
            by = BEFORE_IT_BEGAN
        self.statuses[by, command.process.returncode] += 1
        if command.sent_signal is None:
            self.ended[by] += 1

    def _children(self) -> list[int]:
        """Processes that the commands started and that still run."""
        return [
            pid
            for pid in _pids()
            if pid not in self._leaders and _session(pid) in self._leaders and runs(pid)
        ]

    # ---- ending --------------------------------------------------------------------------------------------

    def _end_one(self) -> None:
        """End a command that has started a message: another one may not have its signal handlers yet."""
        started = self._started()
        ready = [command for command in self._running if command.process.pid in started]
        if not ready:
            return
        self._plan_next_end()
        command, number = self.chance.choice(ready), self.chance.choice(self.workers.ends)
        children = [pid for pid in self._children_of(command) if runs(pid)]
        if number == signal.SIGKILL and children and self.chance.random() < CHILD_KILL_SHARE:
            self._kill_child(self.chance.choice(children))
        else:
            self._signal(command, number)
            self._begin(command.member)

    def _started(self) -> set[int]:
        """Commands that have started a message, in their own process or a child's."""
        return set(self.records.processes) | set(self.records.processes.values())

    def _children_of(self, parent: _Command) -> list[int]:
        return [pid for pid, by in self.records.processes.items() if by == parent.process.pid]

    def _signal(self, command: _Command, number: signal.Signals) -> None:
        self._running.remove(command)
        self._signalled.append(command)
        command.sent_signal = number
        command.process.send_signal(number)
        self.ended[number.name if command.member.processes == 1 else f"{number.name} to a parent"] += 1
        if number == signal.SIGKILL:
            command.process.wait()
            self.deaths[command.process.pid] = time.monotonic()

    def _kill_child(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            awaited(lambda: not runs(pid), MAX_DURATION_S)
            self.deaths[pid] = time.monotonic()
            self.ended["SIGKILL to a child"] += 1

    def _plan_next_end(self) -> None:
        self._next_end_at = len(self.records.completed) + self.chance.uniform(0.5, 1.5) * self.workers.every


def awaited(condition: Callable[[], bool], limit_s: float) -> bool:
    """Wait for the condition; returns whether it was met."""
    until = time.monotonic() + limit_s
    while not (met := condition()) and time.monotonic() < until:
        time.sleep(CHECK_INTERVAL_S)
    return met


def runs(pid: int) -> bool:
    """Whether the process is alive; a zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdecimal()]


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return 0
