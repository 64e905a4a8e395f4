from dataclasses import replace

import pytest

from sluice.core.model import Decision, Kind, Metric, Mode, Workload
from sluice.ports import Counter, Outcome
from sluice.publish import publish_backlog
from sluice.report import sentence
from tests.builders import MINUTE_NOW, ecs_workload, minutes_ago, plenty, queue_url, workload
from tests.fakes import Scene

IN_FLIGHT = "ApproximateNumberOfGroupsWithInflightMessages"
VISIBLE = "ApproximateNumberOfMessagesVisible"
FIFO = workload(queue_url=queue_url("builds.fifo"))


def queue_metric(name: str) -> Metric:
    return Metric(namespace="AWS/SQS", name=name, dimensions={"QueueName": "builds.fifo"})


def measured(
    scene: Scene, served: Workload, *, groups: float, running: float = 4, waiting: float = 9
) -> None:
    """AWS's own metrics of the three minutes before the last, which is not there yet."""
    for back in (2, 3, 4):
        scene.metrics.put(queue_metric(VISIBLE), minutes_ago(back), waiting)
        scene.metrics.put(queue_metric(IN_FLIGHT), minutes_ago(back), groups)
        scene.metrics.put(served.fleet.running_metric, minutes_ago(back), running)


def tick(scene: Scene) -> list[tuple[Decision, Outcome]]:
    """What a tick tells of caps."""
    publish_backlog(MINUTE_NOW, scene.world, scene.ledger, scene.remaining_s)
    decisions = scene.ledger.decisions
    return [(told, outcome) for told, outcome in decisions if told.kind is Kind.CAP]  # type: ignore[misc]


@pytest.mark.parametrize("build", [workload, ecs_workload])
def test_more_instances_than_groups_in_work_are_told_and_left_alone(build: object, scene: Scene) -> None:
    served = scene.serve(build(queue_url=queue_url("builds.fifo")), visible=9, in_flight=2, desired=4)
    measured(scene, served, groups=2)
    [(decision, outcome)] = tick(scene)
    assert sentence(decision, outcome) == (
        "would be cap 4 -> 2: more instances run than message groups are in work "
        "(at most 2 in flight for 3 min while messages waited)"
    )
    assert scene.acts() == []
    assert scene.ledger.failures == []


def test_the_metrics_are_aws_own_and_the_cautious_end_of_each_minute_counts(scene: Scene) -> None:
    served = scene.serve(FIFO, visible=9, in_flight=2, desired=4)
    tick(scene)
    [(queries, start, end)] = scene.calls.named("metrics.read")
    assert {(query.metric.namespace, query.metric.name, query.statistic) for query in queries.values()} == {
        ("AWS/SQS", VISIBLE, "Minimum"),
        ("AWS/SQS", IN_FLIGHT, "Maximum"),
        ("AWS/AutoScaling", "GroupInServiceInstances", "Minimum"),
    }
    assert {query.period_s for query in queries.values()} == {60}
    assert (start, end) == (minutes_ago(10), minutes_ago(0))
    assert served.fleet.running_metric.dimensions == {"AutoScalingGroupName": "transcription"}


def test_a_task_count_without_container_insights_says_nothing(scene: Scene) -> None:
    served = scene.serve(ecs_workload(queue_url=queue_url("builds.fifo")), visible=9, desired=4)
    for back in (2, 3, 4):
        scene.metrics.put(queue_metric(VISIBLE), minutes_ago(back), 9)
        scene.metrics.put(queue_metric(IN_FLIGHT), minutes_ago(back), 2)
    assert served.fleet.running_metric.namespace == "ECS/ContainerInsights"
    assert tick(scene) == []


def test_enough_groups_are_not_told(scene: Scene) -> None:
    served = scene.serve(FIFO, visible=9, in_flight=4, desired=4)
    measured(scene, served, groups=4)
    assert tick(scene) == []


@pytest.mark.parametrize(
    "served",
    [workload(), replace(FIFO, mode=Mode.PAUSED)],
    ids=["a standard queue", "paused"],
)
def test_nothing_is_asked_of(scene: Scene, served: Workload) -> None:
    scene.serve(served, visible=9, in_flight=2, desired=4)
    assert tick(scene) == []
    assert scene.calls.named("metrics.read") == []


@pytest.mark.parametrize("lost", [VISIBLE, IN_FLIGHT, "GroupInServiceInstances"])
def test_a_metric_that_cannot_be_read_is_a_failure_and_no_warning(scene: Scene, lost: str) -> None:
    served = scene.serve(FIFO, visible=9, in_flight=2, desired=4)
    measured(scene, served, groups=2)
    scene.metrics.unreadable[lost] = "throttled"
    assert tick(scene) == []
    assert scene.ledger.failures == [(served.name, Counter.OBSERVATION_FAILED, "throttled")]
    assert scene.ledger.seen == {served.name: 9 / 4 + 2 / 4}


def test_a_tick_without_time_left_asks_for_nothing_more(scene: Scene) -> None:
    scene.serve(FIFO, visible=9, in_flight=2, desired=4)
    scene.registry.all(plenty)
    scene.remaining = 0
    assert tick(scene) == []
    assert scene.calls.named("metrics.read") == []
