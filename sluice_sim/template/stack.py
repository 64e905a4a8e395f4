"""A template file, and the stack that it resolves to.

Reads the file, adds the pseudo parameters, and resolves resources, outputs and exports. Problems with
intrinsic functions and parameters are reported all at once.
"""

import copy
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # the package ships no types

from sluice_sim.template.errors import TemplateError
from sluice_sim.template.intrinsics import NO_VALUE, Identity, Resolver, unsupported
from sluice_sim.template.parameters import effective
from sluice_sim.template.rules import broken

MALFORMED = (AttributeError, LookupError, RecursionError, TypeError)
"""The exceptions of resolving a template whose sections have another form than CloudFormation's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource whose condition holds, its properties resolved."""

    type: str
    properties: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedStack:
    """The content of a stack; `exports` by export name, `outputs` by output name."""

    resources: Mapping[str, Resource]
    outputs: Mapping[str, str]
    exports: Mapping[str, str]
    parameters: Mapping[str, str | list[str]]


def load(path: str | Path) -> dict[str, Any]:
    """The template at `path`, with short-hand tags as `Fn::` mappings; `TemplateError` if unreadable."""
    try:
        template = copy.deepcopy(_parsed(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise TemplateError(f"{path}: cannot be read ({error.strerror}); give a template file") from error
    except UnicodeDecodeError as error:
        raise TemplateError(f"{path}: is not UTF-8 text: {error}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise TemplateError(f"{path}: is not valid YAML: {error}") from error
    if not isinstance(template, dict) or "Resources" not in template:
        raise TemplateError(f"{path}: has no Resources section; give a CloudFormation or SAM template")
    return template


@lru_cache(maxsize=16)
def _parsed(text: str) -> object:
    """The parsed text, which callers must copy: parsing takes a tenth of a second, a copy a millisecond."""
    return yaml_parse(text)


def stack_id(account_id: str, region: str, stack_name: str) -> str:
    """The value of AWS::StackId: an ARN as CloudFormation's, always the same for the same stack."""
    unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{account_id}/{region}/{stack_name}")
    return f"arn:aws:cloudformation:{region}:{account_id}:stack/{stack_name}/{unique}"


def resolve(
    template: Mapping[str, Any],
    parameters: Mapping[str, object],
    *,
    identity: Identity,
    imports: Mapping[str, str],
    account_id: str,
    region: str,
    stack_name: str,
) -> ResolvedStack:
    """Resolve a loaded template; `imports` holds other stacks' exports by name.

    Unsupported intrinsic functions and parameter problems are reported all at once, then all violated rules,
    then the first of any other problems.
    """
    try:
        return _resolved(template, parameters, identity, imports, account_id, region, stack_name)
    except MALFORMED as wrong:
        raise TemplateError(f"the template is not formed as CloudFormation's are: {wrong!r}") from wrong


def _resolved(
    template: Mapping[str, Any],
    parameters: Mapping[str, object],
    identity: Identity,
    imports: Mapping[str, str],
    account_id: str,
    region: str,
    stack_name: str,
) -> ResolvedStack:
    declared = template.get("Parameters") or {}
    problems = unsupported(template)
    values, refused = effective(declared, parameters)
    if problems or refused:
        raise TemplateError(*problems, *refused)
    names = {**values, **_pseudo_parameters(account_id, region, stack_name)}
    if refusals := broken(template.get("Rules") or {}, names):
        raise TemplateError(*refusals)
    resolver = Resolver(
        conditions=template.get("Conditions") or {},
        resources=template["Resources"],
        names=names,
        identity=identity,
        imports=imports,
    )
    resources = {
        logical_id: Resource(
            type=body["Type"], properties=resolver.properties(logical_id), metadata=body.get("Metadata") or {}
        )
        for logical_id, body in template["Resources"].items()
        if resolver.exists(body, f"Resources.{logical_id}")
    }
    outputs, exports = _outputs(template.get("Outputs") or {}, resolver)
    return ResolvedStack(resources=resources, outputs=outputs, exports=exports, parameters=values)


def _pseudo_parameters(account_id: str, region: str, stack_name: str) -> dict[str, object]:
    return {
        "AWS::AccountId": account_id,
        "AWS::NoValue": NO_VALUE,
        "AWS::Partition": "aws",
        "AWS::Region": region,
        "AWS::StackId": stack_id(account_id, region, stack_name),
        "AWS::StackName": stack_name,
        "AWS::URLSuffix": "amazonaws.com",
    }


def _outputs(section: Mapping[str, Any], resolver: Resolver) -> tuple[dict[str, str], dict[str, str]]:
    outputs: dict[str, str] = {}
    exports: dict[str, str] = {}
    for name, body in section.items():
        if not resolver.exists(body, f"Outputs.{name}"):
            continue
        outputs[name] = resolver.text(body["Value"], f"Outputs.{name}.Value")
        if "Export" in body:
            exports[resolver.text(body["Export"]["Name"], f"Outputs.{name}.Export.Name")] = outputs[name]
    return outputs, exports
