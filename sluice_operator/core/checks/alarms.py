"""Whether the alarms that start and stop the fleet exist, and may act."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote

from sluice_operator.core.checks.facts import AlarmSettings, Facts
from sluice_operator.core.checks.finding import Check, Finding, failed, passed, warned
from sluice_operator.core.checks.judging import UnreadError, judges, known
from sluice_operator.core.checks.policy import own
from sluice_operator.core.workload_alarms import alarm_name

STARTS_FUNCTION = ("bootstrap", "shutdown")
RISING = (
    ("depth-warning", "depth-critical", "WarningDepthMessages", "CriticalDepthMessages"),
    ("age-warning", "age-critical", "WarningAgeSeconds", "CriticalAgeSeconds"),
)
"""Each warning, its critical alarm, and the parameters of their thresholds."""


@judges(Check.ALARMS_EXIST)
def exist(check: Check, facts: Facts) -> Finding:
    """The alarms of the workload's stack and of its policy exist."""
    alarms, policy = known(facts.alarms), own(facts)
    missing = [name for name, alarm in alarms.items() if alarm is None]
    if missing:
        return failed(
            check,
            f"CloudWatch has no {' and no '.join(missing)}",
            "delete the workload's stack and deploy it again, which leaves queue and fleet as they are; for "
            "alarms of AWS's policy update the stack with another target instead",
        )
    if policy is not None and policy.enabled and not policy.alarms:
        return failed(
            check,
            f"the scaling policy {policy.name} has no alarms: nothing starts it",
            "update the workload's stack with another target, which makes AWS create them anew",
        )
    return passed(check, f"{len(alarms)} alarms exist")


@judges(Check.ALARMS_ENABLED)
def enabled(check: Check, facts: Facts) -> Finding:
    """No alarm is muted, neither by its actions nor by a mute rule."""
    alarms = _existing(facts)
    disabled = [name for name, alarm in alarms.items() if not alarm.actions_enabled]
    if disabled:
        return failed(
            check,
            f"the actions of {', '.join(disabled)} are disabled",
            f"aws cloudwatch enable-alarm-actions --alarm-names {' '.join(map(quote, disabled))}",
        )
    rules = known(facts.mute_rules)
    muted = {name: rules[name] for name in alarms if name in rules}
    if muted:
        by = "; ".join(f"{name} by {', '.join(those)}" for name, those in muted.items())
        return warned(
            check,
            f"mute rules hold the actions of {by}",
            "wait for the end of the mute rule, or end it: aws cloudwatch delete-alarm-mute-rule "
            f"--alarm-mute-rule-name {quote(next(iter(muted.values()))[0])}",
        )
    return passed(check, f"the actions of {len(alarms)} alarms are enabled, and no rule mutes them")


@judges(Check.ALARMS_START_FUNCTIONS)
def start_functions(check: Check, facts: Facts) -> Finding:
    """The bootstrap and the shutdown alarm start the functions of this control plane."""
    alarms, wrong = _existing(facts), []
    for kind in STARTS_FUNCTION:
        if kind not in facts.functions:
            raise UnreadError(f"the control plane's stack does not name its function {kind}: update it")
        alarm, live = alarms.get(alarm_name(facts.workload, kind)), facts.functions[kind]
        if alarm is not None and live not in alarm.actions:
            does = f"starts {', '.join(alarm.actions)}" if alarm.actions else "starts nothing"
            wrong.append(f"{alarm_name(facts.workload, kind)} {does} and not {live}")
    if wrong:
        return failed(
            check,
            "; ".join(wrong),
            "deploy the workload's stack with ControlPlaneStack set to the live control plane",
        )
    return passed(check, "the alarms start the functions of this control plane")


@judges(Check.ALARM_THRESHOLDS)
def thresholds(check: Check, facts: Facts) -> Finding:
    """A warning goes to ALARM at less than the critical alarm of the same metric."""
    alarms = known(facts.alarms)
    for warning, critical, lower, higher in RISING:
        low, high = (
            alarm.threshold if (alarm := alarms.get(alarm_name(facts.workload, kind))) else None
            for kind in (warning, critical)
        )
        if low is not None and high is not None and low >= high:
            return warned(
                check,
                f"{alarm_name(facts.workload, warning)} warns above {low:g}, which is not below the {high:g} "
                f"of {alarm_name(facts.workload, critical)}: nobody is warned before it is critical",
                f"update the workload's stack with {lower} below {higher}",
            )
    return passed(check, "no warning comes after its critical alarm")


def _existing(facts: Facts) -> Mapping[str, AlarmSettings]:
    found = {name: alarm for name, alarm in known(facts.alarms).items() if alarm is not None}
    if not found:
        raise UnreadError("none of the workload's alarms exists")
    return found
