"""Plays a switch between the colors of a blue/green workload, by the state machine of `template.yaml`.

The definition decides the order of the steps, their retries, waits and ways back; each step is the deployed
use case over the run's ports.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from sluice.core.model import Color
from sluice.core.switch import Next
from sluice.core.switch_record import Step
from sluice.errors import SluiceError
from sluice.events import parse_switch
from sluice.ports import Ports
from sluice.switch_answer import answer
from sluice.usecases.switch import switch_step
from sluice_sim import template
from sluice_sim.account import arn
from sluice_sim.aws_rules.state_machines import (
    Execution,
    Executions,
    Machine,
    StateError,
    substituted,
)
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.ports import RunReport
from sluice_sim.simulator.switches import PlayedSwitch, StepTaken

FUNCTION = arn("lambda", "function:sluice-SwitchFunction")
MACHINE = arn("states", "stateMachine:sluice-switch")
SUCCEEDED = "SUCCEEDED"
FUNCTION_S = 25.0
BY = "the simulation"


class Switches:
    """The switches of one run."""

    def __init__(self, context: ScalingContext, ports: Ports, report: RunReport) -> None:
        self._context, self._ports, self._report = context, ports, report
        self._machine = Machine(arn=MACHINE, definition=definition(context.deployed.root))
        self._executions = Executions(context.clock, self._invoke, self._ended)
        self._running: dict[str, PlayedSwitch] = {}
        self._restores: set[str] = set()
        self.executions: list[Execution] = []
        """Those that were begun, not those that restore."""

    def begin(self, to: Color | None = None) -> Execution:
        """Start a switch now; `to` None for the color that is not active."""
        number = len(self._context.switches) + 1
        played = PlayedSwitch(began_s=self._context.queue.now_s)
        self._context.switches.append(played)
        given = {"workload": self._context.deployed.workload.name, "to": to, "by": BY}
        execution = self._start(f"switch-{number}", given, played)
        self.executions.append(execution)
        return execution

    def abort(self, execution: Execution) -> None:
        """Stop a switch, as StopExecution does: another execution undoes it."""
        self._executions.end(execution, "ABORTED")

    def _start(self, name: str, given: Mapping[str, Any], played: PlayedSwitch) -> Execution:
        execution_arn = f"{MACHINE.replace(':stateMachine:', ':execution:')}:{name}"
        self._running[execution_arn] = played
        return self._executions.start(self._machine, execution_arn, json.dumps(given))

    def _invoke(self, function_arn: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        assert function_arn == FUNCTION, function_arn
        request, at_s = parse_switch(payload), self._context.queue.now_s
        name = str(payload["execution"])
        played = self._running[name]
        try:
            done = switch_step(request, self._ports, self._report, lambda: FUNCTION_S)
        except SluiceError as failure:
            kind = type(failure).__name__
            played.steps.append(
                StepTaken(at_s=at_s, step=request.step, outcome=kind, detail=str(failure), wait_s=0)
            )
            raise StateError(kind, json.dumps({"errorMessage": str(failure), "errorType": kind})) from failure
        if request.step is Step.BEGIN:
            played.to = done.to
        played.steps.append(
            StepTaken(
                at_s=at_s, step=request.step, outcome=done.outcome, detail=done.detail, wait_s=done.wait_s
            )
        )
        return answer(done)

    def _ended(self, execution: Execution) -> None:
        """What ended in the middle is undone by another execution, as the template's rule has it."""
        played = self._running[execution.arn]
        if execution.arn in self._restores:
            played.restored_s = self._context.queue.now_s
            return
        played.ended_s, played.status = self._context.queue.now_s, execution.status
        if execution.status == SUCCEEDED:
            played.restored_s = played.ended_s
            return
        failures = [one.detail for one in played.steps if one.outcome not in set(Next)]
        played.cause = failures[-1] if failures else execution.cause or ""
        name = f"restore-{len(self._restores) + 1}"
        self._restores.add(f"{MACHINE.replace(':stateMachine:', ':execution:')}:{name}")
        self._start(name, {"detail": {"executionArn": execution.arn, "input": execution.text}}, played)


@lru_cache(maxsize=4)
def definition(root: Path) -> Mapping[str, Any]:
    """The state machine's definition, with the defaults of the control plane's parameters."""
    loaded = template.load(root / "template.yaml")
    properties = loaded["Resources"]["SwitchStateMachine"]["Properties"]
    known = {name: declared.get("Default", "") for name, declared in loaded["Parameters"].items()}
    known["AWS::Partition"] = "aws"
    # All but the function's ARN are parameters.
    substitutions = {
        name: str(known[value["Ref"]]) if "Ref" in value else FUNCTION
        for name, value in properties["DefinitionSubstitutions"].items()
    }
    filled: Mapping[str, Any] = substituted(properties["Definition"], substitutions)
    return filled
