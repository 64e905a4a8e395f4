"""The construct: a nested stack of workload.yaml with the arguments as its parameters.

A nested stack and not the template's resources in the stack of the app: a condition cannot refer to a
resource such as the queue, several workloads fit into one app, and a workload's stack keeps its own
parameters, which `sluice cost` and `sluice recommend` read.
"""

from pathlib import Path
from typing import Unpack

from aws_cdk import CfnStack
from aws_cdk.aws_s3_assets import Asset
from constructs import Construct

from sluice_cdk import template
from sluice_cdk.parameters import texts
from sluice_cdk.workload_parameters import WorkloadParameters

TEMPLATE = Path(__file__).with_name("workload.yaml")


class Workload(Construct):
    """One workload: its document, its alarms and its scaling policy.

    An argument may be a token, such as `queue.queue_name`, whose value CloudFormation checks. Raises
    ValueError with a sentence for each other argument that the template refuses.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        template_file: Path = TEMPLATE,
        **parameters: Unpack[WorkloadParameters],
    ) -> None:
        super().__init__(scope, construct_id)
        self._template = template.load(template_file)
        self.stack = CfnStack(
            self,
            "Stack",
            template_url=Asset(self, "Template", path=str(template_file)).http_url,
            parameters=texts(self._template, parameters),
        )

    def output(self, name: str) -> str:
        """A token of an output of the workload's stack, such as PolicyArn."""
        if name not in (outputs := self._template["Outputs"]):
            raise ValueError(f"{name}: the workload's stack has no such output; it has {', '.join(outputs)}")
        return str(self.stack.get_att(f"Outputs.{name}").to_string())
