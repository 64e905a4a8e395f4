"""Whether an operator has paused the workload, and whether AWS still holds its own policy for the pause."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote

from sluice.core.held_fields import PROCESS, is_held
from sluice.core.model import (
    DYNAMIC_SCALING_IN_SUSPENDED,
    DYNAMIC_SCALING_OUT_SUSPENDED,
    EcsService,
    Unknown,
)
from sluice.core.pause import (
    ALARM_NOTIFICATION,
    DISABLE_SCALE_IN,
    ENABLED,
    IN_SUSPENDED,
    OUT_SUSPENDED,
)
from sluice_operator.core.checks.facts import Facts, FleetSettings
from sluice_operator.core.checks.finding import Check, Finding, failed, passed, warned
from sluice_operator.core.checks.judging import judges, known


@judges(Check.NOT_PAUSED)
def paused(check: Check, facts: Facts) -> Finding:
    """No operator has paused the workload, or AWS still holds its policy for the pause."""
    pause, name = known(facts.pause), quote(facts.workload.name)
    if pause is None:
        return passed(check, "no operator has paused it")
    if not is_held(pause, fields(facts)):
        return failed(
            check,
            f"{pause}; AWS's own policy is not held any more: an update of the stack has put it anew",
            f"`sluice pause {name}` with the same directions holds it again, `sluice resume {name}` ends it",
        )
    return warned(check, str(pause), f"sluice resume {name}")


def held_by_pause(facts: Facts, *names: str) -> str:
    """The pause or guard that holds one of these fields, as the end of a sentence; empty without one."""
    for hold in (facts.pause, facts.guard):
        if hold is not None and not isinstance(hold, Unknown) and hold.held.keys() & {*names}:
            return f", as it is {hold}"
    return ""


def fields(facts: Facts) -> Mapping[str, bool]:
    """The fields by which AWS's own policy is held, as they are now."""
    if isinstance(facts.workload.fleet, EcsService):
        capacity = known(facts.capacity)
        return {
            OUT_SUSPENDED: DYNAMIC_SCALING_OUT_SUSPENDED in capacity.scale_out_blocked_by,
            IN_SUSPENDED: DYNAMIC_SCALING_IN_SUSPENDED in capacity.scale_in_blocked_by,
        }
    settings = known(facts.fleet)
    suspended = settings.suspended if isinstance(settings, FleetSettings) else ()
    found = {ALARM_NOTIFICATION: PROCESS in suspended}
    for policy in known(facts.policies):
        if policy.arn == facts.workload.policy_arn:
            found |= {ENABLED: policy.enabled, DISABLE_SCALE_IN: policy.scale_in_disabled}
    return found
