"""`sluice switch` over the embedded AWS, as a user calls it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import boto3
import jsonschema
import pytest

from sluice_cli import aws_account, switch, workloads
from sluice_operator import switches
from sluice_operator.account import open_account
from sluice_operator.aws import executions
from sluice_operator.session import AwsSession
from sluice_sim.embedded.busy_account import BLUE_GREEN, busy_account
from sluice_sim.embedded.scenarios import TRANSCRIPTION

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"
SERVICES = replace(
    BLUE_GREEN,
    name="voices",
    environment="queue-proc",
    parameters={
        "Name": "voices",
        "QueueName": "voices",
        "ServiceName": "voices-blue",
        "GreenServiceName": "voices-green",
        "MaxCapacity": "5",
        "TargetType": "static",
        "MessagesPerInstance": "2",
        "ProcessingSeconds": "60",
    },
)
PAIR, SINGLE = BLUE_GREEN.name, TRANSCRIPTION.name
ALICE, BOB = (f"arn:aws:sts::123456789012:assumed-role/on-call/{name}" for name in ("alice", "bob"))
STEPS = ["begin", "freeze", "raise", "ready", "flip", "drain", "retire", "finish"]


@pytest.fixture(scope="module")
def deployed():
    """One for all tests: to deploy it takes seconds."""
    with busy_account(workloads.CHECKOUT, scenarios=(TRANSCRIPTION, BLUE_GREEN, SERVICES)) as busy:
        yield busy


@pytest.fixture
def account(deployed, monkeypatch):
    """No switch is in progress, and nothing is held."""
    monkeypatch.setattr(aws_account, "EMBEDDED_PAUSE_S", 0.0)
    before = held()
    yield deployed
    monkeypatch.undo()
    for _ in range(60):
        if record() is None and not running():
            break
        deployed.play_minute()
    assert (record(), running(), parameter("draining"), held()) == (None, [], "none", before)


@pytest.fixture
def switch_as(on_embedded, account, monkeypatch):
    """`switch_as(who)(...)`: one call of an operator on the account as it stands."""

    def operator(who):
        def call(*arguments, command="switch"):
            monkeypatch.setattr(switches, "_caller", lambda _: who)
            return on_embedded(account, command)(*arguments)

        return call

    return operator


@pytest.fixture
def alice(switch_as):
    return switch_as(ALICE)


@pytest.fixture
def bob(switch_as):
    return switch_as(BOB)


@pytest.fixture
def begun(account, monkeypatch):
    """A switch of Alice's in progress, at which nobody looks; its ARN."""
    monkeypatch.setattr(switches, "_caller", lambda _: ALICE)
    found = switches.start(opened(), PAIR, None, lambda: 60.0)
    account.play_minute()
    assert record() is not None
    return found.execution


def opened():
    return open_account(AwsSession(), "sluice")


def parameter(kind):
    paths = [f"/sluice/workloads/{PAIR}/{name}-color" for name in (kind, "first")]
    found = {
        one["Name"]: one["Value"] for one in boto3.client("ssm").get_parameters(Names=paths)["Parameters"]
    }
    return found.get(paths[0], found[paths[1]])


def other():
    return "green" if parameter("active") == "blue" else "blue"


def size(color):
    """Own minimum and desired count."""
    group = group_of(color)
    return group["MinSize"], group["DesiredCapacity"]


def group_of(color):
    autoscaling = boto3.client("autoscaling")
    [group] = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[f"{PAIR}-{color}"])[
        "AutoScalingGroups"
    ]
    return group


def held():
    """The suspended processes of both colors."""
    return [
        [each["ProcessName"] for each in group_of(color)["SuspendedProcesses"]] for color in ("blue", "green")
    ]


def record():
    found = opened().ports.states.read([PAIR], lambda: 60.0)[PAIR]
    return None if found is None else found.switch


def running():
    account = opened()
    return list(executions.running(account.clients("stepfunctions"), account.plane.switch_machine_arn))


def words(text):
    return " ".join(text.split())


