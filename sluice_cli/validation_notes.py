"""The notes that `sluice validate` prints: valid settings, and what they lead to.

A note is derived from the document alone: AWS is not queried, so a note says what to check there.
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from sluice.core.deadline.promise import why_out_of_reach
from sluice.core.model import (
    AutoScalingGroup,
    Deadline,
    DynamicTarget,
    MetricSource,
    Mode,
    StaticTarget,
    TrackedMetric,
    Tracking,
    Workload,
)
from sluice.usecases.processing_time import MIN_SAMPLES


def notes(workload: Workload) -> Iterator[str]:
    """One sentence for each setting whose consequence is easy to miss."""
    if workload.deadline is not None:
        yield from _out_of_reach(workload, workload.deadline)
        yield from _ignored_by_the_deadline_engine(workload)
        yield from _fallback(workload)
        return
    yield from _unknown_processing_time(workload)
    yield from _idle_margin(workload)
    if workload.tracking.source is MetricSource.NATIVE:
        needed, switch = _aws_metrics(workload)
        yield f"MetricSource=native needs {needed}, without which target tracking sees nothing: {switch}"
        yield from _clamped_target(workload)


def _out_of_reach(workload: Workload, deadline: Deadline) -> Iterator[str]:
    """Served as well as can be: only a person can choose one of the ways out."""
    problem = why_out_of_reach(deadline, deadline.boot_s)
    if problem is not None and workload.bounds.min == 0:
        yield f"the promise cannot be kept from zero instances: {problem}"


def _ignored_by_the_deadline_engine(workload: Workload) -> Iterator[str]:
    tracking, size = workload.tracking, workload.bootstrap_instances
    ignored = [
        name
        for name, is_set in (
            (
                f"ArrivalMargin={tracking.arrival_margin:g}",
                tracking.arrival_margin != Tracking().arrival_margin,
            ),
            ("MetricSource=native", tracking.source is MetricSource.NATIVE),
            (f"BootstrapCapacity={size or 'backlog'}", size != max(workload.bounds.min, 1)),
            ("TargetType=dynamic", isinstance(workload.target, DynamicTarget)),
        )
        if is_set
    ]
    if ignored:
        verb = "has" if len(ignored) == 1 else "have"
        yield f"{' and '.join(ignored)} {verb} no effect: with Scaling=deadline the plan alone decides"


def _fallback(workload: Workload) -> Iterator[str]:
    if workload.mode is not Mode.ACTIVE:
        return
    needed, switch = _aws_metrics(workload)
    if workload.tracks_native_metrics:
        yield f"its fallback needs {needed}, without which AWS sees nothing while Sluice is silent: {switch}"
    else:
        yield (
            f"nothing scales the fleet out while Sluice is silent: Fallback=true does, with {needed}: "
            f"{switch}"
        )


def _unknown_processing_time(workload: Workload) -> Iterator[str]:
    if not isinstance(workload.target, StaticTarget) or workload.tracking.processing_s is not None:
        return
    if workload.tracking.metric is TrackedMetric.BACKLOG:
        yield (
            "it tracks the backlog alone, so it holds no capacity before a backlog has built up: give "
            "ProcessingSeconds, the mean seconds a message takes, and leave TrackedMetric empty, to count "
            "what keeps arriving as well"
        )
    elif workload.tracking.source is MetricSource.PUBLISHED:
        yield (
            f"it tracks the backlog alone until the workers have published {MIN_SAMPLES} "
            f"{workload.duration_metric.name} within a day: ProcessingSeconds would say at once how long a "
            "message takes"
        )


def _idle_margin(workload: Workload) -> Iterator[str]:
    tracking = workload.tracking
    if workload.publishes_effective or tracking.arrival_margin == Tracking().arrival_margin:
        return
    is_native = tracking.source is MetricSource.NATIVE
    tracked = "MetricSource=native tracks AWS's own metrics" if is_native else "TrackedMetric is backlog"
    yield (
        f"ArrivalMargin={tracking.arrival_margin:g} has no effect: EffectiveBacklogPerInstance alone has a "
        f"margin, and {tracked}"
    )


def _aws_metrics(workload: Workload) -> tuple[str, str]:
    """What AWS's count of the running instances needs, and the command that turns it on."""
    fleet = workload.fleet
    if isinstance(fleet, AutoScalingGroup):
        needed = f"the metrics of group {fleet.name}"
        switch = (
            f"autoscaling enable-metrics-collection --auto-scaling-group-name {quote(fleet.name)} "
            "--granularity 1Minute"
        )
    else:
        needed = f"Container Insights in cluster {fleet.cluster}"
        switch = (
            f"ecs update-cluster-settings --cluster {fleet.cluster} "
            "--settings name=containerInsights,value=enabled"
        )
    return needed, f"aws {switch}"


def _clamped_target(workload: Workload) -> Iterator[str]:
    """The metric math yields promise x arrivals / target instances: too many if the target is clamped."""
    target, tracking = workload.target, workload.tracking
    if not isinstance(target, DynamicTarget) or tracking.metric is TrackedMetric.BACKLOG:
        return
    maximum = target.max_messages_per_instance
    clamped_below_s = target.acceptable_latency_s * target.concurrency_per_instance / maximum
    if tracking.processing_s is None or tracking.processing_s < clamped_below_s:
        yield (
            f"where a message takes less than {clamped_below_s:.4g} s, MaxMessagesPerInstance={maximum:g} "
            "clamps the target, and MetricSource=native holds more instances than needed: raise "
            "MaxMessagesPerInstance, or track published metrics"
        )
