"""AWS's list prices, by GetProducts of the Price List API.

Its endpoints are in few regions and have the prices of all. A product has a usage type, whose prefix is
the region's own (`EU-`, `USE1-`, or none), and on-demand terms with a price for each range of the amount;
the first range that costs anything is used, so free tiers are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sluice.aws.errors import aws_errors
from sluice.errors import ConfigError
from sluice_operator.core.prices import Item, Prices

ENDPOINT_REGIONS = {"eu": "eu-central-1", "ap": "ap-south-1"}
"""By the beginning of a region's name; us-east-1 for all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Product:
    service: str
    usage_type: str
    """Without the region's prefix."""


PRODUCTS: Mapping[Item, _Product] = {
    Item.FARGATE_ARM64_VCPU_HOUR: _Product(service="AmazonECS", usage_type="Fargate-ARM-vCPU-Hours:perCPU"),
    Item.FARGATE_ARM64_GB_HOUR: _Product(service="AmazonECS", usage_type="Fargate-ARM-GB-Hours"),
    Item.FARGATE_X86_64_VCPU_HOUR: _Product(service="AmazonECS", usage_type="Fargate-vCPU-Hours:perCPU"),
    Item.FARGATE_X86_64_GB_HOUR: _Product(service="AmazonECS", usage_type="Fargate-GB-Hours"),
    Item.LAMBDA_ARM64_GB_S: _Product(service="AWSLambda", usage_type="Lambda-GB-Second-ARM"),
    Item.LAMBDA_X86_64_GB_S: _Product(service="AWSLambda", usage_type="Lambda-GB-Second"),
    Item.LAMBDA_REQUEST: _Product(service="AWSLambda", usage_type="Request"),
    Item.SQS_REQUEST: _Product(service="AWSQueueService", usage_type="Requests-RBP"),
    Item.SQS_FIFO_REQUEST: _Product(service="AWSQueueService", usage_type="Requests-FIFO-RBP"),
    Item.CUSTOM_METRIC_MONTH: _Product(service="AmazonCloudWatch", usage_type="CW:MetricMonitorUsage"),
    Item.ALARM_METRIC_MONTH: _Product(service="AmazonCloudWatch", usage_type="CW:AlarmMonitorUsage"),
    Item.HIGH_RESOLUTION_ALARM_METRIC_MONTH: _Product(
        service="AmazonCloudWatch", usage_type="CW:HighResAlarmMonitorUsage"
    ),
    Item.PUT_METRIC_DATA: _Product(service="AmazonCloudWatch", usage_type="CW:Requests"),
    Item.METRIC_READ: _Product(service="AmazonCloudWatch", usage_type="CW:GMD-Metrics"),
    Item.LOGS_GB: _Product(service="AmazonCloudWatch", usage_type="DataProcessing-Bytes"),
    Item.LOGS_INSIGHTS_GB: _Product(service="AmazonCloudWatch", usage_type="DataScanned-Bytes"),
    Item.DYNAMODB_WRITE_UNIT: _Product(service="AmazonDynamoDB", usage_type="WriteRequestUnits"),
    Item.DYNAMODB_READ_UNIT: _Product(service="AmazonDynamoDB", usage_type="ReadRequestUnits"),
    Item.EVENT: _Product(service="AWSEvents", usage_type="Event-64K-Chunks"),
}
"""What of the table has a regional product; dashboards and EventBridge Scheduler keep the shipped price."""
EC2_FILTERS = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}


def endpoint_region(region: str) -> str:
    """The region of the nearest endpoint."""
    return ENDPOINT_REGIONS.get(region.partition("-")[0], "us-east-1")


def read_prices(
    client: Any,
    region: str,
    known: Prices,
    today: date,
    more_types: Iterable[str] = (),
    *,
    on_step: Callable[[str], None] = lambda _: None,
) -> Prices:
    """The prices of a region today: every item, and the instance types that `known` has, and more.

    `client` is of the `endpoint_region`. Types that the region does not sell are left out. ConfigError
    names an item without a price; failures of AWS are SluiceErrors.
    """
    usd = {item: known.usd[item] for item in Item if item not in PRODUCTS}
    for service in dict.fromkeys(product.service for product in PRODUCTS.values()):
        on_step(f"prices of {service}")
        wanted = {item: each.usage_type for item, each in PRODUCTS.items() if each.service == service}
        usd |= _by_usage_type(_products(client, service, {"regionCode": region}), wanted)
    if missing := [item for item in Item if item not in usd]:
        raise ConfigError(
            f"AWS's price list of {region} has no price for {', '.join(missing)}: give another --region"
        )
    ec2 = {}
    for instance_type in sorted({*known.ec2_hour, *more_types}):
        on_step(f"price of {instance_type}")
        filters = EC2_FILTERS | {"regionCode": region, "instanceType": instance_type}
        prices = [*map(_first_price, _products(client, "AmazonEC2", filters))]
        if found := [price for price in prices if price]:
            ec2[instance_type] = min(found)
    return Prices(region=region, as_of=today, usd=usd, ec2_hour=ec2)


def _products(client: Any, service: str, filters: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
    """Every product of a service that matches, page by page."""
    request: dict[str, Any] = {
        "ServiceCode": service,
        "FormatVersion": "aws_v1",
        "Filters": [
            {"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in filters.items()
        ],
    }
    while True:
        with aws_errors(f"GetProducts of {service}"):
            page = client.get_products(**request)
        yield from (json.loads(product) for product in page.get("PriceList", ()))
        if not page.get("NextToken"):
            return
        request["NextToken"] = page["NextToken"]


def _by_usage_type(products: Iterable[Mapping[str, Any]], wanted: Mapping[Item, str]) -> dict[Item, float]:
    found: dict[Item, float] = {}
    for product in products:
        usage_type = product.get("product", {}).get("attributes", {}).get("usagetype", "")
        for item, expected in wanted.items():
            price = _first_price(product) if _is(usage_type, expected) else 0.0
            if price:
                found[item] = min(price, found.get(item, price))
    return found


def _is(usage_type: str, expected: str) -> bool:
    """Whether it is this usage type with any region's prefix: letters and a digit, and a hyphen."""
    return re.fullmatch(rf"(?:[A-Z]{{2,4}}[0-9]?-)?{re.escape(expected)}", usage_type) is not None


def _first_price(product: Mapping[str, Any]) -> float:
    """Dollars for one unit, of the first range that is not free; 0 without such a price."""
    terms: Sequence[Mapping[str, Any]] = [*product.get("terms", {}).get("OnDemand", {}).values()]
    ranges = [each for term in terms for each in term.get("priceDimensions", {}).values()]
    priced = [
        (float(each.get("beginRange", 0)), float(each["pricePerUnit"]["USD"]))
        for each in ranges
        if "USD" in each.get("pricePerUnit", {})
    ]
    return next((usd for _, usd in sorted(priced) if usd > 0), 0.0)