class TestASwitch:
    @pytest.mark.parametrize("round_", ["there", "and back"])
    def test_the_other_color_is_active_and_the_old_one_at_zero_at_its_end(self, alice, round_):
        old, new = parameter("active"), other()
        answer = alice(PAIR, "--to", new)
        assert answer.exit_code == 0, answer.stderr
        assert [line.split()[1] for line in answer.stdout.splitlines()] == [
            *STEPS[:-1],
            f"{new}",
        ]
        assert answer.stdout.splitlines()[-1] == f"{PAIR}: {new} is active, {old} is at zero"
        assert (parameter("active"), size(old)) == (new, (0, 0))
        assert size(new)[1] > 0

    def test_its_execution_has_a_readable_name(self, alice):
        new = other()
        done = json.loads(alice(PAIR, "--json").stdout)
        assert re.fullmatch(rf"{PAIR}-{new}-\d{{8}}T\d{{6}}Z-[0-9a-f]{{4}}", done["execution"].split(":")[-1])
        assert (done["to"], done["outcome"], done["well"]) == (new, "switched", True)
        assert [step["step"] for step in done["steps"]] == STEPS

    def test_the_active_color_needs_no_switch(self, alice):
        active = parameter("active")
        answer = alice(PAIR, "--to", active)
        assert (answer.exit_code, answer.stdout) == (
            0,
            f"{PAIR}: {active} is active already; nothing was changed\n",
        )
        assert running() == []

    def test_ctrl_c_leaves_it_running_and_says_how_to_follow_or_abort_it(self, alice, monkeypatch):

        def interrupt(*_):
            raise KeyboardInterrupt

        follow = switches.follow
        monkeypatch.setattr(
            switch.switches, "follow", lambda account, arn, _: follow(account, arn, interrupt)
        )
        answer = alice(PAIR)
        assert answer.exit_code == 130
        assert f"`sluice switch {PAIR} --follow` follows it" in words(answer.stderr)
        assert f"`sluice switch {PAIR} --abort` stops and undoes it" in words(answer.stderr)
        assert len(running()) == 1

    def test_a_switch_in_progress_is_followed_to_its_end(self, begun, bob):
        answer = bob(PAIR, "--follow")
        assert answer.exit_code == 0, answer.stderr
        assert "is at zero" in answer.stdout.splitlines()[-1]

    def test_what_fails_is_the_end_with_its_reason(self, alice, account):
        """Green cannot launch: the state machine alone sees what has changed since the command looked."""
        new = other()
        boto3.client("autoscaling").suspend_processes(
            AutoScalingGroupName=f"{PAIR}-{new}", ScalingProcesses=["Launch"]
        )
        answer = alice(PAIR)
        boto3.client("autoscaling").resume_processes(
            AutoScalingGroupName=f"{PAIR}-{new}", ScalingProcesses=["Launch"]
        )
        assert answer.exit_code == 2
        assert "Launch is suspended; resume it first; nothing was changed" in words(answer.stderr)


class TestAnAbort:
    def test_the_control_plane_puts_everything_back(self, begun, bob, account):
        active = parameter("active")
        before = size(active)
        answer = bob(PAIR, "--abort")
        assert answer.exit_code == 0, answer.stderr
        assert f"`sluice switch {PAIR} --follow` shows it" in answer.stdout
        followed = bob(PAIR, "--follow")
        assert "restore" in followed.stdout or followed.exit_code == 0, followed.stderr
        assert (parameter("active"), record(), parameter("draining")) == (active, None, "none")
        assert size(active)[1] >= min(before[1], 1)

    def test_a_record_that_an_execution_has_left_is_undone(self, begun, bob, account, monkeypatch):
        """The rule of the control plane starts nothing."""
        active = parameter("active")
        with monkeypatch.context() as patch:
            patch.setattr(account.aws.machines, "on_event", lambda _: None)
            boto3.client("stepfunctions").stop_execution(executionArn=begun)
        answer = bob(PAIR, "--follow")
        assert answer.exit_code == 2
        assert f"which has ended, and nothing undoes it: `sluice switch {PAIR} --abort` does" in words(
            answer.stderr
        )
        assert bob(PAIR, "--abort").exit_code == 0
        bob(PAIR, "--follow")
        assert (parameter("active"), record()) == (active, None)

    def test_without_a_switch_there_is_nothing_to_abort(self, alice):
        answer = alice(PAIR, "--abort")
        assert answer.exit_code == 2
        assert f"no switch of {PAIR} is in progress" in words(answer.stderr)


