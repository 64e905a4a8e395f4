"""Step: bootstrap or shut down one workload: observe -> decide -> act -> report, for alarms and ticks alike.

The caller passes a workload whose document it has just read anew; the queue and the fleet are observed again
here, just before the act.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sluice.core.bootstrap_shutdown import decide_bootstrap, decide_shutdown, reads_empty_above_min
from sluice.core.model import Decision, Mode, Observation, Reason, Trigger, Unknown, Workload
from sluice.core.pause import Pause
from sluice.core.target import initial_target
from sluice.errors import TransientError
from sluice.ports import Counter, Outcome, Ports, RemainingS, Report, Series, first_half
from sluice.usecases.held_floors import held_floors
from sluice.usecases.isolation import report_if_refused
from sluice.usecases.observe import observe, report_unknown, schedule_in_force
from sluice.usecases.pauses import Paused, holds_in_force, pauses_in_force
from sluice.usecases.published_backlog import published_backlog


def bootstrap(
    workload: Workload, ports: Ports, trigger: Trigger, report: Report, remaining_s: RemainingS
) -> None:
    """Start the fleet if messages wait and nothing runs."""
    observation = observe(ports, [workload], remaining_s)[workload.name]
    decision = _bootstrap_unless_held(workload, observation, ports, trigger, report, remaining_s)
    act(decision, workload, ports, report)


def shutdown(
    workload: Workload,
    proof_end_minutes: Sequence[datetime],
    ports: Ports,
    trigger: Trigger,
    report: Report,
    remaining_s: RemainingS,
) -> None:
    """Set the fleet to its minimum or floor if the queue is proven empty; start it if work arrived meanwhile.

    `proof_end_minutes` are the minutes with which the proof may end, newest first.
    """
    observation = observe(ports, [workload], remaining_s)[workload.name]
    own = {workload.name: workload}
    floor: int | Unknown = 0
    published: Series | Unknown = {}
    pause: Paused = None
    is_idle = reads_empty_above_min(workload, observation)
    if is_idle:
        pause = pauses_in_force(ports, [workload.name], first_half(remaining_s))[workload.name]
    if is_idle and not isinstance(pause, Unknown):  # after a reading that failed, none would count
        floor = held_floors(ports, own, first_half(remaining_s))[workload.name]
        if reads_empty_above_min(workload, observation, floor):
            published = published_backlog(ports, own, proof_end_minutes, remaining_s)[workload.name]
    decision = decide_shutdown(
        workload,
        observation,
        floor,
        published,
        trigger,
        proof_end_minutes=proof_end_minutes,
        pause=pause,
        schedule=schedule_in_force(workload, observation, ports.now()),
    )
    outcome = act(decision, workload, ports, report, floor, published, pause)
    # A message may have arrived between the proof and the act. The bootstrap that its alarm started then
    # found the desired count still above 0 and held, and the alarm does not fire again. If this
    # second reading fails, Lambda's retry finds the fleet at its minimum, so it has to observe again too.
    if outcome is Outcome.ACTED:
        observation = observe(ports, [workload], remaining_s)[workload.name]
    elif decision.reason is not Reason.AT_MINIMUM:
        return
    _bootstrap_if_work_waits(workload, observation, ports, trigger, report, remaining_s)


def _bootstrap_if_work_waits(
    workload: Workload,
    observation: Observation,
    ports: Ports,
    trigger: Trigger,
    report: Report,
    remaining_s: RemainingS,
) -> None:
    decision = _bootstrap_unless_held(workload, observation, ports, trigger, report, remaining_s)
    if decision.desired is not None or decision.reason is Reason.UNKNOWN_READING:
        act(decision, workload, ports, report)


def _bootstrap_unless_held(
    workload: Workload,
    observation: Observation,
    ports: Ports,
    trigger: Trigger,
    report: Report,
    remaining_s: RemainingS,
) -> Decision:
    """The bootstrap's decision; what holds it is read only if there is something to hold.

    A pause that cannot be read holds no bootstrap: a fleet at zero starts without DynamoDB too. A guard that
    cannot be read leaves one instance.
    """
    target = initial_target(workload)
    schedule = schedule_in_force(workload, observation, ports.now())
    decision = decide_bootstrap(workload, observation, trigger, target_per_instance=target, schedule=schedule)
    if decision.desired is None and decision.reason is not Reason.HELD:
        return decision
    held = holds_in_force(ports, [workload.name], first_half(remaining_s))[workload.name]
    if isinstance(held, Unknown):
        report_unknown(workload.name, [held], report)
    pause, guard = (None, held) if isinstance(held, Unknown) else (held.pause, held.guard)
    return decide_bootstrap(
        workload,
        observation,
        trigger,
        target_per_instance=target,
        pause=pause,
        guard=guard,
        schedule=schedule,
    )


def act(
    decision: Decision,
    workload: Workload,
    ports: Ports,
    report: Report,
    *proof: int | Series | Pause | Unknown | None,
) -> Outcome:
    """Set the desired count if the decision and the mode allow it, and log the outcome.

    A failed reading is raised once it is logged, so that Lambda retries the invocation.
    """
    outcome = Outcome.HELD
    if decision.desired is not None and workload.mode is Mode.OBSERVE:
        outcome = Outcome.OBSERVED
    elif decision.desired is not None:
        with report_if_refused(decision, workload.fleet, report):
            ports.fleets.set_desired(workload.fleet, decision.desired)
        outcome = Outcome.ACTED
    report.decided(decision, outcome, workload.fleet)
    report_stuck_deployment(decision, report)
    if decision.reason is Reason.UNKNOWN_READING:
        for reading in (decision.observation.backlog, decision.observation.capacity, *proof):
            if isinstance(reading, Unknown) and reading.defect:
                raise reading.defect
        raise TransientError(f"{decision.kind} of {workload.name} is held: {decision.detail}")
    return outcome


def report_stuck_deployment(decision: Decision, report: Report) -> None:
    """Log a deployment that never ends as an error of its own.

    Nothing else shows that it keeps an idle fleet running, and billed.
    """
    if decision.reason is Reason.DEPLOYMENT_STUCK:
        report.failed(decision.workload, Counter.DEPLOYMENT_STUCK, f"{decision.reason}: {decision.detail}")
