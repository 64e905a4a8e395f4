"""`sluice explain` over the embedded AWS, as a user calls it."""

from __future__ import annotations

import json
import re
from threading import Barrier

import boto3
import jsonschema
import pytest
from botocore.exceptions import EndpointConnectionError

from sluice_cli import workloads
from sluice_sim.aws_rules.ecs_target_tracking import NotScaled
from sluice_sim.embedded.busy_account import busy_account
from tests.cli.test_status import DOCS, aws_error, not_authorized

pytestmark = pytest.mark.slow

SCHEMA = json.loads((DOCS / "schemas/explain.json").read_text(encoding="utf-8"))
POLICY = json.loads((DOCS / "policies/explain.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def busy():
    with busy_account(workloads.CHECKOUT) as account:
        yield account


@pytest.fixture
def explain(on_embedded, busy):
    return on_embedded(busy, "explain")


class TestTheTimeline:
    def test_decisions_alarms_activities_and_stacks_are_merged_by_time(self, explain):
        answer = explain("transcription")
        assert answer.exit_code == 0, answer.stderr
        lines = [line for line in answer.stdout.splitlines() if re.match(r"\d\d:\d\d:\d\d", line)]
        assert lines == sorted(lines, key=lambda line: line[:8])
        assert {line.split()[1] for line in lines} == {"decision", "tick", "alarm", "activity", "stack"}
        assert "bootstrap 0 -> 1: work waits and nothing runs (24 visible, 0 in flight" in answer.stdout
        assert "AlarmHigh: OK -> ALARM: 3 out of the last 3 datapoints" in answer.stdout
        assert "The logs tell nothing about transcription before 12:21:15." in answer.stdout

    def test_repeated_ticks_and_alike_activities_are_one_line(self, explain):
        shown = explain("transcription").stdout
        assert re.search(r"tick +4 times until 12:28:57, the last: 22 per instance; 22 effective", shown)
        assert re.search(r"12:27:30 +activity +2 times, the last: Launching", shown)

    def test_a_service_that_is_at_its_maximum_says_why_its_alarm_changed_nothing(self, explain, busy):
        service = busy.aws.services
        service.not_scaled("service/workers/queue-proc", NotScaled.AT_MAXIMUM, "monitor alarm in state ALARM")
        shown = " ".join(explain("queue-proc").stdout.split())
        assert "due to alarm triggered, which changed nothing: already at its maximum of 10" in shown

    def test_many_days_are_read_by_several_queries_and_nothing_is_there_twice(self, explain):
        one, many = (
            json.loads(explain("transcription", "--json", *since).stdout)
            for since in ([], ["--since", "20d"])
        )
        assert many["entries"] == one["entries"]
        assert many["unread"] == {}

    @pytest.mark.parametrize("columns", [60, 80])
    def test_a_narrow_terminal_wraps_the_sentences_and_loses_none(self, explain, monkeypatch, columns):
        wide = explain("transcription").stdout
        monkeypatch.setattr("sluice_cli.explain.WIDTH", columns)
        narrow = explain("transcription").stdout
        assert max(map(len, narrow.splitlines())) <= columns
        words = re.compile(r"\S+")
        assert sorted("".join(words.findall(narrow))) == sorted("".join(words.findall(wide)))

    def test_no_escape_sequence_goes_through_a_pipe(self, explain):
        assert "\x1b" not in explain("transcription", "--at", "12:26").stdout


class TestAMoment:
    def test_the_hold_before_it_explains_why_nothing_happened(self, explain):
        answer = explain("queue-proc", "--at", "12:26")
        assert answer.exit_code == 0
        shown = " ".join(answer.stdout.split())
        assert "nothing happened at 12:26 UTC because bootstrap holds: desired is above 0" in shown
        assert re.search(r"AlarmHigh: INSUFFICIENT_DATA -> OK: .* 12:26:06 tick 60 per instance", shown)

    def test_what_changed_the_size_is_said(self, explain):
        shown = explain("transcription", "--at", "12:24").stdout
        assert "at 12:24 UTC the size changed: decision: bootstrap 0 -> 1" in shown

    def test_one_before_the_first_log_line_is_a_finding(self, explain):
        answer = explain("transcription", "--at", "2026-01-15T11:00")
        assert answer.exit_code == 1
        shown = " ".join(answer.stdout.split())
        assert "no tick served the workload from 10:59 to 11:01, and none is logged before it" in shown
        assert "the functions logged nothing about transcription" in shown


@pytest.mark.parametrize("arguments", [["transcription"], ["queue-proc", "--at", "12:26"]], ids=" ".join)
def test_its_json_follows_its_schema(explain, arguments):
    jsonschema.validate(json.loads(explain("--json", *arguments).stdout), SCHEMA)


def test_its_json_has_the_numbers_of_each_line(explain):
    entries = json.loads(explain("--json", "transcription").stdout)["entries"]
    [bootstrap] = [
        entry for entry in entries if entry["effect"] == "resized" and entry["source"] == "decision"
    ]
    assert bootstrap["numbers"].items() >= {"visible": 24.0, "running": 0.0, "desired_now": 0.0}.items()


class TestSourcesThatCannotBeRead:
    @pytest.mark.parametrize(
        ("operation", "source"),
        [
            ("DescribeAlarmHistory", "alarm history"),
            ("DescribeScalingActivities", "scaling activities"),
            ("DescribeInstanceRefreshes", "deployments"),
            ("DescribeStackEvents", "events of the workload's stack"),
            ("StartQuery", "decisions"),
        ],
    )
    def test_a_refused_one_is_named_with_its_action_and_policy_and_hides_no_other(
        self, explain, failing, operation, source
    ):
        failing(not_authorized, operation)
        answer = explain("transcription")
        assert answer.exit_code == 1
        shown = " ".join(answer.stdout.split())
        assert f"? {source}: " in shown
        assert f"x:{operation}; docs/policies/explain.json is the policy that allows all" in shown
        assert "CREATE_COMPLETE" in shown or operation == "DescribeStackEvents"
        assert "bootstrap 0 -> 1" in shown or operation == "StartQuery"

    def test_a_moment_is_not_explained_by_logs_that_could_not_be_read(self, explain, failing):
        failing(not_authorized, "StartQuery")
        shown = explain("transcription", "--at", "12:26").stdout
        assert "what happened at 12:26 UTC, and why, is unknown" in shown
        assert "logged nothing" not in shown

    def test_a_log_group_that_the_control_plane_lacks_is_said(self, explain, failing):
        missing = aws_error("ResourceNotFoundException", "Log group '/aws/lambda/sluice/x' does not exist")
        failing(missing, "StartQuery")
        shown = " ".join(explain("transcription").stdout.split())
        assert "the control plane is of another release than this command: update its stack" in shown

    def test_they_are_read_at_once(self, explain, failing):
        """Each of the calls waits for all the others to have begun."""
        operations = (
            "StartQuery",
            "DescribeScalingActivities",
            "DescribeInstanceRefreshes",
            "DescribeStackEvents",
        )
        barrier = Barrier(len(operations) + 1, timeout=60)  # the stacks are two sources

        def wait_for_the_others(operation):
            barrier.wait()
            return not_authorized(operation)

        failing(wait_for_the_others, *operations)
        shown = explain("transcription").stdout
        assert shown.count("is not authorized to perform") == len(operations) + 1


class TestThePicture:
    def test_it_is_written_below_the_folder_with_the_workloads_name(self, explain, tmp_path):
        answer = explain("queue-proc", "--report", tmp_path / "new")
        picture = tmp_path / "new/queue-proc.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert f"picture: {picture}" in "".join(answer.stderr.splitlines())
        assert answer.exit_code == 0

    def test_without_a_tick_there_is_none_and_that_is_said(self, explain, tmp_path):
        answer = explain("queue-proc", "--at", "2026-01-15T11:00", "--report", tmp_path)
        assert list(tmp_path.iterdir()) == []
        assert "No picture: no tick has logged a queue and a fleet in this time." in answer.stderr

    def test_a_folder_that_cannot_be_written_is_said_before_anything_is_read(self, sluice, tmp_path):
        (tmp_path / "file").touch()
        answer = sluice("explain", "queue-proc", "--embedded", "--report", tmp_path / "file/new")
        assert answer.exit_code == 2
        assert "name another" in answer.stderr


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["transcriptoin"], "did you mean transcription?"),
            (
                ["transcription", "--at", "23:00"],
                "it is 2026-01-15T12:29 UTC; for yesterday give 2026-01-14T23:00",
            ),
            (
                ["transcription", "--at", "2027-01-01"],
                "is in the future: it is 2026-01-15T12:29 UTC; give an",
            ),
            (["transcription", "--at", "2025-11-01"], "is over 30 days ago"),
            (["transcription", "--at", "noon"], "is no time: give 14:05"),
            (["transcription", "--at", "25:00"], "is no time: give 14:05"),
            (["transcription", "--at", "0001-01-01T00:00+23:59"], "is no time: give 14:05"),
            (
                ["transcription", "--at", "12:20", "--since", "6h"],
                "--since 6h and --at 12:20 each choose the time",
            ),
            (
                ["transcription", "--since", "6h", "--since", "2h"],
                "--since 6h and --since 2h each choose the",
            ),
            (["transcription", "--since", "6h2h"], "two durations of one unit"),
            (["transcription", "--since", "soon"], "such as 90m, 6h or 2d"),
            (["transcription", "--since", "-1h"], "such as 90m, 6h or 2d"),
            (["transcription", "--since", "9" * 5000 + "d"], "such as 90m, 6h or 2d"),
            (["transcription", "--since", "0m"], "between 1m and 30d"),
            (["transcription", "--since", "31d"], "between 1m and 30d"),
            (
                ["transcription", "--stack", "elsewhere"],
                "no control plane: CloudFormation finds no stack elsewhere",
            ),
        ],
        ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
    )
    def test_it_is_a_sentence_with_a_way_out(self, explain, arguments, said):
        answer = explain(*arguments)
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert said in " ".join(answer.stderr.split())

    @pytest.mark.parametrize(
        ("error", "way_out"),
        [
            (not_authorized, "x:DescribeStacks; docs/policies/explain.json is the policy that allows all"),
            (aws_error("ExpiredToken"), "your credentials have expired: renew them"),
            (aws_error("InvalidClientTokenId"), "check AWS_PROFILE or --profile"),
            (
                EndpointConnectionError(endpoint_url="https://cloudformation"),
                "check the network, the region and --endpoint-url",
            ),
        ],
        ids=["denied", "expired", "unknown credentials", "no network"],
    )
    def test_an_account_that_cannot_be_read_is_a_sentence_with_a_way_out(
        self, explain, failing, error, way_out
    ):
        failing(error)
        answer = explain("transcription")
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert way_out in " ".join(answer.stderr.split())
        assert "Traceback" not in answer.stderr

    def test_a_workload_whose_document_is_refused_is_said_with_what_is_wrong(self, explain):
        ssm = boto3.client("ssm")
        ssm.put_parameter(Name="/sluice/workloads/broken", Value="{}", Type="String")
        answer = explain("broken")
        ssm.delete_parameter(Name="/sluice/workloads/broken")
        assert (answer.exit_code, answer.stdout) == (2, "")
        assert "the document of workload broken is refused" in answer.stderr


def test_the_policy_allows_every_call_and_nothing_that_no_call_needs(explain, allows_exactly):
    with allows_exactly(POLICY):
        assert [explain(name).exit_code for name in ("transcription", "queue-proc")] == [0, 0]


def test_why_a_service_starts_no_task_is_said_once_by_its_event_or_by_the_decision_that_quotes_it(
    explain, busy
):
    """Last, because it plays the account on."""
    resource, services = "service/workers/queue-proc", busy.aws.services
    services.fail_launches(resource, "(service queue-proc) was unable to place a task. Reason: no capacity.")
    services.set_desired(resource, services.fleet(resource).size().desired + 1)
    before = explain("queue-proc")
    for _ in range(2):
        busy.play_minute()
    after = explain("queue-proc").stdout
    assert before.exit_code == 1
    assert re.search(r"service +was unable to place a task", before.stdout)
    assert re.search(r"decision +launch holds: .*\(service queue-proc\) was unable to place", after)
    assert not re.search(r"service +was unable to place a task", after)
