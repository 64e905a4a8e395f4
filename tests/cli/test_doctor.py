"""`sluice doctor` over the embedded AWS: each check in a broken and a mended account."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import boto3
import jsonschema
import pytest
from moto.autoscaling.models import autoscaling_backends

from sluice.document.schedule_lines import parsed
from sluice_cli import workloads
from sluice_operator.core.checks.finding import Check, PlaneCheck
from sluice_operator.doctor import facts
from sluice_sim.embedded import busy_account as embedded
from sluice_sim.embedded.busy_account import busy_account
from sluice_sim.embedded.roles import put_role_policy

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCHEMA = json.loads((DOCS / "schemas/doctor.json").read_text(encoding="utf-8"))
POLICY = json.loads((DOCS / "policies/doctor.json").read_text(encoding="utf-8"))
NAME = "transcription"
BOOTSTRAP = f"sluice-{NAME}-bootstrap"
ALARM_FIELDS = boto3.client("cloudwatch").meta.service_model.shape_for("PutMetricAlarmInput").members
DEAD_LETTERS = f"https://sqs.eu-west-1.amazonaws.com/123456789012/dead-{NAME}"
ROLE = f"arn:aws:iam::123456789012:role/{NAME}-worker"
WORK = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes")
QUEUE = f"https://sqs.eu-west-1.amazonaws.com/123456789012/{NAME}"


@pytest.fixture(scope="module")
def busy():
    """One account without poison pills for all tests: playing it takes seconds."""
    with (
        mock.patch.object(embedded, "_give_up_messages"),
        busy_account(workloads.CHECKOUT) as account,
    ):
        yield account


@pytest.fixture
def doctor(on_embedded, busy):
    """`doctor(...)`: one call of `sluice doctor --embedded` on the account as it stands."""

    return on_embedded(busy, "doctor")


@pytest.fixture
def findings(doctor):
    """`findings()`: exit status and the findings of transcription by their checks."""

    def read():
        answer = doctor("--json", NAME)
        document = json.loads(answer.stdout)
        jsonschema.validate(document, SCHEMA)
        return answer.exit_code, {each["check"]: each for each in document["workloads"][0]["findings"]}

    return read


@contextmanager
def queue_attribute(name, value, url=QUEUE):
    sqs = boto3.client("sqs")
    before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"].get(name, "")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={name: value})
    yield
    sqs.set_queue_attributes(QueueUrl=url, Attributes={name: before})


@contextmanager
def untagged_queue():
    sqs = boto3.client("sqs")
    sqs.untag_queue(QueueUrl=QUEUE, TagKeys=["sluice"])
    yield
    sqs.tag_queue(QueueUrl=QUEUE, Tags={"sluice": "managed"})


@contextmanager
def key(disabled=False):
    """The queue is encrypted with a key of its own; gives its ARN."""
    kms = boto3.client("kms")
    created = kms.create_key()["KeyMetadata"]
    key_id = created["KeyId"]
    if disabled:
        kms.disable_key(KeyId=key_id)
    with queue_attribute("KmsMasterKeyId", key_id):
        yield created["Arn"]


def allowing(*actions, effect="Allow", resource="*", **more):
    return {"Effect": effect, "Action": [*actions], "Resource": resource, **more}


@contextmanager
def role_policy(*statements, name="work", role=f"{NAME}-worker"):
    """The workers' role with these statements in place of its own, or beside them by another name."""
    iam = boto3.client("iam")
    kept = name in iam.list_role_policies(RoleName=role)["PolicyNames"]
    before = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] if kept else None
    put_role_policy(role, name, *statements)
    yield
    if before:
        put_role_policy(role, name, *before["Statement"])
    else:
        iam.delete_role_policy(RoleName=role, PolicyName=name)


@contextmanager
def profile_without_role():
    iam, name = boto3.client("iam"), f"{NAME}-worker"
    iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=name)
    yield
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


