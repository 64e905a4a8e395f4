"""Roles with their own policies, and the policies they share."""

from __future__ import annotations

from tests.deploy.cloudformation.calls import Aws
from tests.deploy.cloudformation.kinds import (
    CreatedResource,
    Kind,
    Properties,
    without,
)


class Role:
    ELSEWHERE = ("Policies", "ManagedPolicyArns", "AssumeRolePolicyDocument")

    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        trust = properties["AssumeRolePolicyDocument"]
        if old is None:
            settings = without(properties, *self.ELSEWHERE)
            aws("iam", "CreateRole", RoleName=name, AssumeRolePolicyDocument=trust, **settings)
        else:
            aws("iam", "UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=trust)
            self._strip(aws, name)
        for policy in properties.get("Policies", ()):
            # SAM leaves the version out, which AWS allows and moto does not.
            document = {"Version": "2012-10-17", **policy["PolicyDocument"]}
            aws(
                "iam",
                "PutRolePolicy",
                RoleName=name,
                PolicyName=policy["PolicyName"],
                PolicyDocument=document,
            )
        for arn in properties.get("ManagedPolicyArns", ()):
            aws("iam", "AttachRolePolicy", RoleName=name, PolicyArn=arn)
        return CreatedResource(
            ref=name, attributes={"Arn": aws("iam", "GetRole", RoleName=name)["Role"]["Arn"]}
        )

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        self._strip(aws, made.ref)
        aws("iam", "DeleteRole", RoleName=made.ref)

    def _strip(self, aws: Aws, name: str) -> None:
        for policy in aws("iam", "ListRolePolicies", RoleName=name)["PolicyNames"]:
            aws("iam", "DeleteRolePolicy", RoleName=name, PolicyName=policy)
        for policy in aws("iam", "ListAttachedRolePolicies", RoleName=name)["AttachedPolicies"]:
            aws("iam", "DetachRolePolicy", RoleName=name, PolicyArn=policy["PolicyArn"])


class ManagedPolicy:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        if old is None:
            made = aws("iam", "CreatePolicy", PolicyName=name, **properties)
            return CreatedResource(ref=made["Policy"]["Arn"])
        document = properties["PolicyDocument"]
        aws("iam", "CreatePolicyVersion", PolicyArn=old.ref, PolicyDocument=document, SetAsDefault=True)
        self._forget_versions(aws, old)
        return old

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        self._forget_versions(aws, made)
        aws("iam", "DeletePolicy", PolicyArn=made.ref)

    def _forget_versions(self, aws: Aws, made: CreatedResource) -> None:
        """AWS keeps five; only the one in force counts."""
        for version in aws("iam", "ListPolicyVersions", PolicyArn=made.ref)["Versions"]:
            if not version["IsDefaultVersion"]:
                aws("iam", "DeletePolicyVersion", PolicyArn=made.ref, VersionId=version["VersionId"])


ROLE_KINDS: dict[str, Kind] = {
    "AWS::IAM::ManagedPolicy": ManagedPolicy(),
    "AWS::IAM::Role": Role(),
}
