"""One metric from the worker to the target: a time is read from exactly the metric it is published to.

CloudWatch aggregates no dimensions: a sample with one more, fewer or another is a metric that nothing reads.
So every source that names a metric is read here: the real worker with the settings of
each example fleet, the simulated workers, the deployed functions' calls, and the templates.

moto compares names and dimensions but not namespaces once a query has dimensions; namespaces are compared in
the calls themselves.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sluice.aws.cloudwatch import CloudWatchMetrics
from sluice.core.model import Durations, Metric, Reason, TargetDecision, Trigger, Workload
from sluice.document import parsing
from sluice.events import RetuneRequest
from sluice.ports import Policy
from sluice.usecases.retune import retune_targets
from sluice.usecases.tick import publish_backlog
from sluice_sim.embedded.cloud import embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import QUEUE_PROC, TRANSCRIPTION
from sluice_worker import wiring
from sluice_worker.aws import cloudwatch
from sluice_worker.aws.cloudwatch import CloudWatchSink
from sluice_worker.core.counters import Counters
from sluice_worker.core.metrics import OUTCOME
from sluice_worker.core.model import Outcome
from tests.sluice.aws import account
from tests.support.builders import POOL
from tests.support.fakes import FakeAccount
from tests.templates import fleet_workers, stacks

NOW = datetime.now(UTC)
LATENCY_S, TEMPLATE_TARGET = 60, 10
TOOK_S = 3.0
ENOUGH = 40
DYNAMIC = {
    "TargetType": "dynamic",
    "AcceptableLatencySeconds": str(LATENCY_S),
    "MessagesPerInstance": str(TEMPLATE_TARGET),
}
HOURLY = RetuneRequest(trigger=Trigger.SCHEDULE)


@pytest.fixture(params=["asg", "ecs"])
def fleet(request: pytest.FixtureRequest) -> str:
    return request.param


# ---- What the deployed functions ask and put ---------------------------------------------------------------


@dataclass
class Plane:
    """The use cases over the real CloudWatch adapter, and every call that it made."""

    client: Any
    fakes: FakeAccount = field(default_factory=FakeAccount)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client.meta.events.register("provide-client-params.cloudwatch", self._record)
        variables = stacks.plane().resources["PublishBacklogFunction"].properties["Environment"]["Variables"]
        self.ports = replace(
            self.fakes.ports,
            metrics=CloudWatchMetrics(lambda: self.client, POOL),
            namespace=variables["SLUICE_METRIC_NAMESPACE"],
            now=lambda: NOW,
        )

    def serve(self, fleet: str, **parameters: str) -> Workload:
        """Register the document that the workload's stack writes; its policy holds the template's target."""
        stack = stacks.workload(fleet, **DYNAMIC, **parameters)
        workload = parsing.parse(stack.resources["Registration"].properties["Value"])
        assert workload.policy_arn is not None
        self.fakes.policies.by_arn[workload.policy_arn] = Policy(
            fleet=workload.fleet, target=TEMPLATE_TARGET, definition={"PolicyARN": workload.policy_arn}
        )
        return self.fakes.add_workload(workload, desired=1)

    def retune(self) -> TargetDecision:
        retune_targets(HOURLY, self.ports, self.fakes.report, self.fakes.remaining_s)
        [(decision, _)] = self.fakes.report.decisions
        assert isinstance(decision, TargetDecision)
        return decision

    def tick(self) -> None:
        publish_backlog(NOW, self.ports, self.fakes.report, self.fakes.remaining_s)

    def put(self, metric: Metric, unit: str | None, *seconds: float) -> None:
        """Samples of the last hour, as a worker puts them."""
        datum = {
            "MetricName": metric.name,
            "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions.items()],
            "Timestamp": NOW - timedelta(minutes=10),
            "Values": list(seconds),
            "Unit": unit,
        }
        account.client("cloudwatch").put_metric_data(Namespace=metric.namespace, MetricData=[datum])

    def requested(self) -> list[dict[str, Any]]:
        """Every MetricStat of every GetMetricData."""
        return [
            query["MetricStat"]
            for operation, params in self.calls
            if operation == "GetMetricData"
            for query in params["MetricDataQueries"]
        ]

    def _record(self, params: Mapping[str, Any], model: Any, **_: object) -> None:
        self.calls.append((model.name, copy.deepcopy(dict(params))))


@pytest.fixture
def plane() -> Iterator[Plane]:
    with account.account():
        yield Plane(account.session().client("cloudwatch"))


def named(namespace: str, described: Mapping[str, Any]) -> Metric:
    """A metric as a request or a template names it; a dimension named twice would be lost unseen."""
    pairs = described["Dimensions"]
    dimensions = stacks.dimensions(pairs)
    assert len(dimensions) == len(pairs)
    return Metric(namespace=namespace, name=described["MetricName"], dimensions=dimensions)


def published(call: tuple[str, Mapping[str, Any]]) -> list[tuple[Metric, str | None]]:
    """(metric, unit) of each datum of a PutMetricData."""
    operation, params = call
    if operation != "PutMetricData":
        return []
    return [(named(params["Namespace"], datum), datum.get("Unit")) for datum in params["MetricData"]]


# ---- What the workers publish ------------------------------------------------------------------------------


def work(fleet: str, took_s: Mapping[Outcome, float], count: int = 1, **parameters: str) -> None:
    """The real worker's sink, with the settings of an example fleet, publishes one minute of messages."""
    settings, _ = fleet_workers.understood(fleet_workers.variables(fleet, **parameters))
    sink = wiring._sink(settings)
    assert isinstance(sink, CloudWatchSink)
    counters = Counters(began_at=(NOW - timedelta(minutes=10)).timestamp())
    for outcome, seconds in took_s.items():
        for _ in range(count):
            counters.record_end(outcome, seconds)
    sink.put(counters.close(counters.began_at + 60))


