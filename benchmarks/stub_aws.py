"""The AWS of a tick over HTTP for benchmarks: so many workloads, each request answered after the same time.

Owns the workloads' documents, queues and fleets, the data points it was given and the messages it was sent.
Refuses what AWS would refuse for its size, and to be an AWS otherwise: nothing in it ever changes.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl

import click

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "layers/sluice")]

from benchmarks import serving  # noqa: E402
from benchmarks.serving import Answer, Counts, Request  # noqa: E402
from tests.support.builders import (  # noqa: E402
    document,
    ecs_document,
)

LATENCY_S = 0.01
"""From a call to its answer, wherever a tick is measured."""
PREFIX = "/sluice/workloads"
CLUSTER = "workers"
INSTANCES = 2
"""Of each fleet that is awake."""
MEBIBYTE = 2**20
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
    """The workload's, its queue's and its fleet's name."""
    return f"workload-{number:05}"


def on_ecs(number: int) -> bool:
    """Four of ten are services of one cluster, the others Auto Scaling groups."""
    return number % 10 >= 6


def is_asleep(number: int) -> bool:
    """One of ten has an empty queue and a fleet of none."""
    return number // 10 % 10 == 0


def is_idle(number: int) -> bool:
    """One of a hundred has an empty queue and a fleet that still waits for the proof of it."""
    return number // 10 % 100 == 1


def registered(number: int) -> str:
    """The workload's document; nobody's proof is complete before a benchmark has ended."""
    name = name_of(number)
    shown = ecs_document(name) if on_ecs(number) else document(name)
    return json.dumps(shown | {"idle_minutes": 120}, separators=(",", ":"))


class RefusedError(Exception):
    """What AWS answers with an error."""


class Aws:
    """Everything that a tick asks."""

    def __init__(self, workloads: int) -> None:
        self.counts = Counts()
        self._documents = [registered(number) for number in range(workloads)]
        self._points: dict[str, dict[str, list[float]]] = defaultdict(dict)
        """Sum and count of the values of each fleet's name and minute."""
        self._sent: list[str] = []

    def answer(self, request: Request) -> Answer:
        """Do what was asked: Auto Scaling's clients ask in forms and read XML, the others' speak JSON."""
        try:
            asked = _read(request)
            operation = _operation(request, asked)
            self.counts.asked(operation)
            done = self.OPERATIONS[operation](self, asked)
        except RefusedError as refused:
            click.echo(f"the stub of AWS refuses {refused}", err=True)
            return _refusal(str(refused), in_json=b"x-amz-target" in request.headers)
        return _written(done)

    def told(self, path: str) -> object:
        """/points, or what was sent since /sent was asked."""
        if path == "/points":
            return self._points
        sent, self._sent = self._sent, []
        return sent

    def _parameters(self, asked: Mapping[str, Any]) -> object:
        most = asked.get("MaxResults", 10)
        _at_most(most, 10, "parameters a page")
        first = int(asked.get("NextToken", 0))
        page = range(first, min(first + most, len(self._documents)))
        following = {"NextToken": str(page.stop)} if page.stop < len(self._documents) else {}
        return {"Parameters": [self._parameter_of(number) for number in page], **following}

    def _parameter(self, asked: Mapping[str, Any]) -> object:
        return {"Parameter": self._parameter_of(_number_of(asked["Name"]))}

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

    def _attributes(self, asked: Mapping[str, Any]) -> object:
        number = _number_of(asked["QueueUrl"])
        held = {
            "ApproximateNumberOfMessages": str(_visible(number)),
            "ApproximateNumberOfMessagesNotVisible": "0",
            "ApproximateNumberOfMessagesDelayed": "0",
        }
        return {"Attributes": {name: held[name] for name in asked["AttributeNames"]}}

    def _send(self, asked: Mapping[str, Any]) -> object:
        entries = asked["Entries"]
        _at_most(len(entries), 10, "messages a batch")
        _at_most(sum(len(entry["MessageBody"].encode()) for entry in entries), MEBIBYTE, "bytes a batch")
        self._sent += [entry["MessageBody"] for entry in entries]
        done = [{"Id": entry["Id"], "MessageId": entry["Id"], "MD5OfMessageBody": ""} for entry in entries]
        return {"Successful": done, "Failed": []}

    def _groups(self, asked: Mapping[str, str]) -> str:
        _at_most(int(asked.get("MaxRecords", 50)), 100, "groups a page")
        names = [value for key, value in asked.items() if key.startswith("AutoScalingGroupNames.member.")]
        _at_most(len(names), int(asked.get("MaxRecords", 50)), "groups on one page")
        members = "".join(_group(number) for number in map(_number_of, names) if not on_ecs(number))
        return (
            '<DescribeAutoScalingGroupsResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/">'
            f"<DescribeAutoScalingGroupsResult><AutoScalingGroups>{members}</AutoScalingGroups>"
            "</DescribeAutoScalingGroupsResult><ResponseMetadata><RequestId>0</RequestId></ResponseMetadata>"
            "</DescribeAutoScalingGroupsResponse>"
        )

    def _services(self, asked: Mapping[str, Any]) -> object:
        _at_most(len(asked["services"]), 10, "services a call")
        return {"services": [_service(_number_of(name)) for name in asked["services"]], "failures": []}

    def _targets(self, asked: Mapping[str, Any]) -> object:
        _at_most(len(asked["ResourceIds"]), 50, "scalable targets a call")
        return {"ScalableTargets": [_target(resource) for resource in asked["ResourceIds"]]}

    def _put(self, asked: Mapping[str, Any]) -> object:
        data = asked["MetricData"]
        _at_most(len(data), 1000, "metrics a call")
        for datum in data:
            _at_most(len(datum["Dimensions"]), 30, "dimensions of a metric")
            minutes = self._points[_fleet(datum["Dimensions"])]
            kept = minutes.setdefault(_minute(datum["Timestamp"]), [0.0, 0])
            kept[0] += datum["Value"]
            kept[1] += 1
        return {}

    def _history(self, asked: Mapping[str, Any]) -> object:
        queries = asked["MetricDataQueries"]
        _at_most(len(queries), 500, "queries a call")
        start, end = _minute(asked["StartTime"]), _minute(asked["EndTime"])
        return {"MetricDataResults": [self._series(query, start, end) for query in queries]}

    def _series(self, query: Mapping[str, Any], start: str, end: str) -> object:
        metric = query["MetricStat"]["Metric"]
        minutes = self._points[_fleet(metric["Dimensions"])]
        known = sorted(minute for minute in minutes if start <= minute < end)
        return {
            "Id": query["Id"],
            "Label": metric["MetricName"],
            "Timestamps": [datetime.fromisoformat(f"{minute}Z").timestamp() for minute in known],
            "Values": [minutes[minute][0] / minutes[minute][1] for minute in known],
            "StatusCode": "Complete",
        }

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
    }


