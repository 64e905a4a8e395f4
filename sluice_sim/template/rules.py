"""The rules of a template: which combinations of parameters it refuses, and in which words.

CloudFormation checks them before anything else, so a rule knows parameters alone: no condition, no resource.
"""

from collections.abc import Mapping
from typing import Any

from sluice_sim.template.intrinsics import Resolver


def broken(rules: Mapping[str, Any], names: Mapping[str, object]) -> list[str]:
    """A sentence for each assertion that does not hold where its rule's condition does."""
    resolver = Resolver(conditions={}, resources={}, names=names, identity=_no_identity, imports={})
    problems: list[str] = []
    for name, rule in rules.items():
        where = f"Rules.{name}"
        if "RuleCondition" in rule and not resolver.holds(rule["RuleCondition"], f"{where}.RuleCondition"):
            continue
        for index, assertion in enumerate(rule["Assertions"]):
            if not resolver.holds(assertion["Assert"], f"{where}.Assertions[{index}].Assert"):
                words = assertion.get("AssertDescription", f"its assertion {index + 1} does not hold")
                problems.append(f"{where}: {words}")
    return problems


def _no_identity(*_: object) -> str:
    raise AssertionError("a rule has no resources to refer to")
