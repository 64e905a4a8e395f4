"""The roles of a resolved template, and what each of them allows."""

from __future__ import annotations

from collections.abc import Mapping

from sluice_sim.aws_rules.iam_policies import Statement, parse
from sluice_sim.template import ResolvedStack
from tests.templates.stacks import of_type

Roles = Mapping[str, tuple[Statement, ...]]


def roles(stack: ResolvedStack) -> Roles:
    """Every role's statements by its logical id, from its own policies and the stack's managed ones."""
    return {name: statements(stack, name) for name in of_type(stack, "AWS::IAM::Role")}


def statements(stack: ResolvedStack, role: str) -> tuple[Statement, ...]:
    """Everything one role allows; a managed policy that is not the stack's own is refused."""
    properties = stack.resources[role].properties
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    for reference in properties.get("ManagedPolicyArns", []):
        managed = stack.resources.get(reference.removesuffix(".Ref"))
        if managed is None or managed.type != "AWS::IAM::ManagedPolicy":
            raise LookupError(f"{role}: what {reference} allows is not in this template")
        documents.append(managed.properties["PolicyDocument"])
    return tuple(statement for document in documents for statement in parse(document))


def role_of_functions(stack: ResolvedStack) -> dict[str, str]:
    """Function -> its role, both by logical id."""
    return {
        name: function["Role"].removesuffix(".Arn")
        for name, function in of_type(stack, "AWS::Lambda::Function").items()
    }
