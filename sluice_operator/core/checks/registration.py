"""Whether the workload's document is served, and whether decisions act."""

from __future__ import annotations

from shlex import quote

from sluice.core.model import Mode
from sluice_operator.core.checks.facts import Facts
from sluice_operator.core.checks.finding import Check, Finding, failed, passed, warned
from sluice_operator.core.checks.judging import judges


@judges(Check.REGISTRATION_VALID)
def valid(check: Check, facts: Facts) -> Finding:
    """The document of this workload is served, and no other names its fleet."""
    workload = facts.workload
    return passed(check, f"the document is served, and no other workload names {workload.fleet}")


OF_ANOTHER_RELEASE = "but this control plane, release "
"""In the sentences of `sluice.document.versions`."""


def refused(reason: str) -> Finding:
    """The document is refused; nothing else of the workload can be checked."""
    way_out = "correct the parameters of the workload's stack and update it"
    if OF_ANOTHER_RELEASE in reason:
        way_out = "docs/operations.md, Upgrading, has the order of the stacks"
    return failed(Check.REGISTRATION_VALID, reason, way_out)


@judges(Check.MODE_ACTIVE)
def mode(check: Check, facts: Facts) -> Finding:
    """Decisions act, and the stack has a scaling policy."""
    workload = facts.workload
    if workload.mode is Mode.ACTIVE:
        return passed(check, "mode active: decisions act")
    consequence = (
        "decisions are logged, and none acts" if workload.mode is Mode.OBSERVE else "nothing decides"
    )
    return warned(
        check,
        f"mode {workload.mode}: {consequence}, and there is no scaling policy",
        f"sam deploy --config-env {quote(workload.name)} --parameter-overrides Mode=active",
    )
