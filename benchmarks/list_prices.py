"""AWS's price list of us-east-1, 2026, and what a month of ticks costs by it; free tiers are left out.

The tables of docs/costs.md add up from these prices. A month of ticks leaves out the custom metrics, which
cost every approach the same.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTES = 730 * 60
"""Of a month, as AWS counts it."""
LAMBDA_PER_GB_S = 0.0000133334
"""Arm."""
LAMBDA_PER_REQUEST = 0.20e-6
PUT_METRIC_DATA = 0.01e-3
GET_METRIC_DATA_PER_METRIC = 0.01e-3
SQS_PER_REQUEST = 0.40e-6
CUSTOM_METRIC = 0.30
"""A month, for the hours in which it gets values."""
ALARM_METRIC = 0.10
"""A month, for each metric of an alarm: its expressions themselves cost nothing."""
HIGH_RESOLUTION_ALARM_METRIC = 0.30
"""The same with a period below a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """What all workloads of one minute took."""

    invocations: int
    billed_s: float
    memory_mb: int
    queue_reads: int
    puts: int
    metrics_read: int = 0


def month(minute: Minute) -> float:
    """Dollars."""
    compute = minute.billed_s * minute.memory_mb / 1024 * LAMBDA_PER_GB_S
    requests = minute.invocations * LAMBDA_PER_REQUEST + minute.queue_reads * SQS_PER_REQUEST
    metrics = minute.puts * PUT_METRIC_DATA + minute.metrics_read * GET_METRIC_DATA_PER_METRIC
    return MINUTES * (compute + requests + metrics)
