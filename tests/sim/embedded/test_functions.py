"""The functions of the embedded AWS, their schedules, metrics and failures are read as at AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import CONTROL_PLANE, Demo
from sluice_sim.embedded.functions import DURATION_MS
from sluice_sim.embedded.quotas import CONCURRENCY
from tests.sim.embedded.test_embedded import ROOT, wait

PUBLISHER, BOOTSTRAP = "sluice-PublishBacklogFunction", "sluice-BootstrapFunction"
TICKS, TEST_MESSAGES = f"{PUBLISHER}EveryMinute", "sluice-SendTestMessagesFunctionEveryMinute"
RETUNER = "sluice-RetuneTargetFunction"
RETUNES = f"{RETUNER}EveryHour"


@pytest.fixture
def aws() -> Iterator[EmbeddedAws]:
    """A control plane without workloads."""
    with embedded_aws(ROOT) as account:
        Demo(account, ROOT)
        yield account


TICK_ALARMS = ("sluice-TicksFailAlarm", "sluice-TicksMissingAlarm")


def fail(*_: object) -> None:
    raise ValueError("the queue is on fire")


def ticks(aws: EmbeddedAws, minutes: int = 3) -> int:
    """How many ticks start in the next minutes; one that is due at their end starts later."""
    before = sum(line.function == PUBLISHER for line in aws.log)
    wait(aws, minutes * 60)
    return sum(line.function == PUBLISHER for line in aws.log) - before


def sums(aws: EmbeddedAws, function: str, *, minutes: int = 60) -> dict[str, float]:
    """The sums of the metrics of the last minutes that have data points."""
    found = {}
    for metric in ("Invocations", "Errors", "Throttles", "Duration"):
        points = aws.cloudwatch.get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": "FunctionName", "Value": function}],
            StartTime=datetime.fromtimestamp(aws.clock.now - minutes * 60, UTC),
            EndTime=datetime.fromtimestamp(aws.clock.now, UTC),
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        if points:
            found[metric] = sum(point["Sum"] for point in points)
    return found


def alarm_states(aws: EmbeddedAws, *names: str) -> list[str]:
    found = aws.cloudwatch.describe_alarms(AlarmNames=list(names))["MetricAlarms"]
    return [alarm["StateValue"] for alarm in found]


def update(name: str, **changed: Any) -> None:
    """Update a schedule as the AWS CLI's reader would: with all that it had, and what changes."""
    client = boto3.client("scheduler")
    kept = client.get_schedule(Name=name)
    asked = ("Name", "State", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    client.update_schedule(**{key: kept[key] for key in asked} | changed)


# ---- Lambda ------------------------------------------------------------------------------------------------


def test_the_functions_are_those_of_the_template_with_their_configuration(aws: EmbeddedAws) -> None:
    listed = {each["FunctionName"]: each for each in boto3.client("lambda").list_functions()["Functions"]}
    assert len(listed) == 8
    publisher = boto3.client("lambda").get_function_configuration(FunctionName=PUBLISHER)
    assert publisher["FunctionArn"] == listed[PUBLISHER]["FunctionArn"]
    assert (publisher["Timeout"], publisher["MemorySize"], publisher["Runtime"]) == (50, 512, "python3.13")
    assert publisher["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == "publish_backlog"
    assert publisher["Role"] == "arn:aws:iam::123456789012:role/sluice-PublishBacklogRole"
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        boto3.client("lambda").get_function_configuration(FunctionName="other")


def test_reserved_concurrency_is_taken_from_the_accounts(aws: EmbeddedAws) -> None:
    client = boto3.client("lambda")
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=PUBLISHER)
    client.put_function_concurrency(FunctionName=PUBLISHER, ReservedConcurrentExecutions=5)
    limit = client.get_account_settings()["AccountLimit"]
    assert (limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]) == (1000, 995)
    assert client.get_account_settings()["AccountUsage"]["FunctionCount"] == 8
    aws.quotas.applied[CONCURRENCY.code] = 10
    assert client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"] == 10


def test_the_template_may_reserve_concurrency_and_an_update_of_the_stack_leaves_an_operators() -> None:
    with embedded_aws(ROOT) as aws:
        aws.stacks.deploy("template.yaml", CONTROL_PLANE, {"ReservedConcurrency": "7"})
        client = boto3.client("lambda")
        assert client.get_function_concurrency(FunctionName=BOOTSTRAP)["ReservedConcurrentExecutions"] == 7
        client.put_function_concurrency(FunctionName=BOOTSTRAP, ReservedConcurrentExecutions=0)
        aws.stacks.deploy("template.yaml", CONTROL_PLANE, {"ReservedConcurrency": "7", "LogLevel": "DEBUG"})
        assert client.get_function_concurrency(FunctionName=BOOTSTRAP)["ReservedConcurrentExecutions"] == 0
        variables = client.get_function_configuration(FunctionName=BOOTSTRAP)["Environment"]["Variables"]
        assert variables["POWERTOOLS_LOG_LEVEL"] == "DEBUG"


def test_a_function_with_no_concurrency_is_throttled_until_the_reservation_is_removed(
    aws: EmbeddedAws,
) -> None:
    client = boto3.client("lambda")
    client.put_function_concurrency(FunctionName=PUBLISHER, ReservedConcurrentExecutions=0)
    assert ticks(aws, 5) == 0
    assert sums(aws, PUBLISHER) == {"Invocations": 0, "Errors": 0, "Throttles": 3}
    client.delete_function_concurrency(FunctionName=PUBLISHER)
    assert ticks(aws, 3) > 0


