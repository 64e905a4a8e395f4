"""Whether the fleet exists, may be resized, and starts and ends its instances."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from shlex import quote

from sluice.core.bounds import effective_bounds
from sluice.core.capacity_units import why_not_served
from sluice.core.held_fields import PROCESS
from sluice.core.holds import both_bounds
from sluice.core.launch_failures import decide_no_capacity
from sluice.core.model import (
    AutoScalingGroup,
    Color,
    EcsService,
    Fleet,
    Mode,
    Observation,
    Trigger,
    Unknown,
    Workload,
)
from sluice.core.pause import ALARM_NOTIFICATION, IN_SUSPENDED, OUT_SUSPENDED
from sluice_operator.core.checks.facts import Facts, FleetSettings
from sluice_operator.core.checks.finding import Check, Finding, failed, passed, warned
from sluice_operator.core.checks.judging import UnreadError, judges, known
from sluice_operator.core.checks.pause import held_by_pause
from sluice_operator.core.checks.policy import own
from sluice_operator.core.checks.queue import MANAGED, settings
from sluice_operator.core.schedules import limits_maximum, set_bounds_command

GROUP_METRICS = ("GroupDesiredCapacity", "GroupInServiceInstances")
NEEDED_PROCESSES = {
    "Launch": "no instance is started",
    "Terminate": "no instance is ended",
    PROCESS: "target tracking does nothing",
}
"""Process of a group -> what does not happen while it is suspended."""
STUCK_AFTER = timedelta(hours=1)
"""A deployment of this age is stuck, as the tick counts it too."""


def described(facts: Facts) -> FleetSettings:
    """The fleet's settings; raises UnreadError if they are unknown or the fleet does not exist."""
    fleet = known(facts.fleet)
    if fleet is None:
        raise UnreadError(f"AWS finds no {facts.workload.fleet}")
    return fleet


def _settings(facts: Facts) -> list[tuple[Fleet, FleetSettings | Unknown | None]]:
    """Each fleet with its settings, the active one first."""
    idle = facts.workload.idle
    active: list[tuple[Fleet, FleetSettings | Unknown | None]] = [(facts.workload.fleet, facts.fleet)]
    return active if idle is None else [*active, (idle.fleet, facts.idle_fleet)]


@judges(Check.FLEET_EXISTS)
def exists(check: Check, facts: Facts) -> Finding:
    """AWS knows the group, or an active service of the name; of two colors both."""
    for fleet, found in _settings(facts):
        if known(found) is None:
            return failed(
                check,
                f"{fleet} does not exist in this account and region",
                f"create it, or correct {_parameters(facts.workload, fleet)} of the workload's stack",
            )
    fleets = " and ".join(str(fleet) for fleet in facts.workload.fleets)
    return passed(check, f"{fleets} exist{'s' if facts.workload.idle is None else ''}")


def _parameters(workload: Workload, fleet: Fleet) -> str:
    """The parameters of the workload's stack that name this fleet."""
    is_green = workload.color is (Color.GREEN if fleet == workload.fleet else Color.BLUE)
    if isinstance(fleet, AutoScalingGroup):
        return "GreenAutoScalingGroupName" if is_green else "AutoScalingGroupName"
    return f"ClusterName and {'Green' if is_green else ''}ServiceName"


@judges(Check.FLEET_TAGGED)
def tagged(check: Check, facts: Facts) -> Finding:
    """The fleet carries the tag that admits the functions; of two colors both."""
    (key, value), read = MANAGED, _settings(facts)
    described(facts)
    for fleet, of in read:
        found = known(of)
        if found is None or found.tags.get(key) == value:
            continue
        return failed(
            check,
            f"{fleet} lacks the tag {key} = {value}, and without it the functions may not resize it",
            _tag_command(fleet, found),
        )
    fleets = " and ".join(str(fleet) for fleet, _ in read)
    return passed(check, f"{fleets} {'has' if len(read) == 1 else 'have'} the tag {key} = {value}")


