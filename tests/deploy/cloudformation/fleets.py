"""The types that only the example fleets have: the group and its launch template, the service and its task.

Made and removed; of a fleet's stack only the task definition may be changed, as a delivery pipeline does.
Every other change is refused.
"""

from __future__ import annotations

import base64

from tests.deploy.cloudformation.calls import Aws
from tests.deploy.cloudformation.kinds import (
    CreatedResource,
    Kind,
    Properties,
    without,
)


class CreatedOnce:
    """What is made once."""

    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        if old is not None:
            raise ValueError(f"{old.ref} cannot be changed here: fleets are made and removed")
        return self.make(aws, name, properties)

    def make(self, aws: Aws, name: str, properties: Properties) -> CreatedResource:
        raise NotImplementedError


class LaunchTemplate(CreatedOnce):
    def make(self, aws: Aws, name: str, properties: Properties) -> CreatedResource:
        data = dict(properties["LaunchTemplateData"])
        data["UserData"] = base64.b64encode(data["UserData"].encode()).decode()  # see `without_base64`
        answer = aws("ec2", "CreateLaunchTemplate", LaunchTemplateName=name, LaunchTemplateData=data)
        made = answer["LaunchTemplate"]
        return CreatedResource(
            ref=made["LaunchTemplateId"],
            attributes={"LatestVersionNumber": str(made["LatestVersionNumber"])},
        )

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("ec2", "DeleteLaunchTemplate", LaunchTemplateId=made.ref)


class SecurityGroup(CreatedOnce):
    def make(self, aws: Aws, name: str, properties: Properties) -> CreatedResource:
        group = aws(
            "ec2",
            "CreateSecurityGroup",
            GroupName=name,
            Description=properties["GroupDescription"],
            VpcId=properties["VpcId"],
        )["GroupId"]
        permissions = [
            {
                **without(rule, "CidrIp", "Description"),
                "IpRanges": [{"CidrIp": rule["CidrIp"], "Description": rule["Description"]}],
            }
            for rule in properties["SecurityGroupEgress"]
        ]
        aws("ec2", "AuthorizeSecurityGroupEgress", GroupId=group, IpPermissions=permissions)
        return CreatedResource(ref=group, attributes={"GroupId": group})

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("ec2", "DeleteSecurityGroup", GroupId=made.ref)


class InstanceProfile(CreatedOnce):
    def make(self, aws: Aws, name: str, properties: Properties) -> CreatedResource:
        profile = aws("iam", "CreateInstanceProfile", InstanceProfileName=name)["InstanceProfile"]
        for role in properties["Roles"]:
            aws("iam", "AddRoleToInstanceProfile", InstanceProfileName=name, RoleName=role)
        return CreatedResource(ref=name, attributes={"Arn": profile["Arn"]})

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        profile = aws("iam", "GetInstanceProfile", InstanceProfileName=made.ref)["InstanceProfile"]
        for role in profile["Roles"]:
            aws(
                "iam",
                "RemoveRoleFromInstanceProfile",
                InstanceProfileName=made.ref,
                RoleName=role["RoleName"],
            )
        aws("iam", "DeleteInstanceProfile", InstanceProfileName=made.ref)


class AutoScalingGroup(CreatedOnce):
    def make(self, aws: Aws, name: str, properties: Properties) -> CreatedResource:
        group = properties["AutoScalingGroupName"]
        settings = without(properties, "VPCZoneIdentifier", "MetricsCollection")
        subnets = ",".join(properties["VPCZoneIdentifier"])
        aws("autoscaling", "CreateAutoScalingGroup", VPCZoneIdentifier=subnets, **settings)
        for metrics in properties["MetricsCollection"]:
            aws("autoscaling", "EnableMetricsCollection", AutoScalingGroupName=group, **metrics)
        return CreatedResource(ref=group)

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("autoscaling", "DeleteAutoScalingGroup", AutoScalingGroupName=made.ref, ForceDelete=True)


class WarmPool(CreatedOnce):
    def make(self, aws: Aws, name: str, properties: Properties) -> CreatedResource:
        aws("autoscaling", "PutWarmPool", **properties)
        return CreatedResource(ref=properties["AutoScalingGroupName"])

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("autoscaling", "DeleteWarmPool", AutoScalingGroupName=made.ref, ForceDelete=True)


class Cluster(CreatedOnce):
    def make(self, aws: Aws, name: str, properties: Properties) -> CreatedResource:
        parameters = {key: value for key, value in properties.items() if key != "ClusterSettings"}
        cluster = aws("ecs", "CreateCluster", settings=properties["ClusterSettings"], **parameters)["cluster"]
        return CreatedResource(ref=cluster["clusterName"], attributes={"Arn": cluster["clusterArn"]})

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("ecs", "DeleteCluster", cluster=made.ref)


class TaskDefinition:
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        """A revision cannot be changed: each change is a new one, and the stack removes the old one."""
        made = aws("ecs", "RegisterTaskDefinition", **properties)["taskDefinition"]
        return CreatedResource(ref=made["taskDefinitionArn"])

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        aws("ecs", "DeregisterTaskDefinition", taskDefinition=made.ref)


class Service(CreatedOnce):
    def put(
        self, aws: Aws, name: str, properties: Properties, old: CreatedResource | None
    ) -> CreatedResource:
        """Every change gives all properties, as CloudFormation does: a count that the template names, too."""
        if old is None:
            return self.make(aws, name, properties)
        fixed = ("Cluster", "ServiceName", "Tags", "PropagateTags", "SchedulingStrategy")
        cluster, service = properties["Cluster"], properties["ServiceName"]
        aws("ecs", "UpdateService", Cluster=cluster, Service=service, **without(properties, *fixed))
        return old

    def make(self, aws: Aws, name: str, properties: Properties) -> CreatedResource:
        # AWS starts a service that names no count with one task.
        made = aws("ecs", "CreateService", **{"DesiredCount": 1, **properties})["service"]
        return CreatedResource(ref=made["serviceArn"], attributes={"Name": made["serviceName"]})

    def delete(self, aws: Aws, made: CreatedResource) -> None:
        *_, cluster, service = made.ref.split("/")
        aws("ecs", "DeleteService", cluster=cluster, service=service, force=True)


FLEET_KINDS: dict[str, Kind] = {
    "AWS::AutoScaling::AutoScalingGroup": AutoScalingGroup(),
    "AWS::AutoScaling::WarmPool": WarmPool(),
    "AWS::EC2::LaunchTemplate": LaunchTemplate(),
    "AWS::EC2::SecurityGroup": SecurityGroup(),
    "AWS::ECS::Cluster": Cluster(),
    "AWS::ECS::Service": Service(),
    "AWS::ECS::TaskDefinition": TaskDefinition(),
    "AWS::IAM::InstanceProfile": InstanceProfile(),
}
