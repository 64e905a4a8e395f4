"""Whether the metrics arrive that scaling reads, and those of the workers."""

from __future__ import annotations

import math

from sluice.core.model import (
    BACKLOG_PER_INSTANCE,
    EFFECTIVE_BACKLOG_PER_INSTANCE,
    MSG_PROCESSING_DURATION,
    MSG_WAIT_DURATION,
    DynamicTarget,
    Workload,
)
from sluice_operator.core.checks.facts import Facts
from sluice_operator.core.checks.finding import Check, Finding, failed, passed, warned
from sluice_operator.core.checks.judging import judges, known
from sluice_operator.core.conditions import PUBLISHED_WITHIN

FIX = (
    "see no-failure-logged; otherwise look for ObservationFailed and PublishFailed in the log of "
    "publish_backlog, and whether its schedule is enabled"
)


def published_name(workload: Workload) -> str:
    """The metric that is published for the fleet, and that its policy or the proof of emptiness reads."""
    return EFFECTIVE_BACKLOG_PER_INSTANCE if workload.publishes_effective else BACKLOG_PER_INSTANCE


@judges(Check.BACKLOG_PUBLISHED)
def published(check: Check, facts: Facts) -> Finding:
    """The fleet's metric was published within the last three minutes."""
    name, newest = published_name(facts.workload), known(facts.published)
    if newest is None:
        return failed(check, f"CloudWatch has no {name} of the last ten minutes", FIX)
    found = f"the newest {name} is {newest.value:.4g} of {newest.at:%H:%M} UTC"
    is_fresh = facts.now - newest.at <= PUBLISHED_WITHIN
    return passed(check, found) if is_fresh else failed(check, found, FIX)


@judges(Check.DURATIONS_PUBLISHED)
def durations(check: Check, facts: Facts) -> Finding:
    """The workers publish how long messages take, under exactly the fleet's dimensions."""
    workload, longest_s = facts.workload, known(facts.longest_processing_s)
    if longest_s is not None:
        return passed(check, f"the workers publish {MSG_PROCESSING_DURATION}: at most {longest_s:.4g} s")
    deleted = math.fsum(known(facts.deleted).values())
    if not deleted:
        return passed(check, f"no {MSG_PROCESSING_DURATION} in the last day, and no message was processed")
    metric = workload.duration_metric
    found = f"{deleted:,.0f} messages were processed in the last hour, and CloudWatch has no {metric}"
    fix = (
        f"let the workers publish {MSG_PROCESSING_DURATION} in seconds, in the namespace {metric.namespace} "
        f"with exactly the dimensions {dict(metric.dimensions)}, as sluice_worker does"
    )
    needs_it = isinstance(workload.target, DynamicTarget) or workload.deadline is not None
    return failed(check, found, fix) if needs_it else warned(check, found, fix)


@judges(Check.WAITS_PUBLISHED)
def waits(check: Check, facts: Facts) -> Finding:
    """The workers publish how long messages waited, if the deadline engine learns from it."""
    count = known(facts.waits)
    if count:
        return passed(check, f"the workers published {count:,.0f} {MSG_WAIT_DURATION} in the last day")
    if facts.workload.deadline is None:
        return passed(check, f"the workers publish no {MSG_WAIT_DURATION}, and target tracking needs none")
    if not math.fsum(known(facts.deleted).values()):
        return passed(check, f"no {MSG_WAIT_DURATION} in the last day, and no message was processed")
    return failed(
        check,
        f"the workers publish no {MSG_WAIT_DURATION}: the deadline engine cannot learn its margin",
        "start the workers with --publish-wait",
    )
