"""Lambda's Invoke runs the deployed functions of the embedded AWS, and answers as AWS does."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from sluice_sim.embedded.cloud import EmbeddedAws, embedded_aws
from sluice_sim.embedded.demo import Demo
from sluice_sim.embedded.functions import DURATION_MS
from tests.sim.embedded.test_embedded import ROOT, wait
from tests.sim.embedded.test_functions import BOOTSTRAP, fail, sums


@pytest.fixture
def aws() -> Iterator[EmbeddedAws]:
    """A control plane without workloads, of which one function answers with its event."""
    with embedded_aws(ROOT) as account:
        Demo(account, ROOT)
        account.functions.named(BOOTSTRAP).handler = lambda event, _: {"got": event}
        yield account


def invoke(payload: object = None, **asked: Any) -> dict[str, Any]:
    """The response, with its payload as text."""
    body = {} if payload is None else {"Payload": json.dumps(payload)}
    response = boto3.client("lambda").invoke(**{"FunctionName": BOOTSTRAP} | body | asked)
    return response | {"Payload": response["Payload"].read().decode()}


def test_a_function_answers_with_what_its_handler_returned(aws: EmbeddedAws) -> None:
    response = invoke({"workload": "gpu"})
    assert json.loads(response["Payload"]) == {"got": {"workload": "gpu"}}
    assert (response["StatusCode"], response["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in response


def test_a_request_without_a_payload_is_an_empty_event(aws: EmbeddedAws) -> None:
    assert json.loads(invoke()["Payload"]) == {"got": {}}


def test_a_deployed_function_of_the_plane_runs_with_its_own_environment() -> None:
    with embedded_aws(ROOT) as aws:
        Demo(aws, ROOT)
        response = invoke({"source": "aws.cloudwatch"}, FunctionName="sluice-ShutdownFunction")
        assert response["StatusCode"] == 200
        assert any(line.function == "sluice-ShutdownFunction" for line in aws.log)


def test_the_function_is_found_by_its_arn_and_latest_version(aws: EmbeddedAws) -> None:
    arn = aws.functions.named(BOOTSTRAP).arn
    for name in (arn, f"{arn}:$LATEST", f"123456789012:function:{BOOTSTRAP}"):
        assert invoke(1, FunctionName=name)["Payload"] == '{"got": 1}'
    assert invoke(1, Qualifier="$LATEST")["Payload"] == '{"got": 1}'


def test_an_exception_is_a_function_error_and_the_request_succeeds(aws: EmbeddedAws) -> None:
    aws.functions.named(BOOTSTRAP).handler = fail
    response = invoke({})
    assert (response["StatusCode"], response["FunctionError"]) == (200, "Unhandled")
    error = json.loads(response["Payload"])
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "the queue is on fire")
    assert error["requestId"]
    assert "raise ValueError" in error["stackTrace"][-1]
    wait(aws, 180)
    assert sums(aws, BOOTSTRAP) == {"Invocations": 1, "Errors": 1, "Throttles": 0, "Duration": DURATION_MS}


def test_an_answer_that_is_no_json_is_a_function_error(aws: EmbeddedAws) -> None:
    aws.functions.named(BOOTSTRAP).handler = lambda *_: object()
    response = invoke({})
    assert response["FunctionError"] == "Unhandled"
    assert json.loads(response["Payload"])["errorType"] == "Runtime.MarshalError"


def test_a_dry_run_invokes_nothing(aws: EmbeddedAws) -> None:
    aws.functions.named(BOOTSTRAP).handler = fail
    response = invoke({}, InvocationType="DryRun")
    assert (response["StatusCode"], response["Payload"]) == (204, "")
    wait(aws, 180)
    assert sums(aws, BOOTSTRAP) == {}


def test_an_event_is_accepted_at_once_and_retried_if_it_fails(aws: EmbeddedAws) -> None:
    aws.functions.named(BOOTSTRAP).handler = fail
    response = invoke({"alarmArn": "of a test"}, InvocationType="Event")
    assert (response["StatusCode"], response["Payload"]) == (202, "")
    wait(aws, 300)
    assert sums(aws, BOOTSTRAP)["Errors"] == 3


def test_the_tail_of_the_log_comes_with_the_answer_if_it_is_asked_for(aws: EmbeddedAws) -> None:
    aws.functions.named(BOOTSTRAP).handler = lambda *_: print("x" * 5000 + "end")  # noqa: T201
    assert base64.b64decode(invoke({}, LogType="Tail")["LogResult"]).decode().endswith("xend\n")
    assert len(base64.b64decode(invoke({}, LogType="Tail")["LogResult"])) == 4096
    assert "LogResult" not in invoke({})


@pytest.mark.parametrize("asked", [{"FunctionName": "other"}, {"Qualifier": "7"}])
def test_an_unknown_function_or_version_is_not_found(asked: dict[str, str], aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match=r"ResourceNotFoundException.*Function not found: arn:aws:lambda"):
        invoke({}, **asked)


def test_a_payload_that_is_no_json_is_refused(aws: EmbeddedAws) -> None:
    with pytest.raises(ClientError, match="InvalidRequestContentException"):
        invoke(Payload="{not json")


@pytest.mark.slow
def test_a_function_without_concurrency_or_that_is_switched_off_is_throttled(aws: EmbeddedAws) -> None:
    client = boto3.client("lambda")
    client.put_function_concurrency(FunctionName=BOOTSTRAP, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        invoke({})
    client.delete_function_concurrency(FunctionName=BOOTSTRAP)
    aws.functions.named(BOOTSTRAP).enabled = False
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        invoke({})
