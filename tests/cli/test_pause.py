"""`sluice pause` and `sluice resume` over the embedded AWS, as a user calls them."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import boto3
import jsonschema
import pytest
from botocore.exceptions import ClientError

from sluice.aws import own_scaling
from sluice.aws.ecs import DIMENSION
from sluice.aws.fleets import AwsFleets
from sluice.core.model import Unknown
from sluice.core.pause import BOTH
from sluice_cli import workloads
from sluice_operator import pauses
from sluice_operator.account import open_account
from sluice_operator.aws import caller
from sluice_operator.aws.pause_store import PauseStore
from sluice_operator.session import AwsSession
from sluice_sim.embedded.busy_account import busy_account
from tests.privileges.authorization import Call, Request, request, requests
from tests.privileges.inventory import EverythingTagged

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"
GROUP, SERVICE, DEADLINE = "transcription", "queue-proc", "photo-import"
ALICE, BOB = (f"arn:aws:sts::123456789012:assumed-role/on-call/{name}" for name in ("alice", "bob"))
TABLE = "sluice-EngineStateTable"


@pytest.fixture(scope="module")
def deployed():
    """One for all tests: to deploy it takes seconds."""
    with busy_account(workloads.CHECKOUT, minutes=1) as busy:
        yield busy


@pytest.fixture
def account(deployed):
    """Nothing is paused, and every function runs."""
    yield deployed
    opened = open_account(AwsSession(), "sluice")
    for name in (GROUP, SERVICE, DEADLINE):
        pauses.resume(opened, name, BOTH, lambda: 60.0)
    boto3.client("autoscaling").resume_processes(AutoScalingGroupName=GROUP)
    for function in boto3.client("lambda").list_functions()["Functions"]:
        boto3.client("lambda").delete_function_concurrency(FunctionName=function["FunctionName"])
    assert (group_fields(), group_fields(DEADLINE)) == ((False, True, False), (False, True, True))
    assert (service_fields(), schedules()) == ((False, False), {})


@pytest.fixture
def sluice_as(on_embedded, account, monkeypatch):
    """`sluice_as(who)(command, ...)`: one call of an operator on the account as it stands."""

    def operator(who):
        def call(command, *arguments):
            monkeypatch.setattr(caller, "arn", lambda _: who)
            return on_embedded(account, command)(*arguments)

        return call

    return operator


@pytest.fixture
def alice(sluice_as):
    return sluice_as(ALICE)


@pytest.fixture
def bob(sluice_as):
    return sluice_as(BOB)


def group_fields(name=GROUP):
    """AlarmNotification suspended; the policy's Enabled and DisableScaleIn."""
    client = boto3.client("autoscaling")
    [group] = client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    [policy] = client.describe_policies(AutoScalingGroupName=name)["ScalingPolicies"]
    suspended = [process["ProcessName"] for process in group["SuspendedProcesses"]]
    in_disabled = policy["TargetTrackingConfiguration"].get("DisableScaleIn", False)
    return "AlarmNotification" in suspended, policy["Enabled"], in_disabled


def service_fields():
    """DynamicScalingOut and DynamicScalingIn suspended."""
    [target] = boto3.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="ecs", ScalableDimension=DIMENSION
    )["ScalableTargets"]
    state = target["SuspendedState"]
    return state["DynamicScalingOutSuspended"], state["DynamicScalingInSuspended"]


def schedules():
    client = boto3.client("scheduler")
    names = [one["Name"] for one in client.list_schedules(GroupName="sluice-pauses")["Schedules"]]
    return {name: client.get_schedule(Name=name, GroupName="sluice-pauses") for name in names}


def stored(name):
    """The stored form of the pause, and when DynamoDB may delete its item."""
    item = boto3.client("dynamodb").get_item(TableName=TABLE, Key={"workload": {"S": name}}).get("Item", {})
    return item.get("pause", {}).get("S"), item.get("expires", {}).get("N")