@contextmanager
def launch_configuration(profile=f"{NAME}-worker"):
    """The group starts instances from a launch configuration; moto has no way back."""
    client = boto3.client("autoscaling")
    client.create_launch_configuration(
        LaunchConfigurationName="older", ImageId="ami-1", InstanceType="g5.xlarge", IamInstanceProfile=profile
    )
    client.update_auto_scaling_group(AutoScalingGroupName=NAME, LaunchConfigurationName="older")
    yield
    [moto_group] = autoscaling_backends["123456789012"]["eu-west-1"].describe_auto_scaling_groups([NAME])
    moto_group.launch_configuration_name = None


@contextmanager
def mode(name):
    """The workload's document with another mode."""
    ssm, path = boto3.client("ssm"), f"/sluice/workloads/{NAME}"
    text = ssm.get_parameter(Name=path)["Parameter"]["Value"]
    ssm.put_parameter(Name=path, Value=text.replace('"active"', f'"{name}"'), Overwrite=True)
    yield
    ssm.put_parameter(Name=path, Value=text, Overwrite=True)


@contextmanager
def group(**changes):
    """The group with other settings."""
    client = boto3.client("autoscaling")
    [before] = client.describe_auto_scaling_groups(AutoScalingGroupNames=[NAME])["AutoScalingGroups"]
    client.update_auto_scaling_group(AutoScalingGroupName=NAME, **changes)
    yield
    client.update_auto_scaling_group(
        AutoScalingGroupName=NAME, **{setting: before[setting] for setting in changes}
    )


@contextmanager
def of_group(do, undo, do_with=None, undo_with=None):
    """Between two operations of Auto Scaling on the group."""
    client = boto3.client("autoscaling")
    getattr(client, do)(AutoScalingGroupName=NAME, **(do_with or {}))
    yield
    getattr(client, undo)(AutoScalingGroupName=NAME, **(undo_with or do_with or {}))


def suspended(process):
    return of_group("suspend_processes", "resume_processes", {"ScalingProcesses": [process]})


@contextmanager
def untagged_group():
    client = boto3.client("autoscaling")
    tag = {"ResourceId": NAME, "ResourceType": "auto-scaling-group", "Key": "sluice", "Value": "managed"}
    client.delete_tags(Tags=[tag])
    yield
    client.create_or_update_tags(Tags=[{**tag, "PropagateAtLaunch": False}])


def with_metrics_off():
    return of_group("disable_metrics_collection", "enable_metrics_collection", {}, {"Granularity": "1Minute"})


@contextmanager
def policy(enabled=True, **changes):
    """The target-tracking policy with other fields of its configuration."""
    client = boto3.client("autoscaling")
    [before] = client.describe_policies(AutoScalingGroupName=NAME)["ScalingPolicies"]
    put = {key: before[key] for key in ("AutoScalingGroupName", "PolicyName", "PolicyType")}
    put["EstimatedInstanceWarmup"] = before["EstimatedInstanceWarmup"]
    configuration = before["TargetTrackingConfiguration"]
    client.put_scaling_policy(
        **put, Enabled=enabled, TargetTrackingConfiguration={**configuration, **changes}
    )
    yield
    client.put_scaling_policy(**put, TargetTrackingConfiguration=configuration)


def metric_of(group_name):
    return {
        "Namespace": "Sluice",
        "MetricName": "EffectiveBacklogPerInstance",
        "Dimensions": [{"Name": "AutoScalingGroupName", "Value": group_name}],
        "Statistic": "Average",
    }


def second_policy():
    cpu = {
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingConfiguration": {
            "TargetValue": 50,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
        },
    }
    name = {"PolicyName": "cpu"}
    return of_group("put_scaling_policy", "delete_policy", {**name, **cpu}, name)


def scheduled_action(**sizes):
    name = {"ScheduledActionName": "evening"}
    return of_group(
        *("put_scheduled_update_group_action", "delete_scheduled_action"),
        *({**name, "Recurrence": "0 18 * * *", **sizes}, name),
    )


BUSY, QUIET = "busy,SUN-SAT,8:00,Europe/Berlin,0,5", "quiet,SUN-SAT,18:00,Europe/Berlin,0,4"


