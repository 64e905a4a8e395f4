"""What a role's policies allow or deny: an evaluator for the grammar our templates use, and for no other.

Owns parsing a policy document and deciding one request. Refuses with a sentence what it does not know
(NotAction, wildcards in actions, policy variables, operators other than StringEquals, StringLike and
StringNotEquals), because a decision made without it could be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import eq, ne
from typing import Any

from sluice_sim.aws_rules.iam_patterns import matches, matches_text

OPERATORS: Mapping[str, Callable[[str, str], bool]] = {"StringEquals": eq, "StringLike": matches_text}
NEGATED = {"StringNotEquals": ne}
"""Operators that hold for a request without the key, and else only if they hold for each of the values."""
EFFECTS = ("Allow", "Deny")
VERSIONS = ("2008-10-17", "2012-10-17")
"""They differ in policy variables alone; a document without a version means the older one."""


class NotEvaluatedError(ValueError):
    """A policy says something this evaluator does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to IAM: an action on a resource with condition keys."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        about = ", ".join(f"{key} = {value}" for key, value in sorted(self.context.items()))
        return f"{self.action} on {self.resource}" + (f" ({about})" if about else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One key that must have one of the values, or none of them; a key the request lacks has none."""

    operator: str
    key: str
    values: tuple[str, ...]

    def holds(self, context: Mapping[str, str]) -> bool:
        """Names of keys are compared without case, as IAM does; values with it."""
        given = [actual for key, actual in context.items() if key.lower() == self.key.lower()]
        if self.operator in NEGATED:
            differs = NEGATED[self.operator]
            return all(differs(value, actual) for actual in given for value in self.values)
        compare = OPERATORS[self.operator]
        return any(compare(value, actual) for actual in given for value in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement, which allows, or denies whatever others allow."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()
    denies: bool = False

    def covers(self, request: Request) -> bool:
        """Whether action, resource and every condition agree."""
        return (
            request.action.lower() in {action.lower() for action in self.actions}
            and any(matches(pattern, request.resource) for pattern in self.resources)
            and all(condition.holds(request.context) for condition in self.conditions)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The statement that decides a request; None if there is none, which is IAM's implicit deny."""

    by: Statement | None

    @property
    def allowed(self) -> bool:
        """Whether a statement allows it and none denies it."""
        return self.by is not None and not self.by.denies


def decide(statements: Iterable[Statement], request: Request) -> Decision:
    """A statement that denies the request, or else one that allows it: their order has no meaning."""
    covering = [statement for statement in statements if statement.covers(request)]
    return Decision(by=max(covering, key=lambda statement: statement.denies, default=None))


def without(statements: Iterable[Statement], action: str, grant: Statement) -> tuple[Statement, ...]:
    """The statements with the action removed from this one."""
    return tuple(
        replace(statement, actions=tuple(each for each in statement.actions if each != action))
        if statement == grant
        else statement
        for statement in statements
    )


def parse(document: Mapping[str, Any]) -> tuple[Statement, ...]:
    """The statements of one policy document."""
    _only(document, {"Version", "Statement"}, "policy document")
    version = document.get("Version", VERSIONS[0])
    if version not in VERSIONS:
        raise NotEvaluatedError(f"policy version {version!r}: only {' and '.join(VERSIONS)} are evaluated")
    return tuple(_statement(statement) for statement in document["Statement"])


def _statement(statement: Mapping[str, Any]) -> Statement:
    _only(statement, {"Sid", "Effect", "Action", "Resource", "Condition"}, "statement")
    if statement["Effect"] not in EFFECTS:
        raise NotEvaluatedError(f"Effect {statement['Effect']!r}: only {' and '.join(EFFECTS)} are evaluated")
    actions, resources = _listed(statement["Action"]), _listed(statement["Resource"])
    for action in actions:
        if "*" in action or "?" in action or action.count(":") != 1:
            raise NotEvaluatedError(f"Action {action!r}: only one action by its name is evaluated")
    conditions = tuple(
        _condition(operator, key, _listed(values))
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    )
    denies = statement["Effect"] == "Deny"
    return Statement(actions=actions, resources=resources, conditions=conditions, denies=denies)


def _condition(operator: str, key: str, values: tuple[str, ...]) -> Condition:
    if operator not in (known := {**OPERATORS, **NEGATED}):
        raise NotEvaluatedError(f"condition {operator} on {key}: only {' and '.join(known)} are evaluated")
    return Condition(operator=operator, key=key, values=values)


def _listed(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise NotEvaluatedError(f"{value!r}: only a text or a list of texts is evaluated")
    for text in texts:
        if "${" in text:
            raise NotEvaluatedError(f"{text!r}: policy variables are not evaluated")
    return tuple(texts)


def _only(mapping: Mapping[str, Any], known: set[str], what: str) -> None:
    if unknown := set(mapping) - known:
        raise NotEvaluatedError(f"{', '.join(sorted(unknown))} in a {what} is not evaluated")
