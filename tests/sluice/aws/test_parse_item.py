"""A malformed item of a response is Unknown for itself alone: the rest of the batch is read."""

from typing import Any

import pytest

from sluice.aws import asg, cloudwatch, ecs
from sluice.aws.asg import AutoScalingGroups
from sluice.aws.cloudwatch import CloudWatchMetrics
from sluice.aws.ecs import EcsServices
from sluice.aws.launch_failures import AwsLaunches
from sluice.core.model import AutoScalingGroup, Capacity, EcsService, Unknown
from sluice.ports import SeriesQuery
from tests.sluice.aws.stubs import unchecked
from tests.support.builders import (
    POOL,
    metric,
    minutes_ago,
    plenty,
)

NAMES = ("a", "bad", "z")


def group(name: str, **changes: Any) -> dict[str, Any]:
    sizes = {"DesiredCapacity": 2, "MinSize": 0, "MaxSize": 5}
    return {"AutoScalingGroupName": name, "Instances": [], **sizes, **(changes if name == "bad" else {})}


def service(name: str, **changes: Any) -> dict[str, Any]:
    counts = {"status": "ACTIVE", "desiredCount": 2, "runningCount": 2, "deployments": [{}]}
    return {"serviceName": name, **counts, **(changes if name == "bad" else {})}


def groups(**changes: Any) -> dict[str, Any]:
    fleets = {name: AutoScalingGroup(name=name) for name in NAMES}
    answer = {"AutoScalingGroups": [group(name, **changes) for name in NAMES]}
    with unchecked("autoscaling", DescribeAutoScalingGroups=answer) as client:
        read = AutoScalingGroups(lambda: client, POOL).read(list(fleets.values()), plenty)
    return {name: read[fleet] for name, fleet in fleets.items()}


def services(changes: dict[str, Any], target: dict[str, Any] | None = None) -> dict[str, Any]:
    fleets = {name: EcsService(cluster="c", service=name) for name in NAMES}
    answer = {"services": [service(name, **changes) for name in NAMES]}
    targets = {"ScalableTargets": [{"ResourceId": "service/c/bad", **target}] if target else []}
    with (
        unchecked("ecs", DescribeServices=answer) as client,
        unchecked("application-autoscaling", DescribeScalableTargets=targets) as scaling,
    ):
        read = EcsServices(lambda: client, lambda: scaling, POOL).read(list(fleets.values()), plenty)
    return {name: read[fleet] for name, fleet in fleets.items()}


def only_the_bad_one(read: dict[str, Any]) -> Unknown:
    assert isinstance(read["a"], Capacity)
    assert isinstance(read["z"], Capacity)
    assert isinstance(read["bad"], Unknown)
    assert "bad" in read["bad"].reason
    return read["bad"]


@pytest.mark.parametrize("wrong", [{"DesiredCapacity": None}, {"Instances": None}, {"MaxSize": "many"}])
def test_a_malformed_group(wrong: dict[str, Any]) -> None:
    unknown = only_the_bad_one(groups(**wrong))
    assert "AWS's answer cannot be read" in unknown.reason
    assert unknown.defect is None


@pytest.mark.parametrize(
    "wrong", [{"runningCount": None}, {"deployments": None}, {"status": 7, "desiredCount": -1}]
)
def test_a_malformed_service(wrong: dict[str, Any]) -> None:
    read = services(wrong)
    if "status" in wrong:  # not active: AWS describes a deleted service for a while
        assert "AWS finds no active" in read["bad"].reason
    else:
        assert "AWS's answer cannot be read" in only_the_bad_one(read).reason


@pytest.mark.parametrize("wrong", [None, [{"createdAt": "soon", "message": "m"}], [{"message": "no time"}]])
def test_a_service_with_malformed_events_has_no_attempts(wrong: object) -> None:
    fleets = {name: EcsService(cluster="c", service=name) for name in NAMES}
    answer = {
        "services": [
            service(name, events=wrong) | ({} if name == "bad" else {"events": []}) for name in NAMES
        ]
    }
    with unchecked("autoscaling") as autoscaling, unchecked("ecs", DescribeServices=answer) as client:
        read = AwsLaunches(lambda: autoscaling, lambda: client, POOL).read(list(fleets.values()), plenty)
    assert read[fleets["a"]] == read[fleets["z"]] == []
    unknown = read[fleets["bad"]]
    assert isinstance(unknown, Unknown)
    assert "events of" in unknown.reason
    assert unknown.defect is None


def test_a_malformed_scalable_target() -> None:
    only_the_bad_one(services({}, target={"MinCapacity": None, "MaxCapacity": 5}))


def test_a_defect_in_one_group_is_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    real = asg._unsupported_units

    def broken(described: Any) -> Any:
        if described["AutoScalingGroupName"] == "bad":
            raise IndexError("ours")
        return real(described)

    monkeypatch.setattr(asg, "_unsupported_units", broken)
    assert isinstance(only_the_bad_one(groups()).defect, IndexError)


def test_a_defect_in_one_service_is_isolated(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ecs._deployment

    def broken(described: Any) -> Any:
        if described["serviceName"] == "bad":
            raise IndexError("ours")
        return real(described)

    monkeypatch.setattr(ecs, "_deployment", broken)
    assert isinstance(only_the_bad_one(services({})).defect, IndexError)


@pytest.mark.parametrize("defect", [None, IndexError("ours")])
def test_one_bad_series(monkeypatch: pytest.MonkeyPatch, defect: Exception | None) -> None:
    times = [minutes_ago(1)]
    answer = {
        "MetricDataResults": [
            {"Id": f"q{place}", "StatusCode": "Complete", "Timestamps": times, "Values": [1.0]}
            for place in range(3)
        ]
    }
    if defect is None:
        answer["MetricDataResults"][1]["Values"] = []
    else:
        real = cloudwatch._points

        def broken(result: Any, of: Any) -> Any:
            if result["Id"] == "q1":
                raise defect
            return real(result, of)

        monkeypatch.setattr(cloudwatch, "_points", broken)
    queries = {name: SeriesQuery(metric=metric(), statistic="Maximum", period_s=60) for name in NAMES}
    with unchecked("cloudwatch", GetMetricData=answer) as client:
        read = CloudWatchMetrics(lambda: client, POOL).read(queries, minutes_ago(5), minutes_ago(0), plenty)
    unknown = read.pop("bad")
    assert isinstance(unknown, Unknown)
    assert unknown.defect is defect
    assert read == {"a": {times[0]: 1.0}, "z": {times[0]: 1.0}}
