"""Who listens on the bus hears of each start, each shutdown, and of every finding once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import boto3
import jsonschema
import pytest

from sluice_sim.account import ACCOUNT_ID, REGION
from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import CONTROL_PLANE, Demo
from sluice_sim.embedded.scenarios import PHOTO_IMPORT, TRANSCRIPTION, TRANSCRIPTION_IN_TIME
from tests.scenarios.conftest import ROOT
from tests.templates.stacks import EVENT_BUS

pytestmark = pytest.mark.slow

SCHEMA = json.loads((ROOT / "docs/schemas/event.json").read_text(encoding="utf-8"))
MINUTES = 45
STARVED_MINUTES = 12
STARVED = replace(TRANSCRIPTION, bursts={4: 24})
"""AWS launches nothing for twelve minutes; three targets of messages wait."""
LATE = replace(
    PHOTO_IMPORT, bursts={}, parameters={"AcceptableLatencySeconds": "60", "ProcessingSeconds": "5"}
)
"""A boot takes longer than its promise."""
DISJOINT = replace(
    TRANSCRIPTION_IN_TIME, bursts={}, parameters={**TRANSCRIPTION_IN_TIME.parameters, "MaxCapacity": "2"}
)
"""Its group holds more instances than its document allows."""
Event = dict[str, Any]


@pytest.fixture(scope="module")
def plane_parameters() -> Mapping[str, str]:
    return {"EventBusArn": EVENT_BUS}


def listen(aws: EmbeddedAws) -> str:
    """A bus, and a rule that sends all of Sluice's events to a queue; returns the queue's URL."""
    events, name = boto3.client("events"), EVENT_BUS.rpartition("/")[2]
    url = aws.sqs.create_queue(QueueName="listener")["QueueUrl"]
    events.create_event_bus(Name=name)
    events.put_rule(Name="all", EventBusName=name, EventPattern=json.dumps({"source": ["sluice"]}))
    target = {"Id": "listener", "Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:listener"}
    events.put_targets(Rule="all", EventBusName=name, Targets=[target])
    return url


def heard(aws: EmbeddedAws, url: str) -> list[Event]:
    """What the listener was told, each as the schema describes it."""
    found = []
    while messages := aws.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += [json.loads(message["Body"]) for message in messages]
    for event in found:
        jsonschema.validate(event, SCHEMA)
    return sorted(found, key=lambda event: event["time"])


@pytest.fixture(scope="module")
def events(plane_parameters: Mapping[str, str], _under_the_deployed_roles: None) -> list[Event]:
    """Three workloads, minute by minute; the bus is named by an update of the control plane's stack."""
    with embedded_aws(ROOT) as aws:
        demo, url = Demo(aws, ROOT), listen(aws)
        aws.stacks.deploy("template.yaml", CONTROL_PLANE, plane_parameters)
        for scenario in (STARVED, LATE, DISJOINT):
            demo.add_workload(scenario)
        aws.groups.fail_launches(STARVED.name, "Could not launch Spot Instances. UnfulfillableCapacity")
        boto3.client("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName=DISJOINT.name, MinSize=3, MaxSize=4, DesiredCapacity=3
        )
        for minute in demo.minutes():
            if minute == STARVED_MINUTES:
                aws.groups.fail_launches(STARVED.name, None)
            if minute == MINUTES:
                break
        return heard(aws, url)


def of(events: list[Event], workload: str) -> list[tuple[str, str, str]]:
    return [
        (event["detail-type"], event["detail"]["decision"], event["detail"]["reason"])
        for event in events
        if event["detail"]["workload"] == workload
    ]


def test_a_start_without_capacity_and_the_shutdown_are_heard_in_their_order(events: list[Event]) -> None:
    assert of(events, STARVED.name) == [
        ("Sluice Decision v1", "bootstrap", "work_waits"),
        ("Sluice Finding v1", "launch", "no_capacity"),
        ("Sluice Decision v1", "shutdown", "proven_empty"),
    ]
    started, _, ended = (event["detail"] for event in events if event["detail"]["workload"] == STARVED.name)
    assert (started["before"]["desired"], started["after"]) == (0, {"desired": 1})
    assert ended["before"]["desired"] > 0
    assert ended["after"] == {"desired": 0}


def test_bounds_that_do_not_overlap_are_heard_of_once(events: list[Event]) -> None:
    assert of(events, DISJOINT.name) == [("Sluice Finding v1", "shutdown", "bounds_disjoint")]


def test_a_promise_out_of_reach_is_heard_of_once(events: list[Event]) -> None:
    assert of(events, LATE.name) == [("Sluice Finding v1", "scale", "promise_out_of_reach")]


def test_each_event_has_a_sentence_for_people(events: list[Event]) -> None:
    [finding] = [event["detail"] for event in events if event["detail"]["reason"] == "no_capacity"]
    assert finding["message"].startswith(
        "transcription: launch holds: AWS does not start the instances that are asked for (at 2026-01-15 12:"
    )
    assert "UnfulfillableCapacity" in finding["message"]