def _tag_command(fleet: Fleet, found: FleetSettings) -> str:
    key, value = MANAGED
    if isinstance(fleet, AutoScalingGroup):
        tag = f"ResourceId={fleet.name},ResourceType=auto-scaling-group,Key={key},Value={value}"
        return f"aws autoscaling create-or-update-tags --tags {quote(tag + ',PropagateAtLaunch=false')}"
    return f"aws ecs tag-resource --resource-arn {found.arn} --tags key={key},value={value}"


@judges(Check.FLEET_METRICS)
def metrics(check: Check, facts: Facts) -> Finding:
    """AWS publishes the counts of instances that alarms, a native metric and the FIFO warning read."""
    workload, fleet = facts.workload, facts.workload.fleet
    published = described(facts).metrics
    if isinstance(fleet, AutoScalingGroup):
        missing = [name for name in GROUP_METRICS if name not in published]
        switch = (
            f"aws autoscaling enable-metrics-collection --auto-scaling-group-name {quote(fleet.name)} "
            "--granularity 1Minute"
        )
    else:
        missing = [] if fleet.running_metric.name in published else [fleet.running_metric.name]
        switch = (
            f"aws ecs update-cluster-settings --cluster {quote(fleet.cluster)} "
            "--settings name=containerInsights,value=enabled"
        )
    if not missing:
        return passed(check, f"AWS publishes the counts of {fleet}")
    found = f"AWS does not publish {' and '.join(missing)} of {fleet}"
    if workload.tracks_native_metrics and fleet.running_metric.name in missing:
        return failed(check, f"{found}, which the scaling policy divides by: it never scales", switch)
    if GROUP_METRICS[0] in missing and workload.bounds.min == 0:
        return failed(
            check, f"{found}: the bootstrap alarm cannot see it at zero, and the tick alone starts it", switch
        )
    if isinstance(fleet, EcsService) and not workload.is_fifo:
        return passed(check, f"{found}, and nothing of this workload reads it")
    return warned(check, f"{found}: instances beyond the message groups go unnoticed", switch)


@judges(Check.BOUNDS_AGREE)
def bounds(check: Check, facts: Facts) -> Finding:
    """The document and the fleet have the same minimum and maximum, or schedules set the fleet's."""
    workload, capacity = facts.workload, known(facts.capacity)
    both = both_bounds(workload, capacity)
    if capacity.bounds is None:
        if workload.policy_arn is None:
            return passed(check, f"the service has no scalable target, and none is needed: {both}")
        return failed(
            check,
            f"{workload.fleet} is no scalable target, so its scaling policy has nothing to act on",
            "update the workload's stack with CreateScalableTarget=true",
        )
    if capacity.bounds == workload.bounds:
        return passed(check, f"document and fleet allow {workload.bounds.min} to {workload.bounds.max}")
    overlap = effective_bounds(workload, capacity)[0] is not None
    if overlap and workload.schedules and workload.mode is Mode.ACTIVE:
        return passed(check, f"its schedules set the fleet's own bounds: {both}")
    if isinstance(workload.fleet, AutoScalingGroup) or workload.idle is not None:
        # Of two services the stack knows the bounds of before the first switch alone.
        fix = set_bounds_command(workload.fleet, workload.bounds)
    else:
        fix = "update the workload's stack, which registers MinCapacity and MaxCapacity with the service"
    if not overlap:
        return failed(check, f"the bounds do not overlap, so nothing is scaled: {both}", fix)
    return warned(check, f"the bounds differ, and the narrower ones count: {both}", fix)


