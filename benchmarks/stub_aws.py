"""An AWS stub over HTTP for benchmarks of the tick and of `sluice status`: one latency for every request.

It has the workloads' documents, queues and fleets, keeps the data points put, the messages sent and the items
written on condition, counts what AWS bills by size, and rejects requests beyond AWS's size limits. It is no
AWS otherwise: its workloads never change.

Longer than 300 lines because each AWS operation that a tick calls has its answer here.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "layers/sluice")]

from benchmarks import serving  # noqa: E402
from benchmarks.list_prices import SQS_BILLED_BYTES  # noqa: E402
from benchmarks.serving import Answer, Counts, Request  # noqa: E402
from sluice.core.model import MSG_PROCESSING_DURATION, MSG_WAIT_DURATION  # noqa: E402
from tests.support.builders import (  # noqa: E402
    deadline_section,
    document,
    ecs_document,
    tracking_section,
)

LATENCY_S = 0.01
"""Seconds from a request to its answer, in every benchmark of the tick."""
PREFIX = "/sluice/workloads"
CLUSTER = "workers"
INSTANCES = 2
"""Instances of each fleet that is not at zero."""
PROCESSING_S, PROCESSED = 5.0, 40
"""How long each message takes, as the workers publish it, and how many they publish a minute."""
WAITED = {"SampleCount": PROCESSED, "p99.5": 200.0}
"""How long they waited; the promise is kept."""
KIBIBYTE, MEBIBYTE = 2**10, 2**20
WRITE_UNIT_BYTES, READ_UNIT_BYTES = KIBIBYTE, 4 * KIBIBYTE
"""DynamoDB's units of a write, and of a consistent read (documented)."""
JSON, XML = b"application/x-amz-json-1.1", b"text/xml"
GROUP_XML = (
    "<member><AutoScalingGroupName>{name}</AutoScalingGroupName>"
    "<AutoScalingGroupARN>arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:"
    "0c3e1a6e-7b1f-4c55-9a57-9f0d3f1c2b4a:autoScalingGroupName/{name}</AutoScalingGroupARN>"
    "<LaunchTemplate><LaunchTemplateId>lt-0123456789abcdef0</LaunchTemplateId>"
    "<LaunchTemplateName>{name}</LaunchTemplateName><Version>3</Version></LaunchTemplate>"
    "<MinSize>0</MinSize><MaxSize>5</MaxSize><DesiredCapacity>{desired}</DesiredCapacity>"
    "<DefaultCooldown>300</DefaultCooldown><AvailabilityZones><member>eu-west-1a</member>"
    "<member>eu-west-1b</member></AvailabilityZones><LoadBalancerNames/><TargetGroupARNs/>"
    "<HealthCheckType>EC2</HealthCheckType><HealthCheckGracePeriod>0</HealthCheckGracePeriod>"
    "<Instances>{instances}</Instances><CreatedTime>2026-01-15T12:00:00.000Z</CreatedTime>"
    "<SuspendedProcesses/><VPCZoneIdentifier>subnet-0a,subnet-0b</VPCZoneIdentifier><EnabledMetrics>"
    "<member><Metric>GroupDesiredCapacity</Metric><Granularity>1Minute</Granularity></member>"
    "<member><Metric>GroupInServiceInstances</Metric><Granularity>1Minute</Granularity></member>"
    "</EnabledMetrics><Tags><member><Key>sluice</Key><Value>{name}</Value><ResourceId>{name}</ResourceId>"
    "<ResourceType>auto-scaling-group</ResourceType><PropagateAtLaunch>true</PropagateAtLaunch></member>"
    "</Tags><TerminationPolicies><member>Default</member></TerminationPolicies>"
    "<NewInstancesProtectedFromScaleIn>false</NewInstancesProtectedFromScaleIn>"
    "<TrafficSources/></member>"
)
INSTANCE_XML = (
    "<member><InstanceId>i-0123456789abcdef0</InstanceId><InstanceType>c7g.large</InstanceType>"
    "<AvailabilityZone>eu-west-1a</AvailabilityZone><LifecycleState>InService</LifecycleState>"
    "<HealthStatus>Healthy</HealthStatus><LaunchTemplate><LaunchTemplateId>lt-0123456789abcdef0"
    "</LaunchTemplateId><LaunchTemplateName>{name}</LaunchTemplateName><Version>3</Version></LaunchTemplate>"
    "<ProtectedFromScaleIn>false</ProtectedFromScaleIn></member>"
)


