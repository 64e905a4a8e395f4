"""`sluice status` over the embedded AWS, as a user calls it."""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import boto3
import jsonschema
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, EndpointConnectionError

from sluice_cli import aws_account, terminal, workloads
from sluice_operator.account import open_account
from sluice_operator.session import AwsSession
from sluice_operator.status import StatusReader
from sluice_sim.embedded.busy_account import busy_account

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCHEMA = json.loads((DOCS / "schemas/status.json").read_text(encoding="utf-8"))
POLICY = json.loads((DOCS / "policies/status.json").read_text(encoding="utf-8"))
NAMES = ["photo-import", "queue-proc", "transcription"]
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/transcription"


@pytest.fixture(scope="module")
def busy():
    """One account for all tests: playing it takes seconds."""
    with busy_account(workloads.CHECKOUT) as account:
        yield account


@pytest.fixture
def status(on_embedded, busy):
    """`status(...)`: one call of `sluice status --embedded` on the account as it stands."""

    return on_embedded(busy, "status")


def record_calls(patch, record):
    """Call `record` with every operation of any client."""
    call = BaseClient._make_api_call

    def recorded(self, operation, parameters):
        record(model=self.meta.service_model.operation_model(operation))
        return call(self, operation, parameters)

    patch.setattr(BaseClient, "_make_api_call", recorded)


def aws_error(code, message="no"):
    return lambda operation: ClientError({"Error": {"Code": code, "Message": message}}, operation)


def not_authorized(operation):
    message = f"User: arn:aws:iam::123456789012:user/me is not authorized to perform: x:{operation}"
    return ClientError({"Error": {"Code": "AccessDenied", "Message": message}}, operation)


@contextmanager
def paused(name):
    """The workload's document with mode paused."""
    ssm, path = boto3.client("ssm"), f"/sluice/workloads/{name}"
    text = ssm.get_parameter(Name=path)["Parameter"]["Value"]
    ssm.put_parameter(Name=path, Value=text.replace('"active"', '"paused"'), Overwrite=True)
    yield
    ssm.put_parameter(Name=path, Value=text, Overwrite=True)


@contextmanager
def schedules(*lines, name="transcription"):
    """The workload's document with these schedules, and AWS has executed none of them."""
    ssm, path = boto3.client("ssm"), f"/sluice/workloads/{name}"
    text = ssm.get_parameter(Name=path)["Parameter"]["Value"]
    ssm.put_parameter(Name=path, Value=json.dumps(json.loads(text) | {"schedules": [*lines]}), Overwrite=True)
    yield
    ssm.put_parameter(Name=path, Value=text, Overwrite=True)


QUIET = "quiet,SUN-SAT,18:00,Europe/Berlin,0,4"


class TestSchedules:
    def test_the_one_in_force_is_listed_with_its_end_in_its_own_time_zone(self, status):
        with schedules("busy,SUN-SAT,8:00,Europe/Berlin,0,5", QUIET):
            answer, one = status(), status("transcription")
            document = json.loads(status("--json").stdout)
        assert answer.exit_code == 0
        head, *lines = answer.stdout.splitlines()
        assert "schedule" in head.split()
        [line] = [line for line in lines if line.startswith("transcription")]
        assert "busy until Thu 18:00 Europe/Berlin" in line
        said = "at minimum 0, maximum 5 until Thu 18:00 Europe/Berlin by schedule busy; then quiet: minimum 0"
        assert f"InForce: {said}" in " ".join(one.stdout.split())
        jsonschema.validate(document, SCHEMA)
        of = {each["name"]: each["schedule"] for each in document["workloads"]}
        zone = {"time_zone": "Europe/Berlin"}
        assert of["transcription"] == {
            "name": "busy",
            "min": 0,
            "max": 5,
            **zone,
            "since": "2026-01-15T07:00:00+00:00",
            "until": "2026-01-15T17:00:00+00:00",
            "next": {"name": "quiet", "min": 0, "max": 4, **zone},
        }
        assert of["queue-proc"] is None

    def test_a_fleet_with_other_bounds_is_a_finding(self, status):
        with schedules("busy,SUN-SAT,8:00,Europe/Berlin,2,5", QUIET):
            answer = status()
        assert answer.exit_code == 1
        assert "busy until Thu 18:00 Europe/Berlin!" in answer.stdout
        assert (
            "! Scheduled False, OtherBounds: the fleet has minimum 0, maximum 5; schedule busy"
            in answer.stdout
        )

    def test_a_time_zone_that_is_not_known_here_is_no_fault_of_the_account(self, status):
        with schedules("busy,SUN-SAT,8:00,Europe/Nowhere,2,5", QUIET):
            answer, document = status(), json.loads(status("--json").stdout)
        assert answer.exit_code == 0
        jsonschema.validate(document, SCHEMA)
        [unread] = [each["schedule"] for each in document["workloads"] if each["name"] == "transcription"]
        assert unread == {"unknown": "schedule busy: this machine knows no time zone Europe/Nowhere"}

    def test_without_any_the_list_has_no_column_for_them(self, status):
        assert "schedule" not in status().stdout


