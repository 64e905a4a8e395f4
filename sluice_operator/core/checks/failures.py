"""Whether the functions could do what they decided."""

from __future__ import annotations

from sluice_operator.core.checks.facts import Facts
from sluice_operator.core.checks.finding import Check, Finding, failed, passed
from sluice_operator.core.checks.judging import judges, known


@judges(Check.NO_FAILURE_LOGGED)
def none(check: Check, facts: Facts) -> Finding:
    """The functions have logged no failure of this workload in the last quarter of an hour."""
    failures = known(facts.failures)
    if not failures:
        return passed(check, "the functions logged no failure in the last quarter of an hour")
    return failed(
        check,
        "; ".join(failures),
        "AccessDenied: the tag (queue-tagged, fleet-tagged), or a permission that the function's role has "
        "lost (deploy the control plane again); docs/operations.md explains each counter",
    )
