"""Typed arguments as the parameters of a template's stack, checked as CloudFormation does."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from aws_cdk import Token, Tokenization


def texts(template: Mapping[str, Any], given: Mapping[str, object]) -> dict[str, str]:
    """Each parameter of the stack and its text; an argument that is None has the template's default.

    Raises ValueError with a sentence for each argument that a parameter refuses, or for each rule of the
    template that refuses their combination.
    """
    declared: Mapping[str, Any] = template["Parameters"]
    named = dict(_by_parameter(declared, given))
    found = {name: _text(value) for name, (_, value) in named.items() if value is not None}
    tokens = {name for name, text in found.items() if Token.is_unresolved(text)}
    problems = [
        *(
            f"{argument}: there is no such argument; see WorkloadParameters"
            for name, (argument, _) in named.items()
            if name not in declared
        ),
        *(
            f"{_snake_case(name)} is missing: {each['Description']}"
            for name, each in declared.items()
            if "Default" not in each and name not in found
        ),
        *(
            f"{named[name][0]} = {text!r}: {refusal}"
            for name, text in found.items()
            if name in declared.keys() - tokens and (refusal := _refusal(declared[name], text))
        ),
    ]
    values = {name: found.get(name, str(each.get("Default"))) for name, each in declared.items()}
    if problems := problems or list(_broken_rules(template.get("Rules", {}), values, tokens)):
        raise ValueError("\n".join(problems))
    return values


def _by_parameter(
    declared: Mapping[str, Any], given: Mapping[str, object]
) -> Iterator[tuple[str, tuple[str, object]]]:
    """Parameter, argument and value; a list fills the parameters that differ by their number."""
    names = {_snake_case(name): name for name in declared}
    for argument, value in given.items():
        numbered = names.get(f"{argument.removesuffix('s')}1", "")
        if numbered:
            for place, each in enumerate(value if isinstance(value, (list, tuple)) else [value]):
                yield f"{numbered[:-1]}{place + 1}", (f"{argument}[{place}]", each)
        else:
            yield names.get(argument, argument), (argument, value)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _text(value: object) -> str:
    """A value as CloudFormation writes it: true, 0.00001, 1200, or a token."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        if Token.is_unresolved(value):
            return str(Tokenization.stringify_number(value))
        return f"{Decimal(repr(value)).normalize():f}"
    return str(value)


def _refusal(declared: Mapping[str, Any], text: str) -> str:
    """What the parameter's constraint says of the value; empty if nothing."""
    allowed = [str(value) for value in declared.get("AllowedValues", [text])]
    if text not in allowed:
        return f"must be one of {', '.join(value or 'empty' for value in allowed)}"
    if not re.fullmatch(declared.get("AllowedPattern", ".*"), text):
        return str(declared["ConstraintDescription"])
    return ""


def _broken_rules(rules: Mapping[str, Any], values: Mapping[str, str], tokens: set[str]) -> Iterator[str]:
    """The sentences of the rules that refuse the values; one that names a token is left to CloudFormation."""
    for rule in rules.values():
        applies = rule.get("RuleCondition", {"Fn::And": []})
        for assertion in rule["Assertions"]:
            if tokens & {*_references([applies, assertion["Assert"]])}:
                continue
            if _holds(applies, values) and not _holds(assertion["Assert"], values):
                yield str(assertion["AssertDescription"])


def _references(node: object) -> Iterator[str]:
    """The parameters that a condition names."""
    if isinstance(node, dict):
        yield from ([node["Ref"]] if "Ref" in node else _references(list(node.values())))
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)


def _holds(node: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    [(function, arguments)] = node.items()
    if function == "Fn::Equals":
        left, right = (values[each["Ref"]] if isinstance(each, dict) else each for each in arguments)
        return bool(left == right)
    truths = [_holds(each, values) for each in arguments]
    return {"Fn::And": all(truths), "Fn::Or": any(truths), "Fn::Not": not all(truths)}[function]