class TestADryRun:
    def test_it_says_what_each_step_would_do_and_changes_nothing(self, alice):
        active, new, before = parameter("active"), other(), held()
        sizes = (size("blue"), size("green"))
        answer = alice(PAIR, "--dry-run")
        assert answer.exit_code == 0, answer.stderr
        said = words(answer.stdout)
        assert f"{active} is active; a switch to {new} would" in said
        instances = sizes[0 if active == "blue" else 1][1]
        assert f"raise {new}, Auto Scaling group {PAIR}-{new}, from 0 to " in said
        assert f"lower {active}, Auto Scaling group {PAIR}-{active}, from {instances} to 0" in said
        assert (parameter("active"), held(), running(), record()) == (active, before, [], None)
        assert (size("blue"), size("green")) == sizes

    def test_it_says_why_a_switch_would_be_refused(self, alice):
        new = other()
        autoscaling = boto3.client("autoscaling")
        autoscaling.suspend_processes(AutoScalingGroupName=f"{PAIR}-{new}", ScalingProcesses=["Launch"])
        answer = alice(PAIR, "--dry-run")
        autoscaling.resume_processes(AutoScalingGroupName=f"{PAIR}-{new}", ScalingProcesses=["Launch"])
        assert answer.exit_code == 2
        assert f"a switch to {new} would be refused: {new}" in answer.stdout
        assert "Launch is suspended" in answer.stdout

    def test_it_says_who_switches_already(self, begun, bob):
        answer = bob(PAIR, "--dry-run")
        assert answer.exit_code == 2
        assert f"by {ALICE} since" in words(answer.stdout)


class TestRefusals:
    def test_the_second_operator_is_told_who_switches_since_when(self, begun, bob):
        answer = bob(PAIR)
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert re.search(rf"is in a switch to \w+ by {ALICE} since \S+ \S+ UTC", words(answer.stderr))
        assert "--follow` shows it" in words(answer.stderr)
        assert bob(PAIR, "--to", parameter("active")).exit_code == 2
        assert len(running()) == 1

    def test_a_caller_without_the_permission_is_told_which_policy_has_it(self, alice, failing):
        failing("AccessDeniedException", "StartExecution")
        answer = alice(PAIR)
        assert answer.exit_code == 2
        assert "docs/policies/switch.json" in answer.stderr

    def test_a_control_plane_of_an_earlier_release(self, alice, monkeypatch):
        monkeypatch.setattr("sluice_operator.aws.control_plane._outputs", without_the_machine)
        answer = alice(PAIR)
        assert answer.exit_code == 2
        assert "knows no switch: update it" in words(answer.stderr)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["translatoin"], "did you mean translation"),
            ([SINGLE], "has one fleet only, Auto Scaling group transcription, so there is nothing to switch"),
            ([SINGLE, "--dry-run"], "give its stack a GreenAutoScalingGroupName or a GreenServiceName"),
            ([PAIR, "--to", "red"], "--to red: give blue or green"),
            ([PAIR, "--to", ""], "give blue or green"),
            ([PAIR, "--follow", "--to", "green"], "--follow is about the switch in progress: leave --to out"),
            ([PAIR, "--follow", "--abort"], "are different things to do: give one of them"),
            ([PAIR, "--dry-run", "--abort"], "are different things to do"),
            ([PAIR, "--follow"], "no switch of translation is in progress"),
            ([PAIR, "--green"], "No such option"),
        ],
    )
    def test_bad_input_is_refused_with_a_way_out_and_nothing_is_done(self, alice, arguments, said):
        answer = alice(*arguments)
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert said in words(answer.stderr)
        assert running() == []


def without_the_machine(described):
    found = described["Outputs"]
    return {
        each["OutputKey"]: each["OutputValue"]
        for each in found
        if each["OutputKey"] != "SwitchStateMachineArn"
    }


def test_its_json_follows_its_documented_schema(alice):
    schema = json.loads((DOCS / "schemas/switch.json").read_text(encoding="utf-8"))
    active = parameter("active")
    for arguments in (["--dry-run"], ["--dry-run", "--to", active], ["--to", active], []):
        document = json.loads(alice(PAIR, *arguments, "--json").stdout)
        jsonschema.validate(document, schema)


def test_its_policy_allows_exactly_what_it_asks_for_with_groups_and_with_services(
    alice, allows_exactly, begun
):
    policy = json.loads((DOCS / "policies/switch.json").read_text(encoding="utf-8"))
    with allows_exactly(policy):
        assert alice(PAIR, "--abort").exit_code == 0
        assert alice(PAIR, "--follow").exit_code == 0
        assert alice(PAIR, "--follow").exit_code == 2
        assert alice(PAIR, "--dry-run").exit_code == 0
        assert alice(PAIR).exit_code == 0
        assert alice(SERVICES.name, "--dry-run").exit_code == 0


