"""Invokes a function of the control plane and waits for its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, field
from sluice.errors import ConfigError, TransientError

TIMED_OUT = "Sandbox.Timedout"
EXPECTED = {"ConfigError": ConfigError, "DocumentError": ConfigError, "CapacityError": ConfigError}
"""Type of a function's error -> what it is for the caller, for whom the message was written."""


def invoke(client: Any, function_arn: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the function returns, a JSON object; raises SluiceError with its own message if it failed."""
    name = function_arn.rpartition(":")[2]
    with aws_errors(f"Invoke of {name}"):
        response = client.invoke(
            FunctionName=function_arn,
            InvocationType="RequestResponse",
            Payload=json.dumps(event).encode(),
        )
        payload = field(response, "Payload").read()
        try:
            answer = json.loads(payload)
        except ValueError:
            raise MalformedResponse(f"{payload[:80]!r} is no JSON") from None
        if not isinstance(answer, dict):
            raise MalformedResponse(f"{answer!r} is no object")
    if response.get("FunctionError"):
        kind, message = answer.get("errorType"), answer.get("errorMessage", "it does not say why")
        if kind in EXPECTED:
            raise EXPECTED[kind](message)
        late = kind == TIMED_OUT or "timed out" in str(message)
        unsure = "whether it has acted is unknown, so look at `sluice status`" if late else "its log says why"
        raise TransientError(f"the function {name} failed: {message}; {unsure}")
    return answer
