"""The checks of `sluice doctor`, a file a subject: facts of one workload -> findings, each with its fix."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sluice_operator.core.checks import metrics, policy, queue, registration
from sluice_operator.core.checks.facts import Facts
from sluice_operator.core.checks.finding import Finding


def findings(facts: Facts, now: datetime) -> Sequence[Finding]:
    """One finding for every check of a workload that is registered."""
    return (
        registration.valid(facts.workload),
        queue.exists(facts),
        queue.visibility_timeout(facts),
        queue.dead_letter_queue(facts),
        policy.enabled(facts),
        metrics.published(facts, now),
    )
