"""AWS's own policies under a pause or the downstream guard: held now, and released by AWS at each end.

The end of a hold is scheduled before the hold begins, so what AWS holds always has its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sluice.aws import hold_ends, own_scaling
from sluice.core.guard import Guard
from sluice.core.held_fields import Fields, Hold, Holds, end_of, wanted
from sluice.core.model import Workload
from sluice.core.pause import Pause


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleGroups:
    """Where the ends of holds are scheduled, and the role under which EventBridge Scheduler makes them."""

    role_arn: str
    pauses: str
    guards: str | None = None
    """None for a control plane of a release that knows no guard."""


class HeldPolicies:
    """Implements `ports.HeldPolicies` for every kind of fleet."""

    def __init__(self, clients: Callable[[str], Any], groups: ScheduleGroups) -> None:
        self._clients, self._groups = clients, groups

    def fields(self, workload: Workload) -> Fields:
        """The fields that hold the workload's policy, as they are now."""
        return own_scaling.read(self._clients, workload).fields

    def hold(self, workload: Workload, was: Holds, holding: Holds) -> bool:
        """Schedule the ends, then bring every field to what these holds ask for; schedules of others go.

        `was` are the holds until now, those included that have ended and may not be released yet. Returns
        whether the end of any is scheduled: nothing of AWS's may be held.
        """
        scaling = own_scaling.read(self._clients, workload)
        now = scaling.fields
        scheduled, gone = False, list[str]()
        for group, hold in self._by_group(was, holding).items():
            end = end_of(hold, now, was, holding) if hold is not None else None
            # The policy is described as it is before it is held, so what is sent is all of it.
            call = next(scaling.changes(end.after, end.before), None) if end else None
            if end is None or call is None:
                gone.append(group)
                continue
            client, role_arn = self._clients("scheduler"), self._groups.role_arn
            hold_ends.put(client, workload.name, group, role_arn, end.at, call)
            scheduled = True
        for call in scaling.changes(wanted(now, was, holding)):
            own_scaling.make(self._clients, call)
        for group in gone:
            hold_ends.delete(self._clients("scheduler"), workload.name, group)
        return scheduled

    def _by_group(self, was: Holds, holding: Holds) -> Mapping[str, Hold | None]:
        """Schedule group -> the hold whose end belongs there, of each kind of hold that there is or was."""
        kinds: list[tuple[str | None, Pause | Guard | None, Pause | Guard | None]] = [
            (self._groups.pauses, was.pause, holding.pause),
            (self._groups.guards, was.guard, holding.guard),
        ]
        return {
            group: after
            for group, before, after in kinds
            if group is not None and (before is not None or after is not None)
        }
