"""The control plane over an account in memory, at the minute of the sample events."""

import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine

from sluice import wiring
from sluice.core.model import EcsService
from tests.sluice.aws import account
from tests.support.builders import (
    document,
    dynamic_section,
    ecs_document,
)

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"
NOON = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
FLEETS = {
    "asg": {"AutoScalingGroupName": "transcription"},
    "ecs": {"ClusterName": "workers", "ServiceName": "queue-proc"},
}


def sample(name: str) -> Any:
    """The event in events/<name>.json."""
    return json.loads((EVENTS / f"{name}.json").read_text())


class Context:
    """The context object that Lambda passes to a function."""

    function_name = "function"
    memory_limit_in_mb = 256
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    aws_request_id = "5f0c3a6e-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 300_000


def _no_constant(name: str) -> None:
    raise AssertionError(f"a line with {name} is no JSON: Logs Insights would lose it")


@dataclass
class Plane:
    """The functions, and the account that they act on."""

    travel: time_machine.Traveller
    capsys: pytest.CaptureFixture[str]
    queues: Mapping[str, str]
    fleets: Mapping[str, Any]

    def invoke(self, function: str, event: Any) -> Any:
        """Invoke the function; returns its response."""
        path = ROOT / "functions" / function / "app.py"
        spec = importlib.util.spec_from_file_location(f"functions_{function}_app", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        # Powertools keeps one handler a process, on the stdout of its first test.
        module.logger.registered_handler.stream = sys.stdout
        return module.handler(event, Context())

    def lines(self) -> list[dict[str, Any]]:
        """The log lines of the invocations so far; each must be a JSON object."""
        return [
            json.loads(line, parse_constant=_no_constant)
            for line in self.capsys.readouterr().out.splitlines()
        ]

    def at(self, moment: datetime) -> None:
        self.travel.move_to(moment, tick=False)

    def ask_for(self, kind: str, instances: int) -> None:
        """Set the fleet's desired count; in this account the instances run at once."""
        fleet = self.fleets[kind]
        if isinstance(fleet, EcsService):
            account.client("ecs").update_service(
                cluster=fleet.cluster, service=fleet.service, desiredCount=instances
            )
        else:
            account.client("autoscaling").set_desired_capacity(
                AutoScalingGroupName=fleet.name, DesiredCapacity=instances
            )

    def desired(self, kind: str) -> int:
        return account.desired_of(self.fleets[kind])

    def points(self, kind: str) -> dict[datetime, float]:
        """BacklogPerInstance in CloudWatch."""
        found = account.client("cloudwatch").get_metric_statistics(
            Namespace="Sluice",
            MetricName="BacklogPerInstance",
            Dimensions=_dimensions(kind),
            StartTime=NOON - timedelta(hours=1),
            EndTime=NOON + timedelta(hours=1),
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
        return {point["Timestamp"]: point["Maximum"] for point in found}

    def idle(self, kind: str, minutes: int = 5) -> None:
        """Publish zeros for the last minutes."""
        for back in range(1, minutes + 1):
            self.put(kind, "BacklogPerInstance", 0, back)

    def put(self, kind: str, metric: str, value: float, minutes_ago: int) -> None:
        datum = {
            "MetricName": metric,
            "Dimensions": _dimensions(kind),
            "Timestamp": NOON - timedelta(minutes=minutes_ago),
            "Value": value,
        }
        account.client("cloudwatch").put_metric_data(Namespace="Sluice", MetricData=[datum])

    def processed(self, kind: str, seconds: float, count: int = 40) -> None:
        """Publish this many processing times of this many seconds, within the last hour."""
        for _ in range(count):
            self.put(kind, "MsgProcessingDuration", seconds, 10)

    def target(self, kind: str) -> float:
        fleet = self.fleets[kind]
        if isinstance(fleet, EcsService):
            found = account.client("application-autoscaling").describe_scaling_policies(
                ServiceNamespace="ecs"
            )
            return float(
                found["ScalingPolicies"][0]["TargetTrackingScalingPolicyConfiguration"]["TargetValue"]
            )
        found = account.client("autoscaling").describe_policies(AutoScalingGroupName=fleet.name)
        return float(found["ScalingPolicies"][0]["TargetTrackingConfiguration"]["TargetValue"])


def _dimensions(kind: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in FLEETS[kind].items()]


@pytest.fixture
def plane(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Plane]:
    """Two workloads with empty queues, fleets at zero and policies at target 10, half a minute past noon."""
    with account.account(), time_machine.travel(NOON + timedelta(seconds=30), tick=False) as travel:
        session = account.session()
        monkeypatch.setattr("boto3.Session", lambda: session)
        monkeypatch.setenv("SLUICE_STATE_TABLE", account.create_state_table())
        wiring.cold_start()
        queues = {
            "asg": account.create_queue("transcription"),
            "ecs": account.create_queue("queue-proc"),
        }
        group, service = account.create_group("transcription"), account.create_service("queue-proc")
        account.register(
            document(target=dynamic_section(), policy_arn=account.create_group_policy("transcription"))
        )
        account.register(
            ecs_document(target=dynamic_section(), policy_arn=account.create_service_policy(service))
        )
        yield Plane(travel=travel, capsys=capsys, queues=queues, fleets={"asg": group, "ecs": service})
        wiring.cold_start()
