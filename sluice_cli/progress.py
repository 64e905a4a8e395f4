"""A progress bar on stderr for whatever takes more than two seconds; nothing where nobody watches."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sluice_cli.terminal import Console

PATIENCE_S = 2.0


class Progressing:
    """One bar at a time; it begins to show once somebody has waited."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._text = ""

    def __enter__(self) -> Progressing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, text: str, share: float) -> None:
        """What is being done, and how much of it is."""
        if not self._console.is_terminal or time.monotonic() - self._began_s < PATIENCE_S:
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
        if self._task is None or text != self._text:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task, self._text = self._bar.add_task(text, total=1.0), text
        self._bar.update(self._task, completed=share)
