"""Writes what a Terraform module and a CDK construct need to know of `workload.yaml`.

Each parameter becomes a variable of `examples/terraform/workload.tf` and an argument of
`examples/cdk/src/sluice_cdk/workload_parameters.py`, with the template's own description, constraint and
sentence, so that a new parameter reaches both by one command.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sluice_sim import template

ROOT = Path(__file__).resolve().parents[1]
TERRAFORM = "examples/terraform/workload.tf"
CDK = "examples/cdk/src/sluice_cdk/workload_parameters.py"
SWITCH = {"true", "false"}
DIGITS_ALONE = re.compile(r"[\^$0-9.\\\[\]{}()|?,-]+")
"""A pattern that no letter matches is one of numbers."""
LINE_LENGTH = 110
HEADER = """\
# Written from workload.yaml by `make infrastructure`; change that file, then run it again.
# A variable that is null has the template's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A variable of the module and an argument of the construct."""

    name: str
    """In snake_case."""
    parameters: tuple[str, ...]
    """One parameter of the template, or several that differ by their number: a list fills them in turn."""
    declared: Mapping[str, Any]
    """The first one's declaration."""

    @property
    def is_list(self) -> bool:
        """Whether it fills several parameters."""
        return len(self.parameters) > 1

    @property
    def is_required(self) -> bool:
        """Whether the template has no default."""
        return "Default" not in self.declared

    @property
    def choices(self) -> list[str]:
        """The allowed values, if they are listed; the empty one is left out, which is the absent argument."""
        return [str(value) for value in self.declared.get("AllowedValues", []) if value != ""]

    @property
    def kind(self) -> str:
        """`bool`, `number` or `string`, as Terraform names them."""
        if self.choices and set(self.choices) <= SWITCH:
            return "bool"
        texts = self.choices or [self.declared["AllowedPattern"]]
        return "number" if all(DIGITS_ALONE.fullmatch(text) for text in texts) else "string"


def main() -> None:
    """Write each file."""
    for path, text in files().items():
        (ROOT / path).write_text(text, encoding="utf-8")


def files() -> dict[str, str]:
    """Path -> content."""
    body = template.load(ROOT / "workload.yaml")
    found = inputs(body["Parameters"])
    return {TERRAFORM: terraform(body, found), CDK: cdk(found)}


def inputs(declared: Mapping[str, Mapping[str, Any]]) -> list[Input]:
    """The template's parameters in their order, as inputs."""
    series: dict[str, list[str]] = {}
    for name in declared:
        numbered = re.fullmatch(r"(\D+)\d", name)
        series.setdefault(f"{numbered[1]}s" if numbered else name, []).append(name)
    return [
        Input(name=snake_case(name), parameters=tuple(parameters), declared=declared[parameters[0]])
        for name, parameters in series.items()
    ]


def snake_case(name: str) -> str:
    """MaxCapacity -> max_capacity."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def in_snake_case(sentence: str, found: Iterable[Input]) -> str:
    """The template's sentence with its parameters called what they are here."""
    names = {
        parameter: f"{each.name}[{place}]" if each.is_list else each.name
        for each in found
        for place, parameter in enumerate(each.parameters)
    }
    del names["Name"]  # also an English word
    return re.sub(r"(?<!Auto )\b[A-Z]\w+", lambda word: names.get(word[0], word[0]), sentence)


def description(each: Input, found: Iterable[Input]) -> str:
    """What it is for, with the default that the template gives it."""
    text = in_snake_case(each.declared["Description"], found)
    default = each.declared.get("Default", "")
    return text if default == "" else f"{text} Default: {default}."


# ---- Terraform ---------------------------------------------------------------------------------------------


def terraform(body: Mapping[str, Any], found: list[Input]) -> str:
    """workload.tf, formatted as `terraform fmt` does."""
    blocks = [
        HEADER,
        *(_variable(each, found) for each in found),
        _locals(body, found),
        *(_output(name, output, found) for name, output in body["Outputs"].items()),
    ]
    return "\n\n".join(blocks) + "\n"


def _variable(each: Input, found: list[Input]) -> str:
    kind = f"list({each.kind})" if each.is_list else each.kind
    arguments = {"description": quoted(description(each, found)), "type": kind}
    if each.is_list:
        arguments |= {"default": "[]", "nullable": "false"}
    elif not each.is_required:
        arguments["default"] = "null"
    validation = "" if each.kind == "bool" else _validation(each)
    return f'variable "{each.name}" {{\n{aligned(arguments)}{validation}\n}}'


def _validation(each: Input) -> str:
    variable = f"var.{each.name}"
    if each.choices:
        listed = [text if each.kind == "number" else quoted(text) for text in each.choices]
        holds = f"contains([{', '.join(listed)}], {variable})"
        sentence = f"must be {', '.join(each.choices[:-1])} or {each.choices[-1]}"
    else:
        tested = "each" if each.is_list else variable
        holds = f"can(regex({quoted(each.declared['AllowedPattern'])}, {tested}))"
        sentence = each.declared["ConstraintDescription"]
    if each.is_list:
        most = len(each.parameters)
        holds = f"length({variable}) <= {most} && alltrue([for each in {variable} : {holds}])"
        sentence = f"has at most {most} items; each {sentence}"
    elif not each.is_required:
        holds = f"{variable} == null ? true : {holds}"
    arguments = {"condition": holds, "error_message": quoted(f"{each.name} {sentence}.")}
    return f"\n\n  validation {{\n{aligned(arguments, indent=4)}\n  }}"