def name_of(number: int) -> str:
    """The name of a workload, its queue and its fleet."""
    return f"workload-{number:05}"


def on_ecs(number: int) -> bool:
    """Whether the workload runs on ECS: four in ten do, the others are Auto Scaling groups."""
    return number % 10 >= 6


def is_at_zero(number: int) -> bool:
    """One in ten has an empty queue and a fleet at zero."""
    return number // 10 % 10 == 0


def is_idle(number: int) -> bool:
    """One in a hundred has an empty queue that is not yet proven empty, so its fleet still runs."""
    return number // 10 % 100 == 1


def registered(number: int, *, scaling: str) -> str:
    """The workload's document; its idle period is longer than any benchmark."""
    name = name_of(number)
    shown = ecs_document(name) if on_ecs(number) else document(name)
    if scaling == "deadline":
        tracking = tracking_section(processing_s=PROCESSING_S)
        shown |= {"scaling": deadline_section(), "tracking": tracking, "policy_arn": ""}
    return json.dumps(shown | {"idle_minutes": 120}, separators=(",", ":"))


@dataclass(slots=True, kw_only=True)
class BilledCounts(Counts):
    """The requests so far, and what AWS bills of them by size."""

    send_units: int = 0
    """SQS requests of 64 KiB each."""
    metrics_read: int = 0
    read_units: int = 0
    write_units: int = 0
    largest_item_bytes: int = 0


class AwsError(Exception):
    """The request is one that AWS answers with an error."""

    code = "ValidationError"


class ConditionFailedError(AwsError):
    """The item's condition is not met."""

    code = "ConditionalCheckFailedException"


