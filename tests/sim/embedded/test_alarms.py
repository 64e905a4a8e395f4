"""CloudWatch's alarms of the embedded AWS are described, muted and deleted through boto3, as at AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.scenarios import QUEUE_PROC, TRANSCRIPTION

ROOT = Path(__file__).resolve().parents[3]
BOOTSTRAP, SILENT = "sluice-transcription-bootstrap", "sluice-transcription-silent"
HIGH, LOW = "TargetTracking-transcription-AlarmHigh-", "TargetTracking-transcription-AlarmLow-"


@pytest.fixture
def aws() -> Iterator[EmbeddedAws]:
    """The transcription workload, deployed half a minute ago."""
    with embedded_aws(ROOT) as account:
        demo = Demo(account, ROOT)
        demo.add_workload(TRANSCRIPTION)
        wait(account, 30)
        yield account


def wait(aws: EmbeddedAws, seconds: float) -> None:
    aws.clock.run_until(aws.clock.now + seconds)


def send(aws: EmbeddedAws, messages: int) -> None:
    url = aws.sqs.get_queue_url(QueueName="transcription")["QueueUrl"]
    for number in range(messages):
        aws.sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"duration_s": 110, "number": number}))


def alarms(aws: EmbeddedAws, **asked: Any) -> dict[str, dict[str, Any]]:
    return {alarm["AlarmName"]: alarm for alarm in aws.cloudwatch.describe_alarms(**asked)["MetricAlarms"]}


def alarm(aws: EmbeddedAws, prefix: str) -> dict[str, Any]:
    (found,) = alarms(aws, AlarmNamePrefix=prefix).values()
    return found


def history(aws: EmbeddedAws, name: str | None = None, **asked: Any) -> list[dict[str, Any]]:
    asked |= {"AlarmName": name} if name else {}
    return list(aws.cloudwatch.describe_alarm_history(**asked)["AlarmHistoryItems"])


# ---- DescribeAlarms ----------------------------------------------------------------------------------------


def test_a_new_alarm_is_unchecked_and_has_too_little_data(aws: EmbeddedAws) -> None:
    found = alarm(aws, BOOTSTRAP)
    assert found["StateValue"] == "INSUFFICIENT_DATA"
    assert found["StateReason"] == "Unchecked: Initial alarm creation"
    assert found["StateUpdatedTimestamp"] == datetime.fromtimestamp(aws.clock.now - 30, UTC)


@pytest.mark.slow
def test_an_alarm_shows_its_state_its_reason_and_since_when_in_virtual_time(aws: EmbeddedAws) -> None:
    send(aws, 240)
    wait(aws, 600)
    found = alarm(aws, HIGH)
    assert found["StateValue"] == "ALARM"
    assert found["StateReason"].startswith("Threshold Crossed: 3 out of the last 3 datapoints [")
    data = json.loads(found["StateReasonData"])
    assert data["threshold"] == found["Threshold"] == 8
    assert (data["version"], data["period"]) == ("1.0", 60)
    assert len(data["recentDatapoints"]) >= 3
    ago = datetime.fromtimestamp(aws.clock.now, UTC) - found["StateUpdatedTimestamp"]
    assert timedelta(0) < ago < timedelta(minutes=10)


def test_metric_math_is_shown_as_it_was_put_with_numbers_and_flags(aws: EmbeddedAws) -> None:
    entries = alarm(aws, BOOTSTRAP)["Metrics"]
    (returned,) = [entry for entry in entries if entry["ReturnData"]]
    assert "Expression" in returned
    visible = next(entry["MetricStat"] for entry in entries if "MetricStat" in entry)
    assert visible["Period"] == 60
    assert visible["Metric"]["Dimensions"] == [{"Name": "QueueName", "Value": "transcription"}]


def test_a_policys_alarms_name_the_policy_and_their_thresholds_follow_a_retune(aws: EmbeddedAws) -> None:
    (policy,) = aws.autoscaling.describe_policies(AutoScalingGroupName="transcription")["ScalingPolicies"]
    assert alarm(aws, HIGH)["AlarmActions"] == [policy["PolicyARN"]]
    assert alarm(aws, HIGH)["AlarmDescription"] == (
        f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy['PolicyARN']}."
    )
    assert (alarm(aws, HIGH)["Threshold"], alarm(aws, LOW)["Threshold"]) == (8, pytest.approx(5.6))
    assert (alarm(aws, HIGH)["EvaluationPeriods"], alarm(aws, LOW)["EvaluationPeriods"]) == (3, 15)
    aws.autoscaling.put_scaling_policy(
        AutoScalingGroupName="transcription",
        PolicyName=policy["PolicyName"],
        PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration=policy["TargetTrackingConfiguration"] | {"TargetValue": 20.0},
    )
    assert alarm(aws, HIGH)["Threshold"] == 20
    aws.autoscaling.delete_policy(AutoScalingGroupName="transcription", PolicyName=policy["PolicyName"])
    assert alarms(aws, AlarmNamePrefix="TargetTracking-transcription-") == {}


def test_a_services_policy_has_both_alarms_too() -> None:
    with embedded_aws(ROOT) as aws:
        Demo(aws, ROOT).add_workload(QUEUE_PROC)
        found = alarms(aws, AlarmNamePrefix="TargetTracking-service/workers/queue-proc-")
        assert [name.split("-")[3] for name in found] == ["AlarmHigh", "AlarmLow"]
        [policy] = aws.scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
        actions = {action for each in found.values() for action in each["AlarmActions"]}
        assert {action.split(":createdBy/")[0] for action in actions} == {policy["PolicyARN"]}
        assert policy["PolicyARN"] not in actions


def test_alarms_are_found_by_names_prefix_state_and_action(aws: EmbeddedAws) -> None:
    assert set(alarms(aws, AlarmNames=[BOOTSTRAP, SILENT, "other"])) == {BOOTSTRAP, SILENT}
    assert set(alarms(aws, StateValue="ALARM")) == set()
    assert set(alarms(aws, ActionPrefix="arn:aws:autoscaling")) == {
        alarm(aws, HIGH)["AlarmName"],
        alarm(aws, LOW)["AlarmName"],
    }
    assert alarms(aws, AlarmTypes=["CompositeAlarm"]) == {}


def test_alarms_come_in_pages(aws: EmbeddedAws) -> None:
    pages = aws.cloudwatch.get_paginator("describe_alarms").paginate(PaginationConfig={"PageSize": 2})
    found = [[alarm["AlarmName"] for alarm in page["MetricAlarms"]] for page in pages]
    assert {len(names) for names in found[:-1]} == {2}
    assert [name for names in found for name in names] == list(alarms(aws))


# ---- DescribeAlarmHistory ----------------------------------------------------------------------------------


def test_the_history_has_each_change_and_each_action_newest_first(aws: EmbeddedAws) -> None:
    send(aws, 24)
    wait(aws, 180)
    last, newest, change, first = history(aws, BOOTSTRAP)
    assert (newest["HistoryItemType"], change["HistoryItemType"]) == ("Action", "StateUpdate")
    assert newest["Timestamp"] == change["Timestamp"] > first["Timestamp"]
    assert change["HistorySummary"] == "Alarm updated from OK to ALARM"
    data = json.loads(change["HistoryData"])
    assert data["version"] == "1.0"
    assert (data["oldState"]["stateValue"], data["newState"]["stateValue"]) == ("OK", "ALARM")
    assert data["oldState"]["stateReason"] == json.loads(first["HistoryData"])["newState"]["stateReason"]
    after = json.loads(last["HistoryData"])
    assert data["newState"]["stateReason"] == after["oldState"]["stateReason"]
    assert after["newState"]["stateReason"] == alarm(aws, BOOTSTRAP)["StateReason"]
    assert data["newState"]["stateReasonData"]["period"] == 60
    (function,) = alarm(aws, BOOTSTRAP)["AlarmActions"]
    assert newest["HistorySummary"] == f"Successfully executed action {function}"
    assert json.loads(newest["HistoryData"]) == {"actionState": "Succeeded", "notificationResource": function}


@pytest.mark.slow
def test_the_history_is_filtered_by_kind_and_time_and_comes_in_pages(aws: EmbeddedAws) -> None:
    send(aws, 24)
    wait(aws, 1200)
    everything = history(aws)
    assert [item["Timestamp"] for item in everything] == sorted(
        (item["Timestamp"] for item in everything), reverse=True
    )
    assert history(aws, ScanBy="TimestampAscending") == everything[::-1]
    actions = history(aws, HistoryItemType="Action")
    assert actions == [item for item in everything if item["HistoryItemType"] == "Action"]
    noon = everything[3]["Timestamp"]
    assert history(aws, StartDate=noon) == [item for item in everything if item["Timestamp"] >= noon]
    assert history(aws, EndDate=noon) == [item for item in everything if item["Timestamp"] <= noon]
    paginator = aws.cloudwatch.get_paginator("describe_alarm_history")
    pages = paginator.paginate(PaginationConfig={"PageSize": 3})
    assert [item for page in pages for item in page["AlarmHistoryItems"]] == everything


def test_an_action_that_may_not_invoke_its_function_is_in_the_history_as_failed(aws: EmbeddedAws) -> None:
    aws.functions.named("sluice-BootstrapFunction").invoked_by.clear()
    send(aws, 24)
    wait(aws, 180)
    (action,) = history(aws, BOOTSTRAP, HistoryItemType="Action")
    assert action["HistorySummary"].startswith("Failed to execute action arn:aws:lambda:")
    assert json.loads(action["HistoryData"])["actionState"] == "Failed"


@pytest.mark.slow
def test_a_policys_alarm_has_its_policy_as_action(aws: EmbeddedAws) -> None:
    send(aws, 24)
    wait(aws, 600)
    high = alarm(aws, HIGH)
    (action,) = history(aws, high["AlarmName"], HistoryItemType="Action")
    assert action["HistorySummary"] == f"Successfully executed action {high['AlarmActions'][0]}"


# ---- What an operator does ---------------------------------------------------------------------------------


def test_a_muted_alarm_changes_its_state_and_does_nothing_until_it_is_enabled(aws: EmbeddedAws) -> None:
    aws.cloudwatch.disable_alarm_actions(AlarmNames=[BOOTSTRAP])
    assert alarm(aws, BOOTSTRAP)["ActionsEnabled"] is False
    send(aws, 24)
    wait(aws, 180)
    kinds = [item["HistoryItemType"] for item in history(aws, BOOTSTRAP)]
    assert set(kinds) == {"StateUpdate"}
    aws.cloudwatch.enable_alarm_actions(AlarmNames=[BOOTSTRAP])
    assert alarm(aws, BOOTSTRAP)["ActionsEnabled"] is True


@pytest.mark.parametrize("by_hand", ["disable_alarm_actions", "delete_alarms"])
@pytest.mark.slow
def test_a_policy_whose_alarm_is_muted_or_deleted_does_not_scale_out(aws: EmbeddedAws, by_hand: str) -> None:
    getattr(aws.cloudwatch, by_hand)(AlarmNames=[alarm(aws, HIGH)["AlarmName"]])
    send(aws, 24)
    wait(aws, 900)
    (group,) = aws.autoscaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    assert group["DesiredCapacity"] == 1  # by the bootstrap


def test_a_deleted_alarm_vanishes_and_its_history_stays(aws: EmbeddedAws) -> None:
    wait(aws, 120)
    before = history(aws, BOOTSTRAP)
    aws.cloudwatch.delete_alarms(AlarmNames=[BOOTSTRAP])
    assert BOOTSTRAP not in alarms(aws)
    assert history(aws, BOOTSTRAP) == before != []


def test_if_one_of_several_alarms_is_unknown_none_is_deleted(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match="ResourceNotFound"):
        aws.cloudwatch.delete_alarms(AlarmNames=[BOOTSTRAP, "other"])
    assert BOOTSTRAP in alarms(aws)


def test_an_alarm_that_an_operator_puts_is_evaluated_like_the_others(aws: EmbeddedAws) -> None:
    aws.cloudwatch.put_metric_alarm(
        AlarmName="own",
        Namespace="AWS/SQS",
        MetricName="ApproximateNumberOfMessagesVisible",
        Dimensions=[{"Name": "QueueName", "Value": "transcription"}],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=5,
        ComparisonOperator="GreaterThanThreshold",
    )
    send(aws, 24)
    wait(aws, 180)
    found = alarm(aws, "own")
    assert found["StateValue"] == "ALARM"
    assert (found["Namespace"], found["MetricName"]) == ("AWS/SQS", "ApproximateNumberOfMessagesVisible")
    assert found["Dimensions"] == [{"Name": "QueueName", "Value": "transcription"}]
    assert (found["Statistic"], found["Period"], found["Threshold"]) == ("Maximum", 60, 5)