def worker_publishes(
    fleet: str, took_s: Mapping[Outcome, float], **parameters: str
) -> list[tuple[Metric, str | None]]:
    """(metric, unit) of everything that the real worker puts for one message of each outcome."""
    put: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cloudwatch, "client", lambda _: RecordingCloudWatch(put))
        work(fleet, took_s, **parameters)
    return [metric for params in put for metric in published(("PutMetricData", params))]


@dataclass
class RecordingCloudWatch:
    """CloudWatch for a worker, which keeps what it is given to itself."""

    put: list[dict[str, Any]]

    def put_metric_data(self, **params: Any) -> None:
        self.put.append(params)


def example_worker(fleet: str, **parameters: str) -> tuple[Metric, str | None]:
    """(metric, unit) under which the real worker counts its successes."""
    [counted] = [
        (metric, unit)
        for metric, unit in worker_publishes(fleet, {Outcome.SUCCESS: TOOK_S}, **parameters)
        if OUTCOME not in metric.dimensions
    ]
    return counted


@pytest.fixture(scope="module")
def simulated() -> list[tuple[Metric, str | None]]:
    """What the simulated workers of both fleets publish, as `sluice demo` runs them."""
    with embedded_aws(stacks.ROOT) as aws:
        demo = Demo(aws, stacks.ROOT)
        for scenario in (TRANSCRIPTION, QUEUE_PROC):
            one = replace(scenario, durations=((0, 3),), bursts={0: 1}, steady=None, max_minutes=6)
            demo.add_workload(one, DYNAMIC)
        calls: list[tuple[str, dict[str, Any]]] = []
        aws.cloudwatch.meta.events.register(
            "provide-client-params.cloudwatch.PutMetricData",
            lambda params, model, **_: calls.append((model.name, copy.deepcopy(params))),
        )
        demo.run()
    every = [metric for call in calls for metric in published(call)]
    return [(metric, unit) for metric, unit in every if not metric.namespace.startswith(("AWS/", "ECS/"))]


# ---- Worker -> MsgProcessingDuration -> retune -------------------------------------------------------------


@pytest.mark.parametrize(
    ("example", "workload"),
    [({}, {}), ({"MetricNamespace": "Team/Workers"}, {"DurationNamespace": "Team/Workers"})],
    ids=["the plane's namespace", "a namespace of their own"],
)
def test_the_retune_reads_exactly_what_the_examples_worker_publishes(
    plane: Plane, fleet: str, example: dict[str, str], workload: dict[str, str]
) -> None:
    plane.serve(fleet, **workload)
    plane.retune()
    metric, unit = example_worker(fleet, **example)
    requested = plane.requested()
    assert [named(stat["Metric"]["Namespace"], stat["Metric"]) for stat in requested] == [metric] * 4
    assert [stat["Stat"] for stat in requested] == ["Average", "SampleCount"] * 2  # the hour, then the day
    assert unit == "Seconds"
    assert {stat.get("Unit", unit) for stat in requested} == {unit}


