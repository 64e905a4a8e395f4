"""A workload of Sluice as a construct for the AWS CDK."""

from sluice_cdk.workload import Workload
from sluice_cdk.workload_parameters import WorkloadParameters

__all__ = ["Workload", "WorkloadParameters"]
