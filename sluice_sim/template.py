"""Read a CloudFormation or SAM template and resolve it the way one stack would.

Owns: YAML with the short-hand tags, parameters and their constraints, conditions, and the intrinsics this
project's templates may use (Ref, Sub, If, Equals, And, Or, Not, Condition, GetAtt, ImportValue, pseudo
parameters). Values stay what CloudFormation makes of them: a parameter is text (or a list of texts),
whatever its type. Refuses every other intrinsic, by name and place, even in a branch that is not taken.
`Rules` are left to CloudFormation.
"""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]  # the package ships no types

Identity = Callable[[str, str, Mapping[str, Any], str], str]
"""(logical id, resource type, resolved properties, attribute) -> its value; Ref is the attribute "Ref"."""

_LISTS = ("CommaDelimitedList", "List<")
_CONDITION_FUNCTIONS = ("Fn::Equals", "Fn::And", "Fn::Or", "Fn::Not")
_VALUE_FUNCTIONS = ("Ref", "Fn::Sub", "Fn::If", "Fn::GetAtt", "Fn::ImportValue")
_KNOWN = "Ref, Sub, If, Equals, And, Or, Not, Condition, GetAtt, ImportValue"
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_NO_VALUE = object()


class TemplateError(ValueError):
    """A template or its parameters cannot be resolved; `problems` holds one sentence each."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource whose condition holds, its properties resolved."""

    type: str
    properties: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedStack:
    """What a stack of the template would hold; `exports` by export name, `outputs` by output name."""

    resources: Mapping[str, Resource]
    outputs: Mapping[str, str]
    exports: Mapping[str, str]
    parameters: Mapping[str, str | list[str]]


def load(path: str | Path) -> dict[str, Any]:
    """The template at `path`, short-hand tags as `Fn::` mappings; `TemplateError` if it cannot be read."""
    try:
        template = yaml_parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise TemplateError(f"{path}: cannot be read ({error.strerror}); give a template file") from error
    except yaml.YAMLError as error:
        raise TemplateError(f"{path}: is not valid YAML: {error}") from error
    if not isinstance(template, dict) or "Resources" not in template:
        raise TemplateError(f"{path}: has no Resources section; give a CloudFormation or SAM template")
    return template


def stack_id(account_id: str, region: str, stack_name: str) -> str:
    """The ARN that AWS::StackId has here: CloudFormation's shape, the same for the same stack."""
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

    Unsupported intrinsics and parameter problems are reported all at once, anything else as it is met.
    """
    declared = template.get("Parameters") or {}
    problems = _unsupported(template)
    values, refused = _effective(declared, parameters)
    if problems or refused:
        raise TemplateError(*problems, *refused)
    pseudo: dict[str, object] = {
        "AWS::AccountId": account_id,
        "AWS::NoValue": _NO_VALUE,
        "AWS::Partition": "aws",
        "AWS::Region": region,
        "AWS::StackId": stack_id(account_id, region, stack_name),
        "AWS::StackName": stack_name,
        "AWS::URLSuffix": "amazonaws.com",
    }
    resolver = _Resolver(
        conditions=template.get("Conditions") or {},
        resources=template["Resources"],
        names={**values, **pseudo},
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


def _outputs(section: Mapping[str, Any], resolver: "_Resolver") -> tuple[dict[str, str], dict[str, str]]:
    outputs: dict[str, str] = {}
    exports: dict[str, str] = {}
    for name, body in section.items():
        if not resolver.exists(body, f"Outputs.{name}"):
            continue
        outputs[name] = resolver.text(body["Value"], f"Outputs.{name}.Value")
        if "Export" in body:
            exports[resolver.text(body["Export"]["Name"], f"Outputs.{name}.Export.Name")] = outputs[name]
    return outputs, exports


def _unsupported(template: Mapping[str, Any]) -> list[str]:
    """A sentence for each intrinsic outside the known ones, in every branch of the resolved sections."""
    problems: list[str] = []

    def walk(node: object, where: str) -> None:
        if isinstance(node, dict):
            for key, child in node.items():
                short = str(key).removeprefix("Fn::")
                if short != key and key not in (*_VALUE_FUNCTIONS, *_CONDITION_FUNCTIONS):
                    problems.append(f"{where}: {short} is not simulated; write it with one of {_KNOWN}")
                elif short != key and len(node) > 1:
                    problems.append(f"{where}: {short} stands beside other keys; an intrinsic stands alone")
                walk(child, f"{where}.{key}")
        elif isinstance(node, list):
            for index, child in enumerate(node):
                walk(child, f"{where}[{index}]")

    for section in ("Conditions", "Resources", "Outputs"):
        walk(template.get(section) or {}, section)
    return problems


def _text(value: object) -> str:
    """A scalar as CloudFormation writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _effective(
    declared: Mapping[str, Any], given: Mapping[str, object]
) -> tuple[dict[str, str | list[str]], list[str]]:
    """Each parameter's value, defaults applied, and a sentence for each one that cannot be."""
    known = ", ".join(declared) or "none"
    problems = [
        f"Parameters.{name} = {given[name]!r}: the template has no such parameter; it has {known}"
        for name in given
        if name not in declared
    ]
    values: dict[str, str | list[str]] = {}
    for name, spec in declared.items():
        # The default of an AWS::SSM::Parameter::Value is a key of the Parameter Store, not read here.
        stored = str(spec["Type"]).startswith("AWS::SSM::Parameter::Value")
        raw = given.get(name, None if stored else spec.get("Default"))
        if raw is None:
            problems.append(f"Parameters.{name} is missing and has no default; give its {spec['Type']}")
            continue
        items = _items(raw) if str(spec["Type"]).startswith(_LISTS) else [_text(raw)]
        problems += [
            f"Parameters.{name} = {item!r}: {why}" for item in items for why in _refusals(item, spec)
        ]
        values[name] = items if str(spec["Type"]).startswith(_LISTS) else items[0]
    return values, problems


