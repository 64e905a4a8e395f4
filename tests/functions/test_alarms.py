import re
from typing import Any

import pytest

from sluice.errors import ConfigError, TransientError
from tests.functions.conftest import Plane, sample
from tests.sluice.aws import account
from tests.support.builders import document

BOOTSTRAPS = [
    ("bootstrap-asg-direct", "asg"),
    ("bootstrap-asg-eventbridge", "asg"),
    ("bootstrap-ecs-direct", "ecs"),
    ("bootstrap-ecs-eventbridge", "ecs"),
]
SHUTDOWNS = [
    ("shutdown-asg-direct", "asg"),
    ("shutdown-asg-eventbridge", "asg"),
    ("shutdown-ecs-direct", "ecs"),
    ("shutdown-ecs-eventbridge", "ecs"),
]
NAMES = {"asg": "transcription", "ecs": "queue-proc"}


def decision(plane: Plane) -> dict[str, Any]:
    [line] = [line for line in plane.lines() if "decision" in line]
    return line


@pytest.mark.parametrize(("event", "kind"), BOOTSTRAPS)
def test_the_bootstrap_alarm_bootstraps_its_own_fleet(plane: Plane, event: str, kind: str) -> None:
    for url in plane.queues.values():
        account.send(url, 3)
    plane.invoke("bootstrap", sample(event))
    assert {each: plane.desired(each) for each in ("asg", "ecs")} == {"asg": 0, "ecs": 0} | {kind: 1}
    assert (
        decision(plane).items()
        >= {
            "workload": NAMES[kind],
            "decision": "bootstrap",
            "trigger": "alarm",
            "outcome": "acted",
            "reason": "work_waits",
            "desired": 1,
            "visible": 3,
            "desired_now": 0,
        }.items()
    )


@pytest.mark.parametrize(("event", "kind"), BOOTSTRAPS)
def test_a_bootstrap_alarm_that_comes_late_or_twice_never_lowers_the_fleet(
    plane: Plane, event: str, kind: str
) -> None:
    account.send(plane.queues[kind], 3)
    plane.ask_for(kind, 4)
    plane.invoke("bootstrap", sample(event))
    assert plane.desired(kind) == 4
    line = decision(plane)
    assert (line["outcome"], line["reason"], line["desired_now"]) == ("held", "awake", 4)
    assert "desired" not in line


@pytest.mark.parametrize(("event", "kind"), SHUTDOWNS)
def test_the_shutdown_alarm_sets_a_proven_empty_fleet_to_its_minimum(
    plane: Plane, event: str, kind: str
) -> None:
    for each in ("asg", "ecs"):
        plane.ask_for(each, 2)
        plane.idle(each)
    plane.invoke("shutdown", sample(event))
    assert {each: plane.desired(each) for each in ("asg", "ecs")} == {"asg": 2, "ecs": 2} | {kind: 0}
    assert (
        decision(plane).items()
        >= {
            "workload": NAMES[kind],
            "decision": "shutdown",
            "trigger": "alarm",
            "outcome": "acted",
            "reason": "proven_empty",
            "desired": 0,
            "in_flight": 0,
        }.items()
    )


@pytest.mark.parametrize(("event", "kind"), SHUTDOWNS)
@pytest.mark.parametrize("waiting", ["visible", "in_flight", "delayed"])
def test_the_shutdown_alarm_over_a_queue_that_holds_anything_changes_nothing(
    plane: Plane, event: str, kind: str, waiting: str
) -> None:
    plane.ask_for(kind, 2)
    plane.idle(kind)
    account.send(plane.queues[kind], delay_s=300 if waiting == "delayed" else 0)
    account.receive(plane.queues[kind], 1 if waiting == "in_flight" else 0)
    plane.invoke("shutdown", sample(event))
    assert plane.desired(kind) == 2
    assert decision(plane).items() >= {"reason": "not_empty", waiting: 1}.items()


