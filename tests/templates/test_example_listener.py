"""The example listener: its rule matches what the functions send, and only it may publish to the topic."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from sluice.aws.event_bus import SOURCE
from sluice.decision_events import DECISION, FINDING
from sluice_sim.embedded.functions import matches
from sluice_sim.template import ResolvedStack
from tests.templates import stacks
from tests.templates.stacks import EVENT_BUS, ROOT

SCHEMA = json.loads((ROOT / "docs/schemas/event.json").read_text(encoding="utf-8"))


def listener(**parameters: str) -> ResolvedStack:
    return stacks.resolved(stacks.template("examples/event-listener.yaml"), parameters, stack_name="events")


def properties(logical_id: str, **parameters: str) -> dict[str, Any]:
    return dict(listener(**parameters).resources[logical_id].properties)


@pytest.mark.parametrize("kind", [DECISION, FINDING])
def test_the_rule_hears_every_event(kind: str) -> None:
    assert matches(properties("Rule")["EventPattern"], {"source": SOURCE, "detail-type": kind, "detail": {}})


@pytest.mark.parametrize(
    "event", [{"source": "aws.ec2", "detail-type": DECISION}, {"source": SOURCE, "detail-type": "another"}]
)
def test_the_rule_hears_nothing_else(event: dict[str, str]) -> None:
    assert not matches(properties("Rule")["EventPattern"], event)


def test_the_rule_sends_the_sentence_that_every_event_has() -> None:
    [target] = properties("Rule")["Targets"]
    field = target["InputPath"].removeprefix("$.detail.")
    assert field in SCHEMA["properties"]["detail"]["required"]
    assert SCHEMA["properties"]["detail"]["properties"][field]["type"] == "string"


def test_only_the_rule_may_publish_to_the_topic() -> None:
    [statement] = properties("TopicPolicy")["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Action"] == "sns:Publish"
    assert statement["Resource"] == "Topic.Ref"
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": "Rule.Arn"}}


def test_an_address_subscribes_if_one_is_given() -> None:
    assert "Subscription" not in properties("Topic")
    subscription = [{"Protocol": "email", "Endpoint": "operators@example.com"}]
    assert properties("Topic", Email="operators@example.com")["Subscription"] == subscription


def test_the_control_plane_takes_the_bus() -> None:
    outputs = stacks.template("examples/event-listener.yaml")["Outputs"]
    assert outputs["EventBusArn"]["Value"] == {"Fn::GetAtt": ["Bus", "Arn"]}
    pattern = stacks.template("template.yaml")["Parameters"]["EventBusArn"]["AllowedPattern"]
    assert re.fullmatch(pattern, EVENT_BUS)
