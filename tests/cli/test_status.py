"""`sluice status` over the embedded AWS, as a user calls it."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from sluice_cli import workloads
from sluice_sim.embedded import busy_account as embedded
from sluice_sim.embedded.busy_account import busy_account

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def busy():
    """One account for all tests: playing it takes seconds."""
    with busy_account(workloads.CHECKOUT) as account:
        yield account


@pytest.fixture
def status(sluice, busy, monkeypatch):
    """`status(...)`: one call of `sluice status --embedded` on the account as it stands."""

    @contextmanager
    def played(root, on_minute=lambda *_: None):
        yield busy

    monkeypatch.setattr(embedded, "busy_account", played)
    return lambda *arguments: sluice("status", "--embedded", *arguments)


def test_every_workload_is_a_line_with_its_messages_and_instances(status):
    answer = status()
    assert answer.exit_code == 0, answer.stderr
    lines = {line.split()[0]: line.split() for line in answer.stdout.splitlines() if line}
    assert {"photo-import", "queue-proc", "transcription"} <= lines.keys()
    assert lines["transcription"][1:10] == ["ok", "21", "1", "0", "4m00s", "3", "2", "1", "5"]
    assert "60/30" in lines["queue-proc"]


def test_json_holds_what_the_table_shows(status):
    found = json.loads(status("--json", "transcription").stdout)
    [one] = found["workloads"]
    assert one["messages"] == {"visible": 21, "in_flight": 1, "delayed": 0}
    assert one["target"] == 8.0
    assert one["last_decision"] == {
        "at": "2026-01-15T12:24:29+00:00",
        "message": "bootstrap 0 -> 1: work waits and nothing runs",
        "outcome": "acted",
    }


def test_an_unknown_workload_is_answered_with_the_nearest_names(status):
    answer = status("transcriptoin")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "transcriptoin: no such workload is registered: did you mean transcription?" in answer.stderr
