"""The rules of a template: the combinations of parameters that it rejects.

CloudFormation checks them first, so a rule can refer to parameters only, not to conditions or resources.
"""

from collections.abc import Mapping
from typing import Any

from sluice_sim.template.intrinsics import Resolver


def broken(rules: Mapping[str, Any], names: Mapping[str, object]) -> list[str]:
    """A sentence for each assertion that fails while its rule's condition holds."""
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