def _locals(body: Mapping[str, Any], found: list[Input]) -> str:
    given = {
        parameter: f"try(var.{each.name}[{place}], null)" if each.is_list else f"var.{each.name}"
        for each in found
        for place, parameter in enumerate(each.parameters)
    }
    defaults = {
        name: quoted(declared["Default"])
        for name, declared in body["Parameters"].items()
        if "Default" in declared
    }
    broken = [
        f"    {{\n{aligned(_assertion(rule, assertion, found), indent=6)}\n    }},"
        for rule in body["Rules"].values()
        for assertion in rule["Assertions"]
    ]
    lines = [
        "locals {",
        "  given = {",
        aligned(given, indent=4),
        "  }",
        "",
        "  # Each parameter of the stack, as text: a plan shows a default that has changed, too.",
        "  parameters = merge({",
        aligned(defaults, indent=4),
        "  }, { for name, value in local.given : name => tostring(value) if value != null })",
        "",
        "  # The sentences of the template's Rules that refuse them.",
        "  broken_rules = [for rule in [",
        *broken,
        "  ] : rule.message if rule.applies && !rule.holds]",
        "}",
    ]
    return "\n".join(lines)


def _assertion(rule: Mapping[str, Any], assertion: Mapping[str, Any], found: list[Input]) -> dict[str, str]:
    return {
        "applies": condition(rule["RuleCondition"]) if "RuleCondition" in rule else "true",
        "holds": condition(assertion["Assert"]),
        "message": quoted(in_snake_case(assertion["AssertDescription"], found)),
    }


def condition(node: Mapping[str, Any]) -> str:
    """A condition of a rule as an expression over `local.parameters`."""
    [(function, arguments)] = node.items()
    if function == "Fn::Equals":
        return " == ".join(_operand(each) for each in arguments)
    if function == "Fn::Not":
        [negated] = arguments
        if "Fn::Equals" in negated:
            return " != ".join(_operand(each) for each in negated["Fn::Equals"])
        return f"!({condition(negated)})"
    parts = [condition(each) for each in arguments]
    if function == "Fn::And":
        return " && ".join(f"({part})" if " || " in part else part for part in parts)
    if function == "Fn::Or":
        return " || ".join(parts)
    raise ValueError(f"{function} is in no rule of the template yet; write it here in Terraform's words")


def _operand(node: str | Mapping[str, str]) -> str:
    return quoted(node) if isinstance(node, str) else f"local.parameters.{node['Ref']}"


def _output(name: str, output: Mapping[str, Any], found: list[Input]) -> str:
    from_stack = "aws_cloudformation_stack.workload.outputs"
    value = f'lookup({from_stack}, "{name}", null)' if "Condition" in output else f'{from_stack}["{name}"]'
    arguments = {"description": quoted(in_snake_case(output["Description"], found)), "value": value}
    return f'output "{snake_case(name)}" {{\n{aligned(arguments)}\n}}'


def aligned(arguments: Mapping[str, str], *, indent: int = 2) -> str:
    """Arguments with their equals signs below each other."""
    width = max(map(len, arguments))
    return "\n".join(f"{' ' * indent}{name:{width}} = {value}" for name, value in arguments.items())


def quoted(text: str) -> str:
    """A string of HCL, which reads `${` and `%{` as templates and escapes as JSON does."""
    return json.dumps(text, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


# ---- CDK ---------------------------------------------------------------------------------------------------


def cdk(found: list[Input]) -> str:
    """workload_parameters.py, formatted as ruff does."""
    fields = [
        f"    {each.name}: {_annotation(each)}\n{_docstring(description(each, found), indent=4)}"
        for each in found
    ]
    return (
        '"""Written from workload.yaml by `make infrastructure`; change that file, then run it again."""\n\n'
        "from collections.abc import Sequence\n"
        "from typing import Literal, Required, TypedDict\n\n\n"
        "class WorkloadParameters(TypedDict, total=False):\n"
        '    """What a workload is made from; what is left out has the default of the template."""\n\n'
        + "\n".join(fields)
        + "\n"
    )


def _annotation(each: Input) -> str:
    annotation = {"bool": "bool", "number": "float", "string": "str"}[each.kind]
    if each.kind == "number" and r"\." not in each.declared.get("AllowedPattern", ""):
        annotation = "int"
    if each.choices and each.kind != "bool":
        listed = [text if each.kind == "number" else f'"{text}"' for text in each.choices]
        annotation = f"Literal[{', '.join(listed)}]"
    if each.is_list:
        annotation = f"Sequence[{annotation}]"
    return f"Required[{annotation}]" if each.is_required else f"{annotation} | None"


def _docstring(text: str, *, indent: int) -> str:
    margin = " " * indent
    wrapped = textwrap.wrap(text, LINE_LENGTH - indent - len('"""') * 2, break_on_hyphens=False)
    lines = "\n".join(f"{margin}{line}" for line in wrapped).strip()
    return f'{margin}"""{lines}"""' if len(wrapped) == 1 else f'{margin}"""{lines}\n{margin}"""'


if __name__ == "__main__":
    main()
