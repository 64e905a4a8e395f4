"""The minimum of each fleet: who has set it, and AWS's scheduled actions that put it back after a surge.

Holds what people and stacks have set, independently of what Sluice remembers, and the calls that fail. What
must hold at every moment: a minimum that a surge has raised has a scheduled action that puts the former one
back, and without such an action it is what people have set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

from sluice.core.model import Bounds, Fleet
from sluice.errors import SluiceError
from tests.support.fakes import FakeAccount

MAX_LATE = timedelta(minutes=2)
"""AWS executes a scheduled action up to two minutes late."""


@dataclass(frozen=True)
class FailingCall:
    """A call of this method that fails once; `done` if AWS has done it, and only the answer is lost."""

    method: str
    error: SluiceError
    done: bool


@dataclass
class Minimums:
    """The minimums of the fleets of an account."""

    account: FakeAccount
    set_by_people: dict[Fleet, int] = field(default_factory=dict)
    edited: set[Fleet] = field(default_factory=set)
    """Fleets whose minimum people have set since their last surge began: whoever comes last wins there."""
    late: timedelta = timedelta(0)
    """How late AWS executes scheduled actions now."""
    failing: dict[Fleet, FailingCall] = field(default_factory=dict)
    handed_back: int = 0
    """How often AWS has put a minimum back."""

    def edit(self, fleet: Fleet, bounds: Bounds | None) -> None:
        """People, or a stack, set the bounds; without a scalable target there is no action either."""
        self.edited.add(fleet)
        if bounds is None:
            self.account.surges.stored.pop(fleet, None)

    def hand_back(self) -> None:
        """AWS executes what is due. One whose minimum is above the maximum fails, and is gone as well."""
        now, fleets = self.account.clock(), self.account.fleets
        for fleet, stored in self.account.surges.stored.items():
            for surge in [each for each in stored.values() if each.until + self.late <= now]:
                del stored[surge.name]
                has = fleets.capacities[fleet]
                if has.bounds is None or surge.minimum_before > has.bounds.max:
                    continue
                bounds = Bounds(min=surge.minimum_before, max=has.bounds.max)
                desired = max(has.desired, bounds.min)
                fleets.capacities[fleet] = replace(has, bounds=bounds, desired=desired)
                self.handed_back += 1

    def settle(self) -> None:
        """No handler runs: without a scheduled action, what people have set is what counts from now on."""
        for fleet in [fleet for fleet in self.edited if not self.account.surges.stored.get(fleet)]:
            if bounds := self.account.fleets.capacities[fleet].bounds:
                self.set_by_people[fleet] = bounds.min
                self.edited.remove(fleet)

    def violations(self) -> Iterator[str]:
        """Each minimum that nobody puts back."""
        for fleet, before in self.set_by_people.items():
            bounds = self.account.fleets.capacities[fleet].bounds
            if fleet in self.edited or bounds is None or bounds.min == before:
                continue
            stored = self.account.surges.stored.get(fleet, {}).values()
            if bounds.min < before:
                yield f"the minimum of {fleet} is {bounds.min}, below the {before} that people have set"
            elif not any(each.minimum_before == before for each in stored):
                raised = f"the minimum of {fleet} is raised from {before} to {bounds.min}"
                yield f"{raised}, and the actions are {list(stored)}"
