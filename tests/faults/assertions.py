"""What must hold however a call fails, compared with the same run without a fault.

The invariants know nothing of the use cases: what a failed call may change follows from which workloads it
concerns, when it is made, and whether it got a response.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

from sluice.core.deadline.learning import MAX_RAISE_S
from sluice.ports import Counter
from sluice.usecases.last_known import NOT_READ_IN_TIME
from sluice_sim.aws_rules.alarms import Alarm
from sluice_sim.aws_rules.ec2_target_tracking import TargetTracking
from tests.faults.account import (
    MAX_INSTANCES,
    MIN_INSTANCES,
    NOON,
    PROCESSING_S,
    STARTED_AFTER,
    WORKLOADS,
    Account,
    Outcome,
    State,
    understood,
)
from tests.faults.calls import Call, Fault
from tests.faults.cases import Case
from tests.faults.faults import PASSING, WrongAnswer
from tests.faults.responses import EMPTY_PAGE
from tests.support.builders import dynamic_section
from tests.templates.stacks import workload

FAILURES = (
    Counter.OBSERVATION_FAILED,
    Counter.PUBLISH_FAILED,
    Counter.ACTION_FAILED,
    Counter.RETUNE_FAILED,
    Counter.SHARD_FAILED,
    Counter.TICK_FAILED,
    Counter.DOCUMENT_INVALID,
    Counter.REGISTRY_STALE,
    Counter.EVENTS_NOT_SENT,
    Counter.INVOCATION_FAILED,
)
ACTIONS = ("SetDesiredCapacity", "UpdateService")
OF_ARRIVALS = frozenset({"NumberOfMessagesSent", "MsgProcessingDuration"})
READINGS = ("GetQueueAttributes", "DescribeAutoScalingGroups", "DescribeServices", "DescribeScalableTargets")
OF_THE_PROOF = frozenset({"Attributes", "Id", "Timestamps", "Values"})
"""The fields that hold message counts: with one of them wrong, nothing is proven."""
EMPTY_IS_VALID = frozenset({"DescribeScalableTargets", "GetParametersByPath"})
"""A service without a scalable target has the document's bounds; a registry may be empty."""
RETRY_AFTER = timedelta(seconds=40)
LATER_RUNS = 11
"""A registry that once read as empty is read again after 5 minutes, and a proof takes 2 more; a processing
time that could not be read is read again after 10.
"""


def assert_invariants(case: Case, healthy: Outcome, call: Call, fault: Fault, outcome: Outcome) -> None:
    """Check the one invocation in which `call` failed."""
    stays_within_bounds(case, outcome)
    is_never_lowered_on_an_unknown(case, healthy, call, fault, outcome)
    invents_no_point(healthy, call, fault, outcome)
    tracks_no_less_than_the_backlog(healthy, call, fault, outcome)
    the_fallback_stands_in_for_what_is_not_published(case, outcome)
    learns_from_answers_alone(case, healthy, call, fault, outcome)
    others_are_served(healthy, call, fault, outcome)
    is_reported(case, healthy, call, fault, outcome)
    holds_no_minimum_without_its_end(outcome)
    guards_by_answers_alone_and_for_a_time(healthy, call, outcome)
    ends_in_time_without_a_trace(outcome)
    events_change_nothing_else(healthy, call, outcome)


def stays_within_bounds(case: Case, outcome: Outcome) -> None:
    for name in WORKLOADS:
        assert MIN_INSTANCES <= outcome.state.desired[name] <= MAX_INSTANCES, (
            f"{name} is asked for {outcome.state.desired[name]}"
        )
        target = outcome.state.targets[name]
        settings = dynamic_section()
        min_target, max_target = settings["min_messages_per_instance"], settings["max_messages_per_instance"]
        assert min_target <= target <= max_target, f"the target of {name} is {target}"


def is_never_lowered_on_an_unknown(
    case: Case, healthy: Outcome, call: Call, fault: Fault, outcome: Outcome
) -> None:
    for name in WORKLOADS:
        before = case.desired(name)
        if outcome.state.desired[name] >= before:
            continue
        assert healthy.state.desired[name] < before, f"{name} went down, which a healthy run leaves alone"
        if name in affected(call) and _precedes_the_act(healthy, call, name):
            assert not _unknown(call, fault, outcome), f"{name} went down without an answer to {call}"


