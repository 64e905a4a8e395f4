"""Whether the workload's document is served."""

from __future__ import annotations

from sluice.core.model import Workload
from sluice_operator.core.checks.finding import Check, Finding, failed, passed


def valid(workload: Workload) -> Finding:
    """The document of this workload is served."""
    return passed(Check.REGISTRATION_VALID, f"the document is served: mode {workload.mode}")


def refused(reason: str) -> Finding:
    """The document is refused; nothing else of the workload can be checked."""
    return failed(
        Check.REGISTRATION_VALID, reason, "correct the parameters of the workload's stack and update it"
    )
