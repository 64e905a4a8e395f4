"""`sluice surge` over the embedded AWS, as a user calls it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import boto3
import jsonschema
import pytest

from sluice.aws.ecs import DIMENSION
from sluice_cli import workloads
from sluice_operator import surges
from sluice_operator.account import open_account
from sluice_operator.aws import caller
from sluice_operator.session import AwsSession
from sluice_sim.embedded.busy_account import busy_account

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"
GROUP, SERVICE, DEADLINE = "transcription", "queue-proc", "photo-import"
ALICE, BOB = (f"arn:aws:sts::123456789012:assumed-role/on-call/{name}" for name in ("alice", "bob"))


@pytest.fixture(scope="module")
def deployed():
    """One for all tests: to deploy it takes seconds."""
    with busy_account(workloads.CHECKOUT, minutes=20) as busy:
        yield busy


@pytest.fixture
def account(deployed, monkeypatch):
    """No surge is in force, and every function runs."""
    yield deployed
    monkeypatch.undo()
    lambda_ = boto3.client("lambda")
    for function in lambda_.list_functions()["Functions"]:
        lambda_.delete_function_concurrency(FunctionName=function["FunctionName"])
    opened = open_account(AwsSession(), "sluice")
    for name in (GROUP, SERVICE, DEADLINE):
        surges.end(opened, name, lambda: 60.0)
    assert (actions(GROUP), actions(SERVICE)) == ([], [])


@pytest.fixture
def surge_as(on_embedded, account, monkeypatch):
    """`surge_as(who)(...)`: one call of an operator on the account as it stands."""

    def operator(who):
        def call(*arguments, command="surge"):
            monkeypatch.setattr(caller, "arn", lambda _: who)
            return on_embedded(account, command)(*arguments)

        return call

    return operator


@pytest.fixture
def alice(surge_as):
    return surge_as(ALICE)


@pytest.fixture
def bob(surge_as):
    return surge_as(BOB)


def size(name):
    """Minimum and desired count."""
    if name == SERVICE:
        scaling = boto3.client("application-autoscaling")
        [target] = scaling.describe_scalable_targets(ServiceNamespace="ecs", ScalableDimension=DIMENSION)[
            "ScalableTargets"
        ]
        [service] = boto3.client("ecs").describe_services(
            cluster=target["ResourceId"].split("/")[1], services=[target["ResourceId"].split("/")[2]]
        )["services"]
        return target["MinCapacity"], service["desiredCount"]
    autoscaling = boto3.client("autoscaling")
    [group] = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    return group["MinSize"], group["DesiredCapacity"]


def actions(name):
    """Names of scheduled actions."""
    if name == SERVICE:
        scaling = boto3.client("application-autoscaling")
        found = scaling.describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"]
    else:
        found = boto3.client("autoscaling").describe_scheduled_actions(AutoScalingGroupName=name)[
            "ScheduledUpdateGroupActions"
        ]
    return [action["ScheduledActionName"] for action in found]


def maximum(name):
    if name == SERVICE:
        scaling = boto3.client("application-autoscaling")
        return scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"][0]["MaxCapacity"]
    autoscaling = boto3.client("autoscaling")
    return autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0][
        "MaxSize"
    ]


def silence_the_plane():
    """No function of the control plane runs any more."""
    lambda_ = boto3.client("lambda")
    for function in lambda_.list_functions()["Functions"]:
        lambda_.put_function_concurrency(
            FunctionName=function["FunctionName"], ReservedConcurrentExecutions=0
        )


def words(text):
    return " ".join(text.split())


class TestASurge:
    @pytest.mark.parametrize("name", [GROUP, SERVICE, DEADLINE])
    def test_a_number_is_held_as_the_minimum_until_it_is_handed_back(self, alice, name):
        before, most = size(name)[0], maximum(name)
        answer = alice(name, "--to", str(most))
        assert answer.exit_code == 0, answer.stderr
        assert re.search(
            rf"^{name}: surge \d+ -> {most}: a surge raises the fleet and holds it", answer.stdout
        )
        assert f"AWS puts the minimum of {before} back at" in answer.stdout
        assert size(name) == (most, most)
        answer = alice(name, "--end")
        assert f"the minimum is {before} again" in words(answer.stdout)
        assert (size(name), actions(name)) == ((before, most), [])

    def test_by_default_it_drains_the_backlog_in_half_an_hour(self, alice):
        answer = alice(GROUP)
        assert answer.exit_code == 0, answer.stderr
        assert re.search(
            r"\d+ messages, .* arrivals/s x .* s / 1, boot 180 s: drained in", words(answer.stdout)
        )

    @pytest.mark.parametrize("name", [GROUP, SERVICE])
    def test_aws_hands_back_by_itself_while_the_plane_is_silent(self, alice, account, name):
        before = size(name)[0]
        alice(name, "--to", str(maximum(name)), "--for", "5m")
        silence_the_plane()
        for _ in range(8):
            account.play_minute()
        assert size(name)[0] == before

    def test_it_is_held_while_nothing_waits(self, alice, account):
        alice(GROUP, "--to", "5", "--for", "1h")
        for _ in range(3):
            account.play_minute()
        assert size(GROUP) == (5, 5)

    def test_the_second_operator_raises_what_the_first_has_asked_for(self, alice, bob):
        before, most = size(SERVICE), maximum(SERVICE)
        boto3.client("ecs").update_service(cluster="workers", service=SERVICE, desiredCount=most - 2)
        alice(SERVICE, "--to", str(most - 1))
        done = json.loads(bob(SERVICE, "--to", str(most), "--json").stdout)
        assert (done["replaced"]["by"], done["surge"]["by"]) == (ALICE, BOB)
        assert (done["surge"]["minimum_before"], len(actions(SERVICE))) == (before[0], 1)

    def test_an_end_without_a_surge_does_nothing(self, alice):
        answer = alice(GROUP, "--end")
        assert (answer.exit_code, answer.stdout) == (0, f"{GROUP}: surge holds: no surge is in force\n")


class TestRefusals:
    def test_a_workload_that_is_paused_out(self, alice):
        alice(GROUP, "--out", "--reason", "a migration", command="pause")
        answer = alice(GROUP, "--to", "5")
        alice(GROUP, command="resume")
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert "a migration; `sluice resume transcription --out` lets it scale out again" in words(
            answer.stderr
        )
        assert "nothing was changed" in answer.stderr
        assert actions(GROUP) == []

    @pytest.mark.parametrize("name", [GROUP, SERVICE])
    def test_a_number_above_the_maximum(self, alice, name):
        before = size(name)
        answer = alice(name, "--to", "9000")
        assert answer.exit_code == 2
        assert f"give --to {maximum(name)}, or raise MaxCapacity" in words(answer.stderr)
        assert (size(name), actions(name)) == (before, [])

    def test_a_fleet_whose_scale_out_is_held(self, alice):
        autoscaling = boto3.client("autoscaling")
        autoscaling.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["Launch"])
        answer = alice(GROUP, "--to", "5")
        autoscaling.resume_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["Launch"])
        assert answer.exit_code == 2
        assert "Launch is suspended; `sluice doctor transcription` says what to do" in words(answer.stderr)

    def test_a_fleet_whose_end_aws_would_not_execute(self, alice):
        autoscaling = boto3.client("autoscaling")
        autoscaling.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["ScheduledActions"])
        answer = alice(GROUP, "--to", "5")
        autoscaling.resume_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["ScheduledActions"])
        assert answer.exit_code == 2
        assert "AWS would not end the surge" in words(answer.stderr)

    def test_a_caller_without_the_permission_is_told_which_policy_has_it(self, alice, failing):
        failing("AccessDeniedException", "Invoke")
        answer = alice(GROUP, "--to", "5")
        assert answer.exit_code == 2
        assert "AWS answered AccessDeniedException" in answer.stderr
        assert "docs/policies/surge.json" in answer.stderr

    def test_a_plane_that_does_not_run(self, alice):
        silence_the_plane()
        answer = alice(GROUP, "--to", "5")
        assert answer.exit_code == 2
        assert "TooManyRequestsException" in answer.stderr

    def test_a_control_plane_of_an_earlier_release(self, alice, monkeypatch):
        monkeypatch.setattr("sluice_operator.aws.control_plane._outputs", without_the_function)
        answer = alice(GROUP, "--to", "5")
        assert answer.exit_code == 2
        assert "knows no surge: update it" in words(answer.stderr)


def without_the_function(described):
    found = described["Outputs"]
    return {
        each["OutputKey"]: each["OutputValue"] for each in found if each["OutputKey"] != "SurgeFunctionArn"
    }


@pytest.mark.parametrize(
    ("payload", "error", "said"),
    [
        ({"errorType": "ConfigError", "errorMessage": "a sentence"}, "Unhandled", "Error: a sentence"),
        ({"errorType": "KeyError", "errorMessage": "'x'"}, "Unhandled", "failed: 'x'; its log says why"),
        (
            {"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 60.00 seconds"},
            "Unhandled",
            "whether it has acted is unknown, so look at `sluice status`",
        ),
        ({}, "Unhandled", "failed: it does not say why"),
        ([], None, "AWS's answer cannot be read"),
        ("{", None, "AWS's answer cannot be read"),
    ],
)
def test_a_function_that_fails_is_a_sentence(alice, monkeypatch, payload, error, said):
    text = payload if isinstance(payload, str) else json.dumps(payload)
    answer = {"Payload": io.BytesIO(text.encode())} | ({"FunctionError": error} if error else {})

    class Invoked:
        def invoke(self, **_):
            return answer

    functions = surges.functions.invoke
    monkeypatch.setattr(surges.functions, "invoke", lambda _, arn, event: functions(Invoked(), arn, event))
    shown = alice(GROUP, "--to", "5")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert said in words(shown.stderr)


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["transcriptoin"], "did you mean transcription"),
            ([GROUP, "--up"], "No such option"),
            ([GROUP, "--to", "0"], "give a whole number of instances from 1 to 9999"),
            ([GROUP, "--to", "-1"], "from 1 to 9999"),
            ([GROUP, "--to", "ten"], "--to ten: give a whole number"),
            ([GROUP, "--to", "1.5"], "from 1 to 9999"),
            ([GROUP, "--to", "10000"], "from 1 to 9999"),
            ([GROUP, "--to", "9" * 5000], "from 1 to 9999"),
            ([GROUP, "--to", "²"], "from 1 to 9999"),
            ([GROUP, "--to", ""], "from 1 to 9999"),
            ([GROUP, "--to", "3", "--drain-in", "30m"], "both choose the size: give one of them"),
            ([GROUP, "--drain-in", "soon"], "--drain-in soon: give a number with d, h or m"),
            ([GROUP, "--drain-in", "0m"], "give between 1m and 7d"),
            ([GROUP, "--drain-in", "8d"], "give between 1m and 7d"),
            ([GROUP, "--for", "4m"], "--for 4m: give between 5m and 7d"),
            ([GROUP, "--for", "8d"], "give between 5m and 7d"),
            ([GROUP, "--drain-in", "2h", "--for", "1h"], "ends before the backlog is drained"),
            ([GROUP, "--end", "--to", "3"], "leave --to out"),
            ([GROUP, "--end", "--for", "1h", "--drain-in", "1h"], "leave --drain-in and --for out"),
        ],
    )
    def test_it_is_refused_with_a_way_out_and_nothing_is_done(self, alice, arguments, said):
        before = size(GROUP)
        answer = alice(*arguments)
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert said in words(answer.stderr)
        assert (size(GROUP), actions(GROUP)) == (before, [])

    def test_a_longer_drain_is_held_as_long(self, alice):
        done = json.loads(alice(GROUP, "--drain-in", "3h", "--json").stdout)
        shorter = json.loads(alice(GROUP, "--to", "5", "--json").stdout)
        assert shorter["surge"]["until"] == done["surge"]["until"]


def test_its_json_follows_its_documented_schema(alice):
    schema = json.loads((DOCS / "schemas/surge.json").read_text(encoding="utf-8"))
    for arguments in (["--to", "5"], ["--to", "5"], ["--end"], ["--end"]):
        document = json.loads(alice(GROUP, *arguments, "--json").stdout)
        jsonschema.validate(document, schema)


def test_its_policy_allows_exactly_what_a_surge_asks_for(alice, allows_exactly, monkeypatch):
    policy = json.loads((DOCS / "policies/surge.json").read_text(encoding="utf-8"))
    with allows_exactly(policy):
        assert alice(GROUP, "--to", "5").exit_code == 0
        assert alice(GROUP, "--end").exit_code == 0


@pytest.mark.parametrize("name", [GROUP, SERVICE])
def test_status_shows_who_holds_the_fleet_and_until_when(alice, name):
    alice(name, "--to", str(maximum(name)))
    shown = words(alice(name, command="status").stdout)
    assert re.search(rf"held by a surge to {maximum(name)} by {ALICE} until \S+ \S+ UTC", shown)
    alice(name, "--end")
    assert "held by a surge" not in words(alice(name, command="status").stdout)


def test_explain_shows_who_has_asked_for_a_surge(alice, account):
    alice(GROUP, "--to", "5")
    account.play_minute()
    shown = words(alice(GROUP, command="explain").stdout)
    assert re.search(rf"-> 5: a surge raises the fleet and holds it .*by {ALICE}", shown)