def invents_no_point(healthy: Outcome, call: Call, fault: Fault, outcome: Outcome) -> None:
    """No zero is published that a healthy run would not publish, and no point after a failed read."""
    for name, points in outcome.points.items():
        for at, value in points.items():
            true = healthy.points[name].get(at)
            assert true is not None, f"{name} has a point at {at} that a healthy run does not publish"
            assert value > 0 or true == 0, f"{name} is published as {value}, and holds {true} per instance"
            if not isinstance(fault, WrongAnswer):
                assert value == true, f"{name} is published as {value} instead of {true}"
        lost = call.operation in READINGS and call not in outcome.made.responses
        if lost and name in affected(call) and _precedes(healthy, call, "PutMetricData", name):
            assert not points, f"{name} is published without an answer to {call}: {points}"


def tracks_no_less_than_the_backlog(healthy: Outcome, call: Call, fault: Fault, outcome: Outcome) -> None:
    """Published whenever the backlog is; with unknown arrivals it equals the backlog, which is logged."""
    for name, points in outcome.points.items():
        tracked = outcome.effective[name]
        assert tracked.keys() == points.keys(), f"{name} has points at {tracked} beside {points}"
        for at, value in points.items():
            assert value <= tracked[at] < math.inf, f"{name} tracks {tracked[at]} over a backlog of {value}"
    if not _is_about_arrivals(call, healthy):
        return
    assert outcome.points == healthy.points, f"{call} keeps BacklogPerInstance from being published"
    assert outcome.state == healthy.state, f"{call} changes {healthy.state} into {outcome.state}"
    if fault.kind in PASSING:
        assert outcome.effective == healthy.effective, f"a second attempt mends {fault}: {outcome.effective}"
    elif call not in outcome.made.responses:
        uncounted = _counted(healthy) - _counted(outcome)
        assert uncounted or not _counted(healthy), f"arrivals are counted without an answer to {call}"
        for name in uncounted:
            assert outcome.effective[name] == outcome.points[name], f"{name} tracks {outcome.effective[name]}"
            reasons = _uncounted(outcome)[name]
            assert call.operation in reasons or NOT_READ_IN_TIME in reasons, (
                f"{name} is logged with {reasons}"
            )
        named = {name for name in uncounted if call.operation in _uncounted(outcome)[name]}
        assert named or not uncounted, f"{call} is not logged: {_uncounted(outcome)}"


def the_fallback_stands_in_for_what_is_not_published(case: Case, outcome: Outcome) -> None:
    """The policy of the deadline engine's workload sees its backlog in this minute, or nothing to do."""
    if not case.ticks:
        return
    for name in (name for name, situation in case.situations.items() if situation.by_deadline):
        points, minute = outcome.points[name], int(NOON.timestamp())
        own = {int(at.timestamp()): value for at, value in points.items()}
        series = {"own": own, "visible": {minute: 600.0}, "sent": {minute: 0.0}, "in_service": {minute: 1.0}}
        seen = fallback_alarm().datapoints(series, minute + 60)[-1]
        assert seen is not None
        assert (seen > fallback_alarm().threshold) == (not own), (
            f"{name} publishes {own}, its policy sees {seen}"
        )


@cache
def fallback_alarm() -> Alarm:
    """The alarm on which the policy of a workload of the deadline engine scales out, as deployed."""
    stack = workload("asg", Scaling="deadline", Fallback="true", ProcessingSeconds=str(PROCESSING_S))
    properties = stack.resources["AsgTargetTracking"].properties
    return TargetTracking.from_properties("fallback", properties).high_alarm()


def learns_from_answers_alone(
    case: Case, healthy: Outcome, call: Call, fault: Fault, outcome: Outcome
) -> None:
    """Margin and processing time change as in a healthy run or not at all, and never without an answer."""
    for name in WORKLOADS:
        before, after = case.learned(name), outcome.state.learned[name]
        if after in (before, healthy.state.learned[name]):
            lost = call.operation in ("GetMetricData", "BatchGetItem") and call not in outcome.made.responses
            assert after == before or not lost, f"{name} has learned {after} without an answer to {call}"
            continue
        assert isinstance(fault, WrongAnswer), f"{name} has learned {after} after {before}, by {fault}"
        if after is None:  # what cannot be read is replaced, and measured again in the next hour
            assert outcome.counted(Counter.STATE_REBUILT), f"what {name} has learned is gone, and not a word"
            continue
        assert before, f"{name} has learned {after}, and learns nothing in a healthy run"
        (margin_s, mean_s), (margin_before_s, mean_before_s) = after, before
        assert mean_s, f"what {name} has learned is gone: {after} after {before}"
        assert abs(margin_s - margin_before_s) <= MAX_RAISE_S, f"{name} moves its margin to {margin_s} s"
        assert 0.5 <= mean_s / (mean_before_s or mean_s) <= 2, f"{name} now needs {mean_s} s a message"


