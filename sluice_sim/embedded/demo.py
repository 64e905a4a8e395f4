"""Runs scenarios on one embedded AWS: each workload from its first message to its minimum, minute by minute.

Deploys the control plane, and the workloads beside it. Everything that scales is what a real deployment runs:
handlers, alarms and policies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

from sluice.core.model import Color
from sluice.document import parsing
from sluice_sim.aws_rules.policy_runner import ScalingActivity
from sluice_sim.embedded.cloud import NAMESPACE, EmbeddedAws, embedded_aws
from sluice_sim.embedded.function_logs import LogLine
from sluice_sim.embedded.run import (
    MINUTE_S,
    OnMinute,
    Operator,
    WorkloadRun,
)
from sluice_sim.embedded.timeline import (
    Component,
    Scenario,
    Timeline,
)
from sluice_sim.embedded.workers import (
    SimulatedWorkers,
    WorkerFactory,
)
from sluice_sim.promise import promise_s
from sluice_sim.template import deployment

CONTROL_PLANE = "sluice"


class Demo:
    """One embedded AWS with the control plane deployed, and workloads beside it."""

    def __init__(
        self,
        aws: EmbeddedAws,
        root: Path,
        *,
        on_minute: OnMinute = lambda *_: None,
        worker_factory: WorkerFactory = SimulatedWorkers,
        run_until: Callable[[float], None] | None = None,
        plane: Mapping[str, str] | None = None,
        operator: Operator | None = None,
    ) -> None:
        """`plane` are parameters of the control plane's stack; without an operator nobody switches colors."""
        self._operator = operator
        self.aws, self._root, self._on_minute, self._worker_factory = aws, root, on_minute, worker_factory
        self._run_until = run_until or aws.clock.run_until
        self.runs: list[WorkloadRun] = []
        aws.on_log, aws.on_scaled = self._on_log_line, self._on_scaling_activity
        aws.stacks.deploy("template.yaml", CONTROL_PLANE, plane or {})

    def add_workload(self, scenario: Scenario, parameters: Mapping[str, str] | None = None) -> WorkloadRun:
        """Create a workload's queue and fleet and deploy its stack.

        `parameters` override the scenario's, which override those in samconfig.toml.
        """
        given = {**scenario.parameters, **(parameters or {})}
        deployed = deployment.environments(self._root)[scenario.environment or scenario.name] | given
        run = WorkloadRun(
            self.aws,
            scenario,
            deployed,
            promise_s=scenario.promise_s or self._promise_s(scenario, deployed),
            namespace=NAMESPACE,
            worker_factory=self._worker_factory,
            on_minute=self._on_minute,
            operator=self._operator,
        )
        self.runs.append(run)
        self.deploy(run)
        return run

    def _promise_s(self, scenario: Scenario, deployed: Mapping[str, str]) -> float:
        document = deployment.registration(deployment.resolved(self._root, deployed))
        workload = parsing.parse(document, active=Color.BLUE)
        return promise_s(workload, scenario.duration_s(0), scenario.concurrency)

    def deploy(self, run: WorkloadRun) -> None:
        """Create or update a workload's stack."""
        self.aws.stacks.deploy("workload.yaml", f"{CONTROL_PLANE}-{run.name}", run.deployed)

    def disable(self, component: Component) -> None:
        """Switch off one component of the control plane."""
        functions = {
            Component.PUBLISHER: "PublishBacklogFunction",
            Component.RETUNE: "RetuneTargetFunction",
        }
        if component in functions:
            self.aws.functions.named(f"{CONTROL_PLANE}-{functions[component]}").enabled = False
            return
        for run in self.runs:
            self.aws.monitoring.delete_alarm(f"sluice-{run.name}-{component.removesuffix('-alarm')}")

    def run_scenarios(self, scenarios: Sequence[Scenario], without: Sequence[Component]) -> list[Timeline]:
        """Run the scenarios side by side from beginning to end, `without` these components."""
        for scenario in scenarios:
            self.add_workload(scenario)
        for component in without:
            self.disable(component)
        return self.run()

    def run(self) -> list[Timeline]:
        """Advance minute by minute until every workload's run is over."""
        active = list(self.runs)
        for minute in count():
            if not active:
                break
            self._play(active, minute)
            active = [run for run in active if not run.over]
        return [run.timeline() for run in self.runs]

    def minutes(self) -> Iterator[int]:
        """Play a minute of every workload at each step, without an end; yields the minutes played."""
        for minute in count():
            self._play(self.runs, minute)
            yield minute + 1

    def _play(self, runs: Sequence[WorkloadRun], minute: int) -> None:
        start = self.aws.clock.now
        for run in runs:
            run.begin_minute(minute)
        self._run_until(start + MINUTE_S)
        for run in runs:
            run.end_minute(minute + 1)

    def _on_log_line(self, line: LogLine) -> None:
        for run in self.runs:
            run.on_log_line(line)

    def _on_scaling_activity(self, activity: ScalingActivity) -> None:
        for run in self.runs:
            run.on_scaling_activity(activity)


Afterwards = Callable[[float, float], None]
"""Is told when the run began and ended, in epoch seconds of its clock."""


def run_scenarios(
    root: Path,
    scenarios: Sequence[Scenario],
    *,
    without: Sequence[Component] = (),
    on_minute: OnMinute = lambda *_: None,
    operator: Operator | None = None,
    afterwards: Afterwards | None = None,
) -> list[Timeline]:
    """Run the scenarios side by side on an embedded AWS, which lives until `afterwards` returns."""
    with embedded_aws(root) as aws:
        began_s = aws.clock.now
        timelines = Demo(aws, root, on_minute=on_minute, operator=operator).run_scenarios(scenarios, without)
        if afterwards is not None:
            aws.flush_metrics()
            afterwards(began_s, aws.clock.now)
        return timelines
