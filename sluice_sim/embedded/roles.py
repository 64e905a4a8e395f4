"""The roles of the embedded account's workers, and IAM's simulation of their policies, which moto lacks.

Simulates what a role's own and attached policies say; the account is in no organization.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.iam.models import Role, iam_backends
from moto.iam.responses import IamResponse

from sluice_sim.account import ACCOUNT_ID, arn
from sluice_sim.aws_rules.iam_policies import Decision, Request, Statement, decide, parse
from sluice_sim.embedded.operations import Parameters, answered

PARTITION = "aws"
ON_QUEUES = (
    "sqs:ReceiveMessage",
    "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibility",
    "sqs:GetQueueAttributes",
)


def create_worker_role(name: str, service: str, namespace: str) -> str:
    """Create the role of a fleet's workers with the permissions of the example fleets; returns its ARN."""
    iam = boto3.client("iam")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document(trust))["Role"]["Arn"]
    put_role_policy(
        name,
        "work",
        {"Effect": "Allow", "Action": list(ON_QUEUES), "Resource": arn("sqs", "*")},
        {
            "Effect": "Allow",
            "Action": "cloudwatch:PutMetricData",
            "Resource": "*",
            "Condition": {"StringEquals": {"cloudwatch:namespace": namespace}},
        },
    )
    return role


def put_role_policy(role: str, name: str, *statements: dict[str, Any]) -> None:
    """Give a role an inline policy of these statements, in place of the one of that name."""
    boto3.client("iam").put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=_document(*statements))


def create_instance_profile(role: str) -> None:
    """Create an instance profile that has the role, and its name."""
    iam = boto3.client("iam")
    iam.create_instance_profile(InstanceProfileName=role)
    iam.add_role_to_instance_profile(InstanceProfileName=role, RoleName=role)


@contextmanager
def simulated_policies() -> Iterator[None]:
    """Within the context, SimulatePrincipalPolicy is answered for roles."""
    with answered(IamResponse, simulate_principal_policy=_simulate):
        yield


def statements(role: Role) -> Iterator[Statement]:
    """A role's own policies and, of the attached ones, the version in force."""
    documents = list(role.policies.values())
    for policy in role.managed_policies.values():
        documents += [version.document for version in policy.versions if version.is_default]
    for document in documents:
        yield from parse(json.loads(document))


def _simulate(asked: Parameters) -> object:
    role = iam_backends[ACCOUNT_ID][PARTITION].get_role_by_arn(asked["PolicySourceArn"])
    in_force = list(statements(role))
    context = {
        entry["ContextKeyName"]: entry["ContextKeyValues"][0] for entry in asked.get("ContextEntries", ())
    }
    [resource] = asked.get("ResourceArns", ["*"])
    results = []
    for action in asked["ActionNames"]:
        request = Request(action=action, resource=resource, context=context)
        missing = {
            condition.key
            for statement in in_force
            if action in statement.actions
            for condition in statement.conditions
            if condition.key not in context
        }
        results.append(
            {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": _word(decide(in_force, request)),
                "MatchedStatements": [],
                "MissingContextValues": sorted(missing),
            }
        )
    return {"IsTruncated": False, "EvaluationResults": results}


def _word(decision: Decision) -> str:
    if decision.by is None:
        return "implicitDeny"
    return "allowed" if decision.allowed else "explicitDeny"


def _document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