def others_are_served(healthy: Outcome, call: Call, fault: Fault, outcome: Outcome) -> None:
    """Every workload is served; only a call that used up the time skips some, which are logged."""
    left_out = {line["workload"] for line in outcome.lines if "no time left" in str(line.get("message"))}
    assert not left_out or fault.kind == "slow", f"{left_out} were left out, though time was left"
    for name in set(WORKLOADS) - affected(call) - left_out:
        assert outcome.points[name] == healthy.points[name], f"{name} has nothing to do with {call}"
        if NOT_READ_IN_TIME not in _uncounted(outcome).get(name, ""):
            assert outcome.effective[name] == healthy.effective[name], f"{name} has nothing to do with {call}"
        else:
            assert fault.kind in ("slow", "timed out"), f"{name} is left without time by {fault}"
        assert _of(outcome.state, name) == _of(healthy.state, name), f"{name} has nothing to do with {call}"


def is_reported(case: Case, healthy: Outcome, call: Call, fault: Fault, outcome: Outcome) -> None:
    """A call without a response is counted and named; a wrong one is logged if it changed anything.

    An operator is told: what is refused for want of a reading is a decision, and no failure.
    """
    same = (outcome.state, outcome.points, outcome.effective) == (
        healthy.state,
        healthy.points,
        healthy.effective,
    )
    if fault.kind in PASSING:
        assert same or call.operation == "SendMessageBatch", (
            f"a second attempt mends {fault}: {outcome.state}"
        )
        assert outcome.failure is None
        return
    counted = [counter for counter in FAILURES if outcome.counted(counter)]
    if call not in outcome.made.responses:
        if case.by_operator and same and not outcome.failure:
            return  # a number that is given needs no backlog
        assert counted or case.by_operator, f"no failure is counted: {outcome.lines}"
        assert call.operation in _log_text(outcome), f"nothing names {call.operation}: {_log_text(outcome)}"
        return
    if case.guards and fault.kind == EMPTY_PAGE:
        return  # what AWS holds is looked at again within five minutes
    fewer = outcome.counted(Counter.WORKLOADS_SERVED) < healthy.counted(Counter.WORKLOADS_SERVED)
    is_logged = _reasons(outcome) != _reasons(healthy) or _computed(outcome) != _computed(healthy)
    assert same or counted or fewer or is_logged, f"{fault} is not logged: {outcome.effective}"


def holds_no_minimum_without_its_end(outcome: Outcome) -> None:
    """Whatever fails, AWS puts a raised minimum back by itself; and nothing but a surge raises one."""
    for name in WORKLOADS:
        minimum, ends = outcome.state.minimum[name], outcome.state.ends[name]
        assert minimum == MIN_INSTANCES or any(puts_back == MIN_INSTANCES for _, puts_back in ends), (
            f"{name} keeps a minimum of {minimum}, which nothing puts back: {ends}"
        )


def guards_by_answers_alone_and_for_a_time(healthy: Outcome, call: Call, outcome: Outcome) -> None:
    """The guard engages on nothing that it was not told, and AWS's own scaling has its release first."""
    for name in WORKLOADS:
        assert outcome.state.released[name] or not outcome.state.suspended[name], (
            f"scale-out of {name} is suspended, and nothing releases it"
        )
        assert healthy.state.guarded[name] or not outcome.state.guarded[name], f"{name} is guarded by a fault"
        lost = call.operation == "GetMetricData" and call not in outcome.made.responses
        if lost and name in affected(call):
            assert not outcome.state.guarded[name], f"{name} is guarded without an answer to {call}"


def ends_in_time_without_a_trace(outcome: Outcome) -> None:
    assert understood(outcome.failure), f"a defect: {outcome.failure!r}"
    traces = [line["message"] for line in outcome.lines if "exception" in line]
    assert not traces, f"a traceback is all that is logged: {traces}"
    assert outcome.elapsed_s <= outcome.timeout_s, f"took {outcome.elapsed_s} of {outcome.timeout_s} s"


def events_change_nothing_else(healthy: Outcome, call: Call, outcome: Outcome) -> None:
    """Whatever becomes of the events, the invocation does and returns what it does without a fault."""
    if call.operation != "PutEvents":
        return
    assert outcome.failure is None, f"an event that is not sent fails the invocation: {outcome.failure!r}"
    assert (outcome.state, outcome.points) == (healthy.state, healthy.points)
    assert _reasons(outcome) == _reasons(healthy), "another decision is logged"


