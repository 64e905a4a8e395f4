"""Each deployed function in the Lambda runtime, checked by what it changes in the account."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.deploy.account import (
    DIMENSIONS,
    Account,
    Point,
)
from tests.deploy.build import ROOT
from tests.deploy.deployment import PLANE
from tests.deploy.every_event import deadline_tick, work_waits
from tests.deploy.server import Server
from tests.deploy.shared_deployment import (
    SharedDeployment,
    Start,
)

pytestmark = pytest.mark.usefixtures("nothing_refused")

MINUTE = timedelta(minutes=1)


def sample(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "events" / f"{name}.json").read_text())


def on_time(event: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """The event as the schedule would send it now: the functions use the wall clock here."""
    return {**event, "scheduled_time": f"{now:%Y-%m-%dT%H:%M:%SZ}"}


def minute_of(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def test_publish_backlog_publishes_both_fleets_under_the_scheduled_minute(
    account: Account, start: Start
) -> None:
    account.set_desired("transcription", 3)
    account.send("transcription", 24)
    now = datetime.now(UTC)
    function = start("PublishBacklogFunction")
    assert function.invoke(on_time(sample("schedule"), now)) is None
    assert account.points("Sluice", "BacklogPerInstance") == [
        Point(dimensions=DIMENSIONS["transcription"], at=minute_of(now), value=8),
        Point(dimensions=DIMENSIONS["queue-proc"], at=minute_of(now), value=0),
    ]
    assert account.desired("transcription") == 3
    assert account.desired("queue-proc") == 0


def test_the_planes_own_metrics_carry_the_namespace_and_service_that_the_template_sets(
    account: Account, start: Start, deployed: SharedDeployment
) -> None:
    function = start("PublishBacklogFunction")
    function.invoke(sample("schedule-manual"))
    settings = deployed.function("PublishBacklogFunction").environment
    (counted,) = function.embedded_metrics()
    (directive,) = counted["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == settings["POWERTOOLS_METRICS_NAMESPACE"] == "Sluice/ControlPlane"
    assert counted["service"] == settings["POWERTOOLS_SERVICE_NAME"] == "publish_backlog"
    assert counted["WorkloadsServed"] == [2]


def test_a_stale_tick_publishes_nothing(account: Account, start: Start) -> None:
    account.send("transcription", 24)
    late = datetime.now(UTC) - timedelta(minutes=5)
    assert start("PublishBacklogFunction").invoke(on_time(sample("schedule-stale"), late)) is None
    assert account.points("Sluice", "BacklogPerInstance") == []
    assert account.desired("transcription") == 0


def test_the_queue_of_a_ticks_shards_delivers_them_to_the_function_that_sends_them(
    deployed: SharedDeployment, server: Server
) -> None:
    queue = deployed.deployment.physical(PLANE, "ShardQueue")
    function = deployed.function("PublishBacklogFunction")
    assert function.environment["SLUICE_SHARD_QUEUE_URL"] == queue
    mapping = event_source(server, queue)
    assert mapping["FunctionArn"].rsplit(":", 1)[-1] == function.name
    assert (mapping["BatchSize"], mapping["FunctionResponseTypes"]) == (4, ["ReportBatchItemFailures"])
    attributes = server.aws("sqs", "GetQueueAttributes", QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert (attributes["MessageRetentionPeriod"], attributes["VisibilityTimeout"]) == (
        "110",
        str(function.timeout_s),
    )


def event_source(server: Server, queue_url: str) -> dict[str, Any]:
    mappings = server.aws("lambda", "ListEventSourceMappings")["EventSourceMappings"]
    (mapping,) = [
        each for each in mappings if each["EventSourceArn"].rsplit(":", 1)[-1] == queue_url.rsplit("/", 1)[-1]
    ]
    return mapping


def test_the_queue_of_ticks_below_a_minute_delivers_them_to_their_own_function(
    deployed: SharedDeployment, server: Server
) -> None:
    queue = deployed.deployment.physical(PLANE, "TickQueue")
    function = deployed.function("DeadlineTickFunction")
    sender = deployed.function("PublishBacklogFunction")
    assert (
        function.environment["SLUICE_TICK_QUEUE_URL"] == queue == sender.environment["SLUICE_TICK_QUEUE_URL"]
    )
    table = deployed.deployment.physical(PLANE, "EngineStateTable")
    others = (
        deployed.function(name) for name in ("RetuneTargetFunction", "BootstrapFunction", "ShutdownFunction")
    )
    for each in (function, sender, *others):
        assert each.environment["SLUICE_STATE_TABLE"] == table
    mapping = event_source(server, queue)
    assert mapping["FunctionArn"].rsplit(":", 1)[-1] == function.name
    assert mapping["BatchSize"] == 3
    attributes = server.aws("sqs", "GetQueueAttributes", QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert (attributes["MessageRetentionPeriod"], attributes["VisibilityTimeout"]) == (
        "330",
        str(function.timeout_s),
    )


def test_a_tick_below_a_minute_starts_both_fleets_and_is_remembered(
    account: Account, start: Start, deployed: SharedDeployment, server: Server
) -> None:
    work_waits(account)
    moment = datetime.now(UTC).replace(microsecond=0)
    event = deadline_tick(account, moment)
    assert start("DeadlineTickFunction").invoke(event) is None
    assert (account.desired("transcription"), account.desired("queue-proc")) == (1, 1)
    table = deployed.deployment.physical(PLANE, "EngineStateTable")
    items = server.aws("dynamodb", "Scan", TableName=table)["Items"]
    assert [item["tick"] for item in items] == [{"N": str(round(moment.timestamp() * 10))}] * 2


def test_a_shard_is_published_and_repaired_as_the_ticks_minute_says(account: Account, start: Start) -> None:
    account.send("transcription", 3)
    now = datetime.now(UTC)
    event = sample("shard")
    (record,) = event["Records"]
    message = json.loads(record["body"])
    record["body"] = json.dumps({**message, "scheduled_time": now.isoformat()})
    function = start("PublishBacklogFunction")
    broken = {**record, "messageId": "broken", "body": "hello"}
    answer = function.answer({"Records": [record, broken]})
    assert answer == {"batchItemFailures": [{"itemIdentifier": "broken"}]}
    assert account.points("Sluice", "BacklogPerInstance") == [
        Point(dimensions=DIMENSIONS["transcription"], at=minute_of(now), value=3),
        Point(dimensions=DIMENSIONS["queue-proc"], at=minute_of(now), value=0),
    ]
    assert account.desired("transcription") == 1


def test_retune_target_moves_the_dynamic_target_and_nothing_else(account: Account, start: Start) -> None:
    """600 s of acceptable latency over 100 s a message: 6 messages per instance; the policy had 10."""
    now = datetime.now(UTC)
    took_100_s = {now - MINUTE - timedelta(seconds=50 * back): 100.0 for back in range(1, 41)}
    account.publish("Sluice", "MsgProcessingDuration", DIMENSIONS["queue-proc"], took_100_s)
    before = account.service_policy()
    assert before["TargetValue"] == 10
    assert start("RetuneTargetFunction").invoke(on_time(sample("schedule"), now)) is None
    assert account.service_policy() == {**before, "TargetValue": 6}
    assert account.group_target() == 8


@pytest.mark.parametrize(
    ("workload", "event"),
    [("transcription", "bootstrap-asg-direct"), ("queue-proc", "bootstrap-ecs-eventbridge")],
)
def test_the_bootstrap_function_starts_a_fleet_at_zero(
    workload: str, event: str, account: Account, start: Start
) -> None:
    account.send(workload, 3)
    assert account.desired(workload) == 0
    assert start("BootstrapFunction").invoke(sample(event)) is None
    assert account.desired(workload) == 1


@pytest.mark.parametrize(
    ("workload", "event"),
    [("transcription", "shutdown-asg-direct"), ("queue-proc", "shutdown-ecs-eventbridge")],
)
def test_shutdown_sets_a_proven_empty_fleet_to_zero(
    workload: str, event: str, account: Account, start: Start
) -> None:
    account.set_desired(workload, 2)
    # The present minute too: it is a past one if a new minute begins before the function reads the clock.
    empty = {minute_of(datetime.now(UTC)) - MINUTE * back: 0.0 for back in range(8)}
    account.publish("Sluice", "BacklogPerInstance", DIMENSIONS[workload], empty)
    assert start("ShutdownFunction").invoke(sample(event)) is None
    assert account.desired(workload) == 0


def test_shutdown_holds_a_fleet_whose_emptiness_is_not_proven(account: Account, start: Start) -> None:
    account.set_desired("transcription", 2)
    assert start("ShutdownFunction").invoke(sample("shutdown-asg-direct")) is None
    assert account.desired("transcription") == 2


def test_send_test_messages_fills_the_queue_of_its_workload(account: Account, start: Start) -> None:
    event = on_time(sample("send-test-messages"), datetime.now(UTC))
    assert start("SendTestMessagesFunction").invoke(event) is None
    bodies = [json.loads(body) for body in account.bodies("transcription")]
    assert bodies == [{"duration_s": 5}] * 50
    assert account.bodies("queue-proc") == []


def test_an_alarm_it_cannot_read_fails_the_invocation_and_starts_no_fleet(
    account: Account, start: Start
) -> None:
    account.send("transcription", 3)
    function = start("BootstrapFunction")
    answer = function.answer(sample("alarm-malformed"))
    assert answer["errorType"] == "ConfigError"
    assert "does not name its workload" in answer["errorMessage"]
    with pytest.raises(AssertionError, match="ConfigError"):
        function.invoke(sample("alarm-malformed"))
    assert account.desired("transcription") == 0
