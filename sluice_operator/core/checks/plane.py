"""Whether the control plane itself runs: its schedules, its functions, and the quotas that it shares."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from shlex import quote

from sluice.core.model import Unknown
from sluice_operator.core.checks.finding import Finding, PlaneCheck, failed, passed, warned
from sluice_operator.core.checks.judging import judges, known

TICK_WITHIN = timedelta(minutes=3)
"""A tick a minute, each up to a minute late, and the logs' own delay."""
NEAR = 0.8
"""Share of a quota from which it is near."""
SMALL_CONCURRENCY = 10
"""Invocations at once of a new account, which ticks in shards or below a minute may use up."""
STANDARD_PARAMETERS = 10_000
"""Standard parameters of an account and region, which AWS raises only for advanced ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One schedule of the stack; `state` is None if it was deleted."""

    name: str
    state: str | None
    is_trial: bool
    """Whether it sends test messages, which the template leaves to an operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocations:
    """What became of one function's invocations in the last hour."""

    started: float
    errors: float
    throttles: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """The account's invocations at once: the quota, and what is reserved for no function."""

    limit: int
    unreserved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureQueue:
    """The queue of the events that failed in every attempt."""

    url: str
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneFacts:
    """The control plane as it was read; functions by their names in AWS."""

    now: datetime
    schedules: Collection[Schedule | Unknown] | Unknown
    last_tick: datetime | Unknown | None
    """The newest log line of publish_backlog; None if it has logged nothing for an hour."""
    invocations: Mapping[str, Invocations | Unknown] | Unknown
    reserved: Mapping[str, int | Unknown | None] | Unknown
    """Reserved concurrency of each function; None if none is reserved."""
    concurrency: Concurrency | Unknown
    used_concurrency: float | Unknown
    """The most invocations at once of the whole account in the last hour."""
    failure_queue: FailureQueue | Unknown
    alarms: int | Unknown
    alarm_quota: float | Unknown
    standard_parameters: int | Unknown


@judges(PlaneCheck.SCHEDULES)
def schedules(check: PlaneCheck, facts: PlaneFacts) -> Finding:
    """The schedules of the ticks and the retunes are enabled, and that of the test messages is not."""
    found = [known(schedule) for schedule in known(facts.schedules)]
    off = [each for each in found if each.state != "ENABLED" and not each.is_trial]
    if off:
        names = ", ".join(f"{each.name} ({each.state or 'deleted'})" for each in off)
        return failed(
            check,
            f"not enabled: {names}; what these start does not run",
            "enable it in EventBridge Scheduler; deploy the control plane anew if it was deleted",
        )
    trials = [each.name for each in found if each.is_trial and each.state == "ENABLED"]
    if trials:
        return warned(
            check,
            f"{trials[0]} is enabled and sends test messages every minute",
            "disable it in EventBridge Scheduler once the trial is over",
        )
    return passed(check, f"{sum(not each.is_trial for each in found)} schedules are enabled")


@judges(PlaneCheck.TICKS)
def ticks(check: PlaneCheck, facts: PlaneFacts) -> Finding:
    """publish_backlog has logged something within three minutes."""
    last = known(facts.last_tick)
    fix = "look at plane-schedules, plane-errors and plane-throttles, then at the log of publish_backlog"
    if last is None:
        return failed(check, "publish_backlog has logged nothing for an hour", fix)
    found = f"publish_backlog has last run at {last:%H:%M:%S} UTC"
    return passed(check, found) if facts.now - last <= TICK_WITHIN else failed(check, found, fix)


@judges(PlaneCheck.ERRORS)
def errors(check: PlaneCheck, facts: PlaneFacts) -> Finding:
    """No invocation of the last hour failed."""
    counts = {name: known(each) for name, each in known(facts.invocations).items()}
    broken = {name: each for name, each in counts.items() if each.errors}
    if not broken:
        started = sum(each.started for each in counts.values())
        return passed(check, f"none of {started:,.0f} invocations of the last hour failed")
    found = ", ".join(
        f"{each.errors:,.0f} of {each.started:,.0f} of {name}" for name, each in sorted(broken.items())
    )
    judged = failed if any(each.errors >= each.started / 2 for each in broken.values()) else warned
    return judged(
        check,
        f"invocations of the last hour failed: {found}",
        "their logs name the error (`aws logs tail`, docs/operations.md)",
    )