def test_the_retune_reads_exactly_what_the_simulated_worker_publishes(
    plane: Plane, fleet: str, simulated: list[tuple[Metric, str | None]]
) -> None:
    plane.serve(fleet)
    plane.retune()
    own = [(metric, unit) for metric, unit in simulated if metric.dimensions == stacks.DIMENSIONS[fleet]]
    [requested] = {repr(stat["Metric"]): stat["Metric"] for stat in plane.requested()}.values()
    assert own
    assert all(
        (metric, unit) == (named(requested["Namespace"], requested), "Seconds") for metric, unit in own
    )


def test_the_simulated_workers_publish_under_no_other_dimensions_but_the_outcome(
    simulated: list[tuple[Metric, str | None]],
) -> None:
    fleets = list(stacks.DIMENSIONS.values())
    by_outcome = [{**dimensions, "Outcome": "success"} for dimensions in fleets]
    assert all(metric.dimensions in (*fleets, *by_outcome) for metric, _ in simulated)


@pytest.mark.parametrize("namespace", ["Sluice", "Team/Workers"])
def test_the_examples_worker_may_publish_where_it_publishes_and_nowhere_else(
    fleet: str, namespace: str
) -> None:
    role = {"asg": "WorkerRole", "ecs": "TaskRole"}[fleet]
    policies = stacks.example_fleet(fleet, MetricNamespace=namespace).resources[role].properties["Policies"]
    [statement] = [
        statement
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        if "cloudwatch:PutMetricData" in statement["Action"]
    ]
    metric, _ = example_worker(fleet, MetricNamespace=namespace)
    assert statement["Condition"] == {"StringEquals": {"cloudwatch:namespace": metric.namespace}}


@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_target_is_acceptable_latency_x_concurrency_over_the_duration_that_the_worker_published(
    plane: Plane, fleet: str, concurrency: int
) -> None:
    """ecsTargetBPI, and the same for a group: from the real worker's own samples to the policy."""
    workload = plane.serve(fleet, ConcurrencyPerInstance=str(concurrency), MaxFactorPerRetune="100")
    work(fleet, {Outcome.SUCCESS: TOOK_S}, ENOUGH, ConcurrencyPerInstance=str(concurrency))
    decision = plane.retune()
    assert decision.durations == Durations(seconds=TOOK_S, samples=ENOUGH, window_s=3600)
    assert decision.target == LATENCY_S * concurrency / TOOK_S
    assert workload.policy_arn is not None
    assert plane.fakes.policies.by_arn[workload.policy_arn].target == decision.target


def test_the_worker_publishes_every_message_once_more_with_its_outcome(plane: Plane, fleet: str) -> None:
    metric, unit = example_worker(fleet)
    assert worker_publishes(fleet, dict.fromkeys(Outcome, TOOK_S)) == [
        (metric, unit),
        *(
            (replace(metric, dimensions={**metric.dimensions, OUTCOME: outcome.value}), unit)
            for outcome in Outcome
        ),
    ]


@pytest.mark.parametrize("ended", [Outcome.FAILURE, Outcome.TIMEOUT])
def test_messages_that_failed_are_published_and_not_read(plane: Plane, fleet: str, ended: Outcome) -> None:
    plane.serve(fleet)
    work(fleet, {ended: 900.0}, ENOUGH)
    assert account.client("cloudwatch").list_metrics(MetricName="MsgProcessingDuration")["Metrics"]
    decision = plane.retune()
    assert (decision.reason, decision.detail) == (Reason.TOO_FEW_SAMPLES, "0 of 30 needed")


