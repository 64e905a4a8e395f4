"""The monthly cost of ticks and alarms by the list prices that ship with Sluice; free tiers are left out.

The tables of docs/costs.md and docs/scale.md are computed from these prices (`sluice_operator/prices.json`).
A month of ticks excludes the custom metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sluice_operator.core import prices
from sluice_operator.core.prices import HOURS_A_MONTH, Item, alarm_periods_s
from sluice_operator.price_files import shipped

__all__ = ["alarm_periods_s"]

PRICES = shipped()
MINUTES = HOURS_A_MONTH * 60
"""Minutes per month."""
LAMBDA_PER_GB_S = PRICES.of(Item.LAMBDA_ARM64_GB_S)
LAMBDA_PER_REQUEST = PRICES.of(Item.LAMBDA_REQUEST)
PUT_METRIC_DATA = PRICES.of(Item.PUT_METRIC_DATA)
GET_METRIC_DATA_PER_METRIC = PRICES.of(Item.METRIC_READ)
SQS_PER_REQUEST = PRICES.of(Item.SQS_REQUEST)
SQS_BILLED_BYTES = 64 * 1024
"""Each 64 KiB of a request's messages are billed as one request."""
LAMBDA_POLLERS, LONG_POLLS_A_MINUTE = 5, 3
"""Lambda keeps five long polls of 20 s at an event source's queue (documented)."""
DYNAMODB_PER_WRITE_UNIT = PRICES.of(Item.DYNAMODB_WRITE_UNIT)
DYNAMODB_PER_READ_UNIT = PRICES.of(Item.DYNAMODB_READ_UNIT)
CUSTOM_EVENT = PRICES.of(Item.EVENT)
LOGS_INSIGHTS_PER_GB = PRICES.of(Item.LOGS_INSIGHTS_GB)
CUSTOM_METRIC = PRICES.of(Item.CUSTOM_METRIC_MONTH)
ALARM_METRIC = PRICES.of(Item.ALARM_METRIC_MONTH)
DASHBOARD = PRICES.of(Item.DASHBOARD_MONTH)


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


def month_of_alarm(alarm: Mapping[str, Any]) -> float:
    """Dollars per month for an alarm of a template."""
    return prices.month_of_alarm(alarm, PRICES)
