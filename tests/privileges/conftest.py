from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sluice_sim.aws_rules.iam_policies import Request
from sluice_sim.template import ResolvedStack
from tests.privileges import inventory
from tests.privileges.on_behalf import ImpliedRequest, exercised
from tests.privileges.proof import Use
from tests.privileges.roles import Roles, roles
from tests.privileges.scenarios import ScenarioRun, Scenarios, account, deployed_scenarios
from tests.templates import stacks


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Every scenario run once: what the functions requested of AWS, and what AWS did on their behalf."""

    roles: Roles
    runs: list[ScenarioRun]
    on_behalf: list[ImpliedRequest]

    @property
    def uses(self) -> list[Use]:
        """Every request once, however often it was made."""
        uses_ = [Use(role=call.role, request=call.request) for run in self.runs for call in run.calls]
        uses_ += [Use(role=each.role, request=each.request) for each in self.on_behalf]
        return list({str(use): use for use in uses_}.values())

    @property
    def requests(self) -> list[Request]:
        return list({str(use.request): use.request for use in self.uses}.values())


@pytest.fixture(scope="session")
def plane() -> ResolvedStack:
    """The control plane with a bus for its events and a downstream guard, and its defaults otherwise."""
    return stacks.plane(EventBusArn=stacks.EVENT_BUS, DownstreamGuard="true")


@pytest.fixture(scope="session")
def recorded(plane: ResolvedStack) -> Recorded:
    with deployed_scenarios(plane) as scenarios:
        runs = [scenarios.run(scenario) for scenario in scenarios.scenarios]
    calls = [call for run in runs for call in run.calls]
    # Those of a switch have a test of their own, tests/functions/test_switch_privileges.py.
    own = {name: allows for name, allows in roles(plane).items() if not name.startswith("Switch")}
    implied = exercised(plane, calls, inventory.tags(account()))
    return Recorded(roles=own, runs=runs, on_behalf=[each for each in implied if each.role in own])


@pytest.fixture(scope="module")
def scenarios(plane: ResolvedStack) -> Iterator[Scenarios]:
    """The scenarios, to be run."""
    with deployed_scenarios(plane) as live:
        yield live
