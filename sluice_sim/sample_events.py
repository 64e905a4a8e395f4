"""Sample events with which AWS would invoke the functions for one workload, with its names and ARNs.

The shapes are those of CloudWatch, EventBridge, CloudFormation, SQS and the schedules, with plausible values;
the files in events/ are generated from them. Everything follows from the arguments: the same time gives the
same event. Arguments are expected to be valid.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sluice.events import ALARM_CHANGE, STACK_CHANGE, Shard, shard_message

MINUTE = timedelta(minutes=1)
OK_MINUTES = 14
"""Minutes for which the alarm was OK before the datapoints that breach."""
COMPARISONS = {
    "GreaterThanThreshold": "greater than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}
MESSAGES_WAITING = 24.0
SINGLE_METRIC = "6f0c3a6e-0000-4000-8000-000000000000"
"""CloudWatch makes up an id for the query of an alarm on a single metric."""
MESSAGES_LEFT = 3.0


def schedule(at: datetime) -> dict[str, Any]:
    """The input of the schedules of `publish_backlog` and `retune_target`: the scheduled minute."""
    return {"scheduled_time": f"{_minute(at):%Y-%m-%dT%H:%M:%SZ}"}


def load(workload: str, at: datetime, *, messages: int, duration_s: float) -> dict[str, Any]:
    """The input of the schedule of `send_test_messages`."""
    return {**schedule(at), "workload": workload, "messages": messages, "duration_s": duration_s}


def surge(workload: str, by: str, *, to: int) -> dict[str, Any]:
    """What `sluice surge --to` invokes the surge function with."""
    return {"workload": workload, "by": by, "hold_s": 3600, "to": to}


def switch(workload: str, by: str, *, to: str, machine: str) -> dict[str, Any]:
    """What the state machine asks the switch function for first; `machine` begins its executions' ARNs."""
    return {
        "step": "begin",
        "workload": workload,
        "to": to,
        "by": by,
        "execution": f"{machine}:0d5a2c1e-0000-4000-8000-000000000001",
        "ready_minutes": "30",
        "drain_minutes": "60",
    }


def stack_status(stack_id: str, at: datetime) -> dict[str, Any]:
    """CloudFormation's event that a workload's stack was updated."""
    detail = {
        "stack-id": stack_id,
        "status-details": {"status": "UPDATE_COMPLETE", "status-reason": ""},
        "client-request-token": "",
    }
    return _envelope("aws.cloudformation", STACK_CHANGE, stack_id, at, detail)


