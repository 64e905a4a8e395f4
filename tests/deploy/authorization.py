"""Permissions in the embedded AWS: a role's calls are evaluated against its deployed policies.

Finds the role, its policies in force and the current tags of the account's resources; `tests/privileges`
decides which requests a call makes and whether a policy allows them. Credentials that belong to no assumed
role are the administrator's. moto's own enforcement considers actions only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.autoscaling.models import autoscaling_backends
from moto.core.exceptions import ServiceException
from moto.core.responses import TYPE_RESPONSE, ActionResult, BaseResponse
from moto.ecs.models import ecs_backends
from moto.iam.models import Role, iam_backends
from moto.sqs.models import sqs_backends
from moto.sts.models import sts_backends

from sluice_sim.account import ACCOUNT_ID, REGION, arn
from sluice_sim.aws_rules.iam_policies import Request, decide
from sluice_sim.embedded.roles import PARTITION, statements
from tests.deploy.cloudformation.workloads import ScalableTarget
from tests.privileges.authorization import Call, opaque_id, requests

QUERY_SERVICES = ("autoscaling", "sqs", "monitoring")
CODES = ("AccessDeniedException", "AccessDenied")
"""The error code of most services, and that of `QUERY_SERVICES`."""


class RefusedError(ServiceException):
    """AWS's error response; a separate class, because moto looks up its own errors in the service's model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationResult:
    """One request by one role, and whether the role's policies allow it."""

    role: str
    request: Request
    allowed: bool


@dataclass(slots=True)
class Gate:
    """Authorizes calls, and records every result."""

    authorizations: list[AuthorizationResult] = field(default_factory=list)

    @property
    def refused(self) -> list[AuthorizationResult]:
        """The requests that were denied."""
        return [authorization for authorization in self.authorizations if not authorization.allowed]

    def before(self, call_action: Callable[[BaseResponse], TYPE_RESPONSE]) -> Callable[..., TYPE_RESPONSE]:
        """Wrap moto's dispatch of a request, so that the request is authorized first."""

        def authorized(response: BaseResponse) -> TYPE_RESPONSE:
            key, signing_name = _signed_by(response.headers.get("Authorization", ""))
            if role := _assumed_role(key):
                response.parse_parameters(response.normalized_request)
                call = Call(
                    signing_name=signing_name,
                    operation=response._get_action(),
                    parameters=response.params,
                )
                if refused := self._refused(role, call):
                    code = CODES[signing_name in QUERY_SERVICES]
                    return response.serialized(ActionResult(RefusedError(code, _sentence(role, refused))))
            return call_action(response)

        return authorized

    def _refused(self, role: Role, call: Call) -> Request | None:
        in_force = list(statements(role))
        for request in requests(call, _tags()):
            allowed = decide(in_force, request).allowed
            self.authorizations.append(AuthorizationResult(role=role.name, request=request, allowed=allowed))
            if not allowed:
                return request
        return None


def _signed_by(authorization: str) -> tuple[str, str]:
    """Access key and signing name out of `Credential=KEY/DATE/REGION/SERVICE/aws4_request`."""
    scope = authorization.partition("Credential=")[2].partition(",")[0].split("/")
    return (scope[0], scope[3]) if len(scope) == 5 else ("", "")


def _assumed_role(key: str) -> Role | None:
    session = sts_backends[ACCOUNT_ID][PARTITION].get_assumed_role_from_access_key(key)
    return iam_backends[ACCOUNT_ID][PARTITION].get_role_by_arn(session.role_arn) if session else None


def _tags() -> dict[str, dict[str, str]]:
    """ARN -> tags of every queue, group, service and scalable target of the account."""
    tags = {
        arn("sqs", name): dict(queue.tags) for name, queue in sqs_backends[ACCOUNT_ID][REGION].queues.items()
    }
    for name, group in autoscaling_backends[ACCOUNT_ID][REGION].autoscaling_groups.items():
        place = f"autoScalingGroup:{opaque_id(name)}:autoScalingGroupName/{name}"
        tags[arn("autoscaling", place)] = {tag["Key"]: tag["Value"] for tag in group.tags}
    for service in ecs_backends[ACCOUNT_ID][REGION].services.values():
        place = f"service/{service.cluster_name}/{service.name}"
        tags[arn("ecs", place)] = {tag["key"]: tag["value"] for tag in service.tags or ()}
    for targets in applicationautoscaling_backends[ACCOUNT_ID][REGION].targets.values():
        for resource in targets:
            place = f"scalable-target/{opaque_id(resource)}"
            tags[arn("application-autoscaling", place)] = ScalableTarget.tags.get(resource, {})
    return tags


def _sentence(role: Role, request: Request) -> str:
    """The message of AWS."""
    return (
        f"User: arn:aws:sts::{ACCOUNT_ID}:assumed-role/{role.name}/function is not authorized to perform: "
        f"{request.action} on resource: {request.resource} "
        f"because no identity-based policy allows the {request.action} action"
    )
