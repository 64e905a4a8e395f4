"""Plays scenarios on one embedded AWS: each workload from its beginning to its minimum, minute by minute.

Owns the stage: the control plane, deployed, and the workloads beside it. Everything that scales is the
deployed thing: handlers, alarms, policies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sluice.document import parsing
from sluice_sim.aws_rules.policy_runner import Scaled
from sluice_sim.embedded.cloud import EmbeddedAws, LogLine, embedded_aws
from sluice_sim.embedded.run import (
    MINUTE_S,
    OnMinute,
    Play,
)
from sluice_sim.embedded.timeline import (
    Part,
    Scenario,
    Story,
)
from sluice_sim.embedded.workers import (
    Hire,
    SimulatedCrew,
)
from sluice_sim.promise import promise_s
from sluice_sim.template import deployment

CONTROL_PLANE = "sluice"
NAMESPACE = "Sluice"


class Stage:
    """One embedded AWS with the control plane deployed, and workloads beside it."""

    def __init__(
        self,
        aws: EmbeddedAws,
        root: Path,
        *,
        on_minute: OnMinute = lambda *_: None,
        hire: Hire = SimulatedCrew,
        run_until: Callable[[float], None] | None = None,
    ) -> None:
        self.aws, self._root, self._on_minute, self._hire = aws, root, on_minute, hire
        self._run_until = run_until or aws.clock.run_until
        self.plays: list[Play] = []
        aws.on_log, aws.on_scaled = self._logged, self._scaled
        aws.stacks.deploy("template.yaml", CONTROL_PLANE, {})

    def enter(self, scenario: Scenario, parameters: Mapping[str, str] | None = None) -> Play:
        """Create a workload's queue and fleet, and deploy its stack; `parameters` win over samconfig's."""
        given = {**scenario.parameters, **(parameters or {})}
        deployed = deployment.environments(self._root)[scenario.environment or scenario.name] | given
        play = Play(
            self.aws,
            scenario,
            deployed,
            promise_s=scenario.promise_s or self._promise_s(scenario, deployed),
            namespace=NAMESPACE,
            hire=self._hire,
            on_minute=self._on_minute,
        )
        self.plays.append(play)
        self.deploy(play)
        return play

    def _promise_s(self, scenario: Scenario, deployed: Mapping[str, str]) -> float:
        workload = parsing.parse(deployment.registration(deployment.resolved(self._root, deployed)))
        return promise_s(workload, scenario.duration_s(0), scenario.concurrency)

    def deploy(self, play: Play) -> None:
        """Create or update a workload's stack."""
        self.aws.stacks.deploy("workload.yaml", f"{CONTROL_PLANE}-{play.name}", play.deployed)

    def without(self, part: Part) -> None:
        """Take a part of the control plane away."""
        functions = {Part.PUBLISHER: "PublishBacklogFunction", Part.RETUNE: "RetuneTargetFunction"}
        if part in functions:
            self.aws.functions.named(f"{CONTROL_PLANE}-{functions[part]}").enabled = False
            return
        for play in self.plays:
            self.aws.monitoring.forget(f"sluice-{play.name}-{part.removesuffix('-alarm')}")

    def play(self, scenarios: Sequence[Scenario], without: Sequence[Part]) -> list[Story]:
        """The scenarios side by side, from beginning to end."""
        for scenario in scenarios:
            self.enter(scenario)
        for part in without:
            self.without(part)
        return self.run()

    def run(self) -> list[Story]:
        """Play until every story is over."""
        start, minute = self.aws.clock.now, 0
        playing = list(self.plays)
        while playing:
            for play in playing:
                play.begin_minute(minute)
            minute += 1
            self._run_until(start + minute * MINUTE_S)
            for play in playing:
                play.end_minute(minute)
            playing = [play for play in playing if not play.over]
        return [play.story() for play in self.plays]

    def _logged(self, line: LogLine) -> None:
        for play in self.plays:
            play.logged(line)

    def _scaled(self, scaled: Scaled) -> None:
        for play in self.plays:
            play.scaled(scaled)


def play(
    root: Path,
    scenarios: Sequence[Scenario],
    *,
    without: Sequence[Part] = (),
    on_minute: OnMinute = lambda *_: None,
) -> list[Story]:
    """Play the scenarios side by side on an embedded AWS of their own."""
    with embedded_aws(root) as aws:
        return Stage(aws, root, on_minute=on_minute).play(scenarios, without)