class TestTheList:
    def test_every_workload_is_a_line_with_its_messages_and_instances(self, status):
        answer = status()
        assert answer.exit_code == 0, answer.stderr
        lines = {line.split()[0]: line.split() for line in answer.stdout.splitlines() if line}
        assert lines.keys() >= {*NAMES}
        assert lines["transcription"][1:10] == ["ok", "21", "1", "0", "4m00s", "3", "2", "1", "5"]
        assert "60/30" in lines["queue-proc"]
        assert "3 workloads: nothing is wrong." in answer.stdout

    def test_only_the_workloads_that_are_named_are_shown(self, status):
        shown = status("transcription", "queue-proc").stdout
        assert [name for name in NAMES if name in shown] == ["queue-proc", "transcription"]

    @pytest.mark.parametrize(
        ("columns", "last_headings"),
        [
            (60, ["visible", "oldest", "desired", "run", "in", "time"]),
            (80, ["oldest", "desired", "run", "max", "drain", "in", "time"]),
            (140, ["in", "time", "read", "publ", "awake", "limit", "pause", "keep"]),
        ],
    )
    def test_a_narrower_terminal_lacks_the_less_important_columns(
        self, status, monkeypatch, columns, last_headings
    ):
        monkeypatch.setattr("sluice_cli.status.WIDTH", columns)
        head, *lines = status().stdout.splitlines()
        rows = [line for line in lines if line.split()[:1] in [[name] for name in NAMES]]
        assert head.split()[-len(last_headings) :] == last_headings
        assert {len(row) for row in rows} == {len(head)}

    def test_a_wide_terminal_has_every_condition_as_a_column(self, status):
        head, *_ = status().stdout.splitlines()
        assert head.split()[-7:] == ["reg", "read", "publ", "awake", "limit", "pause", "keep"]

    def test_a_paused_workload_with_waiting_messages_is_a_finding(self, status):
        with paused("transcription"):
            answer = status()
        assert answer.exit_code == 1
        assert "! Paused True, Paused: mode paused: nothing is decided" in answer.stdout
        assert "3 workloads, 1 with a condition that is wrong." in answer.stdout

    def test_a_refused_document_is_a_finding_with_what_is_wrong_with_it(self, status):
        ssm = boto3.client("ssm")
        ssm.put_parameter(Name="/sluice/workloads/broken", Value="{}", Type="String")
        answer = status()
        ssm.delete_parameter(Name="/sluice/workloads/broken")
        assert answer.exit_code == 1
        assert (
            "! Registered False, DocumentRefused: the document of workload broken is refused" in answer.stdout
        )

    def test_a_value_that_cannot_be_read_is_a_question_mark_with_the_reason_and_never_zero(
        self, status, failing
    ):
        failing(aws_error("Throttling"), "GetQueueAttributes")
        answer = status("transcription", "queue-proc")
        assert answer.exit_code == 1
        assert re.search(r"^transcription +wrong +\? +\? +\? ", answer.stdout, re.MULTILINE)
        assert "! Reading Unknown, ReadFailed: GetQueueAttributes of" in answer.stdout

    def test_the_last_decision_stands_below_its_workload(self, status):
        shown = status().stdout.splitlines()
        [row] = [number for number, line in enumerate(shown) if line.startswith("transcription")]
        assert re.fullmatch(r"  \S+ ago: bootstrap 0 -> 1: work waits and nothing runs", shown[row + 1])