def silence_the_plane():
    """No function of the control plane runs any more."""
    client = boto3.client("lambda")
    for function in client.list_functions()["Functions"]:
        client.put_function_concurrency(FunctionName=function["FunctionName"], ReservedConcurrentExecutions=0)


def words(text):
    return " ".join(text.split())


def refusing(monkeypatch, *operations, code="AccessDenied"):
    """Have AWS refuse these calls, each as often as it is named; the others are made."""
    make, left = own_scaling.make, list(operations)

    def made(clients, call):
        if call.operation in left:
            left.remove(call.operation)
            refusal = {"Error": {"Code": code, "Message": "no"}}
            with own_scaling.aws_errors(f"{call.operation} of it"):
                raise ClientError(refusal, call.operation)
        make(clients, call)

    monkeypatch.setattr(own_scaling, "make", made)


class TestWhatAwsHolds:
    @pytest.mark.parametrize(
        ("option", "held"),
        [
            ((), (True, True, False)),
            (("--out",), (False, False, False)),
            (("--in",), (False, True, True)),
            (("--in", "--out"), (True, True, False)),
        ],
        ids=["both", "out", "in", "in and out"],
    )
    def test_a_groups_policy_is_held_and_gets_back_what_it_had(self, alice, option, held):
        assert group_fields() == (False, True, False)
        assert alice("pause", GROUP, *option).exit_code == 0
        assert group_fields() == held
        assert alice("resume", GROUP).exit_code == 0
        assert group_fields() == (False, True, False)

    @pytest.mark.parametrize(
        ("option", "held"),
        [((), (True, True)), (("--out",), (True, False)), (("--in",), (False, True))],
        ids=["both", "out", "in"],
    )
    def test_a_services_scalable_target_is_held_and_gets_back_what_it_had(self, alice, option, held):
        assert alice("pause", SERVICE, *option).exit_code == 0
        assert service_fields() == held
        assert alice("resume", SERVICE).exit_code == 0
        assert service_fields() == (False, False)

    def test_the_fallback_of_the_deadline_engine_is_held_too_and_still_scales_in_never(self, alice):
        assert group_fields(DEADLINE) == (False, True, True)
        assert alice("pause", DEADLINE, "--out").exit_code == 0
        assert group_fields(DEADLINE) == (False, False, True)
        assert alice("resume", DEADLINE).exit_code == 0
        assert group_fields(DEADLINE) == (False, True, True)

    def test_a_process_that_was_suspended_before_stays_suspended(self, alice):
        boto3.client("autoscaling").suspend_processes(
            AutoScalingGroupName=GROUP, ScalingProcesses=["AlarmNotification", "AZRebalance"]
        )
        alice("pause", GROUP)
        alice("resume", GROUP)
        assert group_fields() == (True, True, False)

    def test_every_other_field_of_the_policy_stays(self, alice):
        def policy():
            found = boto3.client("autoscaling").describe_policies(AutoScalingGroupName=GROUP)
            [policy] = found["ScalingPolicies"]
            policy["TargetTrackingConfiguration"].setdefault("DisableScaleIn", False)
            return policy

        before = policy()
        alice("pause", GROUP, "--in")
        alice("resume", GROUP)
        assert policy() == before

    def test_one_direction_of_a_pause_can_be_resumed_and_keeps_its_end_and_its_reason(self, alice, bob):
        alice("pause", GROUP, "--for", "2h", "--reason", "the database is down")
        answer = bob("resume", GROUP, "--in")
        assert f"is resumed. It was paused by {ALICE}" in answer.stdout
        assert re.search(
            r"still paused out by .*alice since .* until .*: the database is down", answer.stdout
        )
        assert group_fields() == (False, False, False)
        assert schedules()[GROUP]["Target"]["Arn"].endswith(":autoscaling:putScalingPolicy")
        bob("resume", GROUP)
        assert (group_fields(), schedules()) == ((False, True, False), {})