@contextmanager
def schedules(*lines, deployed=True):
    """The workload's document with these schedules, and their scheduled actions as its stack puts them."""
    ssm, path, client = boto3.client("ssm"), f"/sluice/workloads/{NAME}", boto3.client("autoscaling")
    text = ssm.get_parameter(Name=path)["Parameter"]["Value"]
    ssm.put_parameter(Name=path, Value=json.dumps(json.loads(text) | {"schedules": [*lines]}), Overwrite=True)
    own = [parsed(line) for line in lines] if deployed else []
    for each in own:
        client.put_scheduled_update_group_action(
            AutoScalingGroupName=NAME,
            ScheduledActionName=f"stack-{each.name}",
            Recurrence=f"{each.minute:02} {each.hour} * * SUN-SAT",
            TimeZone=each.time_zone,
            MinSize=each.bounds.min,
            MaxSize=each.bounds.max,
        )
    yield
    for each in own:
        client.delete_scheduled_action(AutoScalingGroupName=NAME, ScheduledActionName=f"stack-{each.name}")
    ssm.put_parameter(Name=path, Value=text, Overwrite=True)


@contextmanager
def both(*contexts):
    with ExitStack() as stack:
        for each in contexts:
            stack.enter_context(each)
        yield


@contextmanager
def muted():
    """A mute rule holds the bootstrap alarm."""
    cloudwatch = boto3.client("cloudwatch")
    cloudwatch.put_alarm_mute_rule(
        Name="night",
        Rule={"Schedule": {"Expression": "cron(0 22 * * *)", "Duration": "PT8H"}},
        MuteTargets={"AlarmNames": [BOOTSTRAP]},
    )
    yield
    cloudwatch.delete_alarm_mute_rule(AlarmMuteRuleName="night")


@contextmanager
def disabled_alarm():
    cloudwatch = boto3.client("cloudwatch")
    cloudwatch.disable_alarm_actions(AlarmNames=[BOOTSTRAP])
    yield
    cloudwatch.enable_alarm_actions(AlarmNames=[BOOTSTRAP])


@contextmanager
def depth_alarms(**thresholds):
    cloudwatch = boto3.client("cloudwatch")
    names = {kind: f"{BOOTSTRAP.removesuffix('bootstrap')}depth-{kind}" for kind in thresholds}
    for kind, threshold in thresholds.items():
        cloudwatch.put_metric_alarm(
            AlarmName=names[kind],
            Namespace="AWS/SQS",
            MetricName="ApproximateNumberOfMessagesVisible",
            Statistic="Maximum",
            Period=60,
            EvaluationPeriods=3,
            Threshold=threshold,
            ComparisonOperator="GreaterThanThreshold",
        )
    yield
    cloudwatch.delete_alarms(AlarmNames=list(names.values()))


@contextmanager
def alarm(actions=None):
    """The bootstrap alarm with other actions, or deleted without any."""
    cloudwatch = boto3.client("cloudwatch")
    [before] = cloudwatch.describe_alarms(AlarmNames=[BOOTSTRAP])["MetricAlarms"]
    put = {key: value for key, value in before.items() if key in ALARM_FIELDS}
    if actions is None:
        cloudwatch.delete_alarms(AlarmNames=[BOOTSTRAP])
    else:
        cloudwatch.put_metric_alarm(**{**put, "AlarmActions": actions})
    yield
    cloudwatch.put_metric_alarm(**put)


@contextmanager
def dead_letter():
    sqs = boto3.client("sqs")
    sqs.send_message(QueueUrl=DEAD_LETTERS, MessageBody="poison")
    yield
    sqs.purge_queue(QueueUrl=DEAD_LETTERS)


def redrive_after(receipts, queue=f"arn:aws:sqs:eu-west-1:123456789012:dead-{NAME}"):
    return json.dumps({"deadLetterTargetArn": queue, "maxReceiveCount": str(receipts)})


