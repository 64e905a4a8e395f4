"""Whether the two colors of a blue/green workload are settled, and nothing is left of a switch."""

from __future__ import annotations

from shlex import quote

from sluice.core.switch_record import Switch
from sluice_operator.core.checks.facts import Facts
from sluice_operator.core.checks.finding import Check, Finding, failed, passed, warned
from sluice_operator.core.checks.judging import judges, known


@judges(Check.COLORS_SETTLED)
def settled(check: Check, facts: Facts) -> Finding:
    """No switch is in progress, no color is drained, and the idle one runs nothing."""
    idle, active = facts.workload.idle, facts.workload.color
    if idle is None:
        return passed(check, "it has one fleet only")
    switch = known(facts.switch)
    if switch is not None:
        return _in_progress(check, facts, switch)
    draining = known(facts.draining)
    if draining != "none":
        return failed(
            check,
            f"no switch is in progress, and the workers of {draining} receive no more: see draining-color",
            "aws ssm put-parameter --overwrite --value none --name "
            f"{quote(f'{facts.registry_prefix}/{facts.workload.name}/draining-color')}",
        )
    other = known(facts.idle_capacity)
    if other is not None and (other.desired or other.running):
        return warned(
            check,
            f"{idle.color}, {idle.fleet}, is not active and has {other.desired} instances, which cost money "
            f"and receive messages beside {active}",
            f"`sluice switch {quote(facts.workload.name)}` makes it the active color; else lower it by hand "
            "once no instance of it has protection from scale-in",
        )
    return passed(check, f"{active} is active, {idle.color} is at zero, and no switch is in progress")


def _in_progress(check: Check, facts: Facts, switch: Switch) -> Finding:
    name = quote(facts.workload.name)
    if known(facts.switch_runs):
        return warned(
            check, f"it is in {switch}", f"`sluice switch {name} --follow` shows it, `--abort` undoes it"
        )
    return failed(
        check,
        f"it is in {switch}, whose execution has ended: AWS's scaling of both colors may still be suspended, "
        "and no other switch can begin",
        f"sluice switch {name} --abort",
    )