def recovers_later(case: Case, account: Account, healthy: Outcome, outcome: Outcome) -> None:
    """Healthy runs in the same process end in the same state as a run without any fault."""
    if case.function == "send_test_messages":
        again = account.invoke(case.function, dict(case.event), at=_minute(1), warm=True)
        assert _waits_more(again.state, outcome.state) == _waits_more(healthy.state, case.before(account))
        return
    if _recovered(case, healthy, outcome):
        return
    # Lambda retries what an alarm has started; an operator gives the command again.
    if (case.by_alarm and outcome.failure) or case.by_operator:
        outcome = account.invoke(case.function, dict(case.event), at=NOON + RETRY_AFTER, warm=True)
        assert outcome.failure is None
        if _recovered(case, healthy, outcome):
            return
    for run in range(1, LATER_RUNS + 1):
        outcome = case.later(account, run)
        assert outcome.failure is None, f"a healthy run fails: {outcome.failure}"
        if _recovered(case, healthy, outcome):
            return
    raise AssertionError(f"after {LATER_RUNS} healthy runs: {outcome.state} instead of {healthy.state}")


def affected(call: Call) -> set[str]:
    """The workloads that a call concerns; one that names no workload concerns all."""
    return set(call.workloads or WORKLOADS)


def _unknown(call: Call, fault: Fault, outcome: Outcome) -> bool:
    """Whether a reading is missing or invalid."""
    if not call.reads or not OF_ARRIVALS.isdisjoint(call.metrics):
        return False  # what arrives is no part of the proof that nothing waits
    if isinstance(fault, WrongAnswer):
        if fault.kind == EMPTY_PAGE:
            return call.operation not in EMPTY_IS_VALID
        return not OF_THE_PROOF.isdisjoint(fault.spoiling.path)
    return call not in outcome.made.responses


def _precedes_the_act(healthy: Outcome, call: Call, name: str) -> bool:
    return any(_precedes(healthy, call, act, name) for act in ACTIONS)


def _precedes(healthy: Outcome, call: Call, operation: str, name: str) -> bool:
    """Whether the call is made before this operation on the workload."""
    calls = healthy.made.calls
    later = calls[calls.index(call) + 1 :]
    return any(one.operation == operation and name in affected(one) for one in later)


def _recovered(case: Case, healthy: Outcome, outcome: Outcome) -> bool:
    published = all(outcome.points.values()) or not case.ticks
    published &= _counted(outcome) >= _counted(healthy)
    names = [case.about] if case.about else WORKLOADS
    # A tick that could not read what was learned has forgotten it, and the next round learns it again.
    state = outcome.state if case.retunes else replace(outcome.state, learned=healthy.state.learned)
    return published and all(_of(state, name) == _of(healthy.state, name) for name in names)


def _is_about_arrivals(call: Call, healthy: Outcome) -> bool:
    """Whether the tick makes this call to count arrivals, before it publishes."""
    if call.operation == "GetMetricData":
        return not OF_ARRIVALS.isdisjoint(call.metrics) and any(healthy.points.values())
    return call.operation in ("DescribePolicies", "DescribeScalingPolicies") and any(healthy.points.values())


def _counted(outcome: Outcome) -> set[str]:
    """Workloads whose tracked metric includes arrivals."""
    return {line["workload"] for line in outcome.lines if "arrivals_per_s" in line}


def _uncounted(outcome: Outcome) -> dict[str, str]:
    """Workload -> the logged reason why only the backlog is tracked."""
    return {line["workload"]: line["demand_unknown"] for line in outcome.lines if "demand_unknown" in line}


def _computed(outcome: Outcome) -> dict[str, tuple[object, ...]]:
    """Workload -> the readings in its log line behind its effective metric, or behind what is learned."""
    fields = ("arrivals_per_s", "processing_s", "target", "demand_unknown", "not_renewed")
    return {
        line["workload"]: tuple(line.get(field) for field in fields)
        for line in outcome.lines
        if "backlog_per_instance" in line or line.get("decision") == "learn"
    }


def _minute(later: int) -> datetime:
    return NOON + timedelta(minutes=later) + STARTED_AFTER


def _waits_more(after: State, before: State) -> Mapping[str, int]:
    return {name: after.waiting[name] - before.waiting[name] for name in WORKLOADS}


def _of(state: State, name: str) -> tuple[object, ...]:
    return (
        state.desired[name],
        state.targets[name],
        state.waiting[name],
        state.learned[name],
        state.minimum[name],
        state.ends[name],
        state.guarded[name],
        state.suspended[name],
        state.released[name],
    )


def _log_text(outcome: Outcome) -> str:
    lines = [str(line["message"]) for line in outcome.lines if "message" in line]
    return " / ".join([*lines, *([str(outcome.failure)] if outcome.failure else [])])


def _reasons(outcome: Outcome) -> list[tuple[object, ...]]:
    """The logged decisions: workload, kind, reason."""
    return sorted(
        tuple(str(line.get(field)) for field in ("workload", "decision", "reason", "outcome", "message"))
        for line in outcome.lines
        if "decision" in line
    )
