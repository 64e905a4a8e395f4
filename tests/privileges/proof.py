"""Least privilege in both directions: every request must be allowed, and every permission must be used.

It is checked over the recorded requests and those that AWS makes on our behalf.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sluice_sim.aws_rules.iam_policies import Request, Statement, decide, without
from tests.privileges.roles import Roles


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One request under one role."""

    role: str
    request: Request

    def __str__(self) -> str:
        return f"{self.role}: {self.request}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One action of one statement of one role."""

    role: str
    action: str
    statement: Statement

    def __str__(self) -> str:
        return f"{self.role}: {self.action} on {', '.join(self.statement.resources)}"


def refused(roles: Roles, uses: Iterable[Use]) -> list[Use]:
    """Requests that are not allowed."""
    return [use for use in uses if not decide(roles[use.role], use.request).allowed]


def surplus(roles: Roles, uses: Iterable[Use]) -> list[Grant]:
    """Grants that no request needs."""
    uses = list(uses)
    return [grant for grant in grants(roles) if not refused(revoked(roles, grant), uses)]


def grants(roles: Roles) -> Iterator[Grant]:
    """Everything the roles allow, action by action."""
    for role, statements in roles.items():
        for statement in statements:
            for action in statement.actions:
                yield Grant(role=role, action=action, statement=statement)


def revoked(roles: Roles, grant: Grant) -> Roles:
    """The roles without one grant of one of them."""
    return {**roles, grant.role: without(roles[grant.role], grant.action, grant.statement)}
