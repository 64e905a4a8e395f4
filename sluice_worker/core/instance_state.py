"""What an instance's target lifecycle state in its Auto Scaling group means for the worker on it.

AWS documents these states: InService, Standby, Detached, Terminated, and those of a warm pool, which begin
with `Warmed:`. An instance of no group has none.
"""

from __future__ import annotations

from dataclasses import dataclass

IN_SERVICE = "InService"
TERMINATED = ("Terminated", "Warmed:Terminated")
WARM_POOL = "Warmed:"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfService:
    """The reason why an instance must not work; `for_good` if it never will again."""

    reason: str
    for_good: bool


def out_of_service(target_state: str | None, group: str, *, interrupted: bool) -> OutOfService | None:
    """Why an instance must not work, None while it may.

    `target_state` None: the instance belongs to no group, and may. A state that is not documented is no
    reason to begin: an instance works only if it is headed for InService. `interrupted` says that EC2 has
    given notice of a Spot interruption.
    """
    if target_state in TERMINATED:
        return OutOfService(reason=f"{group} terminates the instance", for_good=True)
    if interrupted:
        return OutOfService(reason="EC2 takes the Spot instance back", for_good=True)
    if target_state in (None, IN_SERVICE):
        return None
    if target_state.startswith(WARM_POOL):
        return OutOfService(
            reason=f"{group} keeps the instance in its warm pool ({target_state})", for_good=False
        )
    return OutOfService(reason=f"{group} takes the instance out of service ({target_state})", for_good=False)


def launch_hook_runs(before: str | None, target_state: str | None) -> bool:
    """Whether a group's launch hook may wait for the instance, now that its target state has changed.

    On the way into service, and on the way into a warm pool before that. `before` None: the process has just
    started, maybe on an instance that was launched long ago and for which no hook waits.
    """
    enters_pool = before is None and target_state is not None and target_state.startswith(WARM_POOL)
    return target_state == IN_SERVICE or (enters_pool and target_state not in TERMINATED)


def termination_hook_runs(before: str | None, target_state: str | None) -> bool:
    """Whether a group's termination hook may wait for the instance, now that its target state has changed.

    On the way out of the group, out of its warm pool, and out of service into the warm pool (a group that
    reuses instances on scale-in); not on the way into Standby or out of the group alive.
    """
    returns = before == IN_SERVICE and target_state is not None and target_state.startswith(WARM_POOL)
    return target_state in TERMINATED or returns
