"""The alarms that workload.yaml creates for a workload."""

from __future__ import annotations

from sluice.core.model import Workload

KINDS = ("bootstrap", "shutdown", "silent", "age")
"""The ends of their names."""
OPTIONAL_KINDS = (
    "depth-warning",
    "depth-critical",
    "age-warning",
    "age-critical",
    "processing-time",
    "dead-letters",
    "at-maximum",
    "missing-instances",
    "throughput",
    "promise",
)
"""Those of the alarms that a parameter turns on."""


def alarm_name(workload: Workload, kind: str) -> str:
    """The name as in workload.yaml; unique in an account and region."""
    return f"sluice-{workload.name}-{kind}"


def alarm_names(workload: Workload) -> tuple[str, ...]:
    """Those that every workload has."""
    return tuple(alarm_name(workload, kind) for kind in KINDS)


def optional_alarm_names(workload: Workload) -> tuple[str, ...]:
    """Those that it may have."""
    return tuple(alarm_name(workload, kind) for kind in OPTIONAL_KINDS)
