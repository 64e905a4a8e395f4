"""The bytes that AWS, or the network, sends when a call fails, in each protocol.

An unknown protocol is refused, so that a newer boto3 with another one fails here with a message instead of
testing nothing.
"""

import json
from typing import Any
from xml.sax.saxutils import escape

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.model import OperationModel
from moto.core.botocore_stubber import MockRawResponse

REQUEST_ID = "7a62c49f-347e-4fc4-9331-6e8eaf2d0d4c"
NOT_FOUND = ("NotFound", "DoesNotExist", "NonExistent")
THROTTLED = {"query": "Throttling", "json": "ThrottlingException", "rest-json": "ThrottlingException"}
DENIED = {
    "query": ("AccessDenied", 403),
    "json": ("AccessDeniedException", 400),
    "rest-json": ("AccessDeniedException", 403),
}
UNKNOWN_NAME = {
    "query": "ValidationError",
    "json": "ResourceNotFoundException",
    "rest-json": "ResourceNotFoundException",
}


def answer(request: AWSPreparedRequest, status: int, body: bytes, **headers: str) -> AWSResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return AWSResponse(request.url, status, {"x-amzn-RequestId": REQUEST_ID} | named, MockRawResponse(body))


def refusal(
    request: AWSPreparedRequest,
    operation: OperationModel,
    code: str,
    status: int,
    *,
    shape: str | None = None,
) -> AWSResponse:
    """The error `code`; `shape` is what a JSON service calls it, if that differs from the code."""
    message = f"said AWS about {operation.name}"
    if protocol(operation) == "query":
        body = (
            '<ErrorResponse xmlns="http://amazonaws.com/doc/"><Error>'
            f"<Type>{'Sender' if status < 500 else 'Receiver'}</Type><Code>{escape(code)}</Code>"
            f"<Message>{escape(message)}</Message></Error><RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
        )
        return answer(request, status, body.encode(), Content_Type="text/xml")
    body = json.dumps({"__type": f"com.amazonaws.any#{shape or code}", "message": message})
    headers = {"Content_Type": "application/x-amz-json-1.1"}
    if operation.service_model.is_query_compatible:
        headers["x_amzn_query_error"] = f"{code};{'Sender' if status < 500 else 'Receiver'}"
    return answer(request, status, body.encode(), **headers)


def throttled(request: AWSPreparedRequest, operation: OperationModel) -> AWSResponse:
    return refusal(request, operation, THROTTLED[protocol(operation)], 400)


def broken(request: AWSPreparedRequest, operation: OperationModel) -> AWSResponse:
    return refusal(request, operation, "InternalFailure", 500)


def bad_gateway(request: AWSPreparedRequest, operation: OperationModel) -> AWSResponse:
    """A load balancer's page: it knows nothing of the service's protocol."""
    return answer(request, 502, b"<html><body>502 Bad Gateway</body></html>", Content_Type="text/html")


def garbled(request: AWSPreparedRequest, operation: OperationModel) -> AWSResponse:
    """A success that no parser can read."""
    return answer(request, 200, b"\x00<not what was asked", Content_Type="application/octet-stream")


def denied(request: AWSPreparedRequest, operation: OperationModel) -> AWSResponse:
    code, status = DENIED[protocol(operation)]
    return refusal(request, operation, code, status)


def not_found(request: AWSPreparedRequest, operation: OperationModel) -> AWSResponse:
    """The operation's own error for a name it does not know, or the service family's general one."""
    for shape in operation.error_shapes:
        if any(part in shape.name for part in NOT_FOUND):
            error: dict[str, Any] = shape.metadata.get("error", {})
            status = error.get("httpStatusCode", 400)
            return refusal(request, operation, error.get("code", shape.name), status, shape=shape.name)
    return refusal(request, operation, UNKNOWN_NAME[protocol(operation)], 400)


def protocol(operation: OperationModel) -> str:
    spoken: str = operation.service_model.resolved_protocol
    if spoken not in THROTTLED:
        raise AssertionError(f"{operation.name} is spoken in {spoken}: give tests/faults/wire.py its shapes")
    return spoken
