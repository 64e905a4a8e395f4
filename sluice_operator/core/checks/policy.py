"""Whether target tracking can act on the fleet, and acts on it alone."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from sluice.core.model import (
    AutoScalingGroup,
    DynamicTarget,
    Metric,
    Mode,
    Workload,
)
from sluice.core.pause import DISABLE_SCALE_IN, ENABLED
from sluice_operator.core.checks.facts import Facts, ScalingPolicy, ScheduledAction
from sluice_operator.core.checks.finding import Check, Finding, failed, passed, warned
from sluice_operator.core.checks.judging import UnreadError, judges, known
from sluice_operator.core.checks.metrics import published_name
from sluice_operator.core.checks.pause import held_by_pause
from sluice_operator.core.checks.schedules import foreign

NO_POLICY = "the workload's settings ask for no policy"
UPDATE = "update the workload's stack with any change"
"""Without a change CloudFormation does not look at the policy."""
LONG_WAIT_S = 900
"""Beyond a quarter of an hour the next scale-out comes after AWS's own scale-in alarm."""
DEFAULT_WARMUP_S = 300
"""What AWS takes where neither policy nor group names one: the group's default cooldown (documented)."""
DEFAULT_COOLDOWN_S = 300
"""Of a service's policy (documented)."""
TARGET_TOLERANCE = 1e-6


def own(facts: Facts) -> ScalingPolicy | None:
    """The policy that the document names, or None; raises UnreadError if the policies are unknown."""
    arn = facts.workload.policy_arn
    return next((policy for policy in known(facts.policies) if policy.arn == arn), None)


def _own(facts: Facts) -> ScalingPolicy:
    policy = own(facts)
    if policy is None:
        raise UnreadError("the scaling policy does not exist")
    return policy


@judges(Check.POLICY_ENABLED)
def enabled(check: Check, facts: Facts) -> Finding:
    """The policy that the document names exists, and is enabled."""
    fleet = facts.workload.fleet
    if facts.workload.policy_arn is None:
        return passed(check, NO_POLICY)
    policy = own(facts)
    if policy is None:
        return failed(
            check,
            f"{fleet} has no scaling policy {facts.workload.policy_arn}",
            f"{UPDATE}: CloudFormation creates a policy that was deleted by hand only with a change",
        )
    if not policy.enabled and (by_pause := held_by_pause(facts, ENABLED)):
        return passed(check, f"the scaling policy {policy.name} is disabled{by_pause}")
    if not policy.enabled:
        return failed(
            check,
            f"the scaling policy {policy.name} of {fleet} is disabled",
            "enable it: put the policy again with Enabled true (aws autoscaling put-scaling-policy "
            f"--enabled --auto-scaling-group-name {quote(getattr(fleet, 'name', ''))} --policy-name "
            f"{quote(policy.name)} --policy-type {policy.kind} --target-tracking-configuration ...)",
        )
    return passed(check, f"the scaling policy {policy.name} is enabled")


@judges(Check.POLICY_METRIC)
def metric(check: Check, facts: Facts) -> Finding:
    """The policy reads the metric of this queue and this fleet."""
    workload = facts.workload
    if workload.policy_arn is None:
        return passed(check, NO_POLICY)
    policy = _own(facts)
    if policy.predefined_metric:
        return failed(
            check,
            f"the scaling policy {policy.name} tracks {policy.predefined_metric}, not the queue",
            UPDATE,
        )
    wrong = list(_wrong_metrics(facts, policy))
    if wrong:
        return failed(check, f"the scaling policy {policy.name} reads {'; '.join(wrong)}", UPDATE)
    return passed(
        check, f"the scaling policy {policy.name} reads {', '.join(m.name for m in policy.metrics)}"
    )


def _wrong_metrics(facts: Facts, policy: ScalingPolicy) -> Iterator[str]:
    workload, fleet = facts.workload, facts.workload.fleet
    published = Metric(
        namespace=facts.namespace,
        name=published_name(workload),
        dimensions=fleet.dimensions,
    )
    if not workload.tracks_native_metrics:
        if policy.metrics != (published,):
            yield f"{' and '.join(map(str, policy.metrics)) or 'no metric'} where {published} is published"
        return
    if not any(read.namespace == "AWS/SQS" for read in policy.metrics):
        yield f"no metric of the queue {workload.queue_name}"
    for read in policy.metrics:
        queue = read.namespace == "AWS/SQS"
        dimensions = {"QueueName": workload.queue_name} if queue else fleet.dimensions
        if read.dimensions != dimensions:
            yield f"{read} of another {'queue' if queue else 'fleet'} than {dimensions}"


@judges(Check.POLICY_TARGET)
def target(check: Check, facts: Facts) -> Finding:
    """The target is what the settings ask for, and the policy scales in where it should."""
    workload = facts.workload
    if workload.policy_arn is None:
        return passed(check, NO_POLICY)
    policy = _own(facts)
    if policy.target is None:
        return failed(check, f"the policy {policy.name} is of type {policy.kind}: it has no target", UPDATE)
    found = f"the scaling policy {policy.name} has the target {policy.target:.6g}"
    if expected := _unexpected(workload, policy.target):
        return warned(check, f"{found}, and the settings ask for {expected}", UPDATE)
    if policy.scale_in_disabled and workload.deadline is None and not held_by_pause(facts, DISABLE_SCALE_IN):
        return warned(
            check,
            f"the scaling policy {policy.name} has DisableScaleIn: a fleet that is not empty never scales in",
            UPDATE,
        )
    return passed(check, found)


