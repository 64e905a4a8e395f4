"""`sluice explain --at` over an embedded AWS in which one thing after another keeps a size from changing."""

from __future__ import annotations

import re
from contextlib import contextmanager, nullcontext
from unittest import mock

import pytest
from botocore.client import BaseClient

from sluice_cli import workloads
from sluice_sim.embedded import busy_account as embedded
from sluice_sim.embedded.busy_account import busy_account
from tests.cli.test_status import not_authorized, paused

pytestmark = pytest.mark.slow


@contextmanager
def queues_refused():
    """Refuse the functions, and not the embedded metrics, which read all attributes."""
    call = BaseClient._make_api_call

    def refused(self, operation, parameters):
        if operation == "GetQueueAttributes" and parameters["AttributeNames"] != ["All"]:
            raise not_authorized(operation)
        return call(self, operation, parameters)

    with mock.patch.object(BaseClient, "_make_api_call", refused):
        yield


@pytest.fixture(scope="module")
def troubled():
    """From 12:25 a workload is paused, from 12:32 no queue can be read, from 12:34 to 12:38 no tick runs.

    The functions read a document again after five minutes.
    """
    with busy_account(workloads.CHECKOUT, minutes=5) as account:
        publisher = account.aws.functions.named("sluice-PublishBacklogFunction")

        def play(minutes):
            for _ in range(minutes):
                account.play_minute()

        with paused("transcription"):
            play(7)
        with queues_refused():
            play(2)
        publisher.enabled = False
        play(4)
        publisher.enabled = True
        play(1)
        yield account


@pytest.mark.parametrize(
    ("moment", "because"),
    [
        ("12:31", "mode paused, so nothing is decided; "),
        ("12:33", "ObservationFailed: GetQueueAttributes of"),
        ("12:36", "no tick served the workload from 12:35 to 12:37, and the newest is of 12:33:"),
    ],
    ids=["paused", "unknown reading", "no tick"],
)
def test_what_kept_the_size_at_a_moment_is_the_reason(sluice, troubled, monkeypatch, moment, because):
    monkeypatch.setattr(embedded, "busy_account", lambda *_, **__: nullcontext(troubled))
    answer = sluice("explain", "--embedded", "transcription", "--at", moment)
    assert f" at {moment} UTC because {because}" in " ".join(answer.stdout.split())
    assert answer.exit_code == 1


def test_a_time_without_ticks_is_a_line_of_its_own(sluice, troubled, monkeypatch):
    monkeypatch.setattr(embedded, "busy_account", lambda *_, **__: nullcontext(troubled))
    shown = sluice("explain", "--embedded", "transcription").stdout
    assert re.search(r"plane +no tick served the workload for 5 minutes, from 12:33:\d\d to 12:3", shown)
