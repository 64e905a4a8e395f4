"""Lambda's Invoke operation: runs the functions of the embedded account; moto would start a container."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock
from urllib.parse import unquote

from moto.awslambda.exceptions import LambdaClientError, UnknownFunctionException
from moto.awslambda.responses import LambdaResponse

from sluice_sim.account import arn
from sluice_sim.clock import VirtualClock
from sluice_sim.embedded.functions import Function, Lambda, Outcome

LATEST = "$LATEST"
LOG_TAIL_BYTES = 4096
Answer = tuple[int, dict[str, str], str]
"""Status, headers and body of a response."""


class InvalidRequestContentError(LambdaClientError):
    """A payload that is no JSON."""

    code = 400

    def __init__(self) -> None:
        super().__init__("InvalidRequestContentException", "Could not parse request body into json.")


class TooManyRequestsError(LambdaClientError):
    """The function has no concurrency left."""

    code = 429

    def __init__(self) -> None:
        super().__init__("TooManyRequestsException", "Rate Exceeded.")


class Invocations:
    """Invocations of the account's functions by request."""

    def __init__(self, clock: VirtualClock, functions: Lambda) -> None:
        self._clock, self._functions = clock, functions

    @contextmanager
    def patched_moto(self) -> Iterator[None]:
        """Within the context, Invoke is answered here."""

        def invoke(response: LambdaResponse) -> Answer:
            asked = unquote(response.path.rsplit("/", 2)[-2])
            function = self._find(asked, response.querystring.get("Qualifier", [None])[0])
            return self._invoke(function, response.headers, response.body)

        with mock.patch.object(LambdaResponse, "invoke", invoke):
            yield

    def _find(self, asked: str, qualifier: str | None) -> Function:
        """The function with this name or ARN, either of which may end with a qualifier."""
        name, _, appended = asked.rpartition("function:")[2].partition(":")
        function = self._functions.find(name)
        if function is None or (qualifier or appended or LATEST) != LATEST:
            suffix = f":{qualifier or appended}" if qualifier or appended else ""
            raise UnknownFunctionException(arn("lambda", f"function:{name}{suffix}"))
        return function

    def _invoke(self, function: Function, headers: Mapping[str, str], body: str) -> Answer:
        try:
            event: Any = json.loads(body or "{}")
        except ValueError as error:
            raise InvalidRequestContentError from error
        kind = headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if kind == "DryRun":
            return 204, {"status": "204"}, ""  # moto reads the status here
        if kind == "Event":
            self._clock.at(self._clock.now, partial(self._functions.invoke_async, function, event))
            return 202, {"status": "202"}, ""
        if not function.enabled or self._functions.throttled(function):
            raise TooManyRequestsError
        return _answer(self._functions.run(function, event), tail=headers.get("X-Amz-Log-Type") == "Tail")


def _answer(outcome: Outcome, *, tail: bool) -> Answer:
    headers = {"Content-Type": "application/json", "X-Amz-Executed-Version": LATEST}
    if tail:
        log = outcome.printed.encode()[-LOG_TAIL_BYTES:]
        headers["X-Amz-Log-Result"] = base64.b64encode(log).decode()
    if outcome.failure is None:
        try:
            return 200, headers, json.dumps(outcome.answer)
        except (TypeError, ValueError) as error:
            kind, words, trace = "Runtime.MarshalError", f"Unable to marshal response: {error}", []
    else:
        kind, words = type(outcome.failure).__name__, str(outcome.failure)
        trace = traceback.format_tb(outcome.failure.__traceback__)
    headers["X-Amz-Function-Error"] = "Unhandled"
    failed = {"errorMessage": words, "errorType": kind, "requestId": outcome.request_id, "stackTrace": trace}
    return 200, headers, json.dumps(failed)