class TestItsEnd:
    @pytest.mark.parametrize(
        ("option", "target"),
        [((), "resumeProcesses"), (("--out",), "putScalingPolicy"), (("--in",), "putScalingPolicy")],
        ids=["both", "out", "in"],
    )
    def test_aws_releases_a_group_by_itself_while_the_plane_is_silent(self, alice, account, option, target):
        alice("pause", GROUP, "--for", "3m", *option)
        [schedule] = schedules().values()
        assert schedule["Target"]["Arn"] == f"arn:aws:scheduler:::aws-sdk:autoscaling:{target}"
        assert schedule["Target"]["RoleArn"] == "arn:aws:iam::123456789012:role/sluice-PauseEndRole"
        assert schedule["ActionAfterCompletion"] == "DELETE"
        silence_the_plane()
        for _ in range(5):
            account.play_minute()
        assert (group_fields(), schedules()) == ((False, True, False), {})

    @pytest.mark.parametrize("option", [(), ("--out",), ("--in",)], ids=["both", "out", "in"])
    def test_aws_releases_a_service_by_itself_while_the_plane_is_silent(self, alice, account, option):
        alice("pause", SERVICE, "--for", "3m", *option)
        silence_the_plane()
        for _ in range(5):
            account.play_minute()
        assert (service_fields(), schedules()) == ((False, False), {})

    def test_a_pause_without_end_has_no_schedule_and_its_item_is_kept(self, alice):
        alice("pause", GROUP)
        assert schedules() == {}
        text, expires = stored(GROUP)
        assert text
        assert expires is None

    def test_a_new_end_takes_the_place_of_the_old_one(self, alice):
        alice("pause", GROUP, "--for", "2h")
        before = schedules()[GROUP]["ScheduleExpression"]
        answer = alice("pause", GROUP, "--for", "3h", "--reason", "longer than thought")
        assert f"It was paused by {ALICE}" in answer.stdout
        assert schedules()[GROUP]["ScheduleExpression"] > before
        alice("pause", GROUP)
        assert schedules() == {}
        alice("resume", GROUP)
        assert group_fields() == (False, True, False)

    def test_a_pause_whose_end_has_come_is_replaced_without_a_question(self, alice, bob, account):
        alice("pause", GROUP, "--for", "1m")
        for _ in range(3):
            account.play_minute()
        answer = bob("pause", GROUP, "--in")
        assert (answer.exit_code, "It was" in answer.stdout) == (0, False)
        bob("resume", GROUP)
        assert group_fields() == (False, True, False)

    def test_a_pause_that_has_ended_and_is_not_released_yet_does_not_count_as_what_was_before(
        self, alice, account
    ):
        alice("pause", GROUP, "--for", "1m")
        boto3.client("scheduler").delete_schedule(Name=GROUP, GroupName="sluice-pauses")
        account.play_minute()
        assert group_fields() == (True, True, False)
        alice("pause", GROUP)
        alice("resume", GROUP)
        assert group_fields() == (False, True, False)


class TestTwoOperators:
    def test_the_second_is_told_who_has_paused_when_and_why(self, alice, bob):
        alice("pause", GROUP, "--for", "2h", "--reason", "the database is down")
        answer = bob("pause", GROUP, "--for", "1h")
        assert (answer.exit_code, answer.stdout) == (2, "")
        said = words(answer.stderr)
        assert re.search(
            rf"transcription is paused by {ALICE} since 2026-\S+ \S+ UTC until 2026-\S+ \S+ UTC: the "
            "database is down. Add --replace",
            said,
        )
        assert json.loads(stored(GROUP)[0])["by"] == ALICE

    def test_the_second_may_take_over_explicitly(self, alice, bob):
        alice("pause", GROUP, "--reason", "the database is down")
        answer = bob("pause", GROUP, "--reason", "I have it", "--replace")
        assert f"It was paused by {ALICE}" in answer.stdout
        assert json.loads(stored(GROUP)[0])["by"] == BOB

    def test_a_pause_of_the_other_direction_does_not_end_the_first_unseen(self, alice):
        alice("pause", GROUP, "--out")
        answer = alice("pause", GROUP, "--in")
        assert answer.exit_code == 2
        assert "leave --in and --out out to pause both directions" in words(answer.stderr)
        assert "`sluice resume --out`" in words(answer.stderr)
        assert group_fields() == (False, False, False)
        assert alice("pause", GROUP).exit_code == 0
        assert group_fields() == (True, True, False)
        alice("resume", GROUP)
        assert group_fields() == (False, True, False)

    def test_of_two_at_the_same_moment_the_second_does_nothing_and_is_told(self, alice, bob, monkeypatch):
        replace = PauseStore.replace

        def slower(store, *arguments):
            monkeypatch.setattr(PauseStore, "replace", replace)
            assert alice("pause", GROUP, "--reason", "first").exit_code == 0
            return replace(store, *arguments)

        monkeypatch.setattr(PauseStore, "replace", slower)
        answer = bob("pause", GROUP, "--in", "--reason", "second")
        assert answer.exit_code == 2
        assert f"at the same time: it is paused by {ALICE}" in words(answer.stderr)
        assert json.loads(stored(GROUP)[0])["reason"] == "first"
        assert group_fields() == (True, True, False)