def test_each_invocation_is_counted_and_a_failed_one_is_an_error_too(aws: EmbeddedAws) -> None:
    wait(aws, 300)
    assert sums(aws, PUBLISHER) == {
        "Invocations": 3,
        "Errors": 0,
        "Throttles": 0,
        "Duration": 3 * DURATION_MS,
    }
    assert sums(aws, BOOTSTRAP) == {}
    aws.functions.named(PUBLISHER).handler = fail
    wait(aws, 300)
    counted = sums(aws, PUBLISHER)
    assert 0 < counted["Errors"] < counted["Invocations"]


def test_the_planes_alarms_see_failing_and_missing_ticks(aws: EmbeddedAws) -> None:
    wait(aws, 600)
    assert alarm_states(aws, *TICK_ALARMS) == ["OK", "OK"]
    aws.functions.named(PUBLISHER).handler = fail
    wait(aws, 600)
    assert alarm_states(aws, *TICK_ALARMS) == ["ALARM", "OK"]
    update(TICKS, State="DISABLED")
    wait(aws, 900)
    assert alarm_states(aws, *TICK_ALARMS) == ["OK", "ALARM"]


def test_an_event_that_fails_in_every_attempt_is_in_the_failure_queue(aws: EmbeddedAws) -> None:
    bootstrap = aws.functions.named(BOOTSTRAP)
    bootstrap.handler = fail
    aws.functions.invoke_async(bootstrap, {"alarmArn": "of a test"})
    url = aws.sqs.get_queue_url(QueueName="sluice-FailureQueue")["QueueUrl"]
    wait(aws, 179)
    assert "Messages" not in aws.sqs.receive_message(QueueUrl=url)
    wait(aws, 1)
    (message,) = aws.sqs.receive_message(QueueUrl=url)["Messages"]
    record = json.loads(message["Body"])
    assert record["requestPayload"] == {"alarmArn": "of a test"}
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responsePayload"] == {"errorType": "ValueError", "errorMessage": "the queue is on fire"}


def test_a_throttled_event_of_no_concurrency_goes_to_the_failure_queue_at_once(aws: EmbeddedAws) -> None:
    boto3.client("lambda").put_function_concurrency(FunctionName=BOOTSTRAP, ReservedConcurrentExecutions=0)
    aws.functions.invoke_async(aws.functions.named(BOOTSTRAP), {})
    url = aws.sqs.get_queue_url(QueueName="sluice-FailureQueue")["QueueUrl"]
    (message,) = aws.sqs.receive_message(QueueUrl=url)["Messages"]
    assert "reserved concurrency" in json.loads(message["Body"])["responsePayload"]["errorMessage"]


# ---- EventBridge Scheduler ---------------------------------------------------------------------------------


def test_the_schedules_are_those_of_the_template_and_the_test_messages_is_disabled(aws: EmbeddedAws) -> None:
    listed = boto3.client("scheduler").list_schedules()["Schedules"]
    states = {schedule["Name"]: schedule["State"] for schedule in listed}
    assert states == {TICKS: "ENABLED", RETUNES: "ENABLED", TEST_MESSAGES: "DISABLED"}
    kept = boto3.client("scheduler").get_schedule(Name=TICKS)
    assert kept["Target"]["Arn"] == aws.functions.named(PUBLISHER).arn
    assert kept["ScheduleExpression"] == "cron(* * * * ? *)"
    assert kept["Target"]["RetryPolicy"] == {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0}


def test_a_disabled_schedule_starts_no_tick_until_it_is_enabled(aws: EmbeddedAws) -> None:
    assert ticks(aws) > 0
    update(TICKS, State="DISABLED")
    wait(aws, 60)  # the one that was due
    assert ticks(aws) == 0
    update(TICKS, State="ENABLED")
    assert ticks(aws) > 0


def test_an_update_that_names_no_state_enables_a_schedule(aws: EmbeddedAws) -> None:
    client = boto3.client("scheduler")
    kept = client.get_schedule(Name=TEST_MESSAGES)
    asked = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    client.update_schedule(**{key: kept[key] for key in asked})
    assert client.get_schedule(Name=TEST_MESSAGES)["State"] == "ENABLED"


def test_a_schedule_whose_expression_is_changed_follows_the_new_one(aws: EmbeddedAws) -> None:
    update(TICKS, ScheduleExpression="rate(5 minutes)")
    wait(aws, 60)
    started = sums(aws, PUBLISHER).get("Invocations", 0)
    wait(aws, 20 * 60)
    assert sums(aws, PUBLISHER)["Invocations"] - started in (3, 4)


def test_a_deleted_schedule_starts_no_tick(aws: EmbeddedAws) -> None:
    boto3.client("scheduler").delete_schedule(Name=TICKS)
    assert ticks(aws) == 0


def test_an_update_of_the_stack_that_leaves_a_schedule_as_it_was_leaves_an_operators_state(
    aws: EmbeddedAws,
) -> None:
    update(TICKS, State="DISABLED")
    aws.stacks.deploy("template.yaml", CONTROL_PLANE, {"TestMessages": "7"})
    client = boto3.client("scheduler")
    assert client.get_schedule(Name=TICKS)["State"] == "DISABLED"
    assert '"messages": 7' in client.get_schedule(Name=TEST_MESSAGES)["Target"]["Input"]


def test_an_update_of_the_stack_leaves_one_subscription_to_its_event(aws: EmbeddedAws) -> None:
    wait(aws, 120)
    before = sum(line.function == RETUNER for line in aws.log)
    aws.stacks.deploy("template.yaml", CONTROL_PLANE, {})
    assert sum(line.function == RETUNER for line in aws.log) - before == before
