"""What every step of one tick works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sluice.core.model import Observation, Workload
from sluice.ports import Ports, RemainingS, Report

NO_TIME_LEFT = "no time left in this tick; the next one looks again"

Workloads = Mapping[str, Workload]
"""Workload name -> workload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TickContext:
    """One tick, or one shard of a tick: its workloads as observed at its start, and the ports to act through.

    `workloads` and `observed` hold the same names. `minute` is the scheduled minute, never the clock's.
    """

    minute: datetime
    workloads: Workloads
    observed: Mapping[str, Observation]
    ports: Ports
    report: Report
    remaining_s: RemainingS
    """Seconds left for reading in this invocation."""