class TestFailuresInTheMiddle:
    @pytest.mark.parametrize(
        ("option", "operation"),
        [((), "SuspendProcesses"), (("--out",), "PutScalingPolicy"), (("--in",), "PutScalingPolicy")],
        ids=["both", "out", "in"],
    )
    def test_a_policy_that_cannot_be_held_leaves_nothing_paused(self, alice, monkeypatch, option, operation):
        refusing(monkeypatch, operation)
        answer = alice("pause", GROUP, "--for", "2h", *option)
        assert answer.exit_code == 2
        assert f"{operation} of it: AWS answered AccessDenied: no; nothing was paused" in words(answer.stderr)
        assert "docs/policies/pause.json" in answer.stderr
        assert (group_fields(), schedules(), stored(GROUP)[0]) == ((False, True, False), {}, None)

    def test_an_end_that_cannot_be_scheduled_leaves_nothing_paused(self, alice, failing):
        failing(ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "x"), "CreateSchedule")
        answer = alice("pause", GROUP, "--for", "2h")
        assert "CreateSchedule of sluice-pauses/transcription" in words(answer.stderr)
        assert (group_fields(), stored(GROUP)[0]) == ((False, True, False), None)

    def test_a_failed_change_of_a_pause_leaves_the_one_before(self, alice, monkeypatch):
        alice("pause", GROUP, "--out", "--for", "2h", "--reason", "first")
        before = schedules()[GROUP]
        with monkeypatch.context() as patch:
            refusing(patch, "SuspendProcesses")
            assert alice("pause", GROUP, "--reason", "second").exit_code == 2
        assert json.loads(stored(GROUP)[0])["reason"] == "first"
        assert group_fields() == (False, False, False)
        assert schedules()[GROUP]["ScheduleExpression"] == before["ScheduleExpression"]
        alice("resume", GROUP)
        assert group_fields() == (False, True, False)

    def test_what_stands_is_said_and_the_same_command_again_finishes_it(self, alice, monkeypatch):
        with monkeypatch.context() as patch:
            refusing(patch, "SuspendProcesses")
            patch.setattr(own_scaling, "read", unreadable_after(1))
            answer = alice("pause", GROUP, "--for", "2h")
        assert "the pause of transcription is stored" in words(answer.stderr)
        assert "the same command again finishes it" in words(answer.stderr)
        assert stored(GROUP)[0]
        assert alice("pause", GROUP, "--for", "2h").exit_code == 0
        assert group_fields() == (True, True, False)
        alice("resume", GROUP)
        assert group_fields() == (False, True, False)

    def test_a_resume_that_fails_says_what_stands_and_again_finishes_it(self, alice, monkeypatch):
        alice("pause", GROUP, "--out", "--for", "2h")
        with monkeypatch.context() as patch:
            refusing(patch, "PutScalingPolicy", code="Throttling")
            answer = alice("resume", GROUP)
        assert answer.exit_code == 2
        assert "`sluice resume transcription` again puts it back" in words(answer.stderr)
        assert group_fields() == (False, False, False)
        assert alice("resume", GROUP).exit_code == 0
        assert (group_fields(), schedules(), stored(GROUP)[0]) == ((False, True, False), {}, None)


