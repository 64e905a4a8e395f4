"""The active color of a blue/green workload comes from its parameter into its document."""

import json
from typing import Any

import pytest

from sluice.core.model import AutoScalingGroup, Color, EcsService, Mode
from sluice.document import parsing
from sluice.document.active_color import color_of, draining_of, is_blue_green, with_colors
from sluice.errors import DocumentError
from tests.support.builders import (
    blue_green,
    blue_green_document,
    deadline_section,
    document,
    tracking_section,
)


def refused(text: Any, **given: Any) -> str:
    with pytest.raises(DocumentError) as refusal:
        parsing.parse(json.dumps(text), **given)
    return str(refusal.value)


def colors(**changes: Any) -> dict[str, Any]:
    return {**blue_green_document()["fleet"], **changes}


def test_the_active_color_is_scaled_and_the_other_one_is_idle():
    workload = parsing.parse(with_colors(json.dumps(blue_green_document()), Color.GREEN, None))
    assert workload.fleet == AutoScalingGroup(name="transcription-green")
    assert workload.color is Color.GREEN
    assert workload.policy_arn is not None
    assert "transcription-green" in workload.policy_arn
    assert workload.idle is not None
    assert workload.idle.fleet == AutoScalingGroup(name="transcription-blue")
    assert workload.fleets == (workload.fleet, workload.idle.fleet)


def test_a_pair_of_ecs_services_is_read_alike():
    workload = blue_green(kind="ecs", active=Color.GREEN)
    assert workload.fleet == EcsService(cluster="workers", service="transcription-green")


@pytest.mark.parametrize("kind", ["asg", "ecs"])
@pytest.mark.parametrize("color", Color)
def test_a_switched_workload_is_the_one_whose_document_names_the_other_color(kind, color):
    before = blue_green(kind=kind, active=color)
    assert before.with_active(color.other) == blue_green(kind=kind, active=color.other)
    assert before.with_active(color) == before
    assert before.with_active(color.other).with_active(color) == before


def test_a_workload_of_one_fleet_has_no_color():
    workload = parsing.parse(json.dumps(document()))
    assert (workload.color, workload.idle, workload.fleets) == (None, None, (workload.fleet,))
    assert workload.with_active(Color.GREEN) == workload


def test_without_an_active_color_nothing_is_served():
    assert "fleet.active" in refused(blue_green_document())
    assert "blue or green" in refused(blue_green_document())


@pytest.mark.parametrize("value", ["", "purple", "Blue", " blue", "x" * 5000])
def test_a_parameter_with_another_value_is_refused_in_a_sentence(value):
    with pytest.raises(DocumentError, match="active color"):
        color_of(value, what="workload transcription")
    with pytest.raises(DocumentError) as refusal:
        color_of(value, what="workload transcription")
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (blue_green_document(fleet=colors(green=colors()["blue"])), "same fleet"),
        (
            blue_green_document(
                fleet=colors(
                    green={"fleet": {"type": "ecs", "cluster": "c", "service": "s"}, "policy_arn": ""}
                )
            ),
            "different kinds",
        ),
        (blue_green_document(policy_arn=document()["policy_arn"]), "policy_arn of its own"),
        (
            blue_green_document(fleet=colors(green={**colors()["green"], "policy_arn": ""})),
            "policy_arn of each color",
        ),
        (blue_green_document(tracking=tracking_section(source="native")), "idle color"),
    ],
)
def test_two_fleets_that_could_not_be_told_apart_or_held_are_refused(text, named):
    assert named in refused(text, active=Color.BLUE)


def test_the_deadline_engine_needs_no_policy_of_either_color():
    idle = {color: {**colors()[color], "policy_arn": ""} for color in ("blue", "green")}
    text = blue_green_document(
        fleet={"type": "blue_green", **idle},
        scaling=deadline_section(),
        tracking=tracking_section(processing_s=5),
    )
    assert parsing.parse(json.dumps(text), active=Color.BLUE).mode is Mode.ACTIVE


@pytest.mark.parametrize(
    ("text", "is_pair"),
    [
        (json.dumps(blue_green_document()), True),
        (json.dumps(document()), False),
        ('{"fleet": "blue_green"', False),
        ('["blue_green"]', False),
        ('{"fleet": {"type": "asg", "name": "blue_green"}}', False),
    ],
)
def test_only_a_document_of_two_fleets_asks_for_a_color(text, is_pair):
    assert is_blue_green(text) is is_pair


def test_a_key_that_stands_twice_is_still_refused_once_the_color_is_in():
    twice = json.dumps(blue_green_document()).replace('"mode":', '"mode": "paused", "mode":')
    with pytest.raises(DocumentError, match="mode"):
        parsing.parse(with_colors(twice, Color.BLUE, None), active=Color.BLUE)


@pytest.mark.parametrize("draining", [None, *Color])
def test_the_draining_color_comes_with_the_active_one(draining):
    workload = parsing.parse(with_colors(json.dumps(blue_green_document()), Color.GREEN, draining))
    assert workload.draining is draining
    assert workload.with_active(Color.BLUE).draining is draining


@pytest.mark.parametrize(
    ("value", "draining"),
    [("none", None), ("blue", Color.BLUE), ("green", Color.GREEN), (None, Color.BLUE), ("None", Color.BLUE)],
)
def test_an_unknown_draining_color_counts_as_the_one_that_is_not_active(value, draining):
    assert draining_of(value, Color.GREEN) is draining


def test_a_document_as_long_as_its_author_may_write_is_served_with_its_colors():
    stack = str(blue_green_document()["stack_id"])
    left = parsing.MAX_BYTES - len(json.dumps(blue_green_document()))
    longest = json.dumps(blue_green_document(stack_id=stack + "x" * left))
    assert len(longest) == parsing.MAX_BYTES
    assert parsing.parse(with_colors(longest, Color.GREEN, Color.BLUE)).draining is Color.BLUE