@judges(Check.BELOW_MAXIMUM)
def below_maximum(check: Check, facts: Facts) -> Finding:
    """A fleet with more work than its target may still grow."""
    workload, capacity, backlog = facts.workload, known(facts.capacity), settings(facts).backlog
    allowed, _ = effective_bounds(workload, capacity)
    if allowed is None:
        raise UnreadError("the bounds of document and fleet do not overlap")
    size = f"{capacity.desired} of at most {allowed.max} instances are desired"
    if capacity.desired < allowed.max or not backlog.visible:
        return passed(check, size)
    if workload.deadline is None:
        policy = own(facts)
        target = policy.target if policy else None
        if target is not None and backlog.total / max(capacity.running, 1) <= target:
            return passed(check, f"{size}, and the backlog is within its target")
    found = f"{size}, and {backlog.visible} messages wait: nothing can scale out any more"
    if by := limits_maximum(workload, allowed.max, facts.now):
        raised = set_bounds_command(workload.fleet, replace(allowed, max=workload.bounds.max))
        return failed(
            check,
            f"{found}, as {by} holds this maximum",
            f"raise it in the workload's stack, and until its next start: {raised}",
        )
    return failed(check, found, "raise MaxCapacity of the workload's stack, and the fleet's own maximum")


@judges(Check.PROCESSES_RUN)
def processes(check: Check, facts: Facts) -> Finding:
    """Nothing that starts, ends or counts instances is suspended."""
    workload, fleet = facts.workload, facts.workload.fleet
    if isinstance(fleet, EcsService):
        return _dynamic_scaling(check, facts, fleet)
    suspended = described(facts).suspended
    stopped = [process for process in suspended if process in NEEDED_PROCESSES]
    if stopped == [PROCESS] and (by_pause := held_by_pause(facts, ALARM_NOTIFICATION)):
        return passed(check, f"{PROCESS} is suspended{by_pause}")
    if stopped:
        return failed(
            check,
            "; ".join(f"{process} is suspended: {NEEDED_PROCESSES[process]}" for process in stopped),
            f"aws autoscaling resume-processes --auto-scaling-group-name {quote(fleet.name)} "
            f"--scaling-processes {' '.join(stopped)}",
        )
    if suspended:
        return passed(check, f"suspended, and not needed to scale: {', '.join(suspended)}")
    return passed(check, f"no process of {workload.fleet} is suspended")


def _dynamic_scaling(check: Check, facts: Facts, fleet: EcsService) -> Finding:
    capacity = known(facts.capacity)
    suspended = [
        block
        for block in (*capacity.scale_out_blocked_by, *capacity.scale_in_blocked_by)
        if block.endswith("is suspended")
    ]
    if not suspended:
        return passed(check, f"no scaling of {fleet} is suspended")
    if facts.workload.mode is not Mode.ACTIVE:
        return passed(check, f"{' and '.join(suspended)}, as mode {facts.workload.mode} has it")
    if by_pause := held_by_pause(facts, OUT_SUSPENDED, IN_SUSPENDED):
        return passed(check, f"{' and '.join(suspended)}{by_pause}")
    return failed(
        check,
        f"{' and '.join(suspended)} for {fleet}",
        "aws application-autoscaling register-scalable-target --service-namespace ecs --scalable-dimension "
        f"ecs:service:DesiredCount --resource-id {quote(f'service/{fleet.cluster}/{fleet.service}')} "
        "--suspended-state DynamicScalingInSuspended=false,DynamicScalingOutSuspended=false",
    )


@judges(Check.NO_DEPLOYMENT)
def deployment(check: Check, facts: Facts) -> Finding:
    """No deployment or instance refresh holds scale-in."""
    fleet, under_way = facts.workload.fleet, known(facts.deployment)
    if under_way is None:
        return passed(check, f"no deployment of {fleet} is under way")
    began = under_way.started_at
    since = "" if began is None else f" since {began:%Y-%m-%d %H:%M} UTC"
    found = f"{under_way.description}{since}: scale-in waits for its end"
    if isinstance(fleet, AutoScalingGroup):
        cancel = f"aws autoscaling cancel-instance-refresh --auto-scaling-group-name {quote(fleet.name)}"
    else:
        cancel = (
            f"aws ecs describe-services --cluster {quote(fleet.cluster)} --services {quote(fleet.service)}"
        )
    if began is not None and facts.now - began > STUCK_AFTER:
        return failed(check, found, f"find out why it does not end, or end it: {cancel}")
    return warned(check, found, f"wait for its end, or look at it: {cancel}")


