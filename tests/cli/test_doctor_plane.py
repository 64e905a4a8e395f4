"""`sluice doctor` on the control plane of an embedded AWS: each check on a broken and a mended one."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import jsonschema
import pytest
from botocore.exceptions import ClientError

from sluice_cli import workloads
from sluice_operator.core.checks.finding import PlaneCheck
from sluice_operator.session import AwsSession
from sluice_sim.embedded.cloud import embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.quotas import ALARMS, CONCURRENCY

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCHEMA = json.loads((DOCS / "schemas/doctor.json").read_text(encoding="utf-8"))
PUBLISHER = "sluice-PublishBacklogFunction"
TICKS, TRIAL = f"{PUBLISHER}EveryMinute", "sluice-SendTestMessagesFunctionEveryMinute"
FAILURES = "https://sqs.eu-west-1.amazonaws.com/123456789012/sluice-FailureQueue"
HOUR_S = 3600


@pytest.fixture
def aws():
    """A control plane without workloads, deployed six minutes ago."""
    with embedded_aws(workloads.CHECKOUT) as account:
        Demo(account, workloads.CHECKOUT)
        account.clock.run_until(account.clock.now + 360)
        yield account


@pytest.fixture
def findings(aws, on_embedded):
    """`findings(seconds)`: the exit status and findings by their checks, that much later."""

    doctor = on_embedded(aws, "doctor")

    def read(later_s=0):
        aws.clock.run_until(aws.clock.now + later_s)
        answer = doctor("--json")
        document = json.loads(answer.stdout)
        jsonschema.validate(document, SCHEMA)
        return answer.exit_code, {each["check"]: each for each in document["plane"]}

    return read


def schedule(name, state):
    client = boto3.client("scheduler")
    kept = client.get_schedule(Name=name)
    asked = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    client.update_schedule(**{key: kept[key] for key in asked}, State=state)


def outcome(findings, check, later_s=0):
    code, found = findings(later_s)
    assert code == any(each["outcome"] != "pass" for each in found.values())
    return found[check]["outcome"], found[check]["message"]


def test_a_control_plane_that_runs_passes_every_check(findings):
    code, found = findings()
    assert {each["outcome"] for each in found.values()} == {"pass"}
    assert (code, [*found]) == (0, [*PlaneCheck])


def test_a_disabled_schedule_fails_and_three_minutes_later_its_missing_ticks_do(findings):
    schedule(TICKS, "DISABLED")
    assert outcome(findings, "plane-schedules") == (
        "fail",
        f"not enabled: {TICKS} (DISABLED); what these start does not run",
    )
    assert outcome(findings, "plane-ticks")[0] == "pass"
    assert outcome(findings, "plane-ticks", later_s=300)[0] == "fail"
    schedule(TICKS, "ENABLED")
    assert outcome(findings, "plane-schedules")[0] == "pass"
    assert outcome(findings, "plane-ticks", later_s=120)[0] == "pass"


def test_a_deleted_schedule_fails(findings):
    boto3.client("scheduler").delete_schedule(Name=TICKS)
    assert outcome(findings, "plane-schedules")[1].startswith(f"not enabled: {TICKS} (deleted)")


def test_a_trial_that_still_runs_is_warned_of(findings):
    schedule(TRIAL, "ENABLED")
    assert outcome(findings, "plane-schedules")[0] == "warn"
    schedule(TRIAL, "DISABLED")
    assert outcome(findings, "plane-schedules")[0] == "pass"


def test_failing_ticks_are_errors_and_in_the_failure_queue_until_an_hour_has_passed(findings, aws):
    publisher = aws.functions.named(PUBLISHER)
    handler = publisher.handler

    def fail(*_):
        raise ValueError("out of order")

    publisher.handler = fail
    assert outcome(findings, "plane-errors", later_s=1200)[0] == "fail"
    assert outcome(findings, "plane-failure-queue")[0] == "warn"
    publisher.handler = handler
    boto3.client("sqs").purge_queue(QueueUrl=FAILURES)
    assert outcome(findings, "plane-failure-queue", later_s=HOUR_S + 300)[0] == "pass"
    assert outcome(findings, "plane-errors")[0] == "pass"


def test_a_function_that_may_not_run_at_all_fails_and_its_throttles_are_warned_of_afterwards(findings):
    client = boto3.client("lambda")
    client.put_function_concurrency(FunctionName=PUBLISHER, ReservedConcurrentExecutions=0)
    assert outcome(findings, "plane-throttles", later_s=300)[0] == "fail"
    client.delete_function_concurrency(FunctionName=PUBLISHER)
    assert outcome(findings, "plane-throttles")[0] == "warn"
    assert outcome(findings, "plane-throttles", later_s=HOUR_S + 300)[0] == "pass"


def test_a_new_accounts_concurrency_is_warned_of(findings, aws):
    aws.quotas.applied[CONCURRENCY.code] = 10
    assert outcome(findings, "plane-concurrency")[0] == "warn"


def test_alarms_that_reach_the_accounts_quota_are_warned_of_and_then_fail(findings, aws):
    used = len(aws.cloudwatch.describe_alarms()["MetricAlarms"])
    assert outcome(findings, "alarm-quota")[0] == "pass"
    aws.quotas.applied[ALARMS.code] = used + 1
    assert outcome(findings, "alarm-quota")[0] == "warn"
    aws.quotas.applied[ALARMS.code] = used
    assert outcome(findings, "alarm-quota")[0] == "fail"


@pytest.mark.parametrize(
    ("operation", "checks"),
    [
        ("ListStackResources", {"schedules", "errors", "throttles", "failure-queue"}),
        ("GetSchedule", {"schedules"}),
        ("StartQuery", {"ticks"}),
        ("GetMetricData", {"errors", "throttles", "concurrency"}),
        ("GetFunctionConcurrency", {"throttles"}),
        ("GetAccountSettings", {"concurrency"}),
        ("GetQueueAttributes", {"failure-queue"}),
        ("DescribeAlarms", {"alarm-quota"}),
        ("GetServiceQuota", {"alarm-quota"}),
        ("DescribeParameters", {"parameter-quota"}),
    ],
)
def test_a_refused_read_is_unknown_and_the_other_checks_stand(findings, monkeypatch, operation, checks):
    client = AwsSession.client

    def made(session, service, **settings):
        built = client(session, service, **settings)

        def refuse(model, **_):
            if model.name == operation:
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)

        built.meta.events.register("before-parameter-build", refuse)
        return built

    monkeypatch.setattr(AwsSession, "client", made)
    code, found = findings()
    unread = {check.removeprefix("plane-") for check, each in found.items() if each["outcome"] == "unknown"}
    assert unread == checks
    assert all("AccessDenied" in each["message"] for each in found.values() if each["outcome"] == "unknown")
    assert code == 1


def test_the_operations_page_and_the_schema_have_every_check_of_the_plane_and_no_other():
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    section = page.split("## Checks of the control plane")[1].split("\n## ")[0]
    assert [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")] == [*PlaneCheck]
    listed = SCHEMA["properties"]["plane"]["items"]["properties"]["check"]["enum"]
    assert listed == [*PlaneCheck]
