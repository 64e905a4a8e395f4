"""One stack: which resources it holds, and how an update or a deletion changes them.

Takes the place of moto's map of a stack's resources, so that moto's API (change sets, events, templates)
stays as it is. A template goes through SAM's own transform and the project's resolver; a resource is made
when the first reference asks for it. Refuses a template with a type that is not in `ALL_KINDS`, before
anything is made.
"""

from __future__ import annotations

import copy
import secrets
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import Stack
from moto.cloudformation.parsing import Export, Output
from samtranslator.translator.transform import transform

from sluice_sim.template import ResolvedStack, TemplateError, resolve
from tests.deploy.cloudformation.calls import Aws
from tests.deploy.cloudformation.fleets import FLEET_KINDS
from tests.deploy.cloudformation.functions import FUNCTION_KINDS
from tests.deploy.cloudformation.kinds import CreatedResource
from tests.deploy.cloudformation.roles import ROLE_KINDS
from tests.deploy.cloudformation.workloads import WORKLOAD_KINDS

ALL_KINDS = FLEET_KINDS | FUNCTION_KINDS | ROLE_KINDS | WORKLOAD_KINDS
EMPTY = ResolvedStack(resources={}, outputs={}, exports={}, parameters={})


@dataclass(frozen=True, slots=True, kw_only=True)
class StackResource:
    """A resource of the stack, in the words that moto's API asks for."""

    logical_resource_id: str
    cf_resource_type: str
    name: str
    properties: Mapping[str, Any]
    made: CreatedResource

    @property
    def physical_resource_id(self) -> str:
        return self.made.ref

    def attribute(self, name: str) -> str:
        """What Ref (the attribute "Ref") or GetAtt gives."""
        if name == "Ref":
            return self.made.ref
        if name not in self.made.attributes:
            known = ", ".join(self.made.attributes) or "none"
            raise ValidationError(message=f"{self.cf_resource_type} gives no {name} here; it gives {known}")
        return self.made.attributes[name]


