"""AWS's price list, in the shape that GetProducts answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from sluice.errors import ConfigError, SluiceError
from sluice_operator.aws.price_list import PRODUCTS, endpoint_region, read_prices
from sluice_operator.core.prices import Item
from sluice_operator.price_files import shipped

TODAY = date(2026, 11, 30)
KNOWN = replace(shipped(), ec2_hour={"c7g.large": 0.07, "g5.xlarge": 1.0})


def product(usage_type: str, *prices: tuple[str, str], currency: str = "USD") -> str:
    """A product with a price for each (beginRange, dollars); AWS answers each as a text of JSON."""
    dimensions = {
        f"SKU.TERM.{number}": {
            "unit": "Requests",
            "beginRange": begin,
            "endRange": "Inf",
            "description": "as AWS words it",
            "appliesTo": [],
            "rateCode": f"SKU.TERM.{number}",
            "pricePerUnit": {currency: usd},
        }
        for number, (begin, usd) in enumerate(prices)
    }
    return json.dumps(
        {
            "product": {
                "productFamily": "API Request",
                "attributes": {"regionCode": "eu-west-1", "usagetype": usage_type, "servicecode": "x"},
                "sku": "SKU",
            },
            "serviceCode": "x",
            "terms": {
                "OnDemand": {
                    "SKU.TERM": {
                        "priceDimensions": dimensions,
                        "sku": "SKU",
                        "effectiveDate": "2026-11-01T00:00:00Z",
                        "offerTermCode": "TERM",
                        "termAttributes": {},
                    }
                }
            },
            "version": "20261101000000",
            "publicationDate": "2026-11-01T00:00:00Z",
        }
    )


def price(item: Item) -> str:
    """A price for each item that no other has."""
    return f"{0.001 * (1 + list(Item).index(item)):.3f}"


class PriceList:
    """Answers for all services, a page each; tests change `pages`."""

    def __init__(self) -> None:
        self.pages: dict[str, list[list[str]]] = {}
        for item, each in PRODUCTS.items():
            pages = self.pages.setdefault(each.service, [[]])
            pages[0].append(product(f"EUW1-{each.usage_type}", ("0", price(item))))
        self.types: dict[str, list[str]] = {
            "c7g.large": [product("EU-BoxUsage:c7g.large", ("0", "0.0000"), ("0", "0.0775"))],
            "g5.xlarge": [],
        }

    def read(self, *more_types: str) -> Any:
        client = boto3.client("pricing", region_name="eu-central-1")
        with Stubber(client) as stub:
            for service, pages in self.pages.items():
                for number, page in enumerate(pages):
                    answer = {"FormatVersion": "aws_v1", "PriceList": page}
                    more = {"NextToken": f"{number + 1}"} if number + 1 < len(pages) else {}
                    stub.add_response("get_products", answer | more, request(service, number))
            for instance_type in sorted({*self.types, *more_types}):
                found = self.types.get(instance_type, [])
                stub.add_response(
                    "get_products",
                    {"FormatVersion": "aws_v1", "PriceList": found},
                    request("AmazonEC2", 0, instanceType=instance_type),
                )
            return read_prices(client, "eu-west-1", KNOWN, TODAY, more_types)


def request(service: str, page: int, **filters: str) -> dict[str, Any]:
    expected: dict[str, Any] = {"ServiceCode": service, "FormatVersion": "aws_v1", "Filters": ANY}
    if filters:
        wanted: Mapping[str, str] = {
            "operatingSystem": "Linux",
            "tenancy": "Shared",
            "preInstalledSw": "NA",
            "capacitystatus": "Used",
            "marketoption": "OnDemand",
            "regionCode": "eu-west-1",
            **filters,
        }
        expected["Filters"] = [
            {"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()
        ]
    return expected | ({"NextToken": f"{page}"} if page else {})


def test_every_item_gets_its_own_price_and_the_day_and_region_of_the_reading() -> None:
    prices = PriceList().read()
    assert (prices.region, prices.as_of) == ("eu-west-1", TODAY)
    assert {item: f"{prices.of(item):.3f}" for item in PRODUCTS} == {item: price(item) for item in PRODUCTS}
    assert prices.of(Item.DASHBOARD_MONTH) == shipped().of(Item.DASHBOARD_MONTH)


def test_types_are_read_again_with_those_asked_for_and_without_what_the_region_lacks() -> None:
    listed = PriceList()
    listed.types["x2gd.large"] = [product("EU-BoxUsage:x2gd.large", ("0", "0.2"))]
    assert listed.read("x2gd.large").ec2_hour == {"c7g.large": 0.0775, "x2gd.large": 0.2}


def test_similar_usage_types_free_tiers_and_other_currencies_are_passed_by() -> None:
    listed = PriceList()
    listed.pages["AWSQueueService"] = [
        [
            product("EUW1-Requests-FIFO-RBP", ("0", "0.5")),
            product("EUW1-Requests-RBP-Fair", ("0", "0.0000001")),
            product("EUW1-Requests-RBP", ("100000000000", "0.3"), ("1000000", "0.4"), ("0", "0.0")),
            product("Requests-RBP", ("0", "9"), currency="CNY"),
        ]
    ]
    prices = listed.read()
    assert (prices.of(Item.SQS_REQUEST), prices.of(Item.SQS_FIFO_REQUEST)) == (0.4, 0.5)


@pytest.mark.parametrize("prefix", ["", "EU-", "USE1-", "APN1-", "UGW1-"])
def test_usage_types_have_the_prefix_of_their_region_or_none(prefix: str) -> None:
    listed = PriceList()
    listed.pages["AWSEvents"] = [[product(f"{prefix}Event-64K-Chunks", ("0", "7"))]]
    assert listed.read().of(Item.EVENT) == 7


def test_all_pages_are_read() -> None:
    listed = PriceList()
    page = listed.pages["AWSLambda"][0]
    listed.pages["AWSLambda"] = [[each] for each in page]
    assert f"{listed.read().of(Item.LAMBDA_REQUEST):.3f}" == price(Item.LAMBDA_REQUEST)


def test_an_item_without_a_price_is_named() -> None:
    listed = PriceList()
    listed.pages["AWSEvents"] = [[product("EUW1-Event-8K-Chunks", ("0", "7"))]]
    listed.types = {}
    with pytest.raises(ConfigError, match="price list of eu-west-1 has no price for eventbridge event"):
        listed.read()


def test_a_refused_read_is_a_sentence() -> None:
    client = boto3.client("pricing", region_name="us-east-1")
    with Stubber(client) as stub:
        stub.add_client_error("get_products", "AccessDeniedException", "not authorized: pricing:GetProducts")
        with pytest.raises(SluiceError, match="GetProducts of AmazonECS: AWS answered AccessDeniedException"):
            read_prices(client, "us-east-1", KNOWN, TODAY)


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [
        ("us-east-1", "us-east-1"),
        ("eu-west-1", "eu-central-1"),
        ("ap-southeast-2", "ap-south-1"),
        ("sa-east-1", "us-east-1"),
    ],
)
def test_the_endpoint_is_the_nearest_of_the_few(region: str, endpoint: str) -> None:
    assert endpoint_region(region) == endpoint
    assert endpoint in boto3.Session().get_available_regions("pricing")
