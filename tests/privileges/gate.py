"""Checks the permissions of each call between the functions and the embedded AWS.

Records every call that a handler makes, with its role, and refuses, as AWS would, what the role does not
allow. Calls outside an invocation are the test's own and are neither recorded nor checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import boto3
from botocore.exceptions import ClientError
from botocore.model import OperationModel

from sluice_sim.account import ACCOUNT_ID
from sluice_sim.aws_rules.iam_policies import Decision, Request, decide
from sluice_sim.embedded.functions import Function, Lambda
from tests.privileges.authorization import Call, Tags, requests
from tests.privileges.roles import Roles


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """One checked request: its role, its call, and the decision."""

    role: str
    call: Call
    request: Request
    decision: Decision


class Gate:
    """Checks every call to one embedded account while `installed`."""

    def __init__(self, roles: Roles, role_of_functions: Mapping[str, str], tags: Tags) -> None:
        self.roles = roles
        self.calls: list[RecordedCall] = []
        self._role_of_functions, self._tags = role_of_functions, tags
        self._role: str | None = None
        self._session = boto3.Session()
        self._session.events.register("before-parameter-build", self._on_call)

    @property
    def refused(self) -> list[RecordedCall]:
        """The requests that a role did not allow."""
        return [call for call in self.calls if not call.decision.allowed]

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handlers go through this gate, each under the role of its function in the template."""
        invoke = Lambda.invoke

        def invoked(functions: Lambda, function: Function, event: dict[str, Any]) -> Exception | None:
            self._role = self._role_of_functions[function.name.rsplit("-", 1)[-1]]
            try:
                with mock.patch.object(boto3, "Session", self._the_session):
                    return invoke(functions, function, event)
            finally:
                self._role = None

        with mock.patch.object(Lambda, "invoke", invoked):
            yield

    def _the_session(self) -> boto3.Session:
        """One for all invocations: parsing the services' models anew for each would take most of the time."""
        return self._session

    def _on_call(self, params: Mapping[str, Any], model: OperationModel, **_: object) -> None:
        if self._role is None:
            return
        call = Call(
            signing_name=model.service_model.signing_name, operation=model.name, parameters=dict(params)
        )
        for request in requests(call, self._tags):
            decision = decide(self.roles[self._role], request)
            self.calls.append(RecordedCall(role=self._role, call=call, request=request, decision=decision))
            if not decision.allowed:
                raise _refusal(self._role, request, model)


def _refusal(role: str, request: Request, model: OperationModel) -> ClientError:
    """AWS's words; it names no resource if the action takes none."""
    on = "" if request.resource == "*" else f" on resource: {request.resource}"
    message = (
        f"User: arn:aws:sts::{ACCOUNT_ID}:assumed-role/{role} is not authorized to perform: "
        f"{request.action}{on} because no identity-based policy allows the {request.action} action"
    )
    service = model.service_model
    has_suffix = service.protocol != "query" and not service.is_query_compatible
    answer = {
        "Error": {"Code": "AccessDeniedException" if has_suffix else "AccessDenied", "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": 400 if has_suffix else 403},
    }
    return ClientError(answer, model.name)
