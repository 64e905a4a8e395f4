"""Pauses and resumes a live workload: Sluice's decisions by the engine's table, AWS's policy by its fields.

A pause is stored first, then its end is scheduled, then AWS's policy is held: what AWS holds always has its
end. If a step fails, the earlier ones are undone. A resume first ends the stored pause, which keeps what AWS
had, so that the same command again can finish what a failure has left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sluice.aws import own_scaling
from sluice.aws.held_policies import HeldPolicies, ScheduleGroups
from sluice.core.guard import Guard
from sluice.core.held_fields import Holds, before_all, is_held, not_put_back
from sluice.core.model import Workload
from sluice.core.pause import Direction, Pause, decoded
from sluice.errors import ConfigError, SluiceError
from sluice.ports import RemainingS
from sluice_operator.account import Account
from sluice_operator.aws import caller
from sluice_operator.aws.pause_store import PauseStore
from sluice_operator.core import schedules
from sluice_operator.core.pausing import why_not_replaced, without
from sluice_operator.dead_letters import registered

OLDER_PLANE = (
    "the control plane's stack is of an earlier release, which knows no pause: update it (`make deploy`)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """What `sluice pause` has done."""

    workload: str
    pause: Pause
    replaced: Pause | None
    """The pause in force before."""
    scheduled: bool
    """Whether AWS releases its own policy at the end by a schedule; nothing of AWS's may be held."""
    aws_held: bool
    """Whether the fleet has a policy of AWS's, which is held now."""
    resized: str | None
    """The first schedule that resizes the fleet within the pause all the same, with the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """What `sluice resume` has done."""

    workload: str
    ended: Pause | None
    """The pause before; None if there was none."""
    left: Pause | None
    """What is still paused."""


def pause(
    account: Account,
    name: str,
    directions: frozenset[Direction],
    for_: timedelta | None,
    reason: str,
    remaining_s: RemainingS,
    *,
    replace_others: bool,
    on_step: Callable[[str], None] = lambda _: None,
) -> Paused:
    """Pause the workload now; raises ConfigError with who has paused it if that is somebody else."""
    on_step("reading the workload and its pause")
    at = _Workload(account, registered(account, name, remaining_s))
    now = account.ports.now()
    found = at.store.read(name)
    text = found.pause
    stored = None if text is None else decoded(text)
    current = stored if stored is not None and stored.in_force(now) else None
    fields = at.policies.fields(at.workload)
    asked = Pause(
        directions=directions,
        by=caller.arn(account.clients("sts")),
        at=now,
        until=None if for_ is None else now + for_,
        reason=reason,
        before=before_all(
            fields, Holds(pause=not_put_back(stored, fields, now), guard=_not_put_back(found.guard))
        ),
    )
    if current is not None and (refusal := why_not_replaced(current, asked, replace=replace_others)):
        raise ConfigError(f"{name} {refusal}")
    on_step("storing the pause")
    at.replace(text, asked, now)
    try:
        on_step("holding AWS's own policy")
        scheduled = at.apply(asked, stored, found.guard)
    except (SluiceError, KeyboardInterrupt) as failure:
        _undo(at, asked, text, stored, now, failure)
        raise
    return Paused(
        workload=name,
        pause=asked,
        replaced=current,
        scheduled=scheduled,
        aws_held=bool(fields),
        resized=at.resized_in_spite_of(asked, remaining_s),
    )


def resume(
    account: Account,
    name: str,
    directions: frozenset[Direction],
    remaining_s: RemainingS,
    on_step: Callable[[str], None] = lambda _: None,
) -> Resumed:
    """End the pause of these directions now, whoever has set it."""
    on_step("reading the workload and its pause")
    at = _Workload(account, registered(account, name, remaining_s))
    now = account.ports.now()
    found = at.store.read(name)
    text = found.pause
    if text is None:
        return Resumed(workload=name, ended=None, left=None)
    stored = decoded(text)
    if not stored.directions & directions and stored.in_force(now):
        return Resumed(workload=name, ended=None, left=stored)
    left = without(stored, directions, now)
    ended = left or replace(stored, until=min(now, stored.until or now))
    on_step("ending the pause")
    at.replace(text, ended, now)
    again = f"`sluice resume {name}` again puts it back"
    with _said(f"Sluice's own decisions act again, and AWS's policy may still be held: {again}"):
        on_step("putting AWS's own policy back")
        at.apply(left, stored, found.guard)
        if left is None:
            at.store.replace(name, at.store.read(name).pause, None, now)
    return Resumed(workload=name, ended=stored, left=left)


def held_by_aws(clients: Callable[[str], Any], workload: Workload, pause: Pause) -> bool:
    """Whether AWS's own policy is held as the pause asks: an update of a stack puts the whole policy."""
    return is_held(pause, own_scaling.read(clients, workload).fields)


