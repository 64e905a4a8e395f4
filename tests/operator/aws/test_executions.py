"""The history of an execution is read from its end, and only as far as it is new."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from sluice.errors import SluiceError
from sluice_operator.aws.executions import failure_text, history, runs
from sluice_operator.core.switching import Kind

AT = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


class Client:
    """Answers GetExecutionHistory page by page, and counts the pages that are asked for."""

    def __init__(self, *pages):
        self.pages, self.asked = pages, 0

    def get_paginator(self, _):
        return self

    def paginate(self, **_):
        for page in self.pages:
            self.asked += 1
            yield {"events": page}


def event(number, kind, **details):
    return {"id": number, "timestamp": AT, "type": kind, **details}


def entered(number, name):
    return event(number, "TaskStateEntered", stateEnteredEventDetails={"name": name})


def left(number, name, result):
    output = json.dumps({"request": {}, "result": result})
    return event(number, "TaskStateExited", stateExitedEventDetails={"name": name, "output": output})


def test_events_come_in_their_order_and_known_ones_are_not_read_again():
    client = Client(
        [entered(5, "Raise"), left(4, "Freeze", {})], [entered(3, "Freeze")], [entered(2, "Begin")]
    )
    assert [each.id for each in history(client, "arn", 3)] == [4, 5]
    assert client.asked == 2
    assert [each.id for each in history(client, "arn", 0)] == [2, 3, 4, 5]


def test_what_a_step_has_answered_is_read_out_of_its_output():
    [found] = history(Client([left(2, "Ready", {"detail": "2 run", "outcome": "wait"})]), "arn", 0)
    assert (found.kind, found.state, found.detail, found.outcome) == (Kind.ENDED, "Ready", "2 run", "wait")


@pytest.mark.parametrize("output", ["{", "[]", '{"result": null}', '{"result": 7}'])
def test_an_output_that_cannot_be_read_is_a_step_without_a_word(output):
    told = event(2, "TaskStateExited", stateExitedEventDetails={"name": "Ready", "output": output})
    [found] = history(Client([told]), "arn", 0)
    assert (found.detail, found.outcome) == ("", "")


def test_a_failure_is_told_in_the_functions_own_words():
    cause = json.dumps({"errorMessage": "a sentence", "errorType": "ConfigError"})
    told = event(2, "TaskFailed", taskFailedEventDetails={"error": "ConfigError", "cause": cause})
    [found] = history(Client([told]), "arn", 0)
    assert (found.kind, found.detail) == (Kind.FAILED, "a sentence")
    assert failure_text("States.Timeout", None) == "States.Timeout"
    assert failure_text(None, None) == "it does not say why"


def test_an_answer_that_lacks_something_is_an_error_of_ours():
    with pytest.raises(SluiceError):
        history(Client([{"id": 1}]), "arn", 0)


def refusing(code):
    class Refusing:
        def describe_execution(self, **_):
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "DescribeExecution")

    return Refusing()


def test_an_execution_that_aws_knows_no_more_has_ended_and_any_other_failure_tells_nothing():
    """Its state machine was deleted, or it ended 90 days ago; the record of the switch may still be there."""
    assert not runs(refusing("ExecutionDoesNotExist"), "arn:one")
    with pytest.raises(SluiceError):
        runs(refusing("AccessDeniedException"), "arn:one")
    with pytest.raises(SluiceError):
        runs(refusing("ThrottlingException"), "arn:one")
