"""`sluice explain` over the embedded AWS, as a user calls it."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager

import jsonschema
import pytest

from sluice_cli import workloads
from sluice_operator.session import AwsSession
from sluice_sim.embedded import busy_account as embedded
from sluice_sim.embedded.busy_account import busy_account
from tests.cli.test_status import DOCS, failing, not_authorized  # noqa: F401 - a fixture
from tests.privileges.authorization import Call, requests
from tests.privileges.inventory import EverythingTagged
from tests.privileges.policies import parse
from tests.privileges.proof import Use, refused, surplus

pytestmark = pytest.mark.slow

SCHEMA = json.loads((DOCS / "schemas/explain.json").read_text(encoding="utf-8"))
POLICY = json.loads((DOCS / "policies/explain.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def busy():
    with busy_account(workloads.CHECKOUT) as account:
        yield account


@pytest.fixture
def explain(sluice, busy, monkeypatch):
    @contextmanager
    def played(root, on_minute=lambda *_: None):
        yield busy

    monkeypatch.setattr(embedded, "busy_account", played)
    return lambda *arguments: sluice("explain", "--embedded", *arguments)


def test_decisions_alarms_activities_and_stacks_are_merged_by_time(explain):
    answer = explain("transcription")
    assert answer.exit_code == 0, answer.stderr
    lines = [line for line in answer.stdout.splitlines() if re.match(r"\d\d:\d\d:\d\d", line)]
    assert lines == sorted(lines, key=lambda line: line[:8])
    assert {line.split()[1] for line in lines} == {"decision", "tick", "alarm", "activity", "stack"}
    assert "bootstrap 0 -> 1: work waits and nothing runs (24 visible, 0 in flight" in answer.stdout
    assert "AlarmHigh: Alarm updated from OK to ALARM: Threshold Crossed: 3 out of" in answer.stdout


def test_repeated_ticks_and_alike_activities_are_one_line(explain):
    shown = explain("transcription").stdout
    assert re.search(r"tick +4 times until 12:28:57, last: transcription: 22 per", shown)
    assert re.search(r"12:27:30 +activity +2 times until 12:27:30, last: Launching", shown)


def test_a_moment_at_which_nothing_happened_is_explained_by_the_hold_before_it(explain):
    shown = " ".join(explain("queue-proc", "--at", "12:26").stdout.split())
    assert "nothing happened at 12:26 UTC because bootstrap holds: desired is above 0" in shown


def test_what_changed_at_a_moment_is_said(explain):
    assert "at 12:24 UTC: decision: bootstrap 0 -> 1" in explain("transcription", "--at", "12:24").stdout


def test_a_moment_before_the_first_log_line_is_unknown_and_a_finding(explain):
    answer = explain("transcription", "--at", "2026-01-15T11:00")
    assert answer.exit_code == 1
    assert "nothing is known of 11:00 UTC" in answer.stdout
    assert "the functions logged nothing about transcription" in answer.stdout


@pytest.mark.parametrize("arguments", [["transcription"], ["queue-proc", "--at", "12:26"]], ids=" ".join)
def test_its_json_follows_its_schema(explain, arguments):
    jsonschema.validate(json.loads(explain("--json", *arguments).stdout), SCHEMA)


def test_a_source_that_may_not_be_read_is_said_and_leaves_the_rest(explain, failing):  # noqa: F811
    failing(not_authorized, "DescribeAlarmHistory")
    answer = explain("transcription")
    assert answer.exit_code == 1
    assert "x:DescribeAlarmHistory; docs/policies/explain.json" in " ".join(answer.stdout.split())
    assert "bootstrap 0 -> 1" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["transcriptoin"], "did you mean transcription?"),
        (["transcription", "--at", "23:00"], "is in the future: it is 2026-01-15T12:29 UTC"),
        (["transcription", "--at", "noon"], "is no time: give 14:05"),
        (["transcription", "--at", "12:20", "--since", "6h"], "leave one of them out"),
        (["transcription", "--since", "6h2h"], "two durations of one unit"),
        (["transcription", "--since", "soon"], "such as 90m, 6h or 2d"),
        (["transcription", "--since", "0m"], "between 1m and 30d"),
    ],
)
def test_bad_input_is_a_sentence(explain, arguments, said):
    answer = explain(*arguments)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert said in " ".join(answer.stderr.split())


def test_the_policy_allows_every_call_and_nothing_that_no_call_needs(explain, monkeypatch):
    uses, client = [], AwsSession.client

    def recording(session, service, **settings):
        made = client(session, service, **settings)

        def record(params, model, **_):
            call = Call(
                signing_name=model.service_model.signing_name, operation=model.name, parameters=dict(params)
            )
            uses.extend(Use(role="explain", request=each) for each in requests(call, EverythingTagged()))

        made.meta.events.register("before-parameter-build", record)
        return made

    monkeypatch.setattr(AwsSession, "client", recording)
    assert [explain(name).exit_code for name in ("transcription", "queue-proc")] == [0, 0]
    roles = {"explain": parse(POLICY)}
    assert refused(roles, uses) == []
    assert surplus(roles, uses) == []
