"""What must hold for an invocation as a whole, once it has ended.

Each action is logged exactly once with its numbers, each failed reading with its reason, and each workload is
either served or its failure logged.
"""

from __future__ import annotations

import collections
import json
from datetime import datetime

from sluice.core.model import (
    AnyDecision,
    Backlog,
    Capacity,
    Decision,
    DynamicTarget,
    Kind,
    LearningDecision,
    Mode,
    Reason,
    TargetDecision,
    Workload,
)
from sluice.errors import SluiceError
from sluice.ports import Counter, Outcome, StoredState
from sluice.report import fields, sentence
from tests.chaos.cloud import common
from tests.chaos.invocation import Invocation
from tests.support.builders import seconds

REASONS = {
    Kind.BOOTSTRAP: Reason.WORK_WAITS,
    Kind.SHUTDOWN: Reason.PROVEN_EMPTY,
    Kind.RETUNE: Reason.RETUNED,
    Kind.CAP: Reason.BEYOND_MESSAGE_GROUPS,
    Kind.SURGE: Reason.SURGED,
}
"""The one reason for which each kind of decision names a number, except those of the deadline engine."""


def audit(run: Invocation, error: Exception | None) -> None:
    """Add a violation to the invocation for each rule that it breaks."""
    if error is not None and not isinstance(error, SluiceError):
        run.add_violation(f"ended with {error!r}")
    run.violations += [f"a defect was caught: {defect!r}" for defect in run.report.recorded_defects]
    for decision, outcome in run.report.decisions:
        _check_logged(run, decision, outcome)
    _check_actions_are_logged(run)
    if not run.is_surge:  # one that is refused, or asks for a number, may not need the reading
        _check_unknowns_are_logged(run, error)
    _check_look_after_shutdown(run)
    if run.moment is not None:
        _check_tick_below_a_minute(run, run.moment, error)
    elif run.event.tick is not None:
        _check_tick(run, error)
    elif run.is_surge:
        _check_surge(run, error)
    elif run.event.retune is not None:
        _check_round(run, error)
    elif error is None:
        _check_alarm(run)


def _check_logged(run: Invocation, decision: AnyDecision, outcome: Outcome) -> None:
    explanation, logged = sentence(decision, outcome), fields(decision, outcome)
    json.dumps(logged, allow_nan=False)
    number = amount(decision)
    if decision.reason not in explanation or (isinstance(number, int) and str(number) not in explanation):
        run.add_violation(f"{explanation!r} does not explain {decision}")
    names_none = outcome is Outcome.HELD or decision.reason is Reason.SURGE_ENDED
    if (number is None) != names_none:
        run.add_violation(f"{outcome} with {number}: {explanation}")
    if number is not None and decision.reason is not REASONS.get(decision.kind, decision.reason):
        run.add_violation(f"{decision.kind} by reason of {decision.reason}")
    if decision.kind is Kind.CAP:
        if outcome is not Outcome.OBSERVED:
            run.add_violation(f"a cap is a warning, but was {outcome}: {explanation}")
        return
    snapshot = run.snapshots.get(decision.workload)
    if outcome is Outcome.OBSERVED and snapshot and snapshot.document.mode is not Mode.OBSERVE:
        run.add_violation(f"only observed although the mode is {snapshot.document.mode}: {explanation}")


def _check_actions_are_logged(run: Invocation) -> None:
    requested = [
        (action.kind, action.workload, action.amount, action.taken, action.observation)
        for action in run.actions
    ]
    logged = []
    for decision, outcome in run.report.decisions:
        if outcome not in (Outcome.ACTED, Outcome.FAILED) or decision.kind is Kind.SURGE:
            continue
        acted = outcome is Outcome.ACTED
        logged.append((decision.kind, decision.workload, amount(decision), acted, _seen_by(decision)))
    if requested != logged:
        run.add_violation(f"requested {requested} and logged {logged}")


def amount(decision: AnyDecision) -> float | None:
    """The instances, target or seconds of margin that a decision asks for; None if it holds."""
    match decision:
        case Decision():
            return decision.desired
        case TargetDecision():
            return decision.target
        case LearningDecision():
            return decision.margin_s


def _seen_by(decision: AnyDecision) -> object:
    """What a decision changes: the fleet as observed, the target, or the margin."""
    match decision:
        case Decision():
            return decision.observation
        case TargetDecision():
            return decision.current
        case LearningDecision():
            return decision.current_s


def _check_unknowns_are_logged(run: Invocation, error: Exception | None) -> None:
    failures = {name: "" for name, _, _ in run.report.failures}
    for name, _, reason in run.report.failures:
        failures[name] += reason
    logged = str(error) + "".join(failures.values())
    for decision, outcome in run.report.decisions:
        logged += sentence(decision, outcome) + json.dumps(fields(decision, outcome))
    # The first failed condition is the reason, so a proof that could not be read may not be mentioned.
    not_needed = {
        decision.workload
        for decision, _ in run.report.decisions
        if decision.reason in (Reason.PAUSED, Reason.BOUNDS_DISJOINT, Reason.HELD)
    }
    not_needed |= _learned_already(run)
    for name, reason in run.unknowns:
        snapshot = run.snapshots.get(name)
        # The workload may have been paused, or its target made static, after the durations were read.
        no_longer_tuned = (
            run.event.retune is not None and snapshot is not None and not _tuned(snapshot.document)
        )
        if reason not in logged and name not in failures and name not in not_needed and not no_longer_tuned:
            run.add_violation(f"not logged: {reason}")


def _learned_already(run: Invocation) -> set[str]:
    """The workloads of the deadline engine that have learned from the last full hour before this round."""
    began_s = run.began_at.replace(minute=0, second=0, microsecond=0).timestamp()
    return {
        name
        for name, found in run.remembered.items()
        if run.event.retune and isinstance(found, StoredState) and found.learned
        if found.learned.at_s >= began_s
    }


