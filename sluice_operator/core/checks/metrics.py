"""Whether the metrics that scaling reads arrive."""

from __future__ import annotations

from sluice_operator.core.checks.facts import Facts
from sluice_operator.core.checks.finding import Check, Finding, failed, passed
from sluice_operator.core.checks.judging import judges, known
from sluice_operator.core.conditions import PUBLISHED_WITHIN

FIX = (
    "look for ObservationFailed and PublishFailed in the log of publish_backlog, and whether "
    "its schedule is enabled"
)


@judges(Check.BACKLOG_PUBLISHED)
def published(check: Check, facts: Facts) -> Finding:
    """BacklogPerInstance was published within the last three minutes."""
    newest = known(facts.backlog_per_instance)
    if newest is None:
        return failed(check, "CloudWatch has no BacklogPerInstance of the last ten minutes", FIX)
    found = f"the newest BacklogPerInstance is {newest.value:.4g} of {newest.at:%H:%M} UTC"
    is_fresh = facts.now - newest.at <= PUBLISHED_WITHIN
    return passed(check, found) if is_fresh else failed(check, found, FIX)
