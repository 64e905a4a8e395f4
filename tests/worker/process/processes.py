"""A worker's command in a separate process: started, signalled, read, and always ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.worker.process import handlers
from tests.worker.waiting import TIMEOUT_S, eventually

ROOT = Path(__file__).resolve().parents[3]


class Running:
    """The command, its output, and the events that its handlers wrote to `folder`."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process, self.folder = process, folder
        self.reports: list[str] = []
        self.logs: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=[stream, lines], daemon=True)
            for stream, lines in ((process.stdout, self.reports), (process.stderr, self.logs))
        ]
        for reader in self._readers:
            reader.start()

    @property
    def log(self) -> str:
        return "\n".join(self.logs)

    def logged_events(self, event: str) -> dict[str, int]:
        """Body -> process id, of every message that this happened to."""
        path = self.folder / "notes"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        split = [line.split() for line in lines]
        return {body: int(pid) for recorded, body, pid in split if recorded == event}

    def await_events(self, event: str, count: int) -> dict[str, int]:
        eventually(
            lambda: len(self.logged_events(event)) >= count, f"{count} times {event}; its log:\n{self.log}"
        )
        return self.logged_events(event)

    def await_log(self, text: str) -> None:
        eventually(lambda: text in self.log, f"{text!r} in its log:\n{self.log}")

    def go(self) -> None:
        """Continue the handlers that wait."""
        (self.folder / "go").touch()

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def await_end(self) -> int:
        """The exit status, after all its processes ended: children keep its stderr open."""
        status = self.process.wait(TIMEOUT_S)
        for reader in self._readers:
            reader.join(TIMEOUT_S)
            assert not reader.is_alive(), "a process is left behind"
        return status

    @staticmethod
    def _read(stream: IO[str], lines: list[str]) -> None:
        with stream:
            for line in stream:
                lines.append(line.rstrip("\n"))


@contextmanager
def running(
    folder: Path, handler: str, *options: str, module: str = "sluice_worker", **variables: str
) -> Iterator[Running]:
    """`python -m sluice_worker` with a handler of `handlers`; killed at the end with all its children."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--handler", f"{handlers.__name__}:{handler}", *options],
        cwd=ROOT,
        env=environment(**{handlers.FOLDER: str(folder)}, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    one = Running(process, folder)
    try:
        yield one
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        one.await_end()


def environment(**variables: str) -> Mapping[str, str]:
    """The test's own, with the project importable wherever it is run from."""
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'layers/sluice'}:{ROOT}", **variables}
