"""The state machine of a switch, as template.yaml has it, in moto's interpreter over fakes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest import mock

import boto3
import pytest
from moto import mock_aws
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction

from sluice.core.model import Bounds, Color
from sluice.core.switch_record import Step
from sluice.errors import ConfigError, SluiceError, TransientError
from sluice.events import parse_switch
from sluice.switch_answer import answer
from sluice.usecases.switch import switch_step
from sluice_sim import template
from tests.support.fakes import FakeAccount
from tests.support.switching import ALICE, Switched, pair

ROOT = Path(__file__).parents[2]
FUNCTION, HOOK = (f"arn:aws:lambda:eu-west-1:123456789012:function:{name}" for name in ("switch", "smoke"))
EVENTS = ROOT / "events"
LONGEST_S = 60
STEPS = [step.value for step in Step if step is not Step.RESTORE]


def definition(hook: str = "") -> str:
    resources = template.load(ROOT / "template.yaml")["Resources"]
    text = json.dumps(resources["SwitchStateMachine"]["Properties"]["Definition"])
    values = {
        "Partition": "aws",
        "FunctionArn": FUNCTION,
        "HookArn": hook,
        "ReadyMinutes": "30",
        "DrainMinutes": "60",
    }
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    assert "${" not in text
    return text


Fault = Callable[[str], None]


@dataclass
class Machine:
    """The state machine over a workload; waits and pauses between attempts pass on the workload's clock."""

    switched: Switched
    asked: list[str] = field(default_factory=list)
    """The steps that the function was asked for, and `hook`."""
    before: Fault = lambda step: None
    after: Fault = lambda step: None
    """What happens before a step, and after it, when its answer may be lost."""
    hook_fails: bool = False
    names: ClassVar[Iterator[int]] = iter(range(10**6))

    def invoke(self, parameters: Mapping[str, Any], region: str, state_credentials: object) -> dict[str, Any]:
        payload = json.loads(parameters["Payload"])
        answered = {"StatusCode": 200, "ExecutedVersion": "$LATEST"}
        try:
            return answered | {"Payload": self._answer(parameters["FunctionName"], payload)}
        except SluiceError as failure:
            failed = {"errorType": type(failure).__name__, "errorMessage": str(failure)}
            return answered | {"FunctionError": "Unhandled", "Payload": failed}

    def _answer(self, function: str, payload: dict[str, Any]) -> dict[str, Any]:
        if function == HOOK:
            self.asked.append("hook")
            if self.hook_fails:
                raise ConfigError("the smoke test fails")
            return {}
        assert function == FUNCTION
        step, account = payload["step"], self.switched.account
        self.asked.append(step)
        self.before(step)
        done = switch_step(parse_switch(payload), account.ports, account.report, account.remaining_s)
        self.after(step)
        return answer(done)

    def run(self, event: object = None, *, hook: str = "") -> dict[str, Any]:
        """Start an execution and wait for its end: status, error and cause."""
        event = event or {"workload": self.switched.workload.name, "to": None, "by": ALICE}

        def interval(_: object, *, env: object, wait_seconds: float) -> None:
            self.wait(wait_seconds)

        with (
            mock.patch.object(WaitFunction, "_wait_interval", interval),
            mock.patch.object(retrier_decl, "time", SimpleNamespace(sleep=self.wait)),
            mock.patch.object(lambda_eval_utils, "_invoke_lambda_function", self.invoke),
        ):
            states = boto3.client("stepfunctions")
            machine = states.create_state_machine(
                name=f"switch-{next(self.names)}",
                definition=definition(hook),
                roleArn="arn:aws:iam::123456789012:role/switch",
            )["stateMachineArn"]
            run = states.start_execution(stateMachineArn=machine, input=json.dumps(event))["executionArn"]
            started = time.monotonic()
            while (found := states.describe_execution(executionArn=run))["status"] == "RUNNING":
                assert time.monotonic() < started + LONGEST_S, self.asked
                time.sleep(0.01)
            return found

    def wait(self, seconds: float) -> None:
        self.switched.wait(seconds)

    @property
    def steps(self) -> list[str]:
        """The steps in their order, without repetitions."""
        return list(dict.fromkeys(self.asked))


@pytest.fixture(autouse=True)
def interpreter() -> Iterator[None]:
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        yield


def machine(**changes: Any) -> Machine:
    return Machine(pair(FakeAccount(), **changes))


def once(at: str, failure: SluiceError, *, times: int = 1) -> Fault:
    left = [times]

    def fail(step: str) -> None:
        if step == at and left[0] > 0:
            left[0] -= 1
            raise failure

    return fail


def nothing_is_left(switched: Switched) -> None:
    facts = switched.facts()
    assert (facts["record"], facts["draining"], facts["held"]) == (None, None, (set(), set()))


@pytest.mark.parametrize("kind", ["asg", "ecs"])
def test_a_switch_goes_through_every_step_and_ends_well(kind: str) -> None:
    play = machine(kind=kind)
    assert play.run()["status"] == "SUCCEEDED"
    assert play.steps == ["begin", "freeze", "raise", "ready", "flip", "drain", "retire", "finish"]
    assert play.switched.active is Color.GREEN
    assert play.switched.size(play.switched.blue) == (0, 0)
    nothing_is_left(play.switched)