def _check_look_after_shutdown(run: Invocation) -> None:
    for name, snapshot in run.snapshots.items():
        if not snapshot.after_shutdown:
            continue
        backlog, capacity = snapshot.observation
        if backlog is None or capacity is None:
            run.add_violation(f"{name} was shut down, and not observed again")
        elif isinstance(backlog, Backlog) and isinstance(capacity, Capacity) and backlog.visible:
            bounds = common(snapshot.document, capacity)
            blocked = capacity.scale_out_blocked_by or capacity.unsupported_units
            may_bootstrap = bounds is not None and bounds.max > 0 and not blocked
            if capacity.desired == 0 and may_bootstrap:
                run.add_violation(f"{name} was shut down, and {backlog} observed since started no bootstrap")


def _check_alarm(run: Invocation) -> None:
    """An invocation that succeeded has decided, or had nothing to decide: Lambda does not retry it."""
    if not run.report.decisions and not run.report.counts[Counter.EVENT_IGNORED]:
        run.add_violation("an alarm ended without a decision")
    if any(decision.reason is Reason.UNKNOWN_READING for decision, _ in run.report.decisions):
        run.add_violation("an alarm ended well although a reading failed")


def _check_surge(run: Invocation, error: Exception | None) -> None:
    """It is decided, or failed, or was the end of an alarm; what was not decided has set no minimum."""
    decided = [(decision.reason, outcome) for decision, outcome in run.report.decisions]
    if not decided and error is None and not run.report.counts[Counter.EVENT_IGNORED]:
        run.add_violation("a surge ended without a decision")
    if run.minimums and decided[0][1] not in (Outcome.ACTED, Outcome.FAILED):
        run.add_violation(f"set the minimums {run.minimums}, and decided {decided}")
    if (Outcome.FAILED in [outcome for _, outcome in decided]) and error is None:
        run.add_violation(f"a surge ended well although it was refused: {decided}")
    for decision, outcome in run.report.decisions:
        wanted = (decision.desired, True) if isinstance(decision, Decision) else None
        if decision.reason is Reason.SURGED and outcome is Outcome.ACTED and run.minimums != [wanted]:
            run.add_violation(f"set the minimums {run.minimums} for {wanted}")


def _check_tick_below_a_minute(run: Invocation, moment: datetime, error: Exception | None) -> None:
    counts = run.report.counts
    if (error is not None) != (counts[Counter.TICK_FAILED] > 0):
        run.add_violation(f"the tick of {moment} ended with {error!r} although {run.report.failures} failed")
    if abs(run.began_at - moment) > seconds(90) and (
        run.served is not None or not counts[Counter.STALE_TICK]
    ):
        run.add_violation(f"the tick of {moment} worked at {run.began_at}")
    for name in run.stored:
        if run.stored[name] != moment.timestamp():
            run.add_violation(f"the tick of {moment} stored a state of {run.stored[name]}")


def _check_tick(run: Invocation, error: Exception | None) -> None:
    assert run.event.tick is not None
    if abs(run.began_at - run.event.tick) > seconds(110):
        if run.served is not None or not run.report.counts[Counter.STALE_TICK]:
            run.add_violation(f"the tick of {run.event.tick} worked at {run.began_at}")
        return
    if run.served is None:
        return  # the registry was never read: the tick failed as a whole
    failed = {name for name, _, _ in run.report.failures}
    logged = failed | {decision.workload for decision, _ in run.report.decisions}
    failures = run.report.counts[Counter.PUBLISH_FAILED] + run.report.counts[Counter.TICK_FAILED]
    if (error is not None) != (failures > 0):
        run.add_violation(f"the tick ended with {error!r} although {run.report.failures} failed")
    for name, document in run.served.items():
        if name not in (run.published or {}) and name not in failed:
            run.add_violation(f"{name} was neither published nor logged")
        if name not in logged and document.mode is not Mode.PAUSED and _needs_a_reason(run, name):
            run.add_violation(f"no reason is logged why {name} stays as it is: {run.first[name]}")


def _needs_a_reason(run: Invocation, name: str) -> bool:
    backlog, capacity = run.first[name]
    if not isinstance(backlog, Backlog) or not isinstance(capacity, Capacity):
        return True
    assert run.served is not None
    bounds = common(run.served[name], capacity)
    idles = backlog.total == 0 and (bounds is None or capacity.desired > bounds.min)
    return idles or (backlog.visible > 0 and capacity.desired == 0)


def _check_round(run: Invocation, error: Exception | None) -> None:
    if run.served is None:
        return
    request = run.event.retune
    assert request is not None
    failed = {name for name, counter, _ in run.report.failures if counter is Counter.RETUNE_FAILED}
    if bool(failed) != (error is not None):
        run.add_violation(f"the round ended with {error!r} although {failed} failed")
    logged = collections.Counter(decision.workload for decision, _ in run.report.decisions)
    for name, document in run.served.items():
        if request.stack_id not in (None, document.stack_id):
            if logged[name] or name in run.snapshots:
                run.add_violation(f"{name} was retuned though another's stack changed")
            continue
        if not _tuned(document):
            continue
        snapshot = run.snapshots.get(name)
        no_longer_tuned = snapshot is not None and not _tuned(snapshot.document)
        if not no_longer_tuned and name not in failed and logged[name] != 1:
            run.add_violation(f"{logged[name]} decisions on the target of {name}, and no failure")


def _tuned(document: Workload) -> bool:
    return document.mode is not Mode.PAUSED and isinstance(document.target, DynamicTarget)