class TestOneWorkload:
    def test_its_conditions_alarms_and_activities_are_on_one_screen(self, status):
        shown = status("transcription").stdout
        for expected in (
            r"Registered +yes  DocumentServed: mode active, Auto Scaling group transcription",
            r"Keeping +\?    NoWaits: ",
            r"instances +3 desired, 2 pending, 1 running, at most 5",
            r"OK +sluice-transcription-bootstrap for ",
            r"ALARM +TargetTracking-transcription-AlarmHigh for 1m30s",
            r"Deployments\s+- +none under way",
            r"Newest scaling activities of the last hour\s+1m30s ago",
        ):
            assert re.search(expected, shown), expected

    def test_activities_that_differ_by_an_instances_id_are_one(self, status):
        shown = status("photo-import").stdout
        assert re.search(r"20s ago +20 times: Terminating EC2 instance: i-", shown)
        assert re.search(r"4m50s ago +22 times: Launching a new EC2 instance: i-", shown)

    def test_a_deployment_of_its_service_is_shown_while_it_rolls(self, status, busy):
        busy.aws.services.start_deployment(
            "service/workers/queue-proc"
        )  # it lasts as long as time stands still
        shown = status("queue-proc").stdout
        assert re.search(r"Deployments\s+\S+ ago +PRIMARY deployment IN_PROGRESS", shown)
        assert re.search(r"ScalingLimited +yes  ScaleInBlocked: a deployment is rolling", shown)

    def test_alarms_that_may_not_be_read_leave_the_rest(self, status, failing):
        failing(not_authorized, "DescribeAlarms")
        answer = status("transcription")
        assert answer.exit_code == 0
        shown = " ".join(answer.stdout.split())
        assert "is not authorized to perform: x:DescribeAlarms; docs/policies/status.json is the" in shown
        assert "21 visible" in shown


class TestWatching:
    def test_it_is_shown_again_until_ctrl_c_which_ends_it_as_a_shell_expects(self, status, busy, monkeypatch):
        played = []

        def pause(seconds):
            if len(played) == 2:
                raise KeyboardInterrupt
            assert seconds == 2.0

        def exit_at_once(status_code):
            raise SystemExit(status_code)

        monkeypatch.setattr(aws_account.time, "sleep", pause)
        monkeypatch.setattr(busy, "play_minute", lambda: played.append("a minute"))
        monkeypatch.setattr(terminal.os, "_exit", exit_at_once)
        answer = status("--watch", "transcription")
        assert answer.exit_code == 130
        assert played == ["a minute"] * 2

    def test_metrics_which_are_billed_are_read_once_a_minute_and_counts_each_time(self, busy):
        calls = []

        def record(model, **_):
            calls.append(model.name)

        session = AwsSession()
        opened = open_account(session, "sluice")
        reader = StatusReader(opened.ports, opened.decisions)
        with pytest.MonkeyPatch.context() as patch:
            record_calls(patch, record)
            reader.read([], lambda: 60.0)
            first, calls[:] = Counter(calls), []
            reader.read([], lambda: 60.0)
        assert first["GetMetricData"] == 2
        assert first["StartQuery"] == 1
        assert Counter(calls) == {
            "GetParametersByPath": 1,
            "GetQueueAttributes": 3,
            "DescribeAutoScalingGroups": 1,
            "DescribeServices": 1,
            "DescribeScalableTargets": 1,
        }


