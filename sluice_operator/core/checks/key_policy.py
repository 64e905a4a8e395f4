"""Whom a KMS key's own policy admits, as far as that can be said without its conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

EVERYBODY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatement:
    """One statement of a key's policy."""

    allows: bool
    principals: frozenset[str]
    """ARNs, account ids, or EVERYBODY."""
    actions: tuple[str, ...]
    """With IAM's wildcards."""
    is_conditional: bool
    """Whether it has a Condition, or names what it does not apply to."""

    def covers(self, action: str, principals: frozenset[str]) -> bool:
        """Whether it is about the action and one of the principals; one with conditions may be."""
        actions = (pattern.lower() for pattern in self.actions)
        return bool(self.principals & principals) and any(
            fnmatchcase(action.lower(), each) for each in actions
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPolicy:
    """The policy of one key."""

    statements: tuple[KeyStatement, ...]

    def denies(self, action: str, role: str) -> bool:
        """Whether a statement denies it to the role, or may."""
        reached = _itself(role) | _account(role)
        return any(each.covers(action, reached) for each in self.statements if not each.allows)

    def names(self, action: str, role: str) -> bool | None:
        """Whether it allows the role the action by itself; None if under conditions only."""
        return self._allows(action, _itself(role))

    def delegates(self, action: str, role: str) -> bool | None:
        """Whether it lets the policies of the role's account decide; None if under conditions only."""
        return self._allows(action, _account(role))

    def _allows(self, action: str, principals: frozenset[str]) -> bool | None:
        found = [each for each in self.statements if each.allows and each.covers(action, principals)]
        if any(not each.is_conditional for each in found):
            return True
        return None if found else False


def _itself(role: str) -> frozenset[str]:
    return frozenset({role, EVERYBODY})


def _account(role: str) -> frozenset[str]:
    """An account stands in a policy as its id or as its root user."""
    _, partition, _, _, account, _ = role.split(":", 5)
    return frozenset({account, f"arn:{partition}:iam::{account}:root"})


def parse(document: Mapping[str, Any]) -> KeyPolicy:
    """The policy out of its JSON; KeyError or TypeError if it is none."""
    statements = document["Statement"]
    listed = [statements] if isinstance(statements, Mapping) else statements
    return KeyPolicy(statements=tuple(map(_statement, listed)))


def _statement(statement: Mapping[str, Any]) -> KeyStatement:
    return KeyStatement(
        allows=statement["Effect"] == "Allow",
        principals=frozenset(_principals(statement.get("Principal", EVERYBODY))),
        actions=tuple(_listed(statement.get("Action", EVERYBODY))),
        is_conditional=bool({"Condition", "NotPrincipal", "NotAction"} & statement.keys()),
    )


def _principals(principal: str | Mapping[str, str | list[str]]) -> Iterator[str]:
    if isinstance(principal, str):
        yield principal
    else:
        yield from _listed(principal.get("AWS", []))


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
