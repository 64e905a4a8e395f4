"""The checks of `sluice doctor`, a file a subject: facts of one workload -> findings, each with its fix."""

from __future__ import annotations

from collections.abc import Sequence

from sluice_operator.core.checks import (
    alarms,
    colors,
    failures,
    fleet,
    guard,
    messages,
    metrics,
    pause,
    permissions,
    policy,
    queue,
    registration,
    schedules,
)
from sluice_operator.core.checks.facts import Facts
from sluice_operator.core.checks.finding import Finding

CHECKS = (
    registration.valid,
    registration.mode,
    pause.paused,
    guard.downstream,
    colors.settled,
    queue.exists,
    queue.tagged,
    queue.visibility_timeout,
    queue.dead_letter_queue,
    queue.retention,
    queue.key,
    fleet.exists,
    fleet.tagged,
    fleet.metrics,
    fleet.bounds,
    fleet.below_maximum,
    fleet.processes,
    fleet.deployment,
    fleet.warm_pool,
    fleet.weights,
    fleet.scalable,
    fleet.start,
    fleet.end,
    policy.enabled,
    policy.metric,
    policy.target,
    policy.waits,
    policy.alone,
    policy.scheduled_actions,
    schedules.run,
    alarms.exist,
    alarms.enabled,
    alarms.start_functions,
    alarms.thresholds,
    metrics.published,
    metrics.durations,
    metrics.waits,
    permissions.worker,
    permissions.key,
    messages.received,
    messages.deleted,
    messages.groups,
    messages.oldest,
    messages.dead_letters,
    failures.none,
)


def findings(facts: Facts) -> Sequence[Finding]:
    """One finding for every check of a workload that is registered."""
    return tuple(check(facts) for check in CHECKS)
