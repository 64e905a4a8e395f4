"""Whether the downstream guard can watch what its workload names, and whether it holds scale-out now."""

from __future__ import annotations

from sluice.core.model import GuardSettings, Unknown
from sluice_operator.core.checks.facts import Facts
from sluice_operator.core.checks.finding import Check, Finding, failed, passed, warned
from sluice_operator.core.checks.judging import judges, known


@judges(Check.DOWNSTREAM_GUARD)
def downstream(check: Check, facts: Facts) -> Finding:
    """The guard has its function and its signals, and does not hold; or the workload has none."""
    settings = facts.workload.guard
    if settings is None:
        return passed(check, "it has no downstream guard")
    if not facts.has_guard_function:
        return failed(
            check,
            "its document has a downstream guard, and the control plane has no function that watches it",
            "sam deploy the control plane with --parameter-overrides DownstreamGuard=true",
        )
    held = known(facts.guard)
    if held is not None:
        return warned(
            check, str(held), "mend what the messages need: docs/operations.md, The downstream fails"
        )
    return _signals(check, facts, settings)


def _signals(check: Check, facts: Facts, settings: GuardSettings) -> Finding:
    if isinstance(facts.guard_alarm, Unknown):
        return failed(
            check,
            f"{facts.guard_alarm.reason}, so the guard never sees it",
            "create the alarm, or change GuardAlarmName of the workload's stack",
        )
    queue = known(facts.queue)
    redriven = queue.dead_letter_queue_arn if queue else None
    watched = settings.dead_letter_queue
    if watched and (redriven is None or redriven.rsplit(":", 1)[-1] != watched):
        actual = redriven.rsplit(":", 1)[-1] if redriven else "none"
        return failed(
            check,
            f"the guard watches {watched}, and the queue's redrive policy names {actual}",
            "set DeadLetterQueueName to the queue's dead-letter queue, or give the queue one",
        )
    if settings.failed_percent is not None and known(facts.ended_messages) == 0:
        return warned(
            check,
            "the workers published no MsgProcessingDuration by Outcome in the last day: no failure is seen",
            "normal if no message ended; else publish it as docs/worker.md says",
        )
    return passed(check, "the downstream guard watches, and does not hold")
