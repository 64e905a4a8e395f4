"""The demo with real worker processes, on the wall clock.

Everything that scales is the same as in `demo` and runs in virtual minutes. The workers and their queue run
in wall seconds; the pace is the ratio of the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.processes import WorkerProcesses, WorkersFailedError, visibility_s
from sluice_sim.embedded.run import OnMinute
from sluice_sim.embedded.serialised_requests import serialise_requests
from sluice_sim.embedded.server import http_endpoint
from sluice_sim.embedded.timeline import (
    Component,
    Scenario,
    Timeline,
)
from sluice_sim.embedded.wall_clock import (
    PACE,
    WallClock,
    sqs_on_wall_clock,
)
from sluice_sim.embedded.workers import Assignment
from sluice_sim.template import deployment, load
from sluice_worker.core.model import LONG_POLL_S

__all__ = ["PACE", "WorkersFailedError", "process_demo", "run_scenarios", "scaled_durations"]

MAX_RUN_S = 170
"""Wall seconds after which a run gives up."""
MINUTE_S = 60


def scaled_durations(root: Path, scenario: Scenario, pace: float = PACE) -> dict[str, tuple[float, float]]:
    """What takes how long: name -> (virtual seconds, wall seconds)."""
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
def process_demo(root: Path, *, on_minute: OnMinute = lambda *_: None, pace: float = PACE) -> Iterator[Demo]:
    """A demo with worker processes; none is left when the context ends."""
    with ExitStack() as running:
        aws = running.enter_context(embedded_aws(root))
        aws.pace = pace
        folder = Path(running.enter_context(TemporaryDirectory(prefix="sluice-demo-")))
        running.enter_context(sqs_on_wall_clock())
        running.enter_context(serialise_requests(pace=pace))
        endpoint = running.enter_context(http_endpoint())

        def worker_factory(aws: EmbeddedAws, assignment: Assignment) -> WorkerProcesses:
            own = folder / "-".join(assignment.fleet.dimensions.values())
            own.mkdir()
            workers = WorkerProcesses(aws, assignment, root=root, endpoint=endpoint, folder=own)
            running.callback(workers.kill)
            return workers

        wall = WallClock(aws.clock, pace)
        yield Demo(aws, root, on_minute=on_minute, worker_factory=worker_factory, run_until=wall.run_until)


def run_scenarios(
    root: Path,
    scenarios: Sequence[Scenario],
    *,
    without: Sequence[Component] = (),
    on_minute: OnMinute = lambda *_: None,
    pace: float = PACE,
) -> list[Timeline]:
    """Run the scenarios side by side with worker processes; each gives up within three wall minutes."""
    max_minutes = int(MAX_RUN_S * pace / MINUTE_S)
    brief = [replace(each, max_minutes=min(each.max_minutes, max_minutes)) for each in scenarios]
    with process_demo(root, on_minute=on_minute, pace=pace) as demo:
        return demo.run_scenarios(brief, without)
