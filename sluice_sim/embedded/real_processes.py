"""The demo with worker processes: the same play, on the wall clock.

Owns the pace and what is put together. Everything that scales is what `demo` plays, with the same virtual
minutes; those who work live in wall seconds, and so does their queue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Stage
from sluice_sim.embedded.processes import CannotWorkError, ProcessCrew, visibility_s
from sluice_sim.embedded.run import OnMinute
from sluice_sim.embedded.serialised_requests import taking_turns
from sluice_sim.embedded.server import served
from sluice_sim.embedded.timeline import (
    Part,
    Scenario,
    Story,
)
from sluice_sim.embedded.wall_clock import (
    PACE,
    WallClock,
    sqs_on_the_wall,
)
from sluice_sim.embedded.workers import Assignment
from sluice_sim.template import deployment, load
from sluice_worker.core.model import LONG_POLL_S

__all__ = ["PACE", "CannotWorkError", "play", "real_stage", "shortened"]

LONGEST_S = 170
"""Wall seconds after which a play gives up."""
MINUTE_S = 60


def shortened(root: Path, scenario: Scenario, pace: float = PACE) -> dict[str, tuple[float, float]]:
    """What takes how long: seconds of the workload, and seconds of the wall."""
    idle = deployment.environments(root)[scenario.environment or scenario.name] | dict(scenario.parameters)
    idle_minutes = idle.get(
        "IdleMinutes", load(root / "workload.yaml")["Parameters"]["IdleMinutes"]["Default"]
    )
    longest_s = max(duration_s for _, duration_s in scenario.durations)
    seconds = {
        "a message": longest_s,
        "a boot": scenario.boot_s,
        "the idle window": int(idle_minutes) * MINUTE_S,
        "a long poll": LONG_POLL_S,
    }
    return {what: (virtual_s, virtual_s / pace) for what, virtual_s in seconds.items()} | {
        "the visibility timeout": (scenario.visibility_timeout_s, visibility_s(scenario, pace))
    }


@contextmanager
def real_stage(root: Path, *, on_minute: OnMinute = lambda *_: None, pace: float = PACE) -> Iterator[Stage]:
    """A stage whose workloads are worked on by processes; none is left when the context ends."""
    with ExitStack() as running:
        aws = running.enter_context(embedded_aws(root))
        aws.pace = pace
        folder = Path(running.enter_context(TemporaryDirectory(prefix="sluice-demo-")))
        running.enter_context(sqs_on_the_wall())
        running.enter_context(taking_turns(pace=pace))
        endpoint = running.enter_context(served())

        def hire(aws: EmbeddedAws, assignment: Assignment) -> ProcessCrew:
            own = folder / assignment.queue_url.rsplit("/", 1)[-1]
            own.mkdir()
            crew = ProcessCrew(aws, assignment, root=root, endpoint=endpoint, folder=own)
            running.callback(crew.kill)
            return crew

        wall = WallClock(aws.clock, pace)
        yield Stage(aws, root, on_minute=on_minute, hire=hire, run_until=wall.run_until)


def play(
    root: Path,
    scenarios: Sequence[Scenario],
    *,
    without: Sequence[Part] = (),
    on_minute: OnMinute = lambda *_: None,
    pace: float = PACE,
) -> list[Story]:
    """Play the scenarios side by side with worker processes; each gives up before three minutes are over."""
    most = int(LONGEST_S * pace / MINUTE_S)
    brief = [replace(each, limit_minutes=min(each.limit_minutes, most)) for each in scenarios]
    with real_stage(root, on_minute=on_minute, pace=pace) as stage:
        return stage.play(brief, without)