@pytest.mark.parametrize(("event", "kind"), SHUTDOWNS)
def test_the_shutdown_alarm_without_a_proof_changes_nothing(plane: Plane, event: str, kind: str) -> None:
    plane.ask_for(kind, 2)
    plane.idle(kind, minutes=4)
    plane.invoke("shutdown", sample(event))
    assert plane.desired(kind) == 2
    assert decision(plane)["reason"] == "not_proven"


@pytest.mark.parametrize("function", ["bootstrap", "shutdown"])
@pytest.mark.parametrize(
    ("event", "state"), [("alarm-ok", "OK"), ("alarm-insufficient", "INSUFFICIENT_DATA")]
)
def test_an_alarm_event_that_is_not_in_alarm_is_only_acknowledged(
    plane: Plane, function: str, event: str, state: str
) -> None:
    account.send(plane.queues["asg"], 3)
    plane.invoke(function, sample(event))
    assert plane.desired("asg") == 0
    [logged, counted] = plane.lines()
    assert f"alarm sluice-transcription-bootstrap is {state}: nothing to do" in logged["message"]
    assert counted["EventIgnored"] == [1]


@pytest.mark.parametrize("function", ["bootstrap", "shutdown"])
@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            "alarm-composite",
            "alarm sluice-any-bootstrap is a composite one: point the bootstrap or shutdown alarm itself",
        ),
        (
            "alarm-malformed",
            "description is '', but must begin with 'Sluice workload NAME:' as workload.yaml writes it",
        ),
        ("schedule", "this is not a CloudWatch alarm event"),
    ],
)
def test_an_event_that_is_no_workloads_alarm_fails_with_what_is_missing(
    plane: Plane, function: str, event: str, expected: str
) -> None:
    account.send(plane.queues["asg"], 3)
    with pytest.raises(ConfigError, match=re.escape(expected)):
        plane.invoke(function, sample(event))
    assert plane.desired("asg") == 0
    [line, counted] = plane.lines()
    assert (line["failure"], counted["InvocationFailed"]) == ("InvocationFailed", [1])
    assert expected in line["message"]
    assert "exception" not in line  # an invalid event is logged as a sentence, without a stack trace


@pytest.mark.parametrize(
    ("function", "event"), [("bootstrap", "shutdown-asg-direct"), ("shutdown", "bootstrap-asg-direct")]
)
def test_an_alarm_wired_to_the_other_function_is_refused(plane: Plane, function: str, event: str) -> None:
    with pytest.raises(ConfigError, match="says it belongs to workload transcription, whose document names"):
        plane.invoke(function, sample(event))


def test_an_alarm_of_a_workload_that_is_not_registered_fails(plane: Plane) -> None:
    account.client("ssm").delete_parameter(Name=f"{account.PREFIX}/transcription")
    with pytest.raises(ConfigError, match="GetParameter of /sluice/workloads/transcription"):
        plane.invoke("bootstrap", sample("bootstrap-asg-direct"))


def test_a_queue_that_cannot_be_read_fails_the_invocation_so_that_lambda_retries(plane: Plane) -> None:
    account.client("sqs").delete_queue(QueueUrl=plane.queues["asg"])
    with pytest.raises(TransientError, match="bootstrap of transcription is held: GetQueueAttributes"):
        plane.invoke("bootstrap", sample("bootstrap-asg-direct"))
    assert plane.desired("asg") == 0


@pytest.mark.parametrize(("mode", "outcome"), [("observe", "observed"), ("paused", "held")])
def test_a_manual_change_of_the_mode_applies_at_once(plane: Plane, mode: str, outcome: str) -> None:
    account.send(plane.queues["asg"], 3)
    account.register(document(mode=mode))
    plane.invoke("bootstrap", sample("bootstrap-asg-direct"))
    assert plane.desired("asg") == 0
    assert decision(plane)["outcome"] == outcome