@judges(PlaneCheck.THROTTLES)
def throttles(check: PlaneCheck, facts: PlaneFacts) -> Finding:
    """Lambda rejected no invocation of the last hour, and runs every function at all."""
    off = [name for name, reserved in known(facts.reserved).items() if known(reserved) == 0]
    if off:
        return failed(
            check,
            f"the reserved concurrency of {', '.join(sorted(off))} is 0: Lambda rejects every invocation",
            "; ".join(
                f"aws lambda delete-function-concurrency --function-name {quote(name)}"
                for name in sorted(off)
            ),
        )
    counts = {name: known(each).throttles for name, each in known(facts.invocations).items()}
    throttled = {name: count for name, count in counts.items() if count}
    if not throttled:
        return passed(check, "Lambda throttled no invocation in the last hour")
    found = ", ".join(f"{count:,.0f} of {name}" for name, count in sorted(throttled.items()))
    return warned(
        check,
        f"Lambda throttled invocations in the last hour: {found}",
        "raise the account's quota Concurrent executions, or the function's reserved concurrency",
    )


@judges(PlaneCheck.CONCURRENCY)
def concurrency(check: PlaneCheck, facts: PlaneFacts) -> Finding:
    """The account's quota of invocations at once leaves room."""
    quota, used = known(facts.concurrency), known(facts.used_concurrency)
    found = (
        f"at most {used:,.0f} invocations ran at once in the last hour; the account's quota is "
        f"{quota.limit:,}, and {quota.unreserved:,} are reserved for no function"
    )
    if used >= NEAR * quota.limit or quota.unreserved <= SMALL_CONCURRENCY:
        return warned(
            check, found, "ask Service Quotas for more Concurrent executions of Lambda: AWS's default is 1000"
        )
    return passed(check, found)


@judges(PlaneCheck.FAILURE_QUEUE)
def failure_queue(check: PlaneCheck, facts: PlaneFacts) -> Finding:
    """No event has failed in every attempt."""
    queue = known(facts.failure_queue)
    if not queue.events:
        return passed(check, "the failure queue is empty")
    return warned(
        check,
        f"{queue.events} event{'s' if queue.events > 1 else ''} failed in every attempt",
        f"aws sqs receive-message --queue-url {quote(queue.url)} shows one with its error; "
        "delete it once you understand it",
    )


@judges(PlaneCheck.ALARM_QUOTA)
def alarm_quota(check: PlaneCheck, facts: PlaneFacts) -> Finding:
    """CloudWatch takes the alarms of more workloads."""
    return _quota(
        check,
        known(facts.alarms),
        known(facts.alarm_quota),
        "CloudWatch alarms",
        "delete alarms, or ask Service Quotas for more alarms of CloudWatch",
    )


@judges(PlaneCheck.PARAMETER_QUOTA)
def parameter_quota(check: PlaneCheck, facts: PlaneFacts) -> Finding:
    """SSM takes the documents of more workloads."""
    return _quota(
        check,
        known(facts.standard_parameters),
        STANDARD_PARAMETERS,
        "standard parameters",
        "delete parameters that nobody reads: this quota cannot be raised",
    )


def _quota(check: PlaneCheck, used: int, quota: float, what: str, fix: str) -> Finding:
    found = f"the account has {used:,} of at most {quota:,.0f} {what}"
    if used >= quota:
        return failed(check, f"{found}: no workload can be added", fix)
    return warned(check, found, fix) if used >= NEAR * quota else passed(check, found)


CHECKS = (
    schedules,
    ticks,
    errors,
    throttles,
    concurrency,
    failure_queue,
    alarm_quota,
    parameter_quota,
)


def plane_findings(facts: PlaneFacts) -> tuple[Finding, ...]:
    """One finding for every check of the control plane."""
    return tuple(check(facts) for check in CHECKS)
