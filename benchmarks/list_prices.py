"""AWS's list prices of us-east-1 in 2026, and the monthly cost of ticks; free tiers are left out.

The README's cost tables are computed from these prices. A month of ticks excludes the custom metrics, which
cost the same in every approach.
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTES = 730 * 60
"""Minutes per month, by AWS's 730 hours."""
LAMBDA_PER_GB_S = 0.0000133334
"""On Arm."""
LAMBDA_PER_REQUEST = 0.20e-6
PUT_METRIC_DATA = 0.01e-3
GET_METRIC_DATA_PER_METRIC = 0.01e-3
SQS_PER_REQUEST = 0.40e-6
CUSTOM_METRIC = 0.30
"""Per month, in proportion to the hours in which it receives values."""
ALARM_METRIC = 0.10
"""Per month and metric of an alarm; its metric math expressions are free."""
HIGH_RESOLUTION_ALARM_METRIC = 0.30
"""The same, with a period below a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """What all workloads together use in one minute."""

    invocations: int
    billed_s: float
    memory_mb: int
    queue_reads: int
    puts: int
    metrics_read: int = 0


def month(minute: Minute) -> float:
    """Dollars per month."""
    compute = minute.billed_s * minute.memory_mb / 1024 * LAMBDA_PER_GB_S
    requests = minute.invocations * LAMBDA_PER_REQUEST + minute.queue_reads * SQS_PER_REQUEST
    metrics = minute.puts * PUT_METRIC_DATA + minute.metrics_read * GET_METRIC_DATA_PER_METRIC
    return MINUTES * (compute + requests + metrics)
