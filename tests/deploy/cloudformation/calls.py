"""Calls to the embedded AWS with a template's properties as their arguments.

Owns the fitting: CloudFormation takes text for numbers and writes every name with a capital, an API does
neither. The API's own model says what is meant; a property it does not have is refused.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.model import Shape

from sluice_sim.account import ENVIRONMENT, REGION


class Aws:
    """The account behind an endpoint, as its administrator."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._session = boto3.Session(
            ENVIRONMENT["AWS_ACCESS_KEY_ID"], ENVIRONMENT["AWS_SECRET_ACCESS_KEY"], region_name=REGION
        )
        self.client = functools.cache(self._client)

    def __call__(self, service: str, operation: str, /, **properties: Any) -> Any:
        """Call `operation` (as the API spells it) with properties fitted to its model."""
        client = self.client(service)
        shape = client.meta.service_model.operation_model(operation).input_shape
        return getattr(client, xform_name(operation))(**fitted(shape, properties))

    def close(self) -> None:
        """Close every connection."""
        for client in self._open:
            client.close()

    @functools.cached_property
    def _open(self) -> list[Any]:
        return []

    def _client(self, service: str) -> Any:
        # No proxy of the machine stands between a test and its own embedded AWS.
        settings = Config(proxies={}, connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1})
        client = self._session.client(service, endpoint_url=self._endpoint, config=settings)
        self._open.append(client)
        return client


def fitted(shape: Shape, value: Any) -> Any:
    """A template's value in the types and names of an API's shape; `ValueError` for a name it lacks."""
    match shape.type_name:
        case "structure":
            names = {member.lower(): member for member in shape.members}
            if strange := [name for name in value if name.lower() not in names]:
                raise ValueError(
                    f"{shape.name} has no {', '.join(strange)}; it has {', '.join(shape.members)}"
                )
            return {
                names[name.lower()]: fitted(shape.members[names[name.lower()]], part)
                for name, part in value.items()
            }
        case "list":
            return [fitted(shape.member, part) for part in value]
        case "map":
            return {name: fitted(shape.value, part) for name, part in value.items()}
        case "integer" | "long":
            return int(value)
        case "float" | "double":
            return float(value)
        case "boolean":
            return value if isinstance(value, bool) else {"true": True, "false": False}[value]
        case "string":
            return text(value)
        case _:
            return value


def text(value: Any) -> str:
    """A value where the API takes text: documents as JSON, truth in lower case."""
    if isinstance(value, Mapping | list | bool):
        return json.dumps(value)
    return str(value)


def tag_map(tags: list[Mapping[str, str]]) -> dict[str, str]:
    """A template's list of tags as the mapping that some APIs want."""
    return {tag["Key"]: tag["Value"] for tag in tags}