class Deployed:
    """The resources of one stack; all stacks of the account share `exports`."""

    no_echo_parameter_keys: tuple[str, ...] = ()

    def __init__(self, stack: Stack, aws: Aws, exports: dict[str, Export]) -> None:
        self._stack, self._aws, self._exports = stack, aws, exports
        self._placed: dict[str, StackResource] = {}
        self._resolved = EMPTY
        self._bodies: Mapping[str, Mapping[str, Any]] = {}
        self.resolved_parameters: dict[str, str] = {}

    # ---- What moto's API asks

    def values(self) -> Iterator[StackResource]:
        """Every resource."""
        return iter(self._placed.values())

    @property
    def exports(self) -> list[Export]:
        """What other stacks may import."""
        return [Export(self._stack.stack_id, name, value) for name, value in self._resolved.exports.items()]

    def outputs(self) -> list[Output]:
        """Every output with its value."""
        return [Output(name, value, "") for name, value in self._resolved.outputs.items()]

    @property
    def shown(self) -> StackOutputs:
        """The outputs as moto's API reads them."""
        return StackOutputs(self)

    def build_change_set_actions(self, template: Mapping[str, Any]) -> dict[str, dict[str, dict[str, str]]]:
        """Which logical ids a change set would add, modify or remove; refuses unknown types."""
        desired = {name: body["Type"] for name, body in _transformed(template, {})["Resources"].items()}
        present = {name: placed.cf_resource_type for name, placed in self._placed.items()}
        actions = {
            "Add": desired.keys() - present.keys(),
            "Modify": desired.keys() & present.keys(),
            "Remove": present.keys() - desired.keys(),
        }
        types = present | desired
        return {
            action: {name: {"LogicalResourceId": name, "ResourceType": types[name]} for name in sorted(names)}
            for action, names in actions.items()
        }

    def create(self, template: Mapping[str, Any]) -> bool:
        """Everything, at once; True, because all of it is ready then."""
        self.update(template, self._stack.parameters)
        return True

    def creation_complete(self) -> bool:
        """Nothing is made in the background."""
        return True

    def update(self, template: Mapping[str, Any], parameters: Mapping[str, str] | None = None) -> None:
        """Bring the stack to the template: make, change, then remove."""
        try:
            self._update(template, parameters or {})
        except TemplateError as refused:
            raise ValidationError(message=str(refused)) from refused

    def _update(self, template: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        values = {**self.resolved_parameters, **parameters}
        values = {name: values[name] for name in values if name in template.get("Parameters", {})}
        placed: dict[str, StackResource] = {}
        replaced: list[StackResource] = []
        body = _transformed(template, values)
        try:
            resolved = resolve(
                body,
                self._read_from_store(template, values),
                identity=partial(self._identity, placed, replaced),
                imports=self._imports(),
                account_id=self._stack.account_id,
                region=self._stack.region_name,
                stack_name=self._stack.name,
            )
            for logical_id, resource in resolved.resources.items():
                self._identity(placed, replaced, logical_id, resource.type, resource.properties, "Ref")
        except Exception:
            self._remove([new for name, new in placed.items() if name not in self._placed])
            raise
        self._bodies = {**self._bodies, **body["Resources"]}
        self._remove(self._let_go_of(replaced, "UpdateReplacePolicy"))
        removed = [old for name, old in self._placed.items() if name not in placed]
        self._remove(self._let_go_of(removed, "DeletionPolicy"))
        for name in self._resolved.exports:
            del self._exports[name]
        self._placed, self._resolved = placed, resolved
        self.resolved_parameters = {name: _joined(value) for name, value in resolved.parameters.items()}
        self.resolved_parameters |= values
        self._stack.parameters = dict(self.resolved_parameters)
        self._exports |= {export.name: export for export in self.exports}

    def delete(self) -> None:
        """Remove everything, in the reverse of the order it was made in."""
        self._remove(self._let_go_of(list(self._placed.values()), "DeletionPolicy"))
        self._placed = {}

    # ---- Making

    def _identity(
        self,
        placed: dict[str, StackResource],
        replaced: list[StackResource],
        logical_id: str,
        kind: str,
        properties: Mapping[str, Any],
        attribute: str,
    ) -> str:
        """What a reference to the resource gives; the first one brings it about."""
        if logical_id not in placed:
            old = self._placed.get(logical_id)
            placed[logical_id] = self._place(logical_id, kind, properties, old)
            if old is not None and old.made.ref != placed[logical_id].made.ref:
                replaced.append(old)
        return placed[logical_id].attribute(attribute)

    def _place(
        self, logical_id: str, kind: str, properties: Mapping[str, Any], old: StackResource | None
    ) -> StackResource:
        if old is not None and old.properties == properties:
            return old
        name = old.name if old is not None else f"{self._stack.name}-{logical_id}-{_suffix()}"[-64:]
        try:
            made = ALL_KINDS[kind].put(self._aws, name, properties, old.made if old else None)
        except Exception as refused:
            raise ValidationError(message=f"{logical_id} ({kind}): {refused}") from refused
        return StackResource(
            logical_resource_id=logical_id,
            cf_resource_type=kind,
            name=name,
            properties=copy.deepcopy(dict(properties)),
            made=made,
        )

    def _let_go_of(self, resources: list[StackResource], policy: str) -> list[StackResource]:
        """Those to be deleted; the others stay in the account, as their template says."""
        return [
            placed
            for placed in resources
            if not self._bodies[placed.logical_resource_id].get(policy, "Delete").startswith("Retain")
        ]

    def _remove(self, resources: list[StackResource]) -> None:
        """What was made last goes first."""
        for placed in reversed(resources):
            ALL_KINDS[placed.cf_resource_type].delete(self._aws, placed.made)

    def _imports(self) -> dict[str, str]:
        return {name: export.value for name, export in self._exports.items()}

    def _read_from_store(self, template: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, str]:
        """The parameters, those of type AWS::SSM::Parameter::Value replaced by what their key holds."""
        values = dict(parameters)
        for name, spec in template.get("Parameters", {}).items():
            if spec["Type"].startswith("AWS::SSM::Parameter::Value"):
                key = parameters.get(name, spec.get("Default"))
                values[name] = self._aws("ssm", "GetParameter", Name=key)["Parameter"]["Value"]
        return values


class StackOutputs:
    """A stack's outputs and exports, as they are at the moment of asking."""

    def __init__(self, deployed: Deployed) -> None:
        self._deployed = deployed

    def values(self) -> list[Output]:
        """Every output."""
        return self._deployed.outputs()

    @property
    def exports(self) -> list[Export]:
        """Every export."""
        return self._deployed.exports


def _transformed(template: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """The template after SAM's transform; refuses every type that would be passed over."""
    body = _without_base64(copy.deepcopy(dict(template)))
    if "Transform" in body:
        body = transform(body, dict(parameters), _NoManagedPolicies())
    unknown = {
        f"{name} ({resource['Type']})"
        for name, resource in body["Resources"].items()
        if resource["Type"] not in ALL_KINDS
    }
    if unknown:
        raise ValidationError(message=f"would be ignored: {', '.join(sorted(unknown))}")
    return body


def _without_base64(node: Any) -> Any:
    """Only a launch template's user data needs Base64; it is encoded when it is put."""
    if isinstance(node, dict):
        if set(node) == {"Fn::Base64"}:
            return node["Fn::Base64"]
        return {name: _without_base64(part) for name, part in node.items()}
    return [_without_base64(part) for part in node] if isinstance(node, list) else node


def _joined(value: str | list[str]) -> str:
    return ",".join(value) if isinstance(value, list) else value


def _suffix() -> str:
    return "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(12))


class _NoManagedPolicies:
    """Stands in for AWS's managed policies, which the transform would read; the templates name none."""

    def load(self) -> dict[str, str]:
        return {}
