"""Entry point: recompute each dynamic target from what the workers measured, and write it into the policy.

It runs every hour, and after a change of a workload's stack. A static target, a policy inside the deadband
and all other fields of a policy are left alone. A workload of the deadline engine has no policy: what its
ticks plan with is learned instead.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from sluice.core.guard import Guard
from sluice.core.held_fields import Hold
from sluice.core.model import Durations, DynamicTarget, Mode, Reason, Unknown, Workload
from sluice.core.rotation import rotated
from sluice.core.target import decide_target
from sluice.errors import ConfigError, TransientError
from sluice.events import RetuneRequest
from sluice.ports import Counter, Outcome, Ports, RemainingS, Report, first_half
from sluice.usecases.isolation import (
    isolated,
    report_if_refused,
)
from sluice.usecases.learn import learn_hourly
from sluice.usecases.observe import registered
from sluice.usecases.pauses import holds_in_force
from sluice.usecases.processing_time import (
    DurationQuery,
    processing_times,
)

HOUR_S = 3600
MIN_REMAINING_S = 48
"""Two of a workload's reads take so long if each fails in every attempt; `RESERVE_S` is left for its put."""
LEFT_OUT = "no time left in this round; the next one begins with another workload"


def retune_targets(request: RetuneRequest, ports: Ports, report: Report, remaining_s: RemainingS) -> None:
    """One round over all dynamic targets, or over the workload whose stack has just changed.

    Raises TransientError at the end if any workload failed or was left out for lack of time, so that the
    invocation counts as failed.
    """
    workloads = {
        workload.name: workload
        for workload in registered(ports, report, remaining_s, fresh=request.stack_id is not None).workloads
        if request.stack_id in (None, workload.stack_id)
    }
    served = {
        name: DurationQuery(
            metric=workload.duration_metric,
            statistic=target.statistic,
            min_samples=target.min_samples,
        )
        for name, workload in workloads.items()
        if (target := _retuned_target(workload)) is not None
    }
    learning = {name: workload for name, workload in workloads.items() if _learns(workload)}
    report.event(Counter.WORKLOADS_SERVED, f"retune by {request.trigger}", len(served) + len(learning))
    failed = learn_hourly(learning, ports, report, first_half(remaining_s))
    durations = processing_times(served, ports, first_half(remaining_s))

    def retuned(name: str) -> bool:
        if remaining_s() <= MIN_REMAINING_S:
            report.failed(name, Counter.RETUNE_FAILED, LEFT_OUT)
            return False
        step = partial(_retune, name, durations[name], request, ports, report, remaining_s)
        return isolated(name, Counter.RETUNE_FAILED, report, step)

    turn = int(ports.now().timestamp() // HOUR_S)
    failed += [name for name in rotated(served, turn) if not retuned(name)]
    if failed:
        raise TransientError(f"retune failed for {', '.join(failed)}; the log line of each says why")


def _learns(workload: Workload) -> bool:
    return workload.deadline is not None and workload.mode is not Mode.PAUSED


def _retuned_target(workload: Workload) -> DynamicTarget | None:
    """The target that follows the processing time; None if there is none, or nothing may be done about it."""
    if workload.mode is Mode.PAUSED or workload.deadline is not None:
        return None
    return workload.target if isinstance(workload.target, DynamicTarget) else None


def _retune(
    name: str,
    durations: Durations | Unknown,
    request: RetuneRequest,
    ports: Ports,
    report: Report,
    remaining_s: RemainingS,
) -> None:
    workload = ports.registry.one(name, remaining_s)
    target = _retuned_target(workload)
    if target is None:
        return
    policy = None
    if workload.mode is Mode.ACTIVE:
        if workload.policy_arn is None:
            raise ConfigError(
                f"workload {workload.name} is active but its document names no policy: update its stack"
            )
        policy = ports.policies.read(workload, remaining_s)
    current = policy.target if policy else None
    decision = decide_target(workload.name, target, durations, current, request.trigger)
    if policy and decision.target is not None and (holds := _holding_policy(name, ports, remaining_s)):
        reason = Reason.GUARDED if isinstance(holds[0], Guard) else Reason.PAUSED
        detail = "; ".join(map(str, holds))
        decision = replace(decision, reason=reason, target=None, limits=(), detail=detail)
    outcome = Outcome.HELD
    if decision.target is not None and policy is None:
        outcome = Outcome.OBSERVED
    elif decision.target is not None and policy is not None:
        with report_if_refused(decision, workload.fleet, report):
            ports.policies.put_target(policy, decision.target)
            # A hold of this moment has held the policy, and the put has sent back what was read before.
            if holds := _holding_policy(name, ports, remaining_s):
                held = {field: value for hold in holds for field, value in hold.held_in_policy.items()}
                ports.policies.put_target(policy, decision.target, held)
        outcome = Outcome.ACTED
    report.decided(decision, outcome, workload.fleet)
    if isinstance(durations, Unknown):
        if durations.defect:
            raise durations.defect
        raise TransientError(f"no processing time of {workload.name}: {durations.reason}")


def _holding_policy(name: str, ports: Ports, remaining_s: RemainingS) -> list[Hold]:
    """What holds the policy by its own fields, a pause first; raises TransientError if that is unknown."""
    found = holds_in_force(ports, [name], first_half(remaining_s))[name]
    if isinstance(found, Unknown):
        if found.defect:
            raise found.defect
        raise TransientError(f"whether {name} is paused is unknown, so its policy stays: {found.reason}")
    return [hold for hold in (found.pause, found.guard) if hold is not None and hold.held_in_policy]
