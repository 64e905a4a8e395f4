"""The functions put their decisions on the bus that the environment names, whatever becomes of the events."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import jsonschema
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ReadTimeoutError
from moto.core.botocore_stubber import MockRawResponse

from sluice import decision_events
from sluice.aws.event_bus import EventBridgeBus
from sluice.errors import DefectError
from tests.functions.conftest import NOON, ROOT, Plane, sample
from tests.sluice.aws import account
from tests.templates.stacks import EVENT_BUS

SCHEMA = json.loads((ROOT / "docs/schemas/event.json").read_text(encoding="utf-8"))
TICK = {"scheduled_time": f"{NOON:%Y-%m-%dT%H:%M:%SZ}"}
Listener = Callable[[], list[dict[str, Any]]]


def listened(region: str) -> Listener:
    """A bus in that region, and a rule that sends all of it to a queue; returns what is new in the queue."""
    events, sqs = boto3.client("events", region_name=region), boto3.client("sqs", region_name=region)
    name = EVENT_BUS.rpartition("/")[2]
    url = sqs.create_queue(QueueName="listener")["QueueUrl"]
    events.create_event_bus(Name=name)
    events.put_rule(Name="all", EventBusName=name, EventPattern=json.dumps({"source": ["sluice"]}))
    target = {"Id": "listener", "Arn": f"arn:aws:sqs:{region}:123456789012:listener"}
    events.put_targets(Rule="all", EventBusName=name, Targets=[target])

    def heard() -> list[dict[str, Any]]:
        found = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        for event in found:
            jsonschema.validate(event, SCHEMA)
        return found

    return heard


@pytest.fixture
def listener(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> Listener:
    monkeypatch.setenv("SLUICE_EVENT_BUS_ARN", EVENT_BUS)
    return listened("eu-west-1")


def test_a_bootstrap_is_put_on_the_bus_when_it_has_acted(plane: Plane, listener: Listener) -> None:
    account.send(plane.queues["asg"], 3)
    plane.invoke("bootstrap", sample("bootstrap-asg-direct"))
    [event] = listener()
    assert event["detail-type"] == decision_events.DECISION
    assert event["detail"] == {
        "version": 1,
        "workload": "transcription",
        "fleet": {"type": "asg", "name": "transcription"},
        "decision": "bootstrap",
        "reason": "work_waits",
        "trigger": "alarm",
        "before": {"desired": 0, "running": 0, "visible": 3, "in_flight": 0, "delayed": 0},
        "after": {"desired": 1},
        "message": "transcription: bootstrap 0 -> 1: work waits and nothing runs",
    }
    plane.invoke("bootstrap", sample("bootstrap-asg-direct"))
    assert listener() == [], "the second invocation decided to hold"


def test_a_shutdown_of_a_service_is_put_on_the_bus(plane: Plane, listener: Listener) -> None:
    plane.ask_for("ecs", 2)
    plane.idle("ecs")
    plane.invoke("shutdown", sample("shutdown-ecs-direct"))
    [event] = listener()
    assert event["detail"]["fleet"] == {"type": "ecs", "cluster": "workers", "service": "queue-proc"}
    assert (event["detail"]["before"]["desired"], event["detail"]["after"]) == (2, {"desired": 0})


def test_a_retune_is_put_on_the_bus_with_the_targets(plane: Plane, listener: Listener) -> None:
    plane.processed("asg", 48)
    plane.processed("ecs", 48)
    plane.invoke("retune_target", sample("schedule"))
    found = {event["detail"]["workload"]: event["detail"] for event in listener()}
    assert found.keys() == {"transcription", "queue-proc"}
    assert {tuple(each["before"].values()) for each in found.values()} == {(10,)}
    assert {name: each["after"]["target"] for name, each in found.items()} == {
        "transcription": plane.target("asg"),
        "queue-proc": plane.target("ecs"),
    }


def test_a_tick_puts_what_it_has_done_for_each_workload_on_the_bus(plane: Plane, listener: Listener) -> None:
    for url in plane.queues.values():
        account.send(url, 3)
    plane.invoke("publish_backlog", TICK)
    assert sorted(event["detail"]["workload"] for event in listener()) == ["queue-proc", "transcription"]


def test_a_finding_of_every_minute_is_put_on_the_bus_once_an_hour(plane: Plane, listener: Listener) -> None:
    account.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName="transcription", MinSize=8, MaxSize=9, DesiredCapacity=8
    )
    found = []
    for minute in range(3):
        plane.at(NOON.replace(minute=minute, second=30))
        plane.invoke("publish_backlog", {"scheduled_time": f"{NOON.replace(minute=minute).isoformat()}"})
        found += listener()
    assert len([line for line in plane.lines() if line.get("reason") == "bounds_disjoint"]) == 3
    assert [event["detail"]["reason"] for event in found] == ["bounds_disjoint"]
    assert found[0]["detail-type"] == decision_events.FINDING
    assert found[0]["detail"]["message"].startswith("transcription: shutdown holds: the document's bounds")


def test_an_event_is_sent_although_the_invocation_fails(
    plane: Plane, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.send(plane.queues["asg"], 3)
    monkeypatch.setattr("sluice.usecases.serve_workloads.report_launch_failures", broken)
    with pytest.raises(DefectError):
        plane.invoke("publish_backlog", TICK)
    assert [event["detail"]["workload"] for event in listener()] == ["transcription"]


@pytest.mark.parametrize("bus", [None, ""])
def test_without_a_bus_no_event_is_sent(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, bus: str | None
) -> None:
    heard = listened("eu-west-1")
    if bus is not None:
        monkeypatch.setenv("SLUICE_EVENT_BUS_ARN", bus)
    account.send(plane.queues["asg"], 3)
    plane.invoke("bootstrap", sample("bootstrap-asg-direct"))
    assert heard() == []
    assert plane.desired("asg") == 1


def test_the_bus_may_be_in_another_region(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_EVENT_BUS_ARN", EVENT_BUS.replace("eu-west-1", "us-east-1"))
    heard = listened("us-east-1")
    account.send(plane.queues["asg"], 3)
    plane.invoke("bootstrap", sample("bootstrap-asg-direct"))
    assert len(heard()) == 1


# ---- A bus that does not take them -------------------------------------------------------------------------


def broken(*_: object) -> None:
    raise IndexError("a defect")


def answered(status: int, **body: object) -> Callable[[AWSPreparedRequest], AWSResponse]:
    return lambda request: AWSResponse(request.url, status, {}, MockRawResponse(json.dumps(body).encode()))


def hanging(request: AWSPreparedRequest) -> AWSResponse:
    raise ReadTimeoutError(endpoint_url=request.url)


REFUSED = {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "no"}
FAULTS = {
    "throttled": answered(400, __type="ThrottlingException", message="Rate exceeded"),
    "denied": answered(400, __type="AccessDeniedException", message="not authorized"),
    "refused in part": answered(200, FailedEntryCount=1, Entries=[REFUSED]),
    "hanging": hanging,
}


def only_failure(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The one line about the events, beside a decision that acted."""
    assert [line["outcome"] for line in lines if "decision" in line] == ["acted"]
    [failure] = [line for line in lines if line.get("failure")]
    assert (failure["level"], failure["failure"], failure["count"]) == ("ERROR", "EventsNotSent", 1)
    assert sum(sum(line.get("EventsNotSent", [])) for line in lines if "_aws" in line) == 1
    return failure


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.usefixtures("listener")
def test_a_bus_that_takes_nothing_harms_no_decision_and_is_logged_and_counted_once(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, fault: Callable[[AWSPreparedRequest], AWSResponse]
) -> None:
    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        return fault(request)

    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    account.send(plane.queues["asg"], 3)
    events = account.session().events
    events.register_first("before-send.eventbridge.PutEvents", answer)
    try:
        plane.invoke("bootstrap", sample("bootstrap-asg-direct"))
    finally:
        events.unregister("before-send.eventbridge.PutEvents", answer)
    assert plane.desired("asg") == 1
    failure = only_failure(plane.lines())
    assert f"PutEvents of 1 events to {EVENT_BUS}" in failure["message"]
    assert "exception" not in failure


@pytest.mark.parametrize(("part", "name"), [(EventBridgeBus, "put"), (decision_events, "detail")])
@pytest.mark.usefixtures("listener")
def test_a_defect_while_events_are_made_or_sent_is_logged_with_its_trace_and_fails_no_invocation(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, part: object, name: str
) -> None:
    monkeypatch.setattr(part, name, broken)
    account.send(plane.queues["asg"], 3)
    plane.invoke("bootstrap", sample("bootstrap-asg-direct"))
    assert plane.desired("asg") == 1
    assert "IndexError: a defect" in only_failure(plane.lines())["exception"]