def _at_most(count: int, most: int, what: str) -> None:
    if count > most:
        raise RefusedError(f"{count} {what}: AWS takes {most} at most")


def _number_of(name: str) -> int:
    found = re.search(r"workload-(\d{5})$", name)
    if found is None:
        raise RefusedError(f"nothing is called {name}")
    return int(found[1])


def backlog_per_instance(number: int) -> float:
    """What is to be published of a workload, in every minute."""
    return _visible(number) / max(_desired(number), 1)


def _visible(number: int) -> int:
    return 0 if is_asleep(number) or is_idle(number) else 10 + number % 90


def _desired(number: int) -> int:
    return 0 if is_asleep(number) else INSTANCES


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
        _at_most(len(body), MEBIBYTE, "bytes of a request")
        body = gzip.decompress(body)
    return json.loads(body) if b"x-amz-target" in request.headers else dict(parse_qsl(body.decode()))


def _operation(request: Request, asked: Mapping[str, Any]) -> str:
    target = request.headers.get(b"x-amz-target")
    return target.decode().rpartition(".")[2] if target else str(asked["Action"])


def _written(done: object, *, status: int = 200) -> Answer:
    if isinstance(done, str):
        return Answer(body=done.encode(), content_type=XML, status=status)
    return Answer(body=json.dumps(done).encode(), content_type=JSON, status=status)


def _refusal(why: str, *, in_json: bool) -> Answer:
    code = "ValidationError"
    if in_json:
        return _written({"__type": code, "message": why}, status=400)
    error = f"<Error><Code>{code}</Code><Message>{why}</Message></Error>"
    return _written(f"<ErrorResponse>{error}</ErrorResponse>", status=400)


class Stub:
    """A running stub, seen from another process."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def counts(self) -> Counts:
        """What it counted so far; the most at once since the last time it was asked."""
        return Counts(**serving.tell(self.endpoint))

    def points(self) -> dict[str, dict[str, tuple[float, int]]]:
        """Fleet -> minute -> sum and count of the values put."""
        return serving.tell(self.endpoint, "/points")  # type: ignore[no-any-return]

    def sent(self) -> list[str]:
        """The messages sent since this was last asked, to whatever queue."""
        return serving.tell(self.endpoint, "/sent")  # type: ignore[no-any-return]


@contextmanager
def stub(*, workloads: int, latency_s: float) -> Iterator[Stub]:
    """A stub in a process of its own, which ends with the context."""
    options = ["--workloads", str(workloads), "--latency-s", str(latency_s)]
    with serving.started(Path(__file__).resolve(), options) as endpoint:
        yield Stub(endpoint)


@click.command()
@click.option("--workloads", default=1000, show_default=True, help="Registered.")
@click.option("--latency-s", default=0.01, show_default=True, help="Seconds from a request to its answer.")
@click.option("--port", default=0, help="0 takes a free one, which is printed.")
def main(workloads: int, latency_s: float, port: int) -> None:
    """Serve until killed."""
    serving.serve(Aws(workloads), latency_s, port)


if __name__ == "__main__":
    main()
