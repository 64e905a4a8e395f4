"""An embedded account in the middle of a burst, for the operator's reading commands and their tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sluice_sim.embedded.cloud import embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import PHOTO_IMPORT, QUEUE_PROC, TRANSCRIPTION

SCENARIOS = (PHOTO_IMPORT, QUEUE_PROC, TRANSCRIPTION)
MINUTES = 9
"""Four minutes into the bursts of photo-import and transcription; queue-proc is at a steady load."""


class BusyAccount:
    """The account as it is now; time stands still until `play_minute`."""

    def __init__(self, demo: Demo) -> None:
        self.aws, self.demo = demo.aws, demo
        self._minutes = demo.minutes()

    def play_minute(self) -> None:
        """Let a minute pass."""
        next(self._minutes)


@contextmanager
def busy_account(
    root: Path, *, minutes: int = MINUTES, on_minute: Callable[[int, int], None] = lambda *_: None
) -> Iterator[BusyAccount]:
    """Deploy the control plane and three workloads and play them up to that minute.

    Within the context, boto3 in this process reaches this account alone. `on_minute` is called with the
    minutes played and those to play.
    """
    with embedded_aws(root) as aws:
        demo = Demo(aws, root)
        for scenario in SCENARIOS:
            demo.add_workload(scenario)
        account = BusyAccount(demo)
        for minute in range(minutes):
            account.play_minute()
            on_minute(minute + 1, minutes)
        yield account
