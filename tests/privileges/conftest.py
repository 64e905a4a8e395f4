from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sluice_sim.template import ResolvedStack
from tests.privileges import inventory
from tests.privileges.on_behalf import Exercised, exercised
from tests.privileges.policies import Request
from tests.privileges.proof import Use
from tests.privileges.rehearsal import Performance, Rehearsal, account, rehearsal
from tests.privileges.roles import Roles, roles
from tests.templates import stacks


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Every act performed once: what the functions asked of AWS, and what AWS did on their behalf."""

    roles: Roles
    performances: list[Performance]
    on_behalf: list[Exercised]

    @property
    def uses(self) -> list[Use]:
        """Every request once, however often it was made."""
        asked = [
            Use(role=passage.role, request=passage.request)
            for performance in self.performances
            for passage in performance.passages
        ]
        asked += [Use(role=each.role, request=each.request) for each in self.on_behalf]
        return list({str(use): use for use in asked}.values())

    @property
    def requests(self) -> list[Request]:
        return list({str(use.request): use.request for use in self.uses}.values())


@pytest.fixture(scope="session")
def plane() -> ResolvedStack:
    """The control plane with its defaults."""
    return stacks.plane()


@pytest.fixture(scope="session")
def recorded(plane: ResolvedStack) -> Recorded:
    with rehearsal(plane) as rehearsed:
        performances = [rehearsed.perform(act) for act in rehearsed.acts]
    passages = [passage for performance in performances for passage in performance.passages]
    return Recorded(
        roles=roles(plane),
        performances=performances,
        on_behalf=exercised(plane, passages, inventory.tags(account())),
    )


@pytest.fixture(scope="module")
def rehearsed(plane: ResolvedStack) -> Iterator[Rehearsal]:
    """The acts, to be performed."""
    with rehearsal(plane) as live:
        yield live
