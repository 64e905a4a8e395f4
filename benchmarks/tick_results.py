"""What the tick benchmark measures, for its tables and its plot."""

from __future__ import annotations

from dataclasses import dataclass

PER_WORKLOAD_CALLS = 3
"""AWS calls of a function that serves a single workload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One measured size: this many workloads in one invocation."""

    workloads: int
    readers: int
    cpu_share: float
    """Share of a core; 1 is all that one Python process can use."""
    calls: float
    """AWS calls per workload, warm."""
    cold_calls: float
    """AWS calls per workload in the first invocation, which reads the registry."""
    wall_s: float
    cpu_s: float
    cold_s: float
    """The first invocation: imports, clients, the registry and the tick."""
    floor_s: float
    """The same calls by plain boto3 clients."""
    floor_cpu_s: float
    slim_s: float
    """The same calls by clients that are configured like the function's."""
    peak_mb: float

    @property
    def of_floor(self) -> float:
        """The tick's time as a multiple of the plain clients'."""
        return self.wall_s / self.floor_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PerWorkload:
    """A function per workload, warm."""

    memory_mb: int
    cpu_share: float
    billed_s: float
    """Mean billed time of an invocation, each rounded up to whole milliseconds."""