def unreadable_after(reads):
    """The account's fields can be read so often, and then no more."""
    read, made = own_scaling.read, []

    def limited(*arguments):
        made.append(arguments)
        if len(made) > reads:
            with own_scaling.aws_errors("DescribeAutoScalingGroups of transcription"):
                raise ClientError({"Error": {"Code": "Throttling", "Message": "no"}}, "x")
        return read(*arguments)

    return limited


@pytest.mark.parametrize("seed", range(6))
def test_whatever_two_operators_do_and_whatever_fails_a_resume_puts_everything_back(
    alice, bob, monkeypatch, seed
):
    random = Random(seed)
    for _ in range(5):
        with monkeypatch.context() as patch:
            fails = ("SuspendProcesses", "ResumeProcesses", "PutScalingPolicy", "RegisterScalableTarget")
            refusing(patch, *random.sample(fails, random.randint(0, 3)), code="Throttling")
            command = random.choice(["pause", "pause", "resume"])
            options = random.choice([[], ["--in"], ["--out"]])
            if command == "pause":
                options += random.choice([[], ["--for", "2h"]]) + random.choice([[], ["--replace"]])
            random.choice([alice, bob])(command, random.choice([GROUP, SERVICE, DEADLINE]), *options)
    for name in (GROUP, SERVICE, DEADLINE):
        assert alice("resume", name).exit_code == 0
        assert stored(name)[0] is None
    assert (group_fields(), group_fields(DEADLINE)) == ((False, True, False), (False, True, True))
    assert (service_fields(), schedules()) == ((False, False), {})


class TestBadInput:
    @pytest.mark.parametrize(
        ("command", "arguments", "said"),
        [
            ("pause", ["transcriptoin"], "did you mean transcription"),
            ("resume", ["transcriptoin"], "did you mean transcription"),
            ("pause", [GROUP, "--up"], "No such option"),
            ("pause", [GROUP, "--for", "soon"], "such as 90m, 6h or 2d"),
            ("pause", [GROUP, "--for", "0m"], "give between 1m and 365d"),
            ("pause", [GROUP, "--for", "366d"], "give between 1m and 365d"),
            ("pause", [GROUP, "--for", "1h2h"], "two durations of one unit"),
            ("pause", [GROUP, "--reason", "a\nb"], "one line of at most 200 characters"),
            ("pause", [GROUP, "--reason", "x" * 201], "one line of at most 200 characters"),
        ],
    )
    def test_it_is_refused_with_a_way_out_and_nothing_is_done(self, alice, command, arguments, said):
        answer = alice(command, *arguments)
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert said in words(answer.stderr)
        assert (group_fields(), schedules(), stored(GROUP)[0]) == ((False, True, False), {}, None)

    def test_a_workload_that_is_not_paused_needs_no_resume(self, alice):
        answer = alice("resume", GROUP)
        assert answer.exit_code == 0
        assert "transcription is not paused: nothing was done." in answer.stdout

    def test_the_direction_that_is_not_paused_needs_no_resume(self, alice):
        alice("pause", GROUP, "--out")
        answer = alice("resume", GROUP, "--in")
        assert f"is not paused in this direction; it is paused out by {ALICE}" in words(answer.stdout)
        assert group_fields() == (False, False, False)

    def test_a_pause_that_cannot_be_read_is_ended_by_a_resume(self, alice):
        alice("pause", GROUP)
        boto3.client("dynamodb").update_item(
            TableName=TABLE,
            Key={"workload": {"S": GROUP}},
            UpdateExpression="SET pause = :damaged",
            ExpressionAttributeValues={":damaged": {"S": "{"}},
        )
        answer = alice("resume", GROUP)
        assert "what is stored of it cannot be read" in words(answer.stdout)
        assert stored(GROUP)[0] is None


