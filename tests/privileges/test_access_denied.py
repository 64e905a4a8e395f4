"""With one permission less, the handler gets AccessDenied, and its log names the action and the resource."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sluice_sim.aws_rules.iam_policies import Request
from tests.privileges.conftest import Recorded
from tests.privileges.proof import grants, revoked
from tests.privileges.scenarios import ScenarioRun, Scenarios

pytestmark = pytest.mark.slow

FUNCTIONS = (
    "PublishBacklogFunction",
    "DeadlineTickFunction",
    "RetuneTargetFunction",
    "BootstrapFunction",
    "ShutdownFunction",
    "SendTestMessagesFunction",
)


OF_ONE_WORKLOAD = ("BootstrapFunction", "ShutdownFunction", "SendTestMessagesFunction")
OF_THE_COLORS = "ssm:GetParameters"
"""The active colors of all workloads: who serves another workload goes on, and the tick logs it."""


@contextmanager
def lacking(scenarios: Scenarios, role: str, action: str) -> Iterator[None]:
    """The role without the action, in whichever of its statements."""
    whole = scenarios.gate.roles
    for grant in grants({role: whole[role]}):
        if grant.action == action:
            scenarios.gate.roles = revoked(scenarios.gate.roles, grant)
    try:
        yield
    finally:
        scenarios.gate.roles = whole


def first_uses(recorded: Recorded, function: str) -> dict[str, tuple[str, str]]:
    """Action -> the first scenario in which the function uses it, and the role."""
    found: dict[str, tuple[str, str]] = {}
    for run in recorded.runs:
        if run.scenario.function == function:
            for call in run.calls:
                found.setdefault(call.request.action, (run.scenario.name, call.role))
    return found


def logged(run: ScenarioRun, request: Request) -> bool:
    """Whether the log counts a failure with one sentence that names the action and the resource."""
    resource = "" if request.resource == "*" else f" on resource: {request.resource} "
    refusal = re.compile(
        r"\w+.*: AWS answered AccessDenied(Exception)?: .*"
        + re.escape(f"is not authorized to perform: {request.action}{resource}")
    )
    failures = [line.record for line in run.log if line.record.get("failure")]
    return any(refusal.search(record["message"]) for record in failures)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_removed_permission_is_named_in_the_error(
    scenarios: Scenarios, recorded: Recorded, function: str
) -> None:
    by_name = {scenario.name: scenario for scenario in scenarios.scenarios}
    not_logged = []
    for action, (scenario, role) in first_uses(recorded, function).items():
        with lacking(scenarios, role, action):
            run = scenarios.run(by_name[scenario])
        refused = [call.request for call in run.calls if not call.decision.allowed]
        assert refused, f"{scenario} no longer asks for {action}"
        if function in OF_ONE_WORKLOAD and action == OF_THE_COLORS:
            assert run.failure is None
            continue
        not_logged += [f"{scenario}: {request}" for request in refused if not logged(run, request)]
    assert not_logged == []


def test_calls_outside_a_function_are_not_recorded(scenarios: Scenarios) -> None:
    before = len(scenarios.gate.calls)
    for scenario in scenarios.scenarios[:3]:
        scenario.arrange()
    assert len(scenarios.gate.calls) == before
