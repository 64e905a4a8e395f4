"""Whether the metrics that scaling reads arrive."""

from __future__ import annotations

from datetime import datetime

from sluice.core.model import Unknown
from sluice_operator.core.checks.facts import Facts
from sluice_operator.core.checks.finding import Check, Finding, failed, passed, unknown
from sluice_operator.core.conditions import PUBLISHED_WITHIN

FIX = (
    "look for ObservationFailed and PublishFailed in the log of publish_backlog, and whether "
    "its schedule is enabled"
)


def published(facts: Facts, now: datetime) -> Finding:
    """BacklogPerInstance was published within the last three minutes."""
    check, newest = Check.BACKLOG_PUBLISHED, facts.backlog_per_instance
    if isinstance(newest, Unknown):
        return unknown(check, newest.reason)
    if newest is None:
        return failed(check, "CloudWatch has no BacklogPerInstance of the last ten minutes", FIX)
    found = f"the newest BacklogPerInstance is {newest.value:.4g} of {newest.at:%H:%M} UTC"
    return passed(check, found) if now - newest.at <= PUBLISHED_WITHIN else failed(check, found, FIX)
