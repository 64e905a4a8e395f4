"""What AWS's service authorization reference says of an action, out of Policy Sentry's data.

Owns which resources an action takes, which condition keys it knows, and how an ARN is formed. Refuses an
action that AWS does not list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from policy_sentry.shared.iam_data import get_service_prefix_data

from sluice_sim.aws_rules.iam_patterns import matches_text, overlap

PLACEHOLDER = re.compile(r"\$\{(\w+)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action that a policy may name."""

    name: str
    arn_formats: Mapping[str, str]
    """By resource type; empty if AWS supports no resource, and a policy must say `*`."""
    condition_keys: frozenset[str]

    @property
    def arn_format(self) -> str:
        """How the ARN of the one type of resource looks that the action takes."""
        [only] = self.arn_formats.values()
        return only

    def arn(self, values: Mapping[str, str]) -> str:
        """The ARN of a resource of the one type whose placeholders have all got a value."""
        [only] = [text for text in self.arn_formats.values() if {*PLACEHOLDER.findall(text)} <= values.keys()]
        return form(only, values)

    def takes(self, pattern: str) -> bool:
        """Whether the policy's resource pattern covers a resource that the action takes."""
        return any(overlap(pattern, PLACEHOLDER.sub("?*", text)) for text in self.arn_formats.values())

    def knows(self, condition_key: str) -> bool:
        """Whether AWS gives the key a value for this action; `aws:ResourceTag/...` stands for every tag."""
        return any(
            matches_text(PLACEHOLDER.sub("?*", key).lower(), condition_key.lower())
            for key in self.condition_keys
        )


def is_action(name: str) -> bool:
    """Whether AWS lists it."""
    service, operation = name.split(":")
    return operation in get_service_prefix_data(service).get("privileges", {})


@cache
def action(name: str) -> Action:
    """What AWS says of `service:Operation`."""
    if not is_action(name):
        raise LookupError(f"{name} is no action of AWS's service authorization reference")
    service, operation = name.split(":")
    data = get_service_prefix_data(service)
    formats, keys = {}, set()
    for kind, entry in data["privileges"][operation]["resource_types"].items():
        keys |= set(entry["condition_keys"])
        if kind:
            formats[kind] = data["resources"][kind]["arn"]
            keys |= set(data["resources"][kind]["condition_keys"])
    return Action(name=name, arn_formats=formats, condition_keys=frozenset(keys))


def form(arn_format: str, values: Mapping[str, str]) -> str:
    """An ARN of that format; every placeholder needs a value."""
    return PLACEHOLDER.sub(lambda found: values[found[1]], arn_format)