def test_of_an_empty_workload_only_the_color_is_flipped() -> None:
    play = machine(visible=0, desired=0)
    assert play.run()["status"] == "SUCCEEDED"
    assert play.asked == ["begin", "flip", "finish"]
    assert play.switched.active is Color.GREEN


def test_the_active_color_ends_at_once() -> None:
    play = machine()
    found = play.run({"workload": play.switched.workload.name, "to": "blue", "by": ALICE})
    assert (found["status"], play.asked) == ("SUCCEEDED", ["begin"])


def test_a_refusal_is_the_cause_of_the_failure() -> None:
    play = machine()
    capacities, green = play.switched.account.fleets.capacities, play.switched.green
    capacities[green] = replace(capacities[green], bounds=Bounds(min=0, max=3))
    found = play.run()
    assert (found["status"], found["error"]) == ("FAILED", "ConfigError")
    assert "raise the maximum of" in json.loads(found["cause"])["errorMessage"]
    assert play.asked == ["begin", "roll_back"]


def test_a_switch_begins_once_the_workers_have_protected_their_instances() -> None:
    play = machine()
    play.switched.works(play.switched.blue, 0)
    assert play.run()["status"] == "SUCCEEDED"
    assert play.asked[:3] == ["begin", "begin", "freeze"]


def test_green_that_does_not_come_up_is_undone() -> None:
    play = machine()
    before = play.switched.facts()
    play.wait = lambda seconds: play.switched.account.clock.advance(seconds=seconds)  # type: ignore[method-assign]
    found = play.run()
    assert (found["status"], found["error"]) == ("FAILED", "RolledBack")
    assert play.switched.facts() == before


@pytest.mark.slow
def test_an_old_color_that_never_gets_idle_stays_up_and_the_execution_says_so() -> None:
    play = machine()
    play.switched.deaf = True
    found = play.run()
    assert (found["status"], found["error"]) == ("FAILED", "ColorStays")
    assert play.switched.active is Color.GREEN
    assert "retire" not in play.asked
    nothing_is_left(play.switched)


@pytest.mark.parametrize("fails", [False, True])
def test_the_hook_runs_between_ready_and_flip_and_its_failure_undoes_the_switch(fails: bool) -> None:
    play = machine()
    play.hook_fails, before = fails, play.switched.facts()
    found = play.run(hook=HOOK)
    assert play.steps[:5] == ["begin", "freeze", "raise", "ready", "hook"]
    assert play.steps[5] == ("roll_back" if fails else "flip")
    assert found["status"] == ("FAILED" if fails else "SUCCEEDED")
    if fails:
        assert play.switched.facts() == before


@pytest.mark.parametrize("step", STEPS[:-1])
@pytest.mark.slow
def test_a_step_whose_answer_is_lost_once_is_tried_again(step: str) -> None:
    play = machine()
    play.after = once(step, TransientError("throttled"))
    assert play.run()["status"] == "SUCCEEDED"
    assert play.switched.active is Color.GREEN
    nothing_is_left(play.switched)


@pytest.mark.parametrize("step", STEPS[:-1])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.slow
def test_a_step_that_fails_for_good_is_undone_before_the_flip_and_finished_after_it(
    step: str, moment: str
) -> None:
    play = machine()
    before = play.switched.facts()
    setattr(play, moment, once(step, ConfigError("denied")))
    found = play.run()
    nothing_is_left(play.switched)
    facts = play.switched.facts()
    if play.switched.active is Color.BLUE:
        assert (found["status"], facts) == ("FAILED", before)
        assert STEPS.index(step) <= STEPS.index("flip")
    else:
        assert (step, moment) == ("flip", "after") or STEPS.index(step) > STEPS.index("flip")
        assert facts["blue"] in ((0, 0), before["blue"])


@pytest.mark.parametrize("step", ["freeze", "ready", "flip", "drain", "finish"])
@pytest.mark.slow
def test_an_execution_that_ends_in_the_middle_is_restored_by_another_one(step: str) -> None:
    """Every attempt fails from this step on, as if AWS had stopped the execution."""
    play = machine()
    before, steps = play.switched.facts(), STEPS[STEPS.index(step) :]
    failing = [True]

    def fail(asked: str) -> None:
        if failing[0] and asked in steps:
            raise ConfigError("denied")

    play.before = fail
    found = play.run()
    assert found["status"] == "FAILED"
    failing[0] = False
    event = json.loads((EVENTS / "switch-execution-status.json").read_text())
    event["detail"] |= {"executionArn": found["executionArn"], "input": found["input"]}
    assert play.run(event)["status"] in ("SUCCEEDED", "FAILED")
    nothing_is_left(play.switched)
    if play.switched.active is Color.BLUE:
        assert play.switched.facts() == before
    assert play.run(event)["status"] == "SUCCEEDED"


def test_a_restore_begins_once_no_step_of_the_stopped_execution_can_be_at_work() -> None:
    """Such a step may store the record, or touch a fleet, though nothing was to be undone before it."""
    resources = template.load(ROOT / "template.yaml")["Resources"]
    play = machine()
    stopped_at, began_at = play.switched.account.clock(), []
    play.before = lambda _: began_at.append(play.switched.account.clock())
    event = json.loads((EVENTS / "switch-execution-status.json").read_text())
    assert play.run(event)["status"] == "SUCCEEDED"
    timeout_s = resources["SwitchFunction"]["Properties"]["Timeout"]
    assert (began_at[0] - stopped_at).total_seconds() >= timeout_s
