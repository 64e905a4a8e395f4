"""A table of list prices: one region, one date, dollars. Whatever shows a sum shows both beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

HOURS_A_MONTH = 730
"""AWS's own: 365 x 24 / 12."""


class Item(StrEnum):
    """What is billed; each value is its name in a price file."""

    FARGATE_ARM64_VCPU_HOUR = "fargate arm64 vCPU hour"
    FARGATE_ARM64_GB_HOUR = "fargate arm64 GB hour"
    FARGATE_X86_64_VCPU_HOUR = "fargate x86_64 vCPU hour"
    FARGATE_X86_64_GB_HOUR = "fargate x86_64 GB hour"
    LAMBDA_ARM64_GB_S = "lambda arm64 GB second"
    LAMBDA_X86_64_GB_S = "lambda x86_64 GB second"
    LAMBDA_REQUEST = "lambda request"
    SQS_REQUEST = "sqs request"
    """Each 64 KiB of its messages."""
    SQS_FIFO_REQUEST = "sqs fifo request"
    CUSTOM_METRIC_MONTH = "cloudwatch custom metric month"
    """In proportion to the hours in which it receives values."""
    ALARM_METRIC_MONTH = "cloudwatch alarm metric month"
    """Each metric of an alarm; its metric math is free."""
    HIGH_RESOLUTION_ALARM_METRIC_MONTH = "cloudwatch high-resolution alarm metric month"
    """The same, with a period below a minute."""
    DASHBOARD_MONTH = "cloudwatch dashboard month"
    PUT_METRIC_DATA = "cloudwatch put metric data"
    METRIC_READ = "cloudwatch metric read"
    """By GetMetricData."""
    LOGS_GB = "cloudwatch logs GB"
    """Ingested."""
    LOGS_INSIGHTS_GB = "cloudwatch logs insights GB"
    """Scanned by a query."""
    DYNAMODB_WRITE_UNIT = "dynamodb write unit"
    """On demand; an item of up to 1 KB."""
    DYNAMODB_READ_UNIT = "dynamodb read unit"
    """On demand; a consistent read of an item of up to 4 KB."""
    EVENT = "eventbridge event"
    """A custom event of up to 64 KB; its delivery within the account is free."""
    SCHEDULER_INVOCATION = "eventbridge scheduler invocation"


class PriceError(ValueError):
    """A price file, or a price, that cannot be used; the message says why, and what helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The prices of a region on a day, in dollars."""

    region: str
    as_of: date
    usd: Mapping[Item, float]
    ec2_hour: Mapping[str, float]
    """Linux on demand, by instance type."""

    def of(self, item: Item) -> float:
        """Dollars for one."""
        return self.usd[item]

    def __str__(self) -> str:
        return f"list prices of {self.region}, {self.as_of}"


def parse(text: str, *, what: str) -> Prices:
    """The prices of a file; PriceError names the file, the place and the value."""
    try:
        read = json.loads(text)
        region, as_of = str(read["region"]), date.fromisoformat(read["as_of"])
        usd, ec2 = dict(read["usd"]), dict(read["ec2"])
    except (ValueError, KeyError, TypeError) as error:
        raise PriceError(
            f"{what}: not a price file: it needs region, as_of (YYYY-MM-DD), usd and ec2; "
            "`sluice plan --refresh-prices` writes one"
        ) from error
    if missing := [item for item in Item if item not in usd]:
        raise PriceError(f"{what}: usd lacks {', '.join(missing)}; `sluice plan --refresh-prices` reads all")
    for name, price in [*usd.items(), *ec2.items()]:
        if not isinstance(price, (int, float)) or not math.isfinite(price) or price < 0:
            raise PriceError(f"{what}: {name}: {price!r} is not a price: give dollars, 0 or more")
    return Prices(
        region=region,
        as_of=as_of,
        usd={item: float(usd[item]) for item in Item},
        ec2_hour={name: float(price) for name, price in ec2.items()},
    )


def written(prices: Prices) -> str:
    """The text of a price file that `parse` reads."""
    content = {
        "region": prices.region,
        "as_of": prices.as_of.isoformat(),
        "usd": {item.value: prices.usd[item] for item in Item},
        "ec2": dict(prices.ec2_hour),
    }
    return json.dumps(content, indent=2) + "\n"


def alarm_periods_s(alarm: Mapping[str, Any]) -> list[int]:
    """The period of each metric that an alarm of a template is billed for."""
    metrics = [query["MetricStat"] for query in alarm.get("Metrics", ()) if "MetricStat" in query]
    return [int(metric["Period"]) for metric in metrics or [alarm]]


def month_of_alarm(alarm: Mapping[str, Any], prices: Prices) -> float:
    """Dollars a month for an alarm of a template."""
    return sum(
        prices.of(Item.ALARM_METRIC_MONTH if period_s >= 60 else Item.HIGH_RESOLUTION_ALARM_METRIC_MONTH)
        for period_s in alarm_periods_s(alarm)
    )


def month_of_policy(policy: Mapping[str, Any], prices: Prices) -> float:
    """Dollars a month for the alarms of a target-tracking policy: AlarmHigh, and AlarmLow if it scales in."""
    for tracking in _trackings(policy):
        metrics = tracking["CustomizedMetricSpecification"].get("Metrics", [{"MetricStat": {}}])
        alarms = 1 if tracking.get("DisableScaleIn") else 2
        return alarms * sum("MetricStat" in query for query in metrics) * prices.of(Item.ALARM_METRIC_MONTH)
    return 0.0


def _trackings(policy: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (value for key, value in policy.items() if key.startswith("TargetTracking"))
