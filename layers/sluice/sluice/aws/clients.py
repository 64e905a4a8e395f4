"""boto3 clients with less overhead per call: a tick makes a call for each workload, a worker many a second.

Requests are not validated, and response fields that nothing reads are not parsed; everything that AWS or an
adapter needs stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

from sluice.aws import asg, ecs

UNPARSED: Final[Mapping[str, Any]] = {"*": {}}
"""Stands for the fields of a list's items: they stay as in the JSON, with no base64 or timestamp decoded."""
RESPONSE_FIELDS: Mapping[str, Any] = {"autoscaling": asg.RESPONSE_FIELDS, "ecs": ecs.RESPONSE_FIELDS}
"""Service -> operation -> the fields of its response that are parsed; other operations are parsed in full."""


class Session(Protocol):
    """boto3.Session, or the `boto3` module, which stands for the default session."""

    @property
    def client(self) -> Callable[..., Any]:
        """Makes a client of the service."""
        ...


def client(
    session: Session,
    service: str,
    *,
    program: str = "sluice",
    read: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """A client with these settings of botocore's Config.

    `read` replaces the service's entry in `RESPONSE_FIELDS`; `program` is the user agent in CloudTrail.
    """
    import boto3
    from botocore.config import Config

    made = session.client(
        service,
        config=Config(
            # A fixed string: botocore builds its own for each call, which takes a sixth of its CPU time.
            user_agent=f"{program} Boto3/{boto3.__version__}",
            # The code builds every request itself, and validating a thousand data points takes as long as
            # serialising them.
            parameter_validation=False,
            **settings,
        ),
    )
    for operation, fields in (RESPONSE_FIELDS.get(service, {}) if read is None else read).items():
        # Lambda updates the runtime's boto3 by itself. A version that cannot be trimmed parses every field.
        with suppress(AttributeError, TypeError):
            _trim(made.meta.service_model.operation_model(operation).output_shape, fields)
    return made


def _trim(shape: Any, fields: Mapping[str, Any]) -> None:
    """Have the parser skip the other fields: a described service includes its last hundred events."""
    structure = shape.member if shape.type_name == "list" else shape
    for name in structure.members.keys() - fields.keys():
        del structure.members[name]
    for name, inner in fields.items():
        if inner is UNPARSED:
            structure.members[name].member.is_document_type = True
        elif inner:
            _trim(structure.members[name], inner)