class TestJson:
    @pytest.mark.parametrize("arguments", [[], ["transcription"], ["queue-proc"]], ids=" ".join)
    def test_it_follows_its_schema(self, status, arguments):
        jsonschema.validate(json.loads(status("--json", *arguments).stdout), SCHEMA)

    def test_it_follows_its_schema_when_nothing_can_be_read(self, status, failing):
        failing(
            aws_error("Throttling"),
            *("GetQueueAttributes", "DescribeAutoScalingGroups", "DescribeServices", "GetMetricData"),
            *("DescribePolicies", "DescribeScalingPolicies", "BatchGetItem", "StartQuery", "DescribeAlarms"),
            *("DescribeScalingActivities", "DescribeInstanceRefreshes"),
        )
        answer = status("--json", "transcription")
        assert answer.exit_code == 1
        found = json.loads(answer.stdout)
        jsonschema.validate(found, SCHEMA)
        [one] = found["workloads"]
        unread = {name for name, value in one.items() if isinstance(value, dict) and "unknown" in value}
        assert unread >= {
            "messages",
            "instances",
            "target",
            "arrivals_per_s",
            "drain_s",
            "alarms",
            "activities",
        }

    def test_it_holds_what_the_table_shows(self, status):
        [one] = json.loads(status("--json", "transcription").stdout)["workloads"]
        assert one["messages"] == {"visible": 21, "in_flight": 1, "delayed": 0}
        assert one["target"] == 8.0
        assert one["last_decision"] == {
            "at": "2026-01-15T12:24:29+00:00",
            "message": "bootstrap 0 -> 1: work waits and nothing runs",
            "outcome": "acted",
        }


class TestBadInput:
    def test_an_unknown_workload_is_answered_with_the_nearest_names(self, status):
        answer = status("transcriptoin")
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert "transcriptoin: no such workload is registered: did you mean transcription?" in answer.stderr

    def test_an_account_without_a_control_plane_is_said(self, status):
        answer = status("--stack", "elsewhere")
        assert answer.exit_code == 2
        assert "no control plane: CloudFormation finds no stack elsewhere in eu-west-1" in answer.stderr

    @pytest.mark.parametrize(
        ("error", "way_out"),
        [
            (not_authorized, "x:DescribeStacks; docs/policies/status.json is the policy that allows all"),
            (aws_error("ExpiredToken"), "your credentials have expired: renew them"),
            (aws_error("InvalidClientTokenId"), "check AWS_PROFILE or --profile"),
            (
                EndpointConnectionError(endpoint_url="https://cloudformation"),
                "check the network, the region and --endpoint-url",
            ),
        ],
        ids=["denied", "expired", "unknown credentials", "no network"],
    )
    def test_a_refused_call_is_a_sentence_with_a_way_out(self, status, failing, error, way_out):
        failing(error)
        answer = status()
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert way_out in answer.stderr
        assert "Traceback" not in answer.stderr

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--watch", "--json"], "leave one of them out"),
            (["--region", "eu-west-1"], "--embedded reads no account of yours"),
        ],
    )
    def test_options_that_contradict_each_other_are_refused(self, status, arguments, said):
        answer = status(*arguments)
        assert answer.exit_code == 2
        assert said in answer.stderr

    def test_a_profile_that_does_not_exist_is_said_with_those_that_do(self, sluice, monkeypatch, tmp_path):
        (tmp_path / "config").write_text("[profile production]\nregion = eu-west-1\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        for variable, options in (("AWS_PROFILE", ()), ("IGNORED", ("--profile", "nobody"))):
            monkeypatch.setenv(variable, "nobody")
            answer = sluice("status", *options)
            assert answer.exit_code == 2
            assert "your AWS configuration: The config profile (nobody) could not be found" in answer.stderr
            assert "take one of your profiles (production)" in answer.stderr
            monkeypatch.delenv(variable)

    def test_an_endpoint_that_is_no_url_is_said(self, sluice):
        answer = sluice("status", "--region", "eu-west-1", "--endpoint-url", "nonsense")
        assert answer.exit_code == 2
        assert "Invalid endpoint: nonsense; --endpoint-url and AWS_ENDPOINT_URL take a URL" in answer.stderr


def raised_minimum(instances):
    boto3.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName="transcription", MinSize=instances
    )
    boto3.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="ecs",
        ResourceId="service/workers/queue-proc",
        ScalableDimension="ecs:service:DesiredCount",
        MinCapacity=instances,
    )


def test_the_policy_allows_every_call_and_nothing_that_no_call_needs(status, allows_exactly):
    raised_minimum(1)  # a surge may have raised it
    with allows_exactly(POLICY):
        status("--all-regions")
        status("--stack", "slu*")
        status("transcription")
        status("queue-proc")
