"""Resolves the intrinsic functions of a template.

Ref, Sub, If, GetAtt, ImportValue, Select, Split and Join in values; Equals, And, Or, Not and Condition in
conditions. Any other one is a TemplateError with its name and place, even in a branch that is not taken. So
are references to something that does not exist, and circular references.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sluice_sim.template.errors import TemplateError
from sluice_sim.template.parameters import as_text

Identity = Callable[[str, str, Mapping[str, Any], str], str]
"""(logical id, resource type, resolved properties, attribute) -> its value; Ref is the attribute "Ref"."""

NO_VALUE = object()
"""The value of AWS::NoValue: the property or list item is omitted."""

_CONDITION_FUNCTIONS = ("Fn::Equals", "Fn::And", "Fn::Or", "Fn::Not")
_LIST_FUNCTIONS = ("Fn::Select", "Fn::Split", "Fn::Join")
_VALUE_FUNCTIONS = ("Ref", "Fn::Sub", "Fn::If", "Fn::GetAtt", "Fn::ImportValue", *_LIST_FUNCTIONS)
_KNOWN = "Ref, Sub, If, Equals, And, Or, Not, Condition, GetAtt, ImportValue, Select, Split, Join"
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def unsupported(template: Mapping[str, Any]) -> list[str]:
    """A sentence for each unknown intrinsic function, in every branch of the resolved sections."""
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

    for section in ("Rules", "Conditions", "Resources", "Outputs"):
        walk(template.get(section) or {}, section)
    return problems


@dataclass(slots=True, kw_only=True)
class Resolver:
    """Resolves nodes of one template; each resource and condition once, on demand."""

    conditions: Mapping[str, Any]
    resources: Mapping[str, Any]
    names: Mapping[str, object]
    identity: Identity
    imports: Mapping[str, str]
    _resolved: dict[str, dict[str, Any]] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)

    def exists(self, body: Mapping[str, Any], where: str) -> bool:
        """Whether the condition of a resource or output holds; True without one."""
        return "Condition" not in body or self._named_condition(body["Condition"], f"{where}.Condition")

    def properties(self, logical_id: str) -> dict[str, Any]:
        """A resource's resolved properties."""
        if logical_id not in self._resolved:
            where = f"Resources.{logical_id}.Properties"
            self._enter(logical_id)
            body = self.resources[logical_id]
            # Resolve the metadata first: a resource refers there to a conditional resource that it depends
            # on.
            self.value(body.get("Metadata") or {}, f"Resources.{logical_id}.Metadata")
            properties = self.value(body.get("Properties") or {}, where)
            self._open.pop()
            if not isinstance(properties, dict):
                raise TemplateError(f"{where}: must be a mapping, not {properties!r}")
            self._resolved[logical_id] = properties
        return self._resolved[logical_id]

    def value(self, node: object, where: str) -> Any:
        """A node with its intrinsic functions resolved; entries that resolve to NoValue are omitted."""
        if isinstance(node, dict):
            for name in _VALUE_FUNCTIONS:
                if name in node and len(node) == 1:
                    return self._function(name, node[name], where)
            if stray := [name for name in _CONDITION_FUNCTIONS if name in node]:
                raise TemplateError(
                    f"{where}: {stray[0].removeprefix('Fn::')} belongs in Conditions; use If here"
                )
            found = {key: self.value(child, f"{where}.{key}") for key, child in node.items()}
            return {key: child for key, child in found.items() if child is not NO_VALUE}
        if isinstance(node, list):
            listed = [self.value(child, f"{where}[{index}]") for index, child in enumerate(node)]
            return [child for child in listed if child is not NO_VALUE]
        # YAML reads an unquoted 2012-10-17 as a date, CloudFormation as text
        return node.isoformat() if isinstance(node, date) else node

    def text(self, node: object, where: str) -> str:
        """A node as text; TemplateError for a list, a mapping or NoValue."""
        value = self.value(node, where)
        if value is NO_VALUE:
            raise TemplateError(f"{where}: is AWS::NoValue, which is no text; use an empty string")
        if isinstance(value, (dict, list)) or value is None:
            raise TemplateError(f"{where}: {value!r} is no text; only a scalar can stand here")
        return as_text(value)

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
        if name in _LIST_FUNCTIONS:
            return self._list_function(name, argument, where)
        export = self.text(argument, where)
        if export not in self.imports:
            known = ", ".join(sorted(self.imports)) or "none"
            raise TemplateError(f"{where}: no stack exports {export!r}; the exports are {known}")
        return self.imports[export]

    def _list_function(self, name: str, argument: Any, where: str) -> Any:
        first, second = self._arguments(argument, where, name.removeprefix("Fn::"), (2, 2))
        if name == "Fn::Split":
            separator = self.text(first, where)
            if not separator:
                raise TemplateError(f"{where}: Split takes a separator and a text, not {argument!r}")
            return self.text(second, where).split(separator)
        values = self.value(second, where)
        if name == "Fn::Join":
            if not isinstance(values, list):
                raise TemplateError(f"{where}: Join takes a separator and a list, not {argument!r}")
            return self.text(first, where).join(self.text(each, where) for each in values)
        if not isinstance(values, list) or first not in range(len(values)):
            raise TemplateError(f"{where}: Select takes an index and a list that has it, not {argument!r}")
        return values[first]

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
        holds = self.holds(self.conditions[name], f"Conditions.{name}")
        self._open.pop()
        return holds

    def holds(self, node: object, where: str) -> bool:
        """Whether a condition holds; it consists of condition functions and names of other conditions."""
        name, argument = next(iter(node.items())) if isinstance(node, dict) and len(node) == 1 else ("", None)
        if name == "Condition":
            return self._named_condition(argument, where)
        if name == "Fn::Equals":
            left, right = self._arguments(argument, where, "Equals", (2, 2))
            return self.text(left, f"{where}.Equals[0]") == self.text(right, f"{where}.Equals[1]")
        if name == "Fn::Not":
            return not self.holds(self._arguments(argument, where, "Not", (1, 1))[0], f"{where}.Not[0]")
        if name in ("Fn::And", "Fn::Or"):
            short = name.removeprefix("Fn::")
            nodes = self._arguments(argument, where, short, (2, 10))
            truths = [self.holds(child, f"{where}.{short}[{index}]") for index, child in enumerate(nodes)]
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
