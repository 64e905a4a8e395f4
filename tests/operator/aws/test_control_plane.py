"""The control plane by the outputs of its stack."""

import pytest

from sluice_operator.aws import control_plane

OUTPUTS = {"RegistryPrefix": "/sluice/workloads", "MetricNamespace": "Sluice"}


class Client:
    """CloudFormation with one stack that has these outputs."""

    class meta:  # noqa: N801 - the name is boto3's
        region_name = "eu-west-1"

    def __init__(self, **outputs):
        self.outputs = OUTPUTS | outputs

    def describe_stacks(self, StackName):  # noqa: N803 - the name is AWS's
        listed = [{"OutputKey": key, "OutputValue": value} for key, value in self.outputs.items()]
        arn = f"arn:aws:cloudformation:eu-west-1:123456789012:stack/{StackName}/1"
        return {"Stacks": [{"StackName": StackName, "StackId": arn, "Outputs": listed}]}


def guard_logs(**outputs):
    plane = control_plane.find(Client(**outputs), "own")
    assert "/aws/lambda/own/publish_backlog" in plane.log_groups
    return [name for name in plane.log_groups if name.endswith("guard_downstream")]


def test_the_logs_of_the_guard_are_read_with_those_of_the_other_functions():
    assert guard_logs(GuardFunctionName="own-guard") == ["/aws/lambda/own/guard_downstream"]


@pytest.mark.parametrize("outputs", [{}, {"GuardScheduleGroup": "own-guards"}])
def test_a_plane_without_the_guard_function_has_no_log_group_of_it(outputs):
    assert guard_logs(**outputs) == []


def test_a_plane_is_in_the_account_of_its_stack():
    assert control_plane.find(Client(), "own").account_id == "123456789012"