def _items(raw: object) -> list[str]:
    items = raw if isinstance(raw, (list, tuple)) else _text(raw).split(",")
    return [_text(item).strip() for item in items]


def _refusals(text: str, spec: Mapping[str, Any]) -> list[str]:
    """Why one value is not allowed, with the way out."""
    found: list[str] = []
    if "AllowedValues" in spec and text not in [_text(value) for value in spec["AllowedValues"]]:
        found.append(f"must be one of {', '.join(_text(value) for value in spec['AllowedValues'])}")
    if "AllowedPattern" in spec and not re.fullmatch(spec["AllowedPattern"], text):
        found.append(f"must match {spec['AllowedPattern']}")
    if len(text) < int(spec.get("MinLength", 0)):
        found.append(f"must have at least {spec['MinLength']} characters")
    if "MaxLength" in spec and len(text) > int(spec["MaxLength"]):
        found.append(f"must have at most {spec['MaxLength']} characters")
    if spec["Type"] in ("Number", "List<Number>"):
        found += _number_refusals(text, spec)
    hint = f" ({spec['ConstraintDescription']})" if "ConstraintDescription" in spec else ""
    return [why + hint for why in found]


def _number_refusals(text: str, spec: Mapping[str, Any]) -> list[str]:
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        return ["must be a number"]
    if "MinValue" in spec and float(text) < float(spec["MinValue"]):
        return [f"must be at least {spec['MinValue']}"]
    if "MaxValue" in spec and float(text) > float(spec["MaxValue"]):
        return [f"must be at most {spec['MaxValue']}"]
    return []