@judges(Check.WARM_POOL)
def warm_pool(check: Check, facts: Facts) -> Finding:
    """A warm pool has instances to start."""
    fleet, pool = facts.workload.fleet, described(facts).warm_pool
    if pool is None:
        return passed(check, f"{fleet} has no warm pool: every start is a cold one")
    if pool.is_deleted:
        return warned(
            check, f"the warm pool of {fleet} is being deleted: starts become cold", "wait for its end"
        )
    if pool.instances:
        return passed(check, f"the warm pool holds {pool.instances} instances")
    return warned(
        check,
        f"the warm pool of {fleet} is empty: every start is a cold one",
        "raise MinSize of the pool, or look at the group's activities for starts that failed",
    )


@judges(Check.INSTANCE_WEIGHTS)
def weights(check: Check, facts: Facts) -> Finding:
    """The fleet's sizes are counted in instances."""
    capacity = known(facts.capacity)
    if capacity.unsupported_units:
        problem, _, fix = why_not_served(facts.workload, capacity).partition(": ")
        return failed(check, problem, fix)
    return passed(check, f"the sizes of {facts.workload.fleet} are counted in instances")


@judges(Check.SERVICE_SCALABLE)
def scalable(check: Check, facts: Facts) -> Finding:
    """The scheduling strategy of a service lets its desired count be set."""
    fleet, found = facts.workload.fleet, described(facts)
    if isinstance(fleet, AutoScalingGroup):
        return passed(check, f"{fleet} is no service")
    strategy = found.scheduling_strategy
    if strategy == "REPLICA":
        return passed(check, f"{fleet} has the scheduling strategy {strategy}")
    return failed(
        check,
        f"{fleet} has the scheduling strategy {strategy}: ECS decides how many tasks it runs",
        "create the service anew with the scheduling strategy REPLICA; it cannot be changed",
    )


@judges(Check.INSTANCES_START)
def start(check: Check, facts: Facts) -> Finding:
    """AWS starts the instances that are desired."""
    workload, capacity = facts.workload, known(facts.capacity)
    size = f"{capacity.running} of {capacity.desired} desired instances run"
    if capacity.running >= capacity.desired:
        return passed(check, size)
    observation = Observation(backlog=settings(facts).backlog, capacity=capacity)
    failure = decide_no_capacity(workload, observation, known(facts.launches), Trigger.TICK, now=facts.now)
    if failure is None:
        return passed(check, f"{size}, and AWS names no failed start: the others boot")
    return failed(
        check,
        f"{size}; {failure.detail}",
        "by AWS's message: more instance types, zones or On-Demand (capacity), a higher quota (limit), the "
        "image or launch template, or for a service more container instances",
    )


@judges(Check.INSTANCES_END)
def end(check: Check, facts: Facts) -> Finding:
    """Instances of an idle fleet may be ended; termination protection of EC2 does not hinder a scale-in."""
    fleet, capacity = facts.workload.fleet, known(facts.capacity)
    found, idle = described(facts), not settings(facts).backlog.total
    if isinstance(fleet, EcsService):
        return passed(check, "ECS ends tasks that hold no task protection")
    name = quote(fleet.name)
    if found.standby_instances:
        return warned(
            check,
            f"{found.standby_instances} instances of {fleet} are in Standby: billed, without work, and not "
            "ended by a scale-in",
            f"aws autoscaling exit-standby --auto-scaling-group-name {name} --instance-ids ID...",
        )
    if found.protects_new:
        return warned(
            check,
            f"new instances of {fleet} are protected from scale-in: those that never work are never ended",
            f"aws autoscaling update-auto-scaling-group --auto-scaling-group-name {name} "
            "--no-new-instances-protected-from-scale-in",
        )
    if capacity.protected and idle:
        return warned(
            check,
            f"{capacity.protected} instances of {fleet} are protected from scale-in, and the queue is empty",
            f"aws autoscaling set-instance-protection --auto-scaling-group-name {name} "
            "--no-protected-from-scale-in --instance-ids ID...",
        )
    return passed(check, f"scale-in may end the instances of {fleet} that do not work")
