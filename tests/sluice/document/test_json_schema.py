"""docs/workload.schema.json and the code accept the same documents, as far as JSON Schema can express it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.core.model import Color
from sluice.document import parsing
from sluice.errors import DocumentError
from tests.support.builders import (
    blue_green_document,
    deadline_document,
    deadline_section,
    document,
    dynamic_section,
    ecs_document,
    static_section,
    tracking_section,
)

VALIDATOR = jsonschema.Draft202012Validator(parsing.json_schema())
BEYOND_A_SCHEMA = (
    "must be at least ", "must be at most ", "must be below ", "bytes at most", "schedule ",
    "same fleet", "different kinds", "of its own", "of each color", "idle color",
)  # fmt: skip
"""What compares a setting or color with another, or counts bytes; schedules are compared with all."""
BASES = (
    document(),
    ecs_document(target=dynamic_section()),
    document(duration_metric={"namespace": "n", "name": "Seconds", "dimensions": {"Queue": "q"}}),
    document(mode="observe", policy_arn=""),
    document(guard={"failed_percent": 50, "minutes": 30}),
    document(guard={"dead_letters_per_minute": 1, "dead_letter_queue": "dead", "alarm_name": "database"}),
    document(
        target=static_section() | {"concurrency_per_instance": 2},
        tracking=tracking_section("effective", processing_s=4.2),
    ),
    document(tracking=tracking_section("effective", source="native", arrival_margin=0, processing_s=4)),
    document(schedules=["office-hours,MON-FRI,8:00,Europe/Berlin,3,5", "", "night,SUN-SAT,18:00,UTC,0,5"]),
    blue_green_document(),
    blue_green_document(kind="ecs"),
    deadline_document(),
    deadline_document(mode="paused", scaling={"type": "deadline", "promise_s": 60, "boot_s": 30}),
)
VALUES = st.sampled_from(
    [None, True, "", "a", "a\u00a0b", "a b", "ü", "active", "paused", "backlog", "asg", "ecs", "static",
     "p90", "effective", "native", "deadline", "target_tracking", "unprotected", 0, 1, 2, 3, 3.1, 5, 10, 15,
     49, 99.99, 100, 120, 121, 0.5, 1e-7, -1, 10**6, [], {},
     {"type": "asg"}, {"type": "deadline"}, {"type": "target_tracking"}, {"Queue": "q"}, {"ü": "q"},
     "https://sqs.eu-west-1.amazonaws.com/123456789012/q", "https://a\u00a0b/123456789012/q",
     "arn:aws:sns:eu-west-1:123456789012:x", "arn:a\u00a0b:sns:eu-west-1:123456789012:x",
     "arn:ü:sns:eu-west-1:123456789012:x", "1.2.3"]
)  # fmt: skip


def paths(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in node.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from paths(value, (*path, key))


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A valid document after up to three changes: another value, a key less, a key more."""
    changed = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(0, 3))):
        where = draw(st.sampled_from(sorted(paths(changed))))
        section = changed
        for key in where[:-1]:
            section = section[key]
        match draw(st.sampled_from(["change", "change", "remove", "add"])):
            case "change":
                section[where[-1]] = copy.deepcopy(draw(VALUES))
            case "remove":
                del section[where[-1]]
            case "add":
                section[draw(st.sampled_from(["colour", "release", "name", "min_samples", "bootstrap"]))] = (
                    draw(VALUES)
                )
        if not changed:
            break
    return changed


def problems(body: Any) -> list[str]:
    try:
        parsing.parse(json.dumps(body), active=Color.BLUE)
    except DocumentError as refused:
        return [problem.way_out for problem in refused.problems]
    return []


@settings(max_examples=400, deadline=None)
@given(documents())
def test_what_the_schema_accepts_the_code_accepts_and_the_other_way_round(body: dict[str, Any]) -> None:
    found = [reason for reason in problems(body) if not any(beyond in reason for beyond in BEYOND_A_SCHEMA)]
    wrong = [error.message for error in VALIDATOR.iter_errors(body)]
    assert bool(found) == bool(wrong), f"the code: {found}; the schema: {wrong}"


@pytest.mark.parametrize(
    "changes",
    [
        {"policy_arn": ""},
        {"policy_arn": None},
        {"release": None},
        {"stack_id": "arn:ü:cloudformation:eu-west-1:123456789012:stack/x"},
        {"queue_url": "https://a\u00a0b/123456789012/q"},
        {"queue_url": "https://a\u0085b/123456789012/q"},
        {"queue_url": "https://a\ufeffb/123456789012/q"},
        {"tracking": tracking_section("effective", source="native")},
        {"tracking": {"metric": "effective", "source": "native"}},
        {"scaling": deadline_section()},
        {"scaling": {"type": "deadline", "boot_s": 180}, "tracking": tracking_section(processing_s=5)},
        {"scaling": {"type": "deadline", "promise_s": 300}, "tracking": tracking_section(processing_s=5)},
        {"scaling": deadline_section(tick_s=15), "tracking": tracking_section(processing_s=5)},
        {"scaling": deadline_section(promise_percent=49.9), "tracking": tracking_section(processing_s=5)},
        {"scaling": deadline_section(boot_s=0), "tracking": tracking_section(processing_s=5)},
        {"scaling": {"type": "target_tracking", "promise_s": 300}},
        {"scaling": {}},
        {"schedules": None},
        {"schedules": [None]},
        {"schedules": ["office hours,MON-FRI,8:00,Europe/Berlin,3,5"]},
        {"schedules": [""] * 6},
        {"guard": {}},
        {"guard": {"minutes": 30}},
        {"guard": {"failed_percent": None, "alarm_name": None}},
        {"guard": {"failed_percent": 50, "dead_letters_per_minute": 1}},
        {"guard": {"failed_percent": 50, "dead_letters_per_minute": 1, "dead_letter_queue": None}},
        {"guard": {"failed_percent": 50, "minutes": 9}},
    ],
    ids=str,
)
def test_neither_schema_nor_parser_accepts(changes: dict[str, Any]) -> None:
    body = document(**changes)
    assert problems(body)
    assert not VALIDATOR.is_valid(body)


@pytest.mark.parametrize("key", ["policy_arn", "release"])
def test_neither_accepts_an_active_document_of_this_version_without_the_key(key: str) -> None:
    body = document()
    del body[key]
    assert problems(body)
    assert not VALIDATOR.is_valid(body)


@pytest.mark.parametrize("mode", ["active", "observe", "paused"])
@pytest.mark.parametrize("policy_arn", ["", None])
def test_both_accept_a_document_of_the_deadline_engine_without_a_policy(
    mode: str, policy_arn: str | None
) -> None:
    body = deadline_document(mode=mode, policy_arn=policy_arn)
    assert problems(body) == []
    assert VALIDATOR.is_valid(body)


@pytest.mark.parametrize("mode", ["observe", "paused"])
@pytest.mark.parametrize("policy_arn", ["", None])
def test_both_accept_a_document_that_is_not_active_without_a_policy(
    mode: str, policy_arn: str | None
) -> None:
    body = document(mode=mode, policy_arn=policy_arn)
    assert problems(body) == []
    assert VALIDATOR.is_valid(body)


def test_the_schema_names_the_rules_that_it_cannot_express() -> None:
    logged = parsing.json_schema()["description"]
    assert "sluice validate" in logged
    for beyond in ("capacity.max", "fallback_messages_per_instance", "margin_s", "8192 bytes", "5.0"):
        assert beyond in logged
