"""An ECS service scales with its queue, and its target follows the processing time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice_sim.aws_rules.alarms import State
from sluice_sim.aws_rules.monitoring import CUSTOM_METRIC_DELAY_S
from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import QUEUE_PROC
from sluice_sim.embedded.timeline import (
    Component,
    SteadyArrivals,
)
from tests.scenarios.conftest import (
    ROOT,
    WITH_NOTIFICATIONS,
    Recording,
    run_scenario,
)

pytestmark = pytest.mark.slow

RETUNES_AT = (40, 100, 160)  # the full hours, in minutes of the run
SHORT = replace(
    QUEUE_PROC,
    durations=((0, 2),),
    steady=SteadyArrivals(first=2, last=8, per_minute=60),
    max_minutes=60,
)


@pytest.fixture(scope="module")
def drift() -> Recording:
    """Messages that come to take 6 s instead of 2 s, as in `sluice demo`, with alarm notifications."""
    return run_scenario(scenario=QUEUE_PROC, parameters=WITH_NOTIFICATIONS)


@pytest.fixture(scope="module")
def by_backlog() -> Recording:
    """The same, scaled by the backlog alone."""
    return run_scenario(scenario=QUEUE_PROC, parameters={"TrackedMetric": "backlog"})


@pytest.fixture(scope="module")
def short() -> Recording:
    """A load of seven busy minutes."""
    return run_scenario(scenario=SHORT)


def test_the_service_goes_from_zero_to_several_tasks_and_back_with_nothing_lost(short: Recording) -> None:
    assert short.summary.ok
    assert short.summary.sent == short.summary.processed == 7 * 60
    assert short.summary.peak_instances > 1
    assert short.minutes[0].desired == short.summary.final_desired == 0


def test_the_target_follows_messages_that_take_longer_at_least_three_times(drift: Recording) -> None:
    retunes = drift.decisions("retune")
    assert [minute for minute, _ in retunes] == list(RETUNES_AT)
    targets = [record["target"] for _, record in retunes]
    assert targets == sorted(targets, reverse=True)
    assert all(later < 0.9 * earlier for earlier, later in zip([30, *targets], targets, strict=False))
    assert drift.summary.ok


def test_processed_messages_do_not_raise_the_alarm_on_their_age(drift: Recording) -> None:
    assert drift.summary.ok
    assert drift.notified("sluice-queue-proc-age", State.OK), "a new alarm's first OK is reported"
    assert drift.notified("sluice-queue-proc-age") == []


# From when the arrivals are known, until half an hour before they end.
SETTLED = slice(20, 135)


def test_counting_arrivals_makes_a_service_swing_less_and_keep_more_of_its_promise(
    drift: Recording, by_backlog: Recording
) -> None:
    settled, swinging = (
        {row.desired for row in recording.minutes[SETTLED]} for recording in (drift, by_backlog)
    )
    assert settled <= {2, 3, 4, 5, 6}
    assert {1, 10} <= swinging
    assert drift.launches * 2 <= by_backlog.launches
    assert drift.summary.instance_hours < by_backlog.summary.instance_hours
    in_time, plain = (recording.summary.waits.attainment for recording in (drift, by_backlog))
    assert in_time > 0.95
    assert 1 - plain > 3 * (1 - in_time)


def test_every_minute_of_a_sustained_flow_uses_its_arrivals_and_durations(
    drift: Recording,
) -> None:
    """30 messages a minute, which come to take 6 s instead of 2 s."""
    records = [line.record for line in drift.log if line.record.get("arrivals_per_s")]
    assert len(records) > 140
    assert {record["arrivals_per_s"] for record in records} == {0.5}
    loads = [record["offered_load_instances"] for record in records]
    assert loads == sorted(loads)
    assert 1 <= loads[0] < 1.2
    assert 2.2 < loads[-1] <= 3
    for record in records:
        needed = record["offered_load_instances"] + 0.3 * record["offered_load_instances"] ** 0.5
        tracked = record["backlog_per_instance"] + record["target"] * needed / max(record["running"], 1)
        assert record["effective_backlog_per_instance"] == pytest.approx(tracked)


def test_every_new_target_is_the_latency_over_the_durations_its_workers_published() -> None:
    """ecsTargetBPI = acceptable latency / MsgProcessingDuration, traced to the samples in CloudWatch."""
    with embedded_aws(ROOT) as aws:
        start = aws.clock.now
        demo = Demo(aws, ROOT)
        demo.add_workload(replace(QUEUE_PROC, max_minutes=RETUNES_AT[0] + 2))
        demo.run()
        (line,) = [
            line
            for line in aws.log
            if line.record.get("decision") == "retune" and line.record["outcome"] == "acted"
        ]
        # A minute is published after it ends.
        readable = int(line.at - start - CUSTOM_METRIC_DELAY_S) // 60
        sampled = _published(aws, start, minutes=min(readable, RETUNES_AT[0]))
    record = line.record
    average_s = sum(sampled) / len(sampled)
    assert record["processing"]["samples"] == len(sampled)
    assert record["processing"]["seconds"] == pytest.approx(average_s, rel=1e-3)
    assert record["target"] == pytest.approx(60 / average_s, rel=1e-3)


def test_the_policy_of_the_service_holds_the_new_target_from_the_next_minute_on(drift: Recording) -> None:
    retunes = drift.decisions("retune")
    ends = [minute for minute, _ in retunes[1:]] + [len(drift.minutes)]
    for (minute, record), end in zip(retunes, ends, strict=True):
        held = {row.target for row in drift.minutes[minute + 1 : end]}
        assert held == {record["target"]}


def test_without_the_retune_the_target_stays_where_the_template_put_it() -> None:
    recording = run_scenario(scenario=replace(QUEUE_PROC, max_minutes=45), without=(Component.RETUNE,))
    assert {minute.target for minute in recording.minutes} == {30}


def test_without_the_bootstrap_alarm_the_tick_starts_the_service() -> None:
    recording = run_scenario(scenario=SHORT, without=(Component.BOOTSTRAP_ALARM,))
    (_, record) = recording.decisions("bootstrap")[0]
    assert record["trigger"] == "tick"
    assert recording.summary.ok


def test_without_the_publisher_the_alarm_starts_the_service_and_the_work_is_done() -> None:
    recording = run_scenario(scenario=SHORT, without=(Component.PUBLISHER,))
    (_, record) = recording.decisions("bootstrap")[0]
    assert record["trigger"] == "alarm"
    assert recording.summary.processed == recording.summary.sent


def test_without_both_nothing_is_processed() -> None:
    recording = run_scenario(
        scenario=replace(SHORT, max_minutes=20), without=(Component.PUBLISHER, Component.BOOTSTRAP_ALARM)
    )
    assert (recording.summary.processed, recording.summary.ok) == (0, False)


def test_without_the_shutdown_alarm_the_tick_shuts_the_service_down() -> None:
    recording = run_scenario(scenario=SHORT, without=(Component.SHUTDOWN_ALARM,))
    ((_, record),) = recording.decisions("shutdown")
    assert record["trigger"] == "tick"
    assert recording.summary.ok


def test_a_deployment_in_progress_holds_the_shutdown_until_it_is_over() -> None:
    def deploy_while_idle(aws: EmbeddedAws) -> None:
        def roll() -> None:
            aws.ecs.update_service(cluster="workers", service="queue-proc", forceNewDeployment=True)

        for minute in range(11, 20):
            aws.clock.at(aws.clock.now + minute * 60, roll)

    recording = run_scenario(scenario=SHORT, before=deploy_while_idle)
    assert recording.summary.ok
    held = [record["message"] for _, record in recording.decisions("shutdown", "held")]
    assert any("a deployment is rolling" in message for message in held)


@pytest.mark.parametrize("registered", ["not-yet", "true"])
def test_observe_leaves_the_service_alone_and_says_what_it_would_do(registered: str) -> None:
    recording = run_scenario(
        scenario=replace(SHORT, max_minutes=12),
        parameters={"Mode": "observe", "CreateScalableTarget": registered},
    )
    assert {minute.desired for minute in recording.minutes} == {0}
    assert recording.decisions("bootstrap", "observed")
    assert not recording.decisions("bootstrap", "held")


def test_a_stack_update_that_resets_the_target_is_repaired_by_its_own_event() -> None:
    with embedded_aws(ROOT) as aws:
        demo = Demo(aws, ROOT)
        workload = demo.add_workload(replace(QUEUE_PROC, max_minutes=RETUNES_AT[0] + 10))
        minute = (RETUNES_AT[0] + 5) * 60
        aws.clock.at(aws.clock.now + minute, lambda: demo.deploy(workload))
        (timeline,) = demo.run()
        retunes = [line.record for line in aws.log if line.record.get("decision") == "retune"]
    assert [(record["trigger"], record["outcome"]) for record in retunes] == [
        ("stack", "held"),  # the stack's creation: nothing has been processed yet
        ("schedule", "acted"),
        ("stack", "acted"),
    ]
    assert retunes[2]["present_target"] == 30  # the template's
    assert timeline.minutes[-1].target == pytest.approx(retunes[2]["target"])


def _published(aws: EmbeddedAws, start: float, *, minutes: int) -> list[float]:
    """Every duration that the service's workers published, one entry a message that succeeded.

    moto's GetMetricStatistics also returns metrics with more dimensions, such as those by Outcome.
    """
    began = datetime.fromtimestamp(start, UTC)
    metric = {
        "Namespace": "Sluice",
        "MetricName": "MsgProcessingDuration",
        "Dimensions": [
            {"Name": "ClusterName", "Value": "workers"},
            {"Name": "ServiceName", "Value": "queue-proc"},
        ],
    }
    average, count = aws.cloudwatch.get_metric_data(
        MetricDataQueries=[
            {"Id": stat.lower(), "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat}}
            for stat in ("Average", "SampleCount")
        ],
        StartTime=began,
        EndTime=began + timedelta(minutes=minutes),
    )["MetricDataResults"]
    pairs = zip(average["Values"], count["Values"], strict=True)
    return [mean_s for mean_s, messages in pairs for _ in range(int(messages))]