def alarm(arn: str, properties: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """The event of a Lambda alarm action on ALARM; `properties` are the alarm's in the resolved stack."""
    _, _, _, region, account, _ = arn.split(":", 5)
    return {
        "source": "aws.cloudwatch",
        "alarmArn": arn,
        "accountId": account,
        "time": _cloudwatch_time(at),
        "region": region,
        "alarmData": _alarm_data(arn, properties, at),
    }


def alarm_state_change(arn: str, properties: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """The same state change as an EventBridge event."""
    return _envelope("aws.cloudwatch", ALARM_CHANGE, arn, at, _alarm_data(arn, properties, at))


def shard(documents: Mapping[str, str], at: datetime, *, region: str, account: str) -> dict[str, Any]:
    """A tick's shard as SQS delivers it to `publish_backlog`; `documents` are texts by workload name."""
    return _delivery(
        documents, _minute(at), at, f"arn:aws:sqs:{region}:{account}:sluice-ShardQueue-1A2B3C4D5E6F"
    )


def deadline_tick(documents: Mapping[str, str], at: datetime, *, region: str, account: str) -> dict[str, Any]:
    """A tick below a minute as SQS delivers it to `deadline_tick`; `documents` are texts by workload name.

    Its moment is a whole number of ten seconds. It was sent at the full minute.
    """
    moment = at.replace(second=at.second // 10 * 10, microsecond=0)
    queue_arn = f"arn:aws:sqs:{region}:{account}:sluice-TickQueue-1A2B3C4D5E6F"
    return _delivery(documents, moment, _minute(at), queue_arn)


def _delivery(
    documents: Mapping[str, str], scheduled: datetime, sent: datetime, queue_arn: str
) -> dict[str, Any]:
    """A slice of the registry, sent by `publish_backlog` and received from this queue."""
    body = shard_message(Shard(scheduled=scheduled, documents=dict(sorted(documents.items()))))
    sent_ms, received_ms = (round(max(sent, each).timestamp() * 1000) for each in (sent, scheduled))
    record = {
        "messageId": _unique(body),
        "receiptHandle": "AQEBexamplereceipthandle",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": str(sent_ms),
            "SenderId": "AROAEXAMPLE:sluice-PublishBacklogFunction",
            "ApproximateFirstReceiveTimestamp": str(received_ms + 25),
        },
        "messageAttributes": {},
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }
    return {"Records": [record]}


def _envelope(
    source: str, detail_type: str, arn: str, at: datetime, detail: Mapping[str, Any]
) -> dict[str, Any]:
    _, _, _, region, account, _ = arn.split(":", 5)
    return {
        "version": "0",
        "id": _unique(f"{arn} {at.isoformat()}"),
        "detail-type": detail_type,
        "source": source,
        "account": account,
        "time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "region": region,
        "resources": [arn],
        "detail": dict(detail),
    }


def _alarm_data(arn: str, properties: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    periods = int(properties["EvaluationPeriods"])
    breaching, within = _values(properties)
    newest = _minute(at) - MINUTE
    before = at - MINUTE * (OK_MINUTES + max(periods, 5))
    return {
        "alarmName": arn.partition(":alarm:")[2],
        "state": _state(properties, "ALARM", [breaching] * periods, newest, at),
        "previousState": _state(properties, "OK", [within], _minute(before) - MINUTE, before),
        "configuration": {
            "description": properties["AlarmDescription"],
            "metrics": [_metric(query) for query in _queries(properties)],
        },
    }


def _values(properties: Mapping[str, Any]) -> tuple[float, float]:
    """A value that breaches the alarm's threshold, and one that does not."""
    if properties["ComparisonOperator"] == "LessThanOrEqualToThreshold":
        return 0.0, MESSAGES_LEFT
    above = max(MESSAGES_WAITING, 2 * float(properties["Threshold"]))
    return (1.0 if _is_math(properties) else above), 0.0


def _is_math(properties: Mapping[str, Any]) -> bool:
    return any("Expression" in query for query in _queries(properties))


def _queries(properties: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The alarm's metric queries; one on a single metric is shown as one query."""
    if "Metrics" in properties:
        queries: Sequence[Mapping[str, Any]] = properties["Metrics"]
        return queries
    stat = {
        "Metric": {key: properties[key] for key in ("Namespace", "MetricName", "Dimensions")},
        "Period": properties["Period"],
        "Stat": properties["Statistic"],
    }
    return [{"Id": SINGLE_METRIC, "MetricStat": stat, "ReturnData": True}]


def _state(
    properties: Mapping[str, Any], state: str, values: Sequence[float], newest: datetime, at: datetime
) -> dict[str, Any]:
    """The state with CloudWatch's description of the datapoints that led to it, newest first."""
    moments = [newest - MINUTE * back for back in range(len(values))]
    threshold, count = float(properties["Threshold"]), len(values)
    shown = ", ".join(
        f"{value} ({moment:%d/%m/%y %H:%M:%S})" for value, moment in zip(values, moments, strict=True)
    )
    verb = ("was" if count == 1 else "were") + (" not" if state == "OK" else "")
    change = "ALARM -> OK" if state == "OK" else "OK -> ALARM"
    sampled = {} if _is_math(properties) else {"sampleCount": 1.0}
    statistic = {} if _is_math(properties) else {"statistic": _queries(properties)[0]["MetricStat"]["Stat"]}
    data = {
        "version": "1.0",
        "queryDate": _cloudwatch_time(at),
        "startDate": _cloudwatch_time(moments[-1]),
        **statistic,
        "period": 60,
        "recentDatapoints": list(values),
        "threshold": threshold,
        "evaluatedDatapoints": [
            {"timestamp": _cloudwatch_time(moment), **sampled, "value": value}
            for value, moment in zip(values, moments, strict=True)
        ],
    }
    return {
        "value": state,
        "reason": f"Threshold Crossed: {count} out of the last {properties['EvaluationPeriods']} datapoints "
        f"[{shown}] {verb} {COMPARISONS[properties['ComparisonOperator']]} the threshold ({threshold}) "
        f"(minimum {count} datapoint{'s' * (count > 1)} for {change} transition).",
        "reasonData": json.dumps(data, separators=(",", ":")),
        "timestamp": _cloudwatch_time(at),
    }


def _metric(query: Mapping[str, Any]) -> dict[str, Any]:
    """A metric query of the template, with the keys of an alarm's event."""
    entry = {key.lower(): query[key] for key in ("Id", "Expression", "Label") if key in query}
    if "MetricStat" in query:
        stat = query["MetricStat"]
        entry["metricStat"] = {
            "metric": {
                "namespace": stat["Metric"]["Namespace"],
                "name": stat["Metric"]["MetricName"],
                "dimensions": {pair["Name"]: pair["Value"] for pair in stat["Metric"]["Dimensions"]},
            },
            "period": stat["Period"],
            "stat": stat["Stat"],
        }
    return {**entry, "returnData": query["ReturnData"]}


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _cloudwatch_time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}+0000"


def _unique(about: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, about))