def test_messages_that_failed_do_not_move_the_target_of_those_that_did_not(plane: Plane, fleet: str) -> None:
    plane.serve(fleet)
    work(fleet, {Outcome.SUCCESS: TOOK_S, Outcome.FAILURE: 900.0, Outcome.TIMEOUT: 3600.0}, ENOUGH)
    decision = plane.retune()
    assert decision.durations == Durations(seconds=TOOK_S, samples=ENOUGH, window_s=3600)
    assert decision.target == LATENCY_S / TOOK_S


def one_more(dimensions: Mapping[str, str]) -> dict[str, str]:
    return {**dimensions, "InstanceId": "i-0123456789abcdef0"}


def one_fewer(dimensions: Mapping[str, str]) -> dict[str, str]:
    return dict(list(dimensions.items())[1:])


def another_value(dimensions: Mapping[str, str]) -> dict[str, str]:
    return {name: f"{value}-2" for name, value in dimensions.items()}


def another_name(dimensions: Mapping[str, str]) -> dict[str, str]:
    return {f"{name}s": value for name, value in dimensions.items()}


OTHERWISE = [one_more, one_fewer, another_value, another_name]


@pytest.mark.parametrize("otherwise", OTHERWISE)
def test_samples_under_any_other_dimensions_leave_the_target_for_want_of_samples(
    plane: Plane, fleet: str, otherwise: Any
) -> None:
    plane.serve(fleet)
    metric, unit = example_worker(fleet)
    plane.put(replace(metric, dimensions=otherwise(metric.dimensions)), unit, *[TOOK_S] * ENOUGH)
    decision = plane.retune()
    assert (decision.target, decision.reason) == (None, Reason.TOO_FEW_SAMPLES)
    assert decision.detail == "0 of 30 needed"


def test_samples_of_other_fleets_are_not_included(plane: Plane, fleet: str) -> None:
    plane.serve(fleet)
    metric, unit = example_worker(fleet)
    work(fleet, {Outcome.SUCCESS: TOOK_S}, ENOUGH)
    for otherwise in OTHERWISE:
        plane.put(replace(metric, dimensions=otherwise(metric.dimensions)), unit, *[900.0] * ENOUGH)
    assert plane.retune().target == LATENCY_S / TOOK_S


# ---- Tick -> its two metrics -> policy, silence alarm, proof -----------------------------------------------


def ticks(plane: Plane) -> dict[str, tuple[Metric, str | None]]:
    """Name -> what the tick has published under it; nothing twice."""
    put = [metric for call in plane.calls for metric in published(call)]
    by_name = {metric.name: (metric, unit) for metric, unit in put}
    assert len(by_name) == len(put)
    return by_name


def test_the_policy_and_the_silence_alarm_read_exactly_what_the_tick_publishes(
    plane: Plane, fleet: str
) -> None:
    plane.serve(fleet)
    plane.tick()
    metric, unit = ticks(plane)["EffectiveBacklogPerInstance"]
    assert unit == "Count"
    resources = stacks.workload(fleet, **DYNAMIC).resources
    logical_id, configuration = {
        "asg": ("AsgTargetTracking", "TargetTrackingConfiguration"),
        "ecs": ("EcsTargetTracking", "TargetTrackingScalingPolicyConfiguration"),
    }[fleet]
    tracked = resources[logical_id].properties[configuration]["CustomizedMetricSpecification"]
    silence = resources["SilenceAlarm"].properties
    for reader in (tracked, silence):
        assert named(reader["Namespace"], reader) == metric
        assert reader.get("Unit", unit) == unit


def test_the_proof_of_emptiness_reads_exactly_what_the_tick_publishes(plane: Plane, fleet: str) -> None:
    plane.serve(fleet)
    plane.tick()
    metric, _ = ticks(plane)["BacklogPerInstance"]
    requested = [named(stat["Metric"]["Namespace"], stat["Metric"]) for stat in plane.requested()]
    assert [one for one in requested if one.namespace == metric.namespace] == [metric]


def test_all_metrics_of_a_workload_stand_under_the_same_dimensions(plane: Plane, fleet: str) -> None:
    workload = plane.serve(fleet)
    plane.tick()
    assert set(ticks(plane)) == {"BacklogPerInstance", "EffectiveBacklogPerInstance"}
    for metric, _ in ticks(plane).values():
        assert metric.dimensions == workload.duration_metric.dimensions == stacks.DIMENSIONS[fleet]
