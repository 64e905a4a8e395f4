"""examples/fleet-ecs.yaml: the ECS service to try Sluice on."""

from __future__ import annotations

from typing import Any

import pytest

from sluice_sim.template import ResolvedStack
from tests.templates import stacks
from tests.templates.stacks import of_type, resolved

MANAGED = {"Key": "sluice", "Value": "managed"}
SECRET = stacks.arn("secretsmanager", "secret:worker-AbCdEf")


@pytest.fixture
def stack() -> ResolvedStack:
    return stacks.example_fleet("ecs")


def service(stack: ResolvedStack) -> dict[str, Any]:
    [properties] = of_type(stack, "AWS::ECS::Service").values()
    return properties


def task(stack: ResolvedStack) -> dict[str, Any]:
    [properties] = of_type(stack, "AWS::ECS::TaskDefinition").values()
    return properties


def container(stack: ResolvedStack) -> dict[str, Any]:
    [properties] = task(stack)["ContainerDefinitions"]
    return properties


def test_queue_cluster_and_service_have_the_names_that_the_workload_expects(stack: ResolvedStack) -> None:
    environment = stacks.workload_environments()["queue-proc"]
    assert of_type(stack, "AWS::SQS::Queue")["Queue"]["QueueName"] == environment["QueueName"]
    assert of_type(stack, "AWS::ECS::Cluster")["Cluster"]["ClusterName"] == environment["ClusterName"]
    assert service(stack)["Cluster"] == environment["ClusterName"]
    assert service(stack)["ServiceName"] == environment["ServiceName"]


def test_a_second_fleet_moves_into_the_cluster_of_the_first() -> None:
    environment = stacks.workload_environments()["bulk-consumer"]
    stack = stacks.example_fleet("ecs", FleetName="bulk-consumer", CreateCluster="false")
    assert of_type(stack, "AWS::ECS::Cluster") == {}
    assert service(stack)["Cluster"] == environment["ClusterName"]
    assert service(stack)["ServiceName"] == environment["ServiceName"]
    assert of_type(stack, "AWS::SQS::Queue")["Queue"]["QueueName"] == environment["QueueName"]


def test_report_export_moves_into_the_same_cluster_with_four_messages_at_a_time() -> None:
    environment = stacks.workload_environments()["report-export"]
    concurrency = environment["ConcurrencyPerInstance"]
    stack = stacks.example_fleet(
        "ecs",
        FleetName="report-export",
        CreateCluster="false",
        ConcurrencyPerInstance=concurrency,
        PromiseSeconds=environment["AcceptableLatencySeconds"],
    )
    assert service(stack)["Cluster"] == environment["ClusterName"]
    assert service(stack)["ServiceName"] == environment["ServiceName"]
    assert of_type(stack, "AWS::SQS::Queue")["Queue"]["QueueName"] == environment["QueueName"]
    variables = {one["Name"]: one["Value"] for one in container(stack)["Environment"]}
    assert variables["SLUICE_WORKER_MAX_CONCURRENCY"] == concurrency


def test_the_service_carries_the_tag_and_hands_it_to_its_tasks(stack: ResolvedStack) -> None:
    assert MANAGED in service(stack)["Tags"]
    assert service(stack)["PropagateTags"] == "SERVICE"


def test_a_deploy_does_not_resize_the_service(stack: ResolvedStack) -> None:
    assert "DesiredCount" not in service(stack)
    scaling = [r.type for r in stack.resources.values() if r.type.startswith("AWS::ApplicationAutoScaling")]
    assert scaling == []  # the workload's stack registers the scalable target


def test_the_tasks_are_spot_of_a_provider_that_the_cluster_has(stack: ResolvedStack) -> None:
    assert service(stack)["CapacityProviderStrategy"] == [{"CapacityProvider": "FARGATE_SPOT", "Weight": "1"}]
    assert "LaunchType" not in service(stack)  # AWS refuses both
    [cluster] = of_type(stack, "AWS::ECS::Cluster").values()
    assert cluster["CapacityProviders"] == ["FARGATE", "FARGATE_SPOT"]


def test_a_share_of_the_tasks_runs_on_fargate_where_the_operator_gives_it_a_weight() -> None:
    shared = stacks.example_fleet("ecs", SpotWeight="3", OnDemandWeight="1", OnDemandBase="2")
    assert service(shared)["CapacityProviderStrategy"] == [
        {"CapacityProvider": "FARGATE_SPOT", "Weight": "3"},
        # AWS takes a base of one provider alone.
        {"CapacityProvider": "FARGATE", "Base": "2", "Weight": "1"},
    ]