@dataclass(slots=True, kw_only=True)
class _Resolver:
    """Resolves nodes of one template; resources and conditions on demand, each once, never in a circle."""

    conditions: Mapping[str, Any]
    resources: Mapping[str, Any]
    names: Mapping[str, object]
    identity: Identity
    imports: Mapping[str, str]
    _resolved: dict[str, dict[str, Any]] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    def exists(self, body: Mapping[str, Any], where: str) -> bool:
        """Whether the condition of a resource or output holds; without one, it does."""
        return "Condition" not in body or self._named_condition(body["Condition"], f"{where}.Condition")

    def properties(self, logical_id: str) -> dict[str, Any]:
        """A resource's resolved properties."""
        if logical_id not in self._resolved:
            where = f"Resources.{logical_id}.Properties"
            self._enter(logical_id)
            properties = self.value(self.resources[logical_id].get("Properties") or {}, where)
            self._open.pop()
            if not isinstance(properties, dict):
                raise TemplateError(f"{where}: must be a mapping, not {properties!r}")
            self._resolved[logical_id] = properties
        return self._resolved[logical_id]

    def value(self, node: object, where: str) -> Any:
        """A node with its intrinsics resolved; list items and entries that come out as NoValue are gone."""
        if isinstance(node, dict):
            for name in _VALUE_FUNCTIONS:
                if name in node and len(node) == 1:
                    return self._function(name, node[name], where)
            if stray := [name for name in _CONDITION_FUNCTIONS if name in node]:
                raise TemplateError(
                    f"{where}: {stray[0].removeprefix('Fn::')} belongs in Conditions; use If here"
                )
            found = {key: self.value(child, f"{where}.{key}") for key, child in node.items()}
            return {key: child for key, child in found.items() if child is not _NO_VALUE}
        if isinstance(node, list):
            listed = [self.value(child, f"{where}[{index}]") for index, child in enumerate(node)]
            return [child for child in listed if child is not _NO_VALUE]
        # YAML reads an unquoted 2012-10-17 as a date, CloudFormation as text
        return node.isoformat() if isinstance(node, date) else node

    def text(self, node: object, where: str) -> str:
        """A node as text; a list, a mapping and NoValue are none."""
        value = self.value(node, where)
        if value is _NO_VALUE:
            raise TemplateError(f"{where}: is AWS::NoValue, which is no text; use an empty string")
        if isinstance(value, (dict, list)) or value is None:
            raise TemplateError(f"{where}: {value!r} is no text; only a scalar can stand here")
        return _text(value)

    def _function(self, name: str, argument: Any, where: str) -> Any:
        if name == "Ref":
            return self._reference(str(argument), where)
        if name == "Fn::Sub":
            return self._sub(argument, where)
        if name == "Fn::If":
            condition, *branches = self._arguments(argument, where, "If", (3, 3))
            taken = 0 if self._named_condition(condition, where) else 1
            return self.value(branches[taken], f"{where}.If[{taken + 1}]")
        if name == "Fn::GetAtt":
            parts = argument.split(".", 1) if isinstance(argument, str) else argument
            logical_id, attribute = self._arguments(parts, where, "GetAtt", (2, 2))
            return self._attribute(str(logical_id), str(attribute), where)
        export = self.text(argument, where)
        if export not in self.imports:
            known = ", ".join(sorted(self.imports)) or "none"
            raise TemplateError(f"{where}: no stack exports {export!r}; the exports are {known}")
        return self.imports[export]

    def _reference(self, name: str, where: str) -> object:
        if name in self.names:
            return self.names[name]
        if name in self.resources:
            return self._attribute(name, "Ref", where)
        raise TemplateError(
            f"{where}: refers to {name!r}, which nothing here is called; see its Parameters and Resources"
        )

    def _attribute(self, logical_id: str, attribute: str, where: str) -> str:
        if where.startswith("Conditions."):
            raise TemplateError(
                f"{where}: refers to the resource {logical_id}; a condition knows parameters only"
            )
        body = self.resources.get(logical_id)
        if body is None:
            raise TemplateError(
                f"{where}: refers to {logical_id}.{attribute}, but the template has no such resource"
            )
        if not self.exists(body, f"Resources.{logical_id}"):
            raise TemplateError(
                f"{where}: refers to {logical_id}, which does not exist here because its condition "
                f"{body['Condition']} is false; choose by the same condition with If"
            )
        return self.identity(logical_id, body["Type"], self.properties(logical_id), attribute)

    def _sub(self, argument: object, where: str) -> str:
        pattern, variables = argument, {}
        if not isinstance(argument, str):
            pattern, variables = self._arguments(argument, where, "Sub", (2, 2))
        if not isinstance(pattern, str) or not isinstance(variables, dict):
            raise TemplateError(f"{where}: Sub takes a text, or a text and a mapping, not {argument!r}")

        def filled(match: re.Match[str]) -> str:
            name = match[1].strip()
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            node = variables.get(name)
            if name not in variables:
                node = {"Fn::GetAtt": name} if "." in name else {"Ref": name}
            return self.text(node, f"{where}.Sub(${{{name}}})")

        return _VARIABLE.sub(filled, pattern)

    def _named_condition(self, name: object, where: str) -> bool:
        if not isinstance(name, str) or name not in self.conditions:
            known = ", ".join(self.conditions) or "none"
            raise TemplateError(
                f"{where}: names the condition {name!r}; the template's conditions are {known}"
            )
        self._enter(f"Conditions.{name}")
        holds = self._holds(self.conditions[name], f"Conditions.{name}")
        self._open.pop()
        return holds

    def _holds(self, node: object, where: str) -> bool:
        name, argument = next(iter(node.items())) if isinstance(node, dict) and len(node) == 1 else ("", None)
        if name == "Condition":
            return self._named_condition(argument, where)
        if name == "Fn::Equals":
            left, right = self._arguments(argument, where, "Equals", (2, 2))
            return self.text(left, f"{where}.Equals[0]") == self.text(right, f"{where}.Equals[1]")
        if name == "Fn::Not":
            return not self._holds(self._arguments(argument, where, "Not", (1, 1))[0], f"{where}.Not[0]")
        if name in ("Fn::And", "Fn::Or"):
            short = name.removeprefix("Fn::")
            nodes = self._arguments(argument, where, short, (2, 10))
            truths = [self._holds(child, f"{where}.{short}[{index}]") for index, child in enumerate(nodes)]
            return all(truths) if short == "And" else any(truths)
        raise TemplateError(f"{where}: {node!r} is no condition; use Equals, And, Or, Not or Condition")

    def _arguments(self, argument: object, where: str, name: str, bounds: tuple[int, int]) -> Sequence[Any]:
        if not isinstance(argument, list) or not bounds[0] <= len(argument) <= bounds[1]:
            wanted = str(bounds[0]) if bounds[0] == bounds[1] else f"{bounds[0]} to {bounds[1]}"
            raise TemplateError(f"{where}: {name} takes a list of {wanted}, not {argument!r}")
        return argument

    def _enter(self, name: str) -> None:
        if name in self._open:
            circle = " -> ".join([*self._open[self._open.index(name) :], name])
            raise TemplateError(f"{circle}: is a circle; let one of them stop referring to the next")
        self._open.append(name)
