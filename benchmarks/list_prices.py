"""What a month of ticks costs by AWS's price list, us-east-1, 2026; free tiers and discounts left out.

Owns the prices, which are list prices as published, and the month. The custom metrics themselves cost every
approach the same and are left out.
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