def _unexpected(workload: Workload, target: float) -> str | None:
    """What the settings ask for; None if the target is within it."""
    if workload.deadline is not None:
        expected = workload.deadline.promise_s
        return None if _equal(target, expected) else f"{expected:g}, the seconds of the promise"
    settings = workload.target
    if isinstance(settings, DynamicTarget):
        low, high = settings.min_messages_per_instance, settings.max_messages_per_instance
        is_first = _equal(target, settings.fallback_messages_per_instance)
        return None if is_first or low <= target <= high else f"{low:g} to {high:g} messages per instance"
    expected = settings.messages_per_instance
    return None if _equal(target, expected) else f"{expected:g} messages per instance"


def _equal(target: float, expected: float) -> bool:
    return abs(target - expected) <= TARGET_TOLERANCE * expected


@judges(Check.POLICY_WAITS)
def waits(check: Check, facts: Facts) -> Finding:
    """Neither warm-up nor cooldown holds the policy for long."""
    if facts.workload.policy_arn is None:
        return passed(check, NO_POLICY)
    policy = _own(facts)
    if isinstance(facts.workload.fleet, AutoScalingGroup):
        fleet = known(facts.fleet)
        warmup_s = next(
            (
                wait_s
                for wait_s in (policy.warmup_s, fleet.default_warmup_s if fleet else None)
                if wait_s is not None
            ),
            DEFAULT_WARMUP_S,
        )
        found = f"an instance warms up for {warmup_s} s, in which AWS scales out less and not in"
        parameter = "InstanceWarmupSeconds"
        longest_s = warmup_s
    else:
        out_s, in_s = (
            DEFAULT_COOLDOWN_S if cooldown_s is None else cooldown_s
            for cooldown_s in (policy.scale_out_cooldown_s, policy.scale_in_cooldown_s)
        )
        found = f"the cooldown after a scale-out is {out_s} s, after a scale-in {in_s} s"
        parameter, longest_s = "ScaleOutCooldownSeconds and ScaleInCooldownSeconds", max(out_s, in_s)
    if longest_s > LONG_WAIT_S:
        return warned(check, found, f"lower {parameter} of the workload's stack to what a boot takes")
    return passed(check, found)


@judges(Check.POLICY_ALONE)
def alone(check: Check, facts: Facts) -> Finding:
    """No other policy resizes the fleet."""
    fleet = facts.workload.fleet
    others = [policy for policy in known(facts.policies) if policy.arn != facts.workload.policy_arn]
    if not others:
        return passed(check, f"no other policy scales {fleet}")
    listed = ", ".join(f"{policy.name} ({policy.predefined_metric or policy.kind})" for policy in others)
    if isinstance(fleet, AutoScalingGroup):
        command = f"aws autoscaling delete-policy --auto-scaling-group-name {quote(fleet.name)}"
    else:
        command = (
            "aws application-autoscaling delete-scaling-policy --service-namespace ecs --scalable-dimension "
            f"ecs:service:DesiredCount --resource-id {quote(f'service/{fleet.cluster}/{fleet.service}')}"
        )
    return warned(
        check,
        f"other policies scale {fleet} as well: {listed}. AWS scales out for any, and in only if all agree",
        "; ".join(f"{command} --policy-name {quote(policy.name)}" for policy in others),
    )


@judges(Check.SCHEDULED_ACTIONS)
def scheduled_actions(check: Check, facts: Facts) -> Finding:
    """No scheduled action sets the size, or bounds that the document or its schedules contradict."""
    workload, actions = facts.workload, known(facts.scheduled_actions)
    fighting = [action for action in foreign(workload, actions) if _fights(workload, action)]
    if not fighting:
        kept = f"; bounds change by {', '.join(action.name for action in actions)}" if actions else ""
        return passed(check, f"no scheduled action sets the size of {workload.fleet}{kept}")
    return warned(
        check,
        "; ".join(_action(action) for action in fighting),
        "delete these scheduled actions, or give the workload's stack schedules in their place"
        if workload.schedules
        else "delete these scheduled actions, or let them set a minimum within MinCapacity and MaxCapacity "
        "alone",
    )


def _fights(workload: Workload, action: ScheduledAction) -> bool:
    """Two owners of the bounds undo each other's: beside schedules no other action may set any."""
    if workload.schedules and workload.mode is Mode.ACTIVE and (action.min, action.max) != (None, None):
        return True
    lowers_max = action.max is not None and action.max < workload.bounds.max
    raises_min = action.min is not None and action.min > workload.bounds.max
    return action.desired is not None or lowers_max or raises_min


def _action(action: ScheduledAction) -> str:
    values = {"desired": action.desired, "min": action.min, "max": action.max}
    given = ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)
    return f"the scheduled action {action.name} sets {given} at {action.schedule}"