@pytest.mark.parametrize(
    ("broken", "check", "outcome", "said"),
    [
        (lambda: queue_attribute("VisibilityTimeout", "30"), "visibility-timeout", "fail", "is 30 s"),
        (lambda: queue_attribute("VisibilityTimeout", "90"), "visibility-timeout", "warn", "is 90 s"),
        (lambda: queue_attribute("RedrivePolicy", ""), "dead-letter-queue", "fail", "no dead-letter queue"),
        (
            lambda: queue_attribute("RedrivePolicy", redrive_after(1)),
            *("dead-letter-queue", "warn", "after 1 receipts"),
        ),
        (lambda: queue_attribute("MessageRetentionPeriod", "600"), "queue-retention", "warn", "0.167 hours"),
        (
            lambda: queue_attribute("MessageRetentionPeriod", "345600", DEAD_LETTERS),
            *("queue-retention", "warn", "a dead letter for 4 days"),
        ),
        (untagged_queue, "queue-tagged", "fail", "lacks the tag sluice = managed"),
        (lambda: key(disabled=True), "queue-key", "fail", "is in state Disabled"),
        (untagged_group, "fleet-tagged", "fail", "lacks the tag sluice = managed"),
        (with_metrics_off, "fleet-metrics", "fail", "the bootstrap alarm cannot see it"),
        (lambda: group(MaxSize=4), "bounds-agree", "warn", "document 0..5, fleet 0..4"),
        (lambda: group(MaxSize=3), "below-maximum", "fail", "3 of at most 3 instances are desired"),
        (lambda: suspended("Launch"), "processes-run", "fail", "Launch is suspended"),
        (lambda: suspended("AlarmNotification"), "processes-run", "fail", "target tracking does nothing"),
        (
            lambda: of_group("put_warm_pool", "delete_warm_pool", {"MinSize": 2}, {"ForceDelete": True}),
            *("warm-pool", "warn", "is empty"),
        ),
        (
            lambda: group(NewInstancesProtectedFromScaleIn=True),
            *("instances-end", "warn", "are protected from scale-in"),
        ),
        (lambda: policy(enabled=False), "policy-enabled", "fail", "is disabled"),
        (
            lambda: policy(CustomizedMetricSpecification=metric_of("renamed")),
            *("policy-metric", "fail", "{'AutoScalingGroupName': 'renamed'}"),
        ),
        (lambda: policy(TargetValue=80), "policy-target", "warn", "the settings ask for 8 messages"),
        (second_policy, "policy-alone", "warn", "cpu (ASGAverageCPUUtilization)"),
        (
            lambda: scheduled_action(DesiredCapacity=1),
            *("scheduled-actions", "warn", "evening sets desired 1 at 0 18 * * *"),
        ),
        (
            lambda: both(schedules(BUSY, QUIET), scheduled_action(MinSize=2)),
            *("scheduled-actions", "warn", "evening sets min 2 at 0 18 * * *"),
        ),
        (
            lambda: schedules(BUSY, QUIET, deployed=False),
            *("schedules", "fail", "schedule busy (minimum 0, maximum 5) has no scheduled action"),
        ),
        (
            lambda: both(schedules(BUSY, QUIET), group(MaxSize=4)),
            *("schedules", "fail", "the fleet has minimum 0, maximum 4; schedule busy, in force since"),
        ),
        (
            lambda: both(schedules(BUSY, QUIET), suspended("ScheduledActions")),
            *("schedules", "fail", "are suspended: no schedule starts"),
        ),
        (
            lambda: schedules(BUSY, QUIET, "late,SUN-SAT,16:00,UTC,0,3"),
            *("schedules", "warn", "quiet and late both start at 2026-03-29 16:00 UTC"),
        ),
        (alarm, "alarms-exist", "fail", f"CloudWatch has no {BOOTSTRAP}"),
        (disabled_alarm, "alarms-enabled", "fail", f"the actions of {BOOTSTRAP} are disabled"),
        (muted, "alarms-enabled", "warn", f"{BOOTSTRAP} by night"),
        (
            lambda: alarm(["arn:aws:lambda:eu-west-1:123456789012:function:older"]),
            *("alarms-start-functions", "fail", "function:older and not"),
        ),
        (
            lambda: depth_alarms(warning=900.0, critical=500.0),
            *("alarm-thresholds", "warn", "depth-warning warns above 900, which is not below the 500"),
        ),
        (
            lambda: role_policy(allowing("sqs:ReceiveMessage")),
            *("worker-permissions", "fail", f"no policy of {ROLE} allows sqs:DeleteMessage"),
        ),
        (
            lambda: role_policy(allowing("sqs:DeleteMessage", effect="Deny"), name="guard"),
            *("worker-permissions", "fail", f"a policy of {ROLE} denies sqs:DeleteMessage"),
        ),
        (
            lambda: role_policy(allowing(*WORK, resource="arn:aws:sqs:eu-west-1:123456789012:other")),
            *("worker-permissions", "fail", "sqs:ReceiveMessage and sqs:DeleteMessage and"),
        ),
        (
            lambda: role_policy(allowing(*WORK[:2])),
            *("worker-permissions", "warn", "sqs:GetQueueAttributes, which sluice_worker asks for"),
        ),
        (profile_without_role, "worker-permissions", "warn", "without a role"),
        (key, "key-permissions", "fail", f"no policy of {ROLE} allows kms:Decrypt"),
        (dead_letter, "dead-letters", "fail", "1 messages are in the dead-letter queue, and 1 more"),
        (lambda: mode("observe"), "mode-active", "warn", "decisions are logged, and none acts"),
        (lambda: mode("paused"), "mode-active", "warn", "nothing decides"),
    ],
)
def test_a_fault_is_found_with_its_value_and_its_fix_and_passes_once_mended(
    findings, broken, check, outcome, said
):
    with broken():
        status, found = findings()
    assert (status, found[check]["outcome"]) == (1, outcome)
    assert said in found[check]["message"]
    assert found[check]["fix"]
    status, mended = findings()
    assert (status, not_passed(mended)) == (0, {})


