"""State machines of the embedded AWS are played on the virtual clock, as Step Functions documents it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.stepfunctions.exceptions import ExecutionAlreadyExists, StateMachineDoesNotExist

from sluice_sim.aws_rules.state_machines import Execution
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.functions import matches
from sluice_sim.embedded.state_machines import StateMachines

MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:plain"
INVOKE = "arn:aws:states:::lambda:invoke"
DONE = {"Type": "Succeed"}
ENDED = {
    "source": ["aws.states"],
    "detail": {
        "stateMachineArn": [MACHINE],
        "status": ["ABORTED", "FAILED", "TIMED_OUT"],
        "input": [{"anything-but": {"prefix": '{"version"'}}],
    },
}


@dataclass
class Functions:
    """Functions that answer as a test says; each call and its time are kept."""

    clock: VirtualClock
    answer: Callable[[Any], object] = lambda event: event
    calls: list[tuple[float, Any]] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    reserved: bool = False

    def find(self, name: str) -> object | None:
        return None if name == "absent" else name

    def throttled(self, _: object) -> Exception | None:
        return RuntimeError("TooManyRequests") if self.reserved else None

    def run(self, _: object, event: object) -> object:
        self.calls.append((self.clock.now, event))
        try:
            return SimpleNamespace(answer=self.answer(event), failure=None)
        except Exception as failure:  # noqa: BLE001 - as the runtime does
            return SimpleNamespace(answer=None, failure=failure)

    def on_event(self, event: object) -> None:
        self.events.append(event)


@dataclass
class Played:
    clock: VirtualClock
    functions: Functions
    machines: StateMachines

    def deploy(self, states: dict[str, Any], **rest: Any) -> None:
        first = next(iter(states))
        self.machines.deploy(
            {"Name": "plain", "Definition": {"StartAt": first, "States": states, **rest}, "Events": {}}
        )

    def run(self, states: dict[str, Any], given: object, *, until: float = 10_000, **rest: Any) -> Execution:
        self.deploy(states, **rest)
        execution = self.machines.start(MACHINE, json.dumps(given))
        self.clock.run_until(until)
        return execution


@pytest.fixture
def played() -> Played:
    clock = VirtualClock()
    functions = Functions(clock)
    return Played(clock, functions, StateMachines(clock, functions))  # type: ignore[arg-type]


def task(function: str = "f", **rest: Any) -> dict[str, Any]:
    return {
        "Type": "Task",
        "Resource": INVOKE,
        "Parameters": {"FunctionName": f"arn:function:{function}", "Payload": {"given.$": "$.x"}},
        "Next": "Done",
        **rest,
    }


def fails(*failures: Exception) -> Callable[[Any], object]:
    left = list(failures)

    def answer(event: Any) -> object:
        if left:
            raise left.pop(0)
        return event

    return answer


def test_a_wait_ends_after_its_seconds(played: Played) -> None:
    states = {"Wait": {"Type": "Wait", "SecondsPath": "$.s", "Next": "Task"}, "Task": task(), "Done": DONE}
    assert played.run(states, {"s": 30, "x": 1}).status == "SUCCEEDED"
    assert played.functions.calls == [(30, {"given": 1})]


@pytest.mark.parametrize(
    ("rest", "output"),
    [
        ({"ResultPath": None}, {"x": 1}),
        ({"ResultPath": "$.r", "ResultSelector": {"g.$": "$.Payload.given"}}, {"x": 1, "r": {"g": 1}}),
        ({"ResultSelector": {"g.$": "$.Payload.given"}}, {"g": 1}),
    ],
)
def test_a_result_goes_where_its_path_says(played: Played, rest: dict[str, Any], output: object) -> None:
    assert played.run({"Task": task(**rest), "Done": DONE}, {"x": 1}).data == output


def test_a_retry_waits_longer_each_time_up_to_its_most(played: Played) -> None:
    retry = {"ErrorEquals": ["KeyError"], "IntervalSeconds": 5, "BackoffRate": 2, "MaxAttempts": 3}
    played.functions.answer = fails(KeyError("a"), KeyError("b"), KeyError("c"))
    states = {"Task": task(Retry=[retry | {"MaxDelaySeconds": 8}]), "Done": DONE}
    assert played.run(states, {"x": 1}).status == "SUCCEEDED"
    assert [at for at, _ in played.functions.calls] == [0, 5, 13, 21]


def test_what_no_retry_mends_goes_where_a_catch_says_with_the_error(played: Played) -> None:
    played.functions.answer = fails(KeyError("a"), KeyError("b"))
    retry = {"ErrorEquals": ["KeyError"], "MaxAttempts": 1}
    catch = {"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Failed"}
    failed = {"Type": "Fail", "ErrorPath": "$.error.Error", "CausePath": "$.error.Cause"}
    states = {"Task": task(Retry=[retry], Catch=[catch]), "Done": DONE, "Failed": failed}
    found = played.run(states, {"x": 1})
    assert (found.status, found.error) == ("FAILED", "KeyError")
    assert json.loads(str(found.cause)) == {"errorMessage": "'b'", "errorType": "KeyError"}


@pytest.mark.parametrize(
    ("states", "given", "error"),
    [
        ({"Task": task("absent"), "Done": DONE}, {"x": 1}, "Lambda.ResourceNotFoundException"),
        ({"Task": task(), "Done": DONE}, {}, "States.Runtime"),
        ({"Choice": {"Type": "Choice", "Choices": []}}, {}, "States.NoChoiceMatched"),
    ],
)
def test_what_cannot_be_done_fails_the_execution(
    played: Played, states: dict[str, Any], given: object, error: str
) -> None:
    found = played.run(states, given)
    assert (found.status, found.error) == ("FAILED", error)


def test_a_function_without_concurrency_is_retried_under_aws_own_name(played: Played) -> None:
    played.functions.reserved = True
    assert played.run({"Task": task(), "Done": DONE}, {"x": 1}).error == "Lambda.TooManyRequestsException"


@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        ({"Variable": "$.x", "StringEquals": "a", "Next": "Wait"}, True),
        ({"Variable": "$.x", "StringEquals": "b", "Next": "Wait"}, False),
        ({"Variable": "$.x", "IsPresent": True, "Next": "Wait"}, True),
        ({"Variable": "$.y", "IsPresent": True, "Next": "Wait"}, False),
    ],
)
def test_a_choice_takes_the_first_rule_that_holds(played: Played, rule: dict[str, Any], taken: bool) -> None:
    states = {
        "Choice": {"Type": "Choice", "Choices": [rule], "Default": "Done"},
        "Wait": {"Type": "Wait", "Seconds": 9, "Next": "Done"},
        "Done": DONE,
    }
    assert played.run(states, {"x": "a"}).stopped_at == (9 if taken else 0)


def test_a_pass_makes_its_output_of_paths_of_the_context_too(played: Played) -> None:
    given = {"i.$": "States.StringToJson($.text)", "id.$": "$$.Execution.Id", "all.$": "$"}
    found = played.run(
        {"Pass": {"Type": "Pass", "Parameters": given, "Next": "Done"}, "Done": DONE}, {"text": "[1]"}
    )
    assert found.data == {"i": [1], "id": found.arn, "all": {"text": "[1]"}}


def test_a_machine_that_takes_too_long_times_out(played: Played) -> None:
    states = {"Wait": {"Type": "Wait", "Seconds": 99, "Next": "Done"}, "Done": DONE}
    found = played.run(states, {}, TimeoutSeconds=50)
    assert (found.status, found.stopped_at) == ("TIMED_OUT", 50)


@pytest.mark.parametrize(
    "state",
    [
        {"Type": "Map", "Next": "Done"},
        task() | {"Resource": "arn:aws:states:::sqs:sendMessage"},
        {"Type": "Choice", "Choices": [{"Variable": "$.x", "IsNull": True, "Next": "Done"}]},
    ],
    ids=["a state", "a task", "a rule"],
)
def test_what_is_not_simulated_is_an_error(played: Played, state: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not simulated"):
        played.run({"First": state, "Done": DONE}, {"x": 1})


def test_a_machine_that_a_schedule_starts_is_an_error(played: Played) -> None:
    events = {"Timer": {"Type": "Schedule", "Properties": {}}}
    with pytest.raises(ValueError, match="not simulated"):
        played.machines.deploy({"Name": "plain", "Definition": {}, "Events": events})


def test_its_end_starts_the_machine_of_a_rule_but_for_the_input_that_it_leaves_out(played: Played) -> None:
    states = {
        "Wait": {"Type": "Wait", "Seconds": 60, "Next": "Failed"},
        "Failed": {"Type": "Fail", "Error": "E", "Cause": "c"},
    }
    played.machines.deploy(
        {
            "Name": "plain",
            "Definition": {"StartAt": "Wait", "States": states},
            "Events": {"Ended": {"Type": "EventBridgeRule", "Properties": {"Pattern": ENDED}}},
        }
    )
    first = played.machines.start(MACHINE, '{"x": 1}')
    played.clock.run_until(600)
    assert [event["detail"]["status"] for event in played.functions.events] == ["FAILED", "FAILED"]
    undone = json.loads(played.functions.events[1]["detail"]["input"])
    assert undone["detail"]["executionArn"] == first.arn


def test_a_pattern_with_anything_but_accepts_any_other_text() -> None:
    pattern = {"input": [{"anything-but": {"prefix": "a"}}]}
    assert matches(pattern, {"input": "b"})
    assert not matches(pattern, {"input": "ab"})
    assert not matches(pattern, {})


def test_an_execution_of_the_same_name_and_one_of_no_machine_are_refused(played: Played) -> None:
    played.deploy({"Done": DONE})
    played.machines.start(MACHINE, "{}", "one")
    with pytest.raises(ExecutionAlreadyExists):
        played.machines.start(MACHINE, "{}", "one")
    with pytest.raises(StateMachineDoesNotExist):
        played.machines.start(f"{MACHINE}-other", "{}")


def test_the_api_lists_describes_and_stops_executions_and_pages_their_history(played: Played) -> None:
    with mock_aws(), played.machines.patched_moto():
        states = boto3.client("stepfunctions")
        played.deploy({"Wait": {"Type": "Wait", "Seconds": 99, "Next": "Done"}, "Done": DONE})
        arn = states.start_execution(stateMachineArn=MACHINE, name="one", input="{}")["executionArn"]
        played.clock.run_until(1)
        [listed] = states.list_executions(stateMachineArn=MACHINE, statusFilter="RUNNING")["executions"]
        assert (listed["name"], listed["executionArn"]) == ("one", arn)
        states.stop_execution(executionArn=arn, error="Aborted", cause="by alice")
        played.clock.run_until(200)
        told = states.describe_execution(executionArn=arn)
        assert (told["status"], told["cause"]) == ("ABORTED", "by alice")
        assert states.list_executions(stateMachineArn=MACHINE, statusFilter="RUNNING")["executions"] == []
        newest = states.get_execution_history(executionArn=arn, reverseOrder=True, maxResults=1)
        assert [event["type"] for event in newest["events"]] == ["ExecutionAborted"]
        pages = states.get_paginator("get_execution_history").paginate(
            executionArn=arn, PaginationConfig={"PageSize": 2}
        )
        kinds = [event["type"] for page in pages for event in page["events"]]
        assert kinds == ["ExecutionStarted", "WaitStateEntered", "ExecutionAborted"]
        with pytest.raises(states.exceptions.ExecutionDoesNotExist):
            states.describe_execution(executionArn=f"{arn}-other")
        with pytest.raises(states.exceptions.StateMachineDoesNotExist):
            states.list_executions(stateMachineArn=f"{MACHINE}-other")