@contextmanager
def scheduled_bounds(name, *lines):
    """The workload's document with these schedules."""
    ssm, path = boto3.client("ssm"), f"/sluice/workloads/{name}"
    text = ssm.get_parameter(Name=path)["Parameter"]["Value"]
    ssm.put_parameter(Name=path, Value=json.dumps(json.loads(text) | {"schedules": [*lines]}), Overwrite=True)
    yield
    ssm.put_parameter(Name=path, Value=text, Overwrite=True)


def ask_for_one(name):
    """Set the desired count of a fleet that other tests have left busy."""
    if name == SERVICE:
        ecs = boto3.client("ecs")
        [cluster] = ecs.list_clusters()["clusterArns"]
        ecs.update_service(cluster=cluster.rsplit("/")[-1], service=SERVICE, desiredCount=1)
    else:
        boto3.client("autoscaling").set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=1)


class TestAScheduleWithinAPause:
    @pytest.fixture
    def busy_at(self, account):
        """In forty minutes, on the minute, by the clock of Berlin."""
        soon = datetime.fromtimestamp(account.aws.clock.now, UTC) + timedelta(minutes=40)
        return soon.astimezone(ZoneInfo("Europe/Berlin"))

    @pytest.fixture
    def lines(self, busy_at):
        quiet = busy_at + timedelta(hours=9)
        return [
            f"{name},SUN-SAT,{at.hour}:{at.minute:02},Europe/Berlin,{low},5"
            for name, at, low in (("busy", busy_at, 4), ("quiet", quiet, 0))
        ]

    @pytest.mark.parametrize(
        ("name", "suspends"),
        [
            (GROUP, "aws autoscaling suspend-processes --auto-scaling-group-name transcription"),
            (SERVICE, "--suspended-state ScheduledScalingSuspended=true"),
        ],
    )
    def test_the_answer_and_the_status_name_it_and_how_to_keep_it_off(
        self, alice, lines, busy_at, name, suspends
    ):
        ask_for_one(name)
        with scheduled_bounds(name, *lines):
            answer = alice("pause", name, "--for", "2h")
            shown = words(alice("status", name).stdout)
            document = json.loads(alice("pause", name, "--for", "2h", "--json").stdout)
        assert answer.exit_code == 0
        said = "chedule busy raises the minimum to 4, above the "
        assert f"S{said}" in answer.stdout
        at = f"{busy_at:%a} {busy_at.hour}:{busy_at.minute:02} Europe/Berlin"
        assert f"are desired, at {at} all the same" in answer.stdout
        assert "Mode=paused, or `aws " in answer.stdout
        assert suspends in answer.stdout
        assert f"s{said}" in shown
        assert document["resized_by_schedule"].startswith(f"s{said}")

    @pytest.mark.parametrize("given", [("--for", "20m"), ("--for", "2h", "--in")])
    def test_one_that_starts_after_it_or_hinders_nothing_is_not_named(self, alice, lines, given):
        with scheduled_bounds(GROUP, *lines):
            answer = alice("pause", GROUP, *given)
        assert answer.exit_code == 0
        assert "chedule" not in answer.stdout

    def test_a_fleet_that_cannot_be_read_is_paused_and_the_schedule_named(self, alice, lines, monkeypatch):
        unread = Unknown(reason="DescribeServices was throttled")
        monkeypatch.setattr(AwsFleets, "read", lambda _, fleets, __: dict.fromkeys(fleets, unread))
        with scheduled_bounds(SERVICE, *lines):
            answer = alice("pause", SERVICE, "--out", "--for", "2h")
        assert answer.exit_code == 0
        assert re.search(
            r"Schedule busy raises the minimum to 4 at \w+ \d+:\d\d Europe/Berlin", answer.stdout
        )