def test_schedules_that_run_pass(findings):
    with schedules(BUSY, QUIET):
        status, found = findings()
    assert (status, not_passed(found)) == (0, {})
    assert found["schedules"]["message"].startswith(
        "at minimum 0, maximum 5 until Thu 18:00 Europe/Berlin by"
    )


def not_passed(found):
    return {check: each["message"] for check, each in found.items() if each["outcome"] != "pass"}


def test_a_role_that_may_decrypt_passes_for_a_queue_with_a_key(findings):
    with key(), role_policy(allowing("kms:Decrypt"), name="decrypt"):
        assert not_passed(findings()[1]) == {}


def test_the_simulation_has_the_resources_and_the_conditions_of_a_workers_requests(doctor, monkeypatch):
    asked, simulate = [], facts.simulate

    def recorded(iam, pool, simulations, remaining_s):
        asked.extend(simulations)
        return simulate(iam, pool, simulations, remaining_s)

    monkeypatch.setattr(facts, "simulate", recorded)
    queue = f"arn:aws:sqs:eu-west-1:123456789012:{NAME}"
    with key() as key_arn:
        doctor(NAME)
    assert {(each.actions, each.resource, each.context) for each in asked} == {
        (("cloudwatch:PutMetricData",), "*", (("cloudwatch:namespace", "Sluice"),)),
        (WORK, queue, ()),
        (
            ("kms:Decrypt",),
            key_arn,
            (
                ("kms:ViaService", "sqs.eu-west-1.amazonaws.com"),
                ("kms:EncryptionContext:aws:sqs:arn", queue),
            ),
        ),
    }
    assert {each.role for each in asked} == {ROLE}


def test_a_condition_of_the_role_that_only_a_request_shows_is_unknown(findings):
    endpoint = {"StringEquals": {"aws:SourceVpce": "vpce-1"}}
    with role_policy(allowing(*WORK, Condition=endpoint)):
        status, found = findings()
    assert (status, found["worker-permissions"]["outcome"]) == (1, "unknown")
    assert "only a request shows: aws:SourceVpce" in found["worker-permissions"]["message"]


def test_the_role_of_a_launch_configuration_is_found(findings):
    with launch_configuration():
        assert ROLE in findings()[1]["worker-permissions"]["message"]


@pytest.mark.parametrize(
    "operation", ["DescribeLaunchTemplateVersions", "GetInstanceProfile", "SimulatePrincipalPolicy"]
)
def test_what_may_not_be_read_of_the_role_is_unknown_and_named(findings, failing, operation):
    failing("AccessDenied", operation)
    found = findings()[1]["worker-permissions"]
    assert found["outcome"] == "unknown"
    assert "AccessDenied" in found["message"]


