"""AWS's list prices of us-east-1 in 2026, and the monthly cost of ticks and alarms; free tiers are left out.

The tables of docs/costs.md and docs/scale.md are computed from these prices. A month of ticks excludes the
custom metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MINUTES = 730 * 60
"""Minutes per month, by AWS's 730 hours."""
LAMBDA_PER_GB_S = 0.0000133334
"""On Arm."""
LAMBDA_PER_REQUEST = 0.20e-6
PUT_METRIC_DATA = 0.01e-3
GET_METRIC_DATA_PER_METRIC = 0.01e-3
SQS_PER_REQUEST = 0.40e-6
SQS_BILLED_BYTES = 64 * 1024
"""Each 64 KiB of a request's messages are billed as one request."""
LAMBDA_POLLERS, LONG_POLLS_A_MINUTE = 5, 3
"""Lambda keeps five long polls of 20 s at an event source's queue (documented)."""
DYNAMODB_PER_WRITE_UNIT = 0.625e-6
"""On demand; an item of up to 1 KB."""
DYNAMODB_PER_READ_UNIT = 0.125e-6
"""On demand; a consistent read of an item of up to 4 KB."""
CUSTOM_EVENT = 1.00e-6
"""On EventBridge, of up to 64 KB; its delivery within the account is free."""
LOGS_INSIGHTS_PER_GB = 0.005
"""Scanned by a query."""
CUSTOM_METRIC = 0.30
"""Per month, in proportion to the hours in which it receives values."""
ALARM_METRIC = 0.10
"""Per month and metric of an alarm; its metric math expressions are free."""
HIGH_RESOLUTION_ALARM_METRIC = 0.30
"""The same, with a period below a minute."""

DASHBOARD = 3.00
"""Per month and dashboard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """What is used in one minute."""

    invocations: float = 0
    billed_s: float = 0
    memory_mb: int = 0
    sqs_requests: float = 0
    puts: float = 0
    metrics_read: float = 0
    write_units: float = 0
    read_units: float = 0


def month(minute: Minute) -> float:
    """Dollars per month."""
    compute = minute.billed_s * minute.memory_mb / 1024 * LAMBDA_PER_GB_S
    requests = minute.invocations * LAMBDA_PER_REQUEST + minute.sqs_requests * SQS_PER_REQUEST
    metrics = minute.puts * PUT_METRIC_DATA + minute.metrics_read * GET_METRIC_DATA_PER_METRIC
    states = minute.write_units * DYNAMODB_PER_WRITE_UNIT + minute.read_units * DYNAMODB_PER_READ_UNIT
    return MINUTES * (compute + requests + metrics + states)


def month_of_polls() -> float:
    """Dollars per month for Lambda's polls of an empty queue."""
    return month(Minute(sqs_requests=LAMBDA_POLLERS * LONG_POLLS_A_MINUTE))


def alarm_periods_s(alarm: Mapping[str, Any]) -> list[int]:
    """The period of each metric that an alarm of a template is billed for."""
    metrics = [query["MetricStat"] for query in alarm.get("Metrics", ()) if "MetricStat" in query]
    return [int(metric["Period"]) for metric in metrics or [alarm]]


def month_of_alarm(alarm: Mapping[str, Any]) -> float:
    """Dollars per month for an alarm of a template."""
    return sum(
        ALARM_METRIC if period_s >= 60 else HIGH_RESOLUTION_ALARM_METRIC
        for period_s in alarm_periods_s(alarm)
    )
