"""What Grafana's CloudWatch data source asks AWS for the panels of a dashboard, and how it asks.

After its documentation: the queries of a panel become one GetMetricData, each by its id, as a metric with
period and statistic or as an expression; a hidden query is an input and returns nothing.
"""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import boto3
from botocore.parsers import create_parser
from botocore.serialize import create_serializer


def panels(dashboard: Mapping[str, Any], values: Mapping[str, str]) -> list[dict[str, Any]]:
    """The panels with metrics, with these values of the variables."""
    text = re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], json.dumps(dashboard["panels"]))
    return [panel for panel in json.loads(text) if panel["targets"][0].get("queryMode") == "Metrics"]


def request(panel: Mapping[str, Any], start: datetime, end: datetime) -> dict[str, Any]:
    """The parameters of the GetMetricData for a panel."""
    return {
        "StartTime": start,
        "EndTime": end,
        "MetricDataQueries": [
            {"Id": target["id"], "ReturnData": not target["hide"], **_query(target)}
            for target in panel["targets"]
        ],
    }


def _query(target: Mapping[str, Any]) -> dict[str, Any]:
    period_s = int(target["period"])
    if target["expression"]:
        return {"Expression": target["expression"], "Period": period_s}
    dimensions = [{"Name": name, "Value": value} for name, value in target["dimensions"].items()]
    metric = {
        "Namespace": target["namespace"],
        "MetricName": target["metricName"],
        "Dimensions": dimensions,
    }
    return {"MetricStat": {"Metric": metric, "Period": period_s, "Stat": target["statistic"]}}


PROTOCOLS = ("query", "json")
"""Those that the embedded AWS knows. CloudWatch also has CBOR, which a later SDK of Grafana may choose."""


def ask(endpoint: str, parameters: Mapping[str, Any], protocol: str) -> dict[str, list[float]]:
    """Query id -> values."""
    operation = boto3.client("cloudwatch").meta.service_model.operation_model("GetMetricData")
    serialized = create_serializer(protocol).serialize_to_request(dict(parameters), operation)
    body = serialized["body"]
    scope = "Credential=testing/20260115/eu-west-1/monitoring/aws4_request"
    asked = urllib.request.Request(
        endpoint + serialized["url_path"],
        data=body if isinstance(body, bytes) else urllib.parse.urlencode(body).encode(),
        headers={
            **serialized["headers"],
            "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0",
        },
    )
    with urllib.request.urlopen(asked) as answer:
        response = {"status_code": answer.status, "headers": dict(answer.headers), "body": answer.read()}
    found = create_parser(protocol).parse(response, operation.output_shape)
    return {each["Id"]: list(each["Values"]) for each in found["MetricDataResults"]}
