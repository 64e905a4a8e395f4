"""boto3 clients as a function's part of a core can afford them: a tick makes a call for each workload.

Owns what boto3 is spared in each call. Refuses to spare it anything that AWS or an adapter needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sluice.aws import asg, ecs

if TYPE_CHECKING:
    import boto3

READ: Mapping[str, Any] = {"autoscaling": asg.READ, "ecs": ecs.READ}
"""Service -> operation -> the fields of its answer that are read; of others every field is."""


def client(session: boto3.Session, service: str, **settings: Any) -> Any:
    """A client with these settings of botocore's Config."""
    import boto3
    from botocore.config import Config

    made = session.client(  # type: ignore[call-overload]
        service,
        config=Config(
            # Said in one piece: botocore puts its own together anew for each call, at a sixth of its CPU.
            user_agent=f"sluice Boto3/{boto3.__version__}",
            # Our own requests: at a thousand data points, checking them takes as long as writing them.
            parameter_validation=False,
            **settings,
        ),
    )
    for operation, fields in READ.get(service, {}).items():
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
        if inner:
            _keep(structure.members[name], inner)