class Aws:
    """Answers every request of a tick, and of an operator who reads all workloads."""

    def __init__(self, workloads: int, scaling: str, waiting: int) -> None:
        self.counts = BilledCounts()
        self._waiting = waiting
        self._documents = [registered(number, scaling=scaling) for number in range(workloads)]
        self._items: dict[str, Mapping[str, Any]] = {}
        self._points: dict[str, dict[str, list[float]]] = defaultdict(dict)
        """Fleet -> minute -> sum and count of the values put."""
        self._sent: dict[str, list[str]] = defaultdict(list)
        """Queue -> the bodies of its messages."""

    def answer(self, request: Request) -> Answer:
        """Serve a request: Auto Scaling uses forms and XML, the other services JSON."""
        try:
            parameters = _read(request)
            operation = _operation(request, parameters)
            self.counts.add(operation)
            done = self.OPERATIONS[operation](self, parameters)
        except AwsError as error:
            if not isinstance(error, ConditionFailedError):
                click.echo(f"the stub of AWS rejects {error}", err=True)
            return _error_answer(error, as_json=b"x-amz-target" in request.headers)
        return _to_answer(done)

    def record(self, path: str) -> object:
        """/points: the data points; /states: the states' ticks; /sent/QUEUE: messages since the last call."""
        if path == "/points":
            return self._points
        if path == "/states":
            return {name: int(item["tick"]["N"]) / 10 for name, item in self._items.items() if "tick" in item}
        return self._sent.pop(path.removeprefix("/sent/"), [])

    def _parameters(self, parameters: Mapping[str, Any]) -> object:
        page_size = parameters.get("MaxResults", 10)
        _require_at_most(page_size, 10, "parameters a page")
        first = int(parameters.get("NextToken", 0))
        page = range(first, min(first + page_size, len(self._documents)))
        following = {"NextToken": str(page.stop)} if page.stop < len(self._documents) else {}
        return {"Parameters": [self._parameter_of(number) for number in page], **following}

    def _parameter(self, parameters: Mapping[str, Any]) -> object:
        return {"Parameter": self._parameter_of(_number_of(parameters["Name"]))}

    def _parameter_of(self, number: int) -> dict[str, Any]:
        return {
            "Name": f"{PREFIX}/{name_of(number)}",
            "Type": "String",
            "Value": self._documents[number],
            "Version": 1,
            "LastModifiedDate": 1768478400.0,
            "ARN": f"arn:aws:ssm:eu-west-1:123456789012:parameter{PREFIX}/{name_of(number)}",
            "DataType": "text",
        }

    def _attributes(self, parameters: Mapping[str, Any]) -> object:
        number = _number_of(parameters["QueueUrl"])
        counts = {
            "ApproximateNumberOfMessages": str(_visible(number) + self._waiting),
            "ApproximateNumberOfMessagesNotVisible": str(_in_flight(number)),
            "ApproximateNumberOfMessagesDelayed": "0",
        }
        return {"Attributes": {name: counts[name] for name in parameters["AttributeNames"]}}

    def _send(self, parameters: Mapping[str, Any]) -> object:
        entries = parameters["Entries"]
        _require_at_most(len(entries), 10, "messages a batch")
        size_bytes = sum(len(entry["MessageBody"].encode()) for entry in entries)
        _require_at_most(size_bytes, MEBIBYTE, "bytes a batch")
        self.counts.send_units += math.ceil(size_bytes / SQS_BILLED_BYTES)
        queue = parameters["QueueUrl"].rpartition("/")[2]
        self._sent[queue] += [entry["MessageBody"] for entry in entries]
        done = [{"Id": entry["Id"], "MessageId": entry["Id"], "MD5OfMessageBody": ""} for entry in entries]
        return {"Successful": done, "Failed": []}

    def _groups(self, parameters: Mapping[str, str]) -> str:
        _require_at_most(int(parameters.get("MaxRecords", 50)), 100, "groups a page")
        names = [
            value for key, value in parameters.items() if key.startswith("AutoScalingGroupNames.member.")
        ]
        _require_at_most(len(names), int(parameters.get("MaxRecords", 50)), "groups on one page")
        members = "".join(_group(number) for number in map(_number_of, names) if not on_ecs(number))
        return (
            '<DescribeAutoScalingGroupsResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">'
            f"<DescribeAutoScalingGroupsResult><AutoScalingGroups>{members}</AutoScalingGroups>"
            "</DescribeAutoScalingGroupsResult><ResponseMetadata><RequestId>0</RequestId></ResponseMetadata>"
            "</DescribeAutoScalingGroupsResponse>"
        )

    def _set_capacity(self, parameters: Mapping[str, str]) -> str:
        _number_of(parameters["AutoScalingGroupName"])
        return (
            '<SetDesiredCapacityResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">'
            "<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></SetDesiredCapacityResponse>"
        )

    def _update_service(self, parameters: Mapping[str, Any]) -> object:
        return {"service": _service(_number_of(parameters["service"]))}

    def _services(self, parameters: Mapping[str, Any]) -> object:
        _require_at_most(len(parameters["services"]), 10, "services a call")
        return {"services": [_service(_number_of(name)) for name in parameters["services"]], "failures": []}

    def _targets(self, parameters: Mapping[str, Any]) -> object:
        _require_at_most(len(parameters["ResourceIds"]), 50, "scalable targets a call")
        return {"ScalableTargets": [_target(resource) for resource in parameters["ResourceIds"]]}

    def _put(self, parameters: Mapping[str, Any]) -> object:
        data = parameters["MetricData"]
        _require_at_most(len(data), 1000, "metrics a call")
        for datum in data:
            _require_at_most(len(datum["Dimensions"]), 30, "dimensions of a metric")
            minutes = self._points[_fleet(datum["Dimensions"])]
            total = minutes.setdefault(_minute(datum["Timestamp"]), [0.0, 0])
            total[0] += datum["Value"]
            total[1] += 1
        return {}

    def _history(self, parameters: Mapping[str, Any]) -> object:
        queries = parameters["MetricDataQueries"]
        _require_at_most(len(queries), 500, "queries a call")
        self.counts.metrics_read += len(queries)
        start, end = _minute(parameters["StartTime"]), _minute(parameters["EndTime"])
        return {"MetricDataResults": [self._series(query, start, end) for query in queries]}

    def _series(self, query: Mapping[str, Any], start: str, end: str) -> object:
        metric = query["MetricStat"]["Metric"]
        if metric["MetricName"] == MSG_PROCESSING_DURATION:
            values = {start: PROCESSED if query["MetricStat"]["Stat"] == "SampleCount" else PROCESSING_S}
        elif metric["MetricName"] == MSG_WAIT_DURATION:
            values = {start: WAITED.get(query["MetricStat"]["Stat"], 100.0)}
        else:
            minutes = self._points[_fleet(metric["Dimensions"])]
            known = sorted(minute for minute in minutes if start <= minute < end)
            values = {minute: minutes[minute][0] / minutes[minute][1] for minute in known}
        return {
            "Id": query["Id"],
            "Label": metric["MetricName"],
            "Timestamps": [datetime.fromisoformat(f"{minute}Z").timestamp() for minute in values],
            "Values": list(values.values()),
            "StatusCode": "Complete",
        }

    def _items_of(self, parameters: Mapping[str, Any]) -> object:
        [(table, request)] = parameters["RequestItems"].items()
        _require_at_most(len(request["Keys"]), 100, "keys a call")
        items = [self._items.get(key["workload"]["S"]) for key in request["Keys"]]
        self.counts.read_units += sum(units(item_bytes(item or {}), READ_UNIT_BYTES) for item in items)
        return {"Responses": {table: [item for item in items if item]}, "UnprocessedKeys": {}}

    def _update_item(self, parameters: Mapping[str, Any]) -> object:
        key, values = parameters["Key"], parameters["ExpressionAttributeValues"]
        stored = self._items.get(key["workload"]["S"])
        item = {**key, **(stored or {}), **_assigned(parameters)}
        size_bytes = max(item_bytes(item), item_bytes(stored or {}))
        self.counts.write_units += units(size_bytes, WRITE_UNIT_BYTES)
        self.counts.largest_item_bytes = max(self.counts.largest_item_bytes, size_bytes)
        tick = (stored or {}).get("tick")
        if ":replaced" in values:
            is_met = tick == values[":replaced"]
        elif ":tick" in values:
            is_met = tick is None or int(tick["N"]) < int(values[":tick"]["N"])
        else:
            is_met = True
        if not is_met:
            raise ConditionFailedError("the conditional request failed")
        self._items[key["workload"]["S"]] = item
        return {}

    def _stacks(self, parameters: Mapping[str, str]) -> str:
        outputs = {"RegistryPrefix": PREFIX, "MetricNamespace": "Sluice", "EngineStateTable": "states"}
        members = "".join(
            f"<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>"
            for key, value in outputs.items()
        )
        return (
            '<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">'
            f"<DescribeStacksResult><Stacks><member><StackName>{parameters['StackName']}</StackName>"
            "<StackId>arn:aws:cloudformation:eu-west-1:123456789012:stack/sluice/1</StackId>"
            "<CreationTime>2026-01-15T12:00:00.000Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus>"
            f"<Outputs>{members}</Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
        )

    def _policies_of_groups(self, parameters: Mapping[str, str]) -> str:
        names = [value for key, value in parameters.items() if key.startswith("PolicyNames.member.")]
        _require_at_most(len(names), 50, "policies a call")
        return (
            '<DescribePoliciesResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">'
            "<DescribePoliciesResult><ScalingPolicies/></DescribePoliciesResult></DescribePoliciesResponse>"
        )

    def _policies_of_services(self, parameters: Mapping[str, Any]) -> object:
        _require_at_most(len(parameters["PolicyNames"]), 50, "policies a call")
        return {"ScalingPolicies": []}

    def _start_query(self, _: Mapping[str, Any]) -> object:
        return {"queryId": "12ab3456-12ab-123a-789e-1234567890ab"}

    def _query_results(self, _: Mapping[str, Any]) -> object:
        said = {"at": "1768478400000", "said": "bootstrap 0 -> 2: work waits", "ended": "acted"}
        rows = [{"workload": name_of(number), **said} for number in range(len(self._documents))]
        results = [[{"field": key, "value": value} for key, value in row.items()] for row in rows]
        return {"status": "Complete", "results": results}

    OPERATIONS: ClassVar[Mapping[str, Callable[[Aws, Any], Any]]] = {
        "GetParametersByPath": _parameters,
        "GetParameter": _parameter,
        "GetQueueAttributes": _attributes,
        "SendMessageBatch": _send,
        "DescribeAutoScalingGroups": _groups,
        "DescribeServices": _services,
        "DescribeScalableTargets": _targets,
        "PutMetricData": _put,
        "GetMetricData": _history,
        "SetDesiredCapacity": _set_capacity,
        "UpdateService": _update_service,
        "BatchGetItem": _items_of,
        "UpdateItem": _update_item,
        "DescribeStacks": _stacks,
        "DescribePolicies": _policies_of_groups,
        "DescribeScalingPolicies": _policies_of_services,
        "StartQuery": _start_query,
        "GetQueryResults": _query_results,
    }