class TestJson:
    def test_it_follows_its_documented_schema(self, alice, bob):
        def checked(command, *arguments):
            document = json.loads(alice(command, GROUP, *arguments, "--json").stdout)
            schema = json.loads((DOCS / f"schemas/{command}.json").read_text(encoding="utf-8"))
            jsonschema.validate(document, schema)
            return document

        first = checked("pause", "--for", "2h", "--reason", "a deploy")
        assert (first["pause"]["by"], first["pause"]["directions"]) == (ALICE, ["in", "out"])
        assert (first["aws_policy_held"], first["end_scheduled"], first["replaced"]) == (True, True, None)
        assert checked("pause")["replaced"]["reason"] == "a deploy"
        assert checked("resume", "--in")["left"]["directions"] == ["out"]
        assert checked("resume")["left"] is None
        assert checked("resume")["ended"] is None


PASSED_TO_SCHEDULER = {"iam:PassedToService": "scheduler.amazonaws.com"}


def asked(call: Call) -> list[Request]:
    """What a call asks for: a schedule's role is passed, and AWS checks who scales a service."""
    found = list(requests(call, EverythingTagged()))
    if call.operation in ("CreateSchedule", "UpdateSchedule"):
        role = call.parameters["Target"]["RoleArn"]
        found.append(request("iam:PassRole", role, {}, **PASSED_TO_SCHEDULER))
    if call.operation == "RegisterScalableTarget":
        service = f"arn:aws:ecs:eu-west-1:123456789012:{call.parameters['ResourceId']}"
        found += [
            request(action, service, EverythingTagged())
            for action in ("ecs:DescribeServices", "ecs:UpdateService")
        ]
    return found


def test_its_policy_allows_exactly_what_a_pause_asks_for(alice, allows_exactly, monkeypatch):
    policy = json.loads((DOCS / "policies/pause.json").read_text(encoding="utf-8"))
    busy = "busy,SUN-SAT,14:00,UTC,4,5"
    with scheduled_bounds(GROUP, busy), scheduled_bounds(SERVICE, busy), allows_exactly(policy, asked):
        for name in (GROUP, SERVICE):
            assert alice("pause", name, "--out", "--for", "2h").exit_code == 0
            assert alice("pause", name, "--for", "2h").exit_code == 0
            assert alice("pause", name).exit_code == 0
        with monkeypatch.context() as patch:  # a change that fails is undone, which resumes the process
            assert alice("pause", DEADLINE, "--out").exit_code == 0
            refusing(patch, "PutScalingPolicy")
            assert alice("pause", DEADLINE).exit_code == 2


def test_its_policy_allows_exactly_what_a_resume_asks_for(alice, allows_exactly):
    policy = json.loads((DOCS / "policies/resume.json").read_text(encoding="utf-8"))
    for name in (GROUP, SERVICE):
        alice("pause", name, "--for", "2h")
    with allows_exactly(policy, asked):
        for name in (GROUP, SERVICE):
            assert alice("resume", name, "--in").exit_code == 0
            assert alice("resume", name).exit_code == 0


class TestWhatIsShown:
    def test_status_shows_who_has_paused_until_when_and_why(self, alice):
        alice("pause", GROUP, "--in", "--for", "2h", "--reason", "the database is down")
        answer = words(alice("status", GROUP).stdout)
        assert re.search(rf"PausedIn: paused in by {ALICE} since \S+ \S+ UTC until", answer)
        assert "the database is down" in answer

    @pytest.mark.parametrize("name", [GROUP, SERVICE])
    def test_status_and_doctor_say_that_an_update_of_the_stack_has_released_awss_policy(
        self, alice, account, name
    ):
        alice("pause", name, "--out")
        run = next(run for run in account.demo.runs if run.name == name)
        run.deployed |= {"MaxCapacity": str(int(run.deployed["MaxCapacity"]) + 1)}
        account.demo.deploy(run)
        assert f"`sluice pause {name}` again holds it" in words(alice("status", name).stdout)
        assert "AWS's own policy is not held any more" in words(alice("doctor", name).stdout)
        alice("pause", name, "--out")
        assert "not held any more" not in words(alice("status", name).stdout)
