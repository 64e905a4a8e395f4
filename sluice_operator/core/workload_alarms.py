"""The alarms that workload.yaml creates for a workload."""

from __future__ import annotations

from sluice.core.model import Workload

KINDS = ("bootstrap", "shutdown", "silent", "age")
"""The ends of their names."""


def alarm_name(workload: Workload, kind: str) -> str:
    """The name as in workload.yaml; unique in an account and region."""
    return f"sluice-{workload.name}-{kind}"


def alarm_names(workload: Workload) -> tuple[str, ...]:
    """All of them."""
    return tuple(alarm_name(workload, kind) for kind in KINDS)