def test_weights_with_which_no_task_could_be_placed_are_refused() -> None:
    rules = stacks.template(stacks.EXAMPLES["ecs"])["Rules"]
    weight = {"Fn::Not": [{"Fn::Equals": [{"Ref": "OnDemandWeight"}, "0"]}]}
    judged = {
        name: (rule["RuleCondition"], [assertion["Assert"] for assertion in rule["Assertions"]])
        for name, rule in rules.items()
        if "Color" not in name
    }
    assert judged == {
        "SomewhereToRun": ({"Fn::Equals": [{"Ref": "SpotWeight"}, "0"]}, [weight]),
        "ABaseHasItsWeight": ({"Fn::Not": [{"Fn::Equals": [{"Ref": "OnDemandBase"}, "0"]}]}, [weight]),
    }


def test_a_deployment_that_fails_rolls_back_and_no_task_moves_without_need(stack: ResolvedStack) -> None:
    deployment = service(stack)["DeploymentConfiguration"]
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert service(stack)["AvailabilityZoneRebalancing"] == "DISABLED"


def test_a_task_fits_fargate_on_arm(stack: ResolvedStack) -> None:
    assert task(stack)["RequiresCompatibilities"] == ["FARGATE"]
    assert task(stack)["NetworkMode"] == "awsvpc"
    assert task(stack)["RuntimePlatform"] == {"CpuArchitecture": "ARM64", "OperatingSystemFamily": "LINUX"}


def test_a_task_is_closed_to_the_network(stack: ResolvedStack) -> None:
    [firewall] = of_type(stack, "AWS::EC2::SecurityGroup").values()
    assert "SecurityGroupIngress" not in firewall
    assert [(rule["FromPort"], rule["ToPort"]) for rule in firewall["SecurityGroupEgress"]] == [(443, 443)]
    assert not {"AWS::EC2::SecurityGroupIngress"} & {resource.type for resource in stack.resources.values()}
    assert "PortMappings" not in container(stack)
    network = service(stack)["NetworkConfiguration"]["AwsvpcConfiguration"]
    assert network["AssignPublicIp"] == "DISABLED"
    assert network["Subnets"] == ["subnet-1", "subnet-2"]
    assert network["SecurityGroups"] == ["SecurityGroup.GroupId"]


def test_the_stop_timeout_is_as_long_as_fargate_allows(stack: ResolvedStack) -> None:
    assert container(stack)["StopTimeout"] == 120


def test_the_task_runs_the_command_of_the_image(stack: ResolvedStack) -> None:
    assert container(stack)["Image"] == stacks.WORKER["ecs"]["Image"]
    assert not {"EntryPoint", "Command"} & set(container(stack))


def test_a_secret_is_handed_over_by_reference_and_only_where_one_is_named(stack: ResolvedStack) -> None:
    assert "Secrets" not in container(stack)
    secret = container(stacks.example_fleet("ecs", SecretArn=SECRET))
    assert secret["Secrets"] == [{"Name": "WORKER_SECRET", "ValueFrom": SECRET}]
    assert SECRET not in str(secret["Environment"])


def test_the_logs_go_to_a_log_group_with_a_retention(stack: ResolvedStack) -> None:
    [group] = of_type(stack, "AWS::Logs::LogGroup").values()
    assert str(group["RetentionInDays"]) == "30"
    assert container(stack)["LogConfiguration"]["Options"]["awslogs-group"] == group["LogGroupName"]


def test_two_fleets_of_one_cluster_share_no_name() -> None:
    naming = {"QueueName", "ServiceName", "Family", "LogGroupName", "RoleName", "GroupName", "ClusterName"}
    first, second = (
        {
            value
            for resource in stacks.example_fleet(
                "ecs", FleetName=name, CreateCluster="false"
            ).resources.values()
            for key, value in resource.properties.items()
            if key in naming
        }
        for name in ("one", "two")
    )
    assert first == {"one", "/ecs/workers/one"}
    assert second == {"two", "/ecs/workers/two"}


def test_the_example_asks_for_its_network() -> None:
    with pytest.raises(ValueError, match="VpcId"):
        resolved(stacks.template(stacks.EXAMPLES["ecs"]), {})
