"""How far a switch is and how it ended, out of the history of its execution."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from sluice.core.model import Color
from sluice_operator.core.switching import (
    MAX_NAME,
    Execution,
    Happened,
    Kind,
    Progress,
    end,
    execution_name,
    is_of,
    progress,
)
from tests.support.builders import NOW


def events(*happened):
    """(kind, state, detail, outcome) in order, a second apart."""
    return [
        Happened(
            id=number,
            at=NOW + timedelta(seconds=number),
            kind=kind,
            state=state,
            detail=detail,
            outcome=outcome,
        )
        for number, (kind, state, detail, outcome) in enumerate(happened, 1)
    ]


def step(state, detail="", outcome="next"):
    return (Kind.BEGAN, state, "", ""), (Kind.ENDED, state, detail, outcome)


def execution(status, error=None, cause=None):
    return Execution(
        arn="arn", status=status, started_at=NOW, ended_at=NOW, asked={}, error=error, cause=cause
    )


def test_a_step_that_is_repeated_stays_one_step_with_what_it_said_last():
    told = [
        *step("Begin"),
        *step("Ready", "1 of 2 run", "wait"),
        *step("WaitToReady"),
        *step("Ready", "2 run"),
    ]
    seen = progress(Progress(), events(*told))
    assert [(each.step, each.detail) for each in seen.steps] == [("begin", ""), ("ready", "2 run")]
    assert (seen.now.began_at, seen.newest_id) == (NOW + timedelta(seconds=3), 8)


def test_further_events_continue_what_was_seen():
    every = events(*step("Begin"), *step("Freeze"), *step("Raise"))
    at_once = progress(Progress(), every)
    assert progress(progress(Progress(), every[:3]), every[3:]) == at_once
    assert at_once.done == 2


def test_an_attempt_that_failed_and_was_repeated_well_is_no_failure():
    told = [(Kind.BEGAN, "Freeze", "", ""), (Kind.FAILED, "", "throttled", "")]
    assert progress(Progress(), events(*told)).now.failed
    told.append((Kind.ENDED, "Freeze", "frozen", "next"))
    assert not progress(Progress(), events(*told)).now.failed


def refused_with(sentence):
    cause = json.dumps({"errorMessage": sentence, "errorType": "ConfigError"})
    told = [(Kind.BEGAN, "Begin", "", ""), (Kind.FAILED, "", sentence, ""), (Kind.ENDED, "Begin", "", "")]
    back = step("RollBack", "nothing is to be put back", "nothing_to_do")
    return execution("FAILED", "ConfigError", cause), progress(Progress(), events(*told, *back))


def test_a_refusal_is_its_sentence_and_says_that_nothing_was_changed():
    how = end("jobs", *refused_with("green cannot be raised"))
    assert (how.well, how.outcome) == (False, "refused")
    assert how.message == "green cannot be raised; nothing was changed"


def test_a_failure_that_was_undone_names_the_step():
    told = [*step("Begin"), (Kind.BEGAN, "Hook", "", ""), (Kind.FAILED, "", "the smoke test fails", "")]
    seen = progress(Progress(), events(*told, *step("RollBack", "all as before")))
    cause = json.dumps({"errorMessage": "the smoke test fails"})
    how = end("jobs", execution("FAILED", "RuntimeError", cause), seen)
    assert how.message == "hook failed: the smoke test fails; everything is as it was before"


@pytest.mark.parametrize(
    ("status", "error", "outcome", "said"),
    [
        ("FAILED", "ColorStays", "color_stays", "drained: a cause"),
        ("FAILED", "NotFinished", "not_finished", "a cause `sluice switch jobs --follow` shows it"),
        ("FAILED", "RolledBack", "rolled_back", "a cause"),
        ("ABORTED", "Aborted", "aborted", "was stopped (a cause.); the control plane puts back"),
        ("TIMED_OUT", None, "timed_out", "took longer than all its waits"),
    ],
)
def test_every_bad_end_is_a_sentence(status, error, outcome, said):
    seen = progress(Progress(), events(*step("Begin"), *step("Drain", "drained")))
    how = end("jobs", execution(status, error, "a cause."), seen)
    assert (how.well, how.outcome) == (False, outcome)
    assert said in how.message


def test_a_cause_that_is_no_json_is_told_as_it_is():
    seen = progress(Progress(), events(*step("Begin")))
    assert end("jobs", execution("FAILED", "States.Runtime", "a path"), seen).message.startswith("a path;")
    assert "it does not say why" in end("jobs", execution("FAILED"), seen).message


def test_the_name_of_an_execution_is_readable_and_found_by_its_workload():
    name = execution_name("jobs", Color.GREEN, NOW, "ab12")
    assert name == f"jobs-green-{NOW:%Y%m%dT%H%M%SZ}-ab12"
    assert is_of("jobs", name)
    assert not is_of("job", name)
    assert not is_of("jobs-green", name)
    assert not is_of("jobs", "event-1")


def test_the_name_of_a_long_workload_is_cut_to_what_aws_takes():
    long = "w" * 64
    name = execution_name(long, None, NOW, "ab12")
    assert len(name) == MAX_NAME
    assert is_of(long, name)
    assert not is_of("v" * 64, name)
