"""boto3 clients without what each call repeats: a tick makes one for each workload, a worker many a second.

Owns what boto3 is spared in each call. Refuses to spare it anything that AWS or an adapter needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from sluice.aws import asg, ecs

if TYPE_CHECKING:
    from types import ModuleType

    import boto3

UNPARSED: Final[Mapping[str, Any]] = {"*": {}}
"""In place of fields: the items of a list as JSON has them, without base64 or a timestamp decoded."""
RESPONSE_FIELDS: Mapping[str, Any] = {"autoscaling": asg.RESPONSE_FIELDS, "ecs": ecs.RESPONSE_FIELDS}
"""Service -> operation -> the fields of its answer that the functions read; of others every field is."""


def client(
    session: boto3.Session | ModuleType,
    service: str,
    *,
    program: str = "sluice",
    read: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """A client with these settings of botocore's Config; `boto3` itself is the default session.

    `read` is like an item of `READ`, which it replaces; `program` is what CloudTrail shows.
    """
    import boto3
    from botocore.config import Config

    made = session.client(  # type: ignore[call-overload]
        service,
        config=Config(
            # Said in one piece: botocore puts its own together anew for each call, at a sixth of its CPU.
            user_agent=f"{program} Boto3/{boto3.__version__}",
            # Our own requests: at a thousand data points, checking them takes as long as writing them.
            parameter_validation=False,
            **settings,
        ),
    )
    for operation, fields in (RESPONSE_FIELDS.get(service, {}) if read is None else read).items():
        # Lambda's runtime renews boto3 by itself: one that cannot be trimmed parses all that it is sent.
        with suppress(AttributeError, TypeError):
            _keep(made.meta.service_model.operation_model(operation).output_shape, fields)
    return made


def _keep(shape: Any, fields: Mapping[str, Any]) -> None:
    """Let the parser pass over the other fields: a service comes with its last hundred events."""
    structure = shape.member if shape.type_name == "list" else shape
    for name in structure.members.keys() - fields.keys():
        del structure.members[name]
    for name, inner in fields.items():
        if inner is UNPARSED:
            structure.members[name].member.is_document_type = True
        elif inner:
            _keep(structure.members[name], inner)
