"""Clients with prepared responses, which are checked against the service's model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.stub import ANY, Stubber

from tests.sluice.aws.account import session

__all__ = ["ANY", "refusal", "stubbed", "unchecked"]


class Refusal(dict[str, Any]):
    """An answer that is an error."""


Call = tuple[str, Mapping[str, Any], Mapping[str, Any]]


def refusal(code: str, message: str = "", status: int = 400) -> Refusal:
    return Refusal(service_error_code=code, service_message=message, http_status_code=status)


@contextmanager
def stubbed(service: str, *calls: Call) -> Iterator[Any]:
    """A client that takes exactly these calls, in this order: (method, its parameters, the answer)."""
    client = session().client(service)
    with Stubber(client) as stubber:
        for method, parameters, answer in calls:
            if isinstance(answer, Refusal):
                stubber.add_client_error(method, expected_params=dict(parameters), **answer)
            else:
                stubber.add_response(method, dict(answer), dict(parameters))
        yield client
        stubber.assert_no_pending_responses()


@contextmanager
def unchecked(service: str, **answers: Mapping[str, Any]) -> Iterator[Any]:
    """A client whose answers may lack what the service's model requires: (operation name -> answer)."""
    client = session().client(service)
    client._make_api_call = lambda operation, parameters: answers[operation]
    yield client
