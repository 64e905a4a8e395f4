"""What a resource type is to the embedded CloudFormation.

One class per type, in the other modules of this package. `put` makes the resource or brings it to new
properties; it answers the resource's Ref and the attributes that GetAtt may ask for. If a change needs a new
resource, the Ref differs, and the stack deletes the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.deploy.cloudformation.calls import Aws

Properties = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedResource:
    """A resource that exists: what Ref gives, and what GetAtt gives."""

    ref: str
    attributes: Mapping[str, str] = field(default_factory=dict)


class Kind(Protocol):
    """One resource type."""

    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        """Make it, or change `old`; `name` is for resources that the template does not name."""
        ...

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        """Remove it."""
        ...


def without(properties: Properties, *names: str) -> dict[str, Any]:
    """The properties but these."""
    return {name: value for name, value in properties.items() if name not in names}
