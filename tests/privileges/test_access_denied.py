"""One permission less: the handler meets AccessDenied, and its log names the action and the resource."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.privileges.conftest import Recorded
from tests.privileges.policies import Request
from tests.privileges.proof import grants, revoked
from tests.privileges.rehearsal import Performance, Rehearsal

pytestmark = pytest.mark.slow

FUNCTIONS = (
    "PublishBacklogFunction",
    "RetuneTargetFunction",
    "BootstrapFunction",
    "ShutdownFunction",
    "SendTestMessagesFunction",
)


@contextmanager
def lacking(rehearsed: Rehearsal, role: str, action: str) -> Iterator[None]:
    """The role without the action, in whichever of its statements."""
    whole = rehearsed.gate.roles
    for grant in grants({role: whole[role]}):
        if grant.action == action:
            rehearsed.gate.roles = revoked(rehearsed.gate.roles, grant)
    try:
        yield
    finally:
        rehearsed.gate.roles = whole


def first_uses(recorded: Recorded, function: str) -> dict[str, tuple[str, str]]:
    """Action -> the first act of the function that asks for it, and the role it asks under."""
    found: dict[str, tuple[str, str]] = {}
    for performance in recorded.performances:
        if performance.act.function == function:
            for passage in performance.passages:
                found.setdefault(passage.request.action, (performance.act.name, passage.role))
    return found


def told(performance: Performance, request: Request) -> bool:
    """Whether the log counts a failure with one sentence that names the action and the resource."""
    resource = "" if request.resource == "*" else f" on resource: {request.resource} "
    refusal = re.compile(
        r"\w+.*: AWS answered AccessDenied(Exception)?: .*"
        + re.escape(f"is not authorized to perform: {request.action}{resource}")
    )
    failures = [line.record for line in performance.log if line.record.get("failure")]
    return any(refusal.search(record["message"]) for record in failures)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_permission_a_function_uses_is_missed_by_name_once_it_is_gone(
    rehearsed: Rehearsal, recorded: Recorded, function: str
) -> None:
    acts = {act.name: act for act in rehearsed.acts}
    untold = []
    for action, (act, role) in first_uses(recorded, function).items():
        with lacking(rehearsed, role, action):
            performance = rehearsed.perform(acts[act])
        refused = [passage.request for passage in performance.passages if not passage.decision.allowed]
        assert refused, f"{act} no longer asks for {action}"
        untold += [f"{act}: {request}" for request in refused if not told(performance, request)]
    assert untold == []


def test_calls_that_no_function_makes_pass_the_gate_unseen(rehearsed: Rehearsal) -> None:
    before = len(rehearsed.gate.passages)
    for act in rehearsed.acts[:3]:
        act.arrange()
    assert len(rehearsed.gate.passages) == before