def _assigned(update: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that an UpdateExpression of SET assigns."""
    names, values = update["ExpressionAttributeNames"], update["ExpressionAttributeValues"]
    assignments = update["UpdateExpression"].removeprefix("SET ").split(", ")
    pairs = [assignment.split(" = ") for assignment in assignments]
    return {names.get(name, name): values[value] for name, value in pairs}


def units(size_bytes: int, unit_bytes: int) -> int:
    """The units that DynamoDB bills for an item of this size: at least one."""
    return max(1, math.ceil(size_bytes / unit_bytes))


def item_bytes(item: Mapping[str, Mapping[str, Any]]) -> int:
    """An item's size as DynamoDB bills it: every name and value; two digits of a number take a byte."""
    return sum(len(name.encode()) + _value_bytes(*next(iter(value.items()))) for name, value in item.items())


def _value_bytes(kind: str, value: str | bytes) -> int:
    if isinstance(value, bytes):
        return len(value)
    if kind == "N":
        return math.ceil(len(value) / 2) + 1
    return len(base64.b64decode(value)) if kind == "B" else len(value.encode())


def _require_at_most(count: int, maximum: int, what: str) -> None:
    if count > maximum:
        raise AwsError(f"{count} {what}: AWS takes {maximum} at most")


def _number_of(name: str) -> int:
    found = re.search(r"workload-(\d{5})$", name)
    if found is None:
        raise AwsError(f"there is no {name}")
    return int(found[1])


def backlog_per_instance(number: int) -> float:
    """The value that is to be published for a workload, in every minute."""
    return (_visible(number) + _in_flight(number)) / max(_desired(number), 1)


def _visible(number: int) -> int:
    return 0 if is_at_zero(number) or is_idle(number) else 10 + number % 90


def _in_flight(number: int) -> int:
    return _desired(number) if _visible(number) else 0


def _desired(number: int) -> int:
    return 0 if is_at_zero(number) else INSTANCES


def _group(number: int) -> str:
    name, desired = name_of(number), _desired(number)
    return GROUP_XML.format(name=name, desired=desired, instances=INSTANCE_XML.format(name=name) * desired)


def _service(number: int) -> dict[str, Any]:
    arn, name, desired = "arn:aws:ecs:eu-west-1:123456789012", name_of(number), _desired(number)
    counts = {"desiredCount": desired, "runningCount": desired, "pendingCount": 0}
    task = {"taskDefinition": f"{arn}:task-definition/{name}:3", "launchType": "FARGATE"}
    deployment = {"id": "ecs-svc/0123456789012345678", "status": "PRIMARY", "rolloutState": "COMPLETED"}
    return {
        "serviceArn": f"{arn}:service/{CLUSTER}/{name}",
        "serviceName": name,
        "clusterArn": f"{arn}:cluster/{CLUSTER}",
        "status": "ACTIVE",
        **counts,
        **task,
        "deploymentConfiguration": {"maximumPercent": 200, "minimumHealthyPercent": 100},
        "deployments": [
            {**deployment, **counts, **task, "createdAt": 1768478400.0, "updatedAt": 1768478400.0}
        ],
        "events": [
            {
                "id": "0c3e1a6e-7b1f-4c55-9a57-9f0d3f1c2b4a",
                "createdAt": 1768478400.0 + number,
                "message": f"(service {name}) has reached a steady state.",
            }
            for number in range(100)
        ],
        "createdAt": 1768478400.0,
        "schedulingStrategy": "REPLICA",
    }


def _target(resource: str) -> dict[str, Any]:
    return {
        "ServiceNamespace": "ecs",
        "ResourceId": resource,
        "ScalableDimension": "ecs:service:DesiredCount",
        "MinCapacity": 0,
        "MaxCapacity": 5,
        "RoleARN": "arn:aws:iam::123456789012:role/AWSServiceRoleForApplicationAutoScaling_ECSService",
        "CreationTime": 1768478400.0,
        "SuspendedState": {
            "DynamicScalingInSuspended": False,
            "DynamicScalingOutSuspended": False,
            "ScheduledScalingSuspended": False,
        },
    }


def _fleet(dimensions: Sequence[Mapping[str, str]]) -> str:
    return str(dimensions[-1]["Value"])


def _minute(epoch_s: float) -> str:
    return f"{datetime.fromtimestamp(epoch_s, UTC):%Y-%m-%dT%H:%M}"


def _read(request: Request) -> Any:
    body = request.body
    if request.headers.get(b"content-encoding") == b"gzip":
        _require_at_most(len(body), MEBIBYTE, "bytes of a request")
        body = gzip.decompress(body)
    return json.loads(body) if b"x-amz-target" in request.headers else dict(parse_qsl(body.decode()))


def _operation(request: Request, parameters: Mapping[str, Any]) -> str:
    target = request.headers.get(b"x-amz-target")
    return target.decode().rpartition(".")[2] if target else str(parameters["Action"])


def _to_answer(done: object, *, status: int = 200) -> Answer:
    if isinstance(done, str):
        return Answer(body=done.encode(), content_type=XML, status=status)
    return Answer(body=json.dumps(done).encode(), content_type=JSON, status=status)


def _error_answer(failure: AwsError, *, as_json: bool) -> Answer:
    if as_json:
        return _to_answer({"__type": failure.code, "message": str(failure)}, status=400)
    error = f"<Error><Code>{failure.code}</Code><Message>{failure}</Message></Error>"
    return _to_answer(f"<ErrorResponse>{error}</ErrorResponse>", status=400)


class Stub:
    """A running stub, seen from another process."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def counts(self) -> BilledCounts:
        """Request counts so far; the most concurrent requests since the last call."""
        return BilledCounts(**serving.read_record(self.endpoint))

    def points(self) -> dict[str, dict[str, tuple[float, int]]]:
        """Fleet -> minute -> sum and count of the values put."""
        return serving.read_record(self.endpoint, "/points")  # type: ignore[no-any-return]

    def states(self) -> dict[str, float]:
        """Workload -> the moment of the tick that stored its state, in seconds since the epoch."""
        return serving.read_record(self.endpoint, "/states")  # type: ignore[no-any-return]

    def sent(self, queue: str) -> list[str]:
        """The messages sent to this queue since the last call."""
        return serving.read_record(self.endpoint, f"/sent/{queue}")  # type: ignore[no-any-return]


@contextmanager
def stub(
    *, workloads: int, latency_s: float, scaling: str = "target_tracking", waiting: int = 0
) -> Iterator[Stub]:
    """A stub in a separate process, which ends with the context."""
    options = ["--workloads", str(workloads), "--latency-s", str(latency_s)]
    options += ["--scaling", scaling, "--waiting", str(waiting)]
    with serving.started(Path(__file__).resolve(), options) as endpoint:
        yield Stub(endpoint)


@click.command()
@click.option("--workloads", default=1000, show_default=True, help="Registered.")
@click.option(
    "--scaling",
    type=click.Choice(["target_tracking", "deadline"]),
    default="target_tracking",
    show_default=True,
    help="What decides the fleets' sizes.",
)
@click.option("--waiting", default=0, show_default=True, help="Further messages that wait in each queue.")
@click.option("--latency-s", default=0.01, show_default=True, help="Seconds from a request to its answer.")
@click.option("--port", default=0, help="0 takes a free one, which is printed.")
def main(workloads: int, scaling: str, waiting: int, latency_s: float, port: int) -> None:
    """Serve until killed."""
    serving.serve(Aws(workloads, scaling, waiting), latency_s, port)


if __name__ == "__main__":
    main()
