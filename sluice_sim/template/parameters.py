"""The parameters of a template: effective values, and problems with them.

Applies defaults, lists and constraints. As in CloudFormation a value is text (or a list of texts), whatever
its type. There is one sentence for each undeclared parameter, each missing one and each violated constraint.
The Parameter Store is never read.
"""

import re
from collections.abc import Mapping
from typing import Any

_LISTS = ("CommaDelimitedList", "List<")


def as_text(value: object) -> str:
    """A scalar as CloudFormation formats it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def effective(
    declared: Mapping[str, Any], given: Mapping[str, object]
) -> tuple[dict[str, str | list[str]], list[str]]:
    """Each parameter's value with defaults applied, and a sentence for each problem."""
    known = ", ".join(declared) or "none"
    problems = [
        f"Parameters.{name} = {given[name]!r}: the template has no such parameter; it has {known}"
        for name in given
        if name not in declared
    ]
    values: dict[str, str | list[str]] = {}
    for name, spec in declared.items():
        # The default of an AWS::SSM::Parameter::Value is a key of the Parameter Store, which is not read
        # here.
        stored = str(spec["Type"]).startswith("AWS::SSM::Parameter::Value")
        raw = given.get(name, None if stored else spec.get("Default"))
        if raw is None:
            problems.append(f"Parameters.{name} is missing and has no default; give its {spec['Type']}")
            continue
        items = _items(raw) if str(spec["Type"]).startswith(_LISTS) else [as_text(raw)]
        problems += [
            f"Parameters.{name} = {item!r}: {reason}" for item in items for reason in _refusals(item, spec)
        ]
        values[name] = items if str(spec["Type"]).startswith(_LISTS) else items[0]
    return values, problems


def _items(raw: object) -> list[str]:
    items = raw if isinstance(raw, (list, tuple)) else as_text(raw).split(",")
    return [as_text(item).strip() for item in items]


def _refusals(text: str, spec: Mapping[str, Any]) -> list[str]:
    """Which constraints a value violates, as sentences."""
    found: list[str] = []
    if "AllowedValues" in spec and text not in [as_text(value) for value in spec["AllowedValues"]]:
        found.append(f"must be one of {', '.join(as_text(value) for value in spec['AllowedValues'])}")
    if "AllowedPattern" in spec and not re.fullmatch(spec["AllowedPattern"], text):
        found.append(f"must match {spec['AllowedPattern']}")
    if len(text) < int(spec.get("MinLength", 0)):
        found.append(f"must have at least {spec['MinLength']} characters")
    if "MaxLength" in spec and len(text) > int(spec["MaxLength"]):
        found.append(f"must have at most {spec['MaxLength']} characters")
    if spec["Type"] in ("Number", "List<Number>"):
        found += _number_refusals(text, spec)
    hint = f" ({spec['ConstraintDescription']})" if "ConstraintDescription" in spec else ""
    return [reason + hint for reason in found]


def _number_refusals(text: str, spec: Mapping[str, Any]) -> list[str]:
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        return ["must be a number"]
    if "MinValue" in spec and float(text) < float(spec["MinValue"]):
        return [f"must be at least {spec['MinValue']}"]
    if "MaxValue" in spec and float(text) > float(spec["MaxValue"]):
        return [f"must be at most {spec['MaxValue']}"]
    return []