class _Workload:
    """One workload, and where its pause is kept and ended."""

    def __init__(self, account: Account, workload: Workload) -> None:
        plane = account.plane
        if plane.state_table is None or plane.pause_group is None or plane.pause_role_arn is None:
            raise ConfigError(OLDER_PLANE)
        self.account, self.workload = account, workload
        self.store = PauseStore(lambda: account.clients("dynamodb"), plane.state_table)
        groups = ScheduleGroups(
            role_arn=plane.pause_role_arn, pauses=plane.pause_group, guards=plane.guard_group
        )
        self.policies = HeldPolicies(account.clients, groups)

    def replace(self, read: str | None, pause: Pause, now: datetime) -> None:
        """Store the pause in place of what was read; ConfigError if somebody was faster."""
        present = self.store.replace(self.workload.name, read, pause, now)
        if present is not None:
            what = f"it is {decoded(present)} now" if present else "it was resumed"
            raise ConfigError(
                f"somebody has paused or resumed {self.workload.name} at the same time: {what}; nothing of "
                "yours was done, so look at it, and give the command again if it is still wanted"
            )

    def resized_in_spite_of(self, pause: Pause, remaining_s: RemainingS) -> str | None:
        """What a schedule does within the pause; the fleet is read only for a workload that has some."""
        if not self.workload.schedules:
            return None
        ports, fleet = self.account.ports, self.workload.fleet
        capacity = ports.fleets.read([fleet], remaining_s)[fleet]
        return schedules.resized_in_spite_of(pause, self.workload, capacity, ports.now())

    def apply(self, pause: Pause | None, previous: Pause | None, guard: Guard | None) -> bool:
        """Hold AWS's policy and schedule the end, or release it; returns whether an end is scheduled.

        What the downstream guard holds stays held. One that engages or ends meanwhile is heeded by a second
        look.
        """
        scheduled = self._apply(pause, previous, guard)
        present = self.store.read(self.workload.name).guard
        if _end(self._in_force(present)) != _end(self._in_force(guard)):
            scheduled = self._apply(pause, pause or previous, present or guard)
        return scheduled

    def _apply(self, pause: Pause | None, previous: Pause | None, guard: Guard | None) -> bool:
        was = Holds(pause=previous, guard=_not_put_back(guard))
        holding = Holds(pause=pause, guard=self._in_force(guard))
        scheduled = self.policies.hold(self.workload, was, holding)
        return scheduled and pause is not None and pause.until is not None

    def _in_force(self, guard: Guard | None) -> Guard | None:
        if guard is None or self.workload.guard is None:
            return None
        return guard if guard.in_force(self.account.ports.now()) else None


def _end(guard: Guard | None) -> datetime | None:
    return guard.until if guard else None


def _not_put_back(guard: Guard | None) -> Guard | None:
    """The guard's hold, unless AWS's policy has been put back after it."""
    return guard if guard is not None and not guard.is_put_back else None


def _undo(
    at: _Workload,
    asked: Pause,
    text: str | None,
    stored: Pause | None,
    now: datetime,
    failure: BaseException,
) -> None:
    """Bring everything back to before the pause; if that fails too, say what stands."""
    name = at.workload.name
    again = (
        f"the pause of {name} is stored, so Sluice's decisions are held, and AWS's policy may not be: the "
        f"same command again finishes it, and `sluice resume {name}` ends it"
    )
    try:
        in_force = stored if stored is not None and stored.in_force(now) else None
        at.apply(in_force, asked, at.store.read(name).guard)
        read = at.store.read(name).pause
        if read is None or decoded(read) != asked:
            return
        at.store.replace(name, read, None if text is None else stored, now)
    except (SluiceError, KeyboardInterrupt) as second:
        raise ConfigError(f"{failure}; {second}; {again}") from failure
    if isinstance(failure, SluiceError):
        raise type(failure)(f"{failure}; nothing was paused") from failure


@contextmanager
def _said(stands: str) -> Iterator[None]:
    """Add to a failure what stands."""
    try:
        yield
    except SluiceError as failure:
        raise type(failure)(f"{failure}; {stands}") from failure
