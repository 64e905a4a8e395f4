"""What the tick benchmark measures, for its tables and its plot."""

from __future__ import annotations

from dataclasses import dataclass

PER_WORKLOAD_CALLS = 3
"""AWS calls of a function that serves a single workload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """So many workloads in one invocation."""

    workloads: int
    readers: int
    cpu_share: float
    """Of a core; 1 is all that one process can use."""
    calls: float
    """A workload, warm."""
    cold_calls: float
    """A workload, with the registry unread."""
    wall_s: float
    cpu_s: float
    cold_s: float
    """The first invocation: imports, clients, the registry and the tick."""
    floor_s: float
    """The same calls by bare clients."""
    floor_cpu_s: float
    slim_s: float
    """The same calls by clients as the function makes them."""
    peak_mb: float

    @property
    def of_floor(self) -> float:
        """Time to that of the bare clients."""
        return self.wall_s / self.floor_s


@dataclass(frozen=True, slots=True, kw_only=True)
class PerWorkload:
    """A function for each workload, warm."""

    memory_mb: int
    cpu_share: float
    billed_s: float
    """Of one invocation, in whole milliseconds, on average."""