def test_two_services_are_switched_alike(alice):
    ecs = boto3.client("ecs")

    def sizes():
        names = ["voices-blue", "voices-green"]
        found = ecs.describe_services(cluster="workers", services=names)["services"]
        return {service["serviceName"]: service["desiredCount"] for service in found}

    assert sizes()["voices-green"] == 0
    answer = alice(SERVICES.name, "--to", "green")
    assert answer.exit_code == 0, answer.stderr
    assert sizes()["voices-blue"] == 0
    assert sizes()["voices-green"] > 0


def test_status_shows_both_colors_and_the_switch_in_progress(begun, alice):
    active, new = parameter("active"), other()
    shown = words(alice(PAIR, command="status").stdout)
    assert f"{active}, is active; {new}, Auto Scaling group {PAIR}-{new}: 5 desired" in shown
    assert re.search(rf"in a switch to {new} by {ALICE} since \S+ \S+ UTC, at \w+", shown)
    document = json.loads(alice("--json", command="status").stdout)
    jsonschema.validate(document, json.loads((DOCS / "schemas/status.json").read_text(encoding="utf-8")))
    [colors, single] = [
        next(each["colors"] for each in document["workloads"] if each["name"] == name)
        for name in (PAIR, SINGLE)
    ]
    assert (colors["active"], colors["switch"]["to"], colors["switch"]["by"]) == (active, new, ALICE)
    assert colors["idle"]["instances"]["desired"] == 5
    assert single is None


def test_status_names_the_switch_and_does_not_take_its_first_minutes_for_silence(alice, account, monkeypatch):
    """The new color has no metric in CloudWatch when it becomes the active one."""
    new = other()
    monkeypatch.setattr(switches, "_caller", lambda _: ALICE)
    switches.start(opened(), PAIR, None, lambda: 60.0)
    while parameter("active") != new:
        account.play_minute()
    document = json.loads(alice(PAIR, "--json", command="status").stdout)
    [publishing] = [each for each in document["workloads"][0]["conditions"] if each["kind"] == "Publishing"]
    assert (publishing["reason"], publishing["wrong"]) in (("JustSwitched", False), ("Fresh", False))
    shown = alice(command="status").stdout
    assert f"  in a switch to {new} by {ALICE}" in shown
    assert f"{new}, active" in alice(PAIR, command="status").stdout


def test_explain_tells_the_story_of_a_switch_in_order_with_both_colors(alice):
    old, new = parameter("active"), other()
    assert alice(PAIR, "--to", new).exit_code == 0
    document = json.loads(alice(PAIR, "--since", "20m", "--json", command="explain").stdout)
    told = [entry["text"] for entry in document["entries"]]
    story = [
        f"switch, begin of {new}: a switch to the other color begins (to {new}; by {ALICE})",
        f"switch, freeze of {old}: AWS lowers neither color meanwhile",
        f"switch, raise of {new} 0 -> ",
        f"{new}: Launching a new EC2 instance",
        f"switch, ready of {new}: the new color runs and takes messages",
        f"switch, flip of {new}: the new color is active",
        f"switch, drain of {old}: the other color works on no message",
        f"switch, retire of {old} ",
        f"{old}: Terminating EC2 instance",
        f"switch, finish of {old} holds: the old color's alarms still see what was published before",
        f"switch, finish of {new}: the switch is over",
    ]
    places = [max(place for place, text in enumerate(told) if text.startswith(begins)) for begins in story]
    assert places == sorted(places)


def test_the_doctor_tells_a_lock_without_an_execution_and_a_color_that_is_left_drained(
    begun, alice, account, monkeypatch
):
    def shown():
        return words(alice(PAIR, command="doctor").stdout)

    assert f"it is in a switch to {other()} by {ALICE}" in shown()
    with monkeypatch.context() as patch:
        patch.setattr(account.aws.machines, "on_event", lambda _: None)
        boto3.client("stepfunctions").stop_execution(executionArn=begun)
    assert f"sluice switch {PAIR} --abort" in shown()
    alice(PAIR, "--abort")
    alice(PAIR, "--follow")
    path = f"/sluice/workloads/{PAIR}/draining-color"
    ssm = boto3.client("ssm")
    ssm.put_parameter(Name=path, Value="blue", Overwrite=True)
    drained = shown()
    ssm.put_parameter(Name=path, Value="none", Overwrite=True)
    assert f"--value none --name {path}" in drained
    assert "colors-settled" not in shown()