def test_a_policy_that_was_deleted_by_hand_fails_until_it_exists_again(findings):
    client = boto3.client("autoscaling")
    [policy] = client.describe_policies(AutoScalingGroupName=NAME)["ScalingPolicies"]
    client.delete_policy(AutoScalingGroupName=NAME, PolicyName=policy["PolicyName"])
    status, found = findings()
    client.put_scaling_policy(
        AutoScalingGroupName=NAME,
        PolicyName=policy["PolicyName"],
        PolicyType=policy["PolicyType"],
        TargetTrackingConfiguration=policy["TargetTrackingConfiguration"],
    )
    assert (status, found["policy-enabled"]["outcome"]) == (1, "fail")
    assert "has no scaling policy" in found["policy-enabled"]["message"]
    assert findings()[1]["policy-enabled"]["outcome"] == "pass"


def test_a_queue_that_does_not_exist_fails_and_leaves_its_other_checks_unknown(findings, failing):
    failing("AWS.SimpleQueueService.NonExistentQueue", "GetQueueAttributes")
    status, found = findings()
    assert (status, found["queue-exists"]["outcome"]) == (1, "fail")
    assert QUEUE in found["queue-exists"]["message"]
    assert {found[check]["outcome"] for check in ("visibility-timeout", "dead-letter-queue")} == {"unknown"}


def test_what_may_not_be_read_is_unknown_and_never_passes(doctor, failing):
    failing("AccessDenied", but={"DescribeStacks", "GetParametersByPath"})
    answer = doctor(NAME)
    assert answer.exit_code == 1
    assert f"6 pass, 0 warn, 0 fail, {len(Check) + len(PlaneCheck) - 6} unknown" in answer.stdout
    assert "docs/policies/doctor.json is the policy that allows all" in answer.stdout


def test_a_refused_document_is_the_only_finding_of_its_workload(doctor):
    ssm = boto3.client("ssm")
    ssm.put_parameter(Name="/sluice/workloads/broken", Value="{}", Type="String")
    answer = doctor("broken")
    ssm.delete_parameter(Name="/sluice/workloads/broken")
    assert answer.exit_code == 1
    assert "fail  registration-valid: the document of workload broken is refused" in answer.stdout
    assert not re.search(r" $", answer.stdout, re.MULTILINE), "a table's lines end at their last character"
    assert "1 fail" in answer.stdout


def test_a_narrow_terminal_folds_the_sentences_and_loses_nothing(doctor, monkeypatch):
    wide = doctor().stdout
    monkeypatch.setattr("sluice_cli.doctor.WIDTH", 60)
    narrow = doctor().stdout
    assert max(map(len, narrow.splitlines())) <= 60
    assert "".join(narrow.split()) == "".join(wide.split())


def test_the_policy_allows_every_call_and_nothing_that_no_call_needs(doctor, allows_exactly):
    """No workload of this account has two colors, of which the last statement is about."""
    single = [each for each in POLICY["Statement"] if not each["Sid"].endswith("OfASwitch")]
    with allows_exactly(POLICY | {"Statement": single}), key(), muted():
        doctor()
        with launch_configuration():
            doctor()


def test_the_operations_page_and_the_schema_have_every_check_and_no_other():
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    section = page.split("## Checks of `sluice doctor`")[1].split("\n## ")[0]
    rows = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert rows == [*Check]
    listed = SCHEMA["properties"]["workloads"]["items"]["properties"]["findings"]
    assert listed["items"]["properties"]["check"]["enum"] == [*Check]


def test_an_instance_refresh_is_said_until_it_ends(findings, busy):
    """Last, because it plays the account on."""
    boto3.client("autoscaling").start_instance_refresh(AutoScalingGroupName=NAME)
    found = findings()[1]["no-deployment"]
    assert found["outcome"] == "warn"
    assert "instance refresh InProgress" in found["message"]
    for _ in range(10):
        busy.play_minute()
    assert findings()[1]["no-deployment"]["outcome"] == "pass"
