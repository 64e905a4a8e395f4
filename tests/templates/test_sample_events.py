"""events/: the samples are what AWS would send for the templates."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from sluice.events import parse_shard, parse_switch
from tests.templates.stacks import ROOT, alarm_arn, dimensions, document, template, workload

ALARMS = [(kind, fleet) for kind in ("bootstrap", "shutdown") for fleet in ("asg", "ecs")]
EXPECTED = {
    "schedule",
    "schedule-manual",
    "schedule-stale",
    "stack-status",
    "send-test-messages",
    "surge",
    "surge-alarm-direct",
    "surge-alarm-eventbridge",
    "switch",
    "switch-execution-status",
    "shard",
    "deadline-tick",
    "alarm-ok",
    "alarm-insufficient",
    "alarm-composite",
    "alarm-malformed",
    *(f"{kind}-{fleet}-{path}" for kind, fleet in ALARMS for path in ("direct", "eventbridge")),
}


def event(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "events" / f"{name}.json").read_text())


def md5(body: str) -> str:
    """The MD5 sum with which SQS confirms a body; it is not used for security."""
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def as_alarm_event_query(query: dict[str, Any]) -> dict[str, Any]:
    """A metric query of a template in the words of an alarm event."""
    translated = {
        event_key: query[key]
        for key, event_key in (("Id", "id"), ("Expression", "expression"), ("Label", "label"))
        if key in query
    }
    if "MetricStat" in query:
        stat = query["MetricStat"]
        translated["metricStat"] = {
            "metric": {
                "namespace": stat["Metric"]["Namespace"],
                "name": stat["Metric"]["MetricName"],
                "dimensions": dimensions(stat["Metric"]["Dimensions"]),
            },
            "period": stat["Period"],
            "stat": stat["Stat"],
        }
    return {**translated, "returnData": query["ReturnData"]}


def test_there_is_one_sample_per_trigger_and_variant() -> None:
    assert {path.stem for path in (ROOT / "events").glob("*.json")} == EXPECTED


@pytest.mark.parametrize(("kind", "fleet"), ALARMS)
def test_an_alarm_sample_carries_what_the_workload_template_defines(kind: str, fleet: str) -> None:
    alarm = workload(fleet).resources[f"{kind.title()}Alarm"].properties
    sample = event(f"{kind}-{fleet}-direct")
    assert sample["alarmArn"] == alarm_arn(alarm["AlarmName"])
    assert sample["alarmData"]["alarmName"] == alarm["AlarmName"]
    assert sample["alarmData"]["configuration"] == {
        "description": alarm["AlarmDescription"],
        "metrics": [as_alarm_event_query(query) for query in alarm["Metrics"]],
    }
    state = sample["alarmData"]["state"]
    reason = json.loads(state["reasonData"])
    assert (state["value"], reason["threshold"]) == ("ALARM", alarm["Threshold"])
    assert len(reason["recentDatapoints"]) == int(alarm["EvaluationPeriods"])


@pytest.mark.parametrize(("kind", "fleet"), ALARMS)
def test_the_event_bus_carries_the_same_alarm_in_its_envelope(kind: str, fleet: str) -> None:
    direct, bus = event(f"{kind}-{fleet}-direct"), event(f"{kind}-{fleet}-eventbridge")
    assert bus["detail"] == direct["alarmData"]
    assert bus["resources"] == [direct["alarmArn"]]
    assert (bus["source"], bus["detail-type"]) == ("aws.cloudwatch", "CloudWatch Alarm State Change")
    assert (bus["account"], bus["region"]) == (direct["accountId"], direct["region"])


def test_the_samples_of_a_surge_are_the_commands_request_and_a_critical_alarm_in_both_forms() -> None:
    assert event("surge").keys() == {"workload", "by", "to", "hold_s"}
    stack = workload("asg", DepthAlarms="true", SurgeOnCriticalAlarms="true")
    critical, direct = stack.resources["CriticalDepthAlarm"].properties, event("surge-alarm-direct")
    bus = event("surge-alarm-eventbridge")
    assert [direct["alarmArn"]] == bus["resources"] == document(stack)["surge"]["alarm_arns"]
    assert direct["alarmData"] == bus["detail"]
    configuration = direct["alarmData"]["configuration"]
    assert configuration["description"] == critical["AlarmDescription"]
    [metric] = [each["metricStat"]["metric"] for each in configuration["metrics"]]
    assert metric["name"] == critical["MetricName"]
    reason = json.loads(direct["alarmData"]["state"]["reasonData"])
    assert min(reason["recentDatapoints"]) > float(critical["Threshold"]) == reason["threshold"]


@pytest.mark.parametrize(("name", "state"), [("alarm-ok", "OK"), ("alarm-insufficient", "INSUFFICIENT_DATA")])
def test_the_ok_samples_differ_from_the_alarm_sample_only_in_state(name: str, state: str) -> None:
    not_in_alarm, in_alarm = event(name), event("bootstrap-asg-direct")
    assert not_in_alarm["alarmData"]["state"]["value"] == state
    assert not_in_alarm["alarmData"]["configuration"] == in_alarm["alarmData"]["configuration"]
    assert not_in_alarm["alarmArn"] == in_alarm["alarmArn"]


def test_the_malformed_sample_lacks_its_description_alone() -> None:
    malformed, whole = event("alarm-malformed"), event("bootstrap-asg-direct")
    del whole["alarmData"]["configuration"]["description"]
    assert malformed == whole


def test_the_composite_sample_has_a_rule_and_no_metrics() -> None:
    configuration = event("alarm-composite")["alarmData"]["configuration"]
    assert "alarmRule" in configuration
    assert "metrics" not in configuration


def test_the_stack_sample_is_of_a_status_that_starts_a_retune() -> None:
    sample = event("stack-status")
    assert sample["detail"]["status-details"]["status"] == "UPDATE_COMPLETE"
    assert sample["resources"] == [sample["detail"]["stack-id"]]
    assert (sample["source"], sample["detail-type"]) == (
        "aws.cloudformation",
        "CloudFormation Stack Status Change",
    )


def test_the_schedules_samples_have_the_keys_that_the_schedules_send() -> None:
    assert set(event("schedule")) == set(event("schedule-stale")) == {"scheduled_time"}
    assert event("schedule-manual") == {}
    assert set(event("send-test-messages")) == {"scheduled_time", "workload", "messages", "duration_s"}


def test_the_shard_sample_is_a_message_of_sqs_that_carries_what_the_workloads_stacks_registered() -> None:
    [record] = event("shard")["Records"]
    assert (record["eventSource"], record["md5OfBody"]) == ("aws:sqs", md5(record["body"]))
    shard = parse_shard(record["body"])
    assert {name: json.loads(text) for name, text in shard.documents.items()} == {
        stack["name"]: stack for stack in (document(workload("ecs")), document(workload("asg")))
    }
    assert list(shard.documents) == sorted(shard.documents)
    assert f"{shard.scheduled:%Y-%m-%dT%H:%M:%SZ}" == event("schedule")["scheduled_time"]


def test_the_sample_of_a_tick_below_a_minute_carries_a_workload_of_the_deadline_engine() -> None:
    [record] = event("deadline-tick")["Records"]
    assert (record["eventSource"], record["md5OfBody"]) == ("aws:sqs", md5(record["body"]))
    tick = parse_shard(record["body"])
    stack = workload("asg", Scaling="deadline", AcceptableLatencySeconds="300", ProcessingSeconds="5")
    assert {name: json.loads(text) for name, text in tick.documents.items()} == {
        "transcription": document(stack)
    }
    assert f"{tick.scheduled:%Y-%m-%dT%H:%M:%SZ}" == "2026-01-15T12:00:30Z"


def test_the_samples_of_a_switch_are_a_step_and_the_end_of_an_execution_in_the_middle() -> None:
    step, ended = parse_switch(event("switch")), event("switch-execution-status")["detail"]
    assert step.execution == ended["executionArn"]
    assert json.loads(ended["input"]).keys() == {"workload", "to", "by"}
    machine = template("template.yaml")["Resources"]["SwitchStateMachine"]["Properties"]
    payload = machine["Definition"]["States"]["Begin"]["Parameters"]["Payload"]
    assert {key.removesuffix(".$") for key in payload} == event("switch").keys()
