"""A progress bar on stderr for anything that takes more than two seconds; none without a terminal."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sluice_cli.terminal import Console

SHOW_AFTER_S = 2.0


class ProgressBar:
    """One bar at a time, which appears after two seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started_s = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._text = ""

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Remove the bar; the next `show` makes a new one."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None

    def step(self, text: str) -> None:
        """Show what is being done, of which no share is known."""
        self.show(text, None)

    def show(self, text: str, share: float | None) -> None:
        """Show what is being done, and the share of it that is done (0 to 1), if that is known."""
        if not self._console.is_terminal or time.monotonic() - self._started_s < SHOW_AFTER_S:
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
            self._task, self._text = self._bar.add_task(text, total=None if share is None else 1.0), text
        if share is not None:
            self._bar.update(self._task, completed=share)
