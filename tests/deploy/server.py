"""The embedded AWS that stacks are deployed to: a moto server with our own CloudFormation and permissions.

Owns the patches of moto, and removes them at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from moto.applicationautoscaling.models import ApplicationAutoscalingBackend
from moto.awslambda.models import LambdaBackend
from moto.cloudformation import models as cloudformation
from moto.cloudformation.models import ChangeSet, Stack, cloudformation_backends
from moto.core import errors
from moto.core.config import default_user_config
from moto.core.responses import BaseResponse
from moto.server import ThreadedMotoServer
from samtranslator.yaml_helper import yaml_parse

from sluice_sim.account import service_policy_arn
from sluice_sim.template import stack_id
from tests.deploy.authorization import (
    CODES,
    Gate,
)
from tests.deploy.cloudformation.calls import Aws
from tests.deploy.cloudformation.stack import Deployed
from tests.deploy.query_definitions import QueryDefinitions
from tests.deploy.tasks import Tasks
from tests.support.aws_environment import add_missing_operations, keep_enabled

HOST = "127.0.0.1"
PUT_SCALING_POLICY = ApplicationAutoscalingBackend.put_scaling_policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running embedded AWS; `gate` records what every role was allowed and denied."""

    endpoint: str
    aws: Aws
    gate: Gate
    tasks: Tasks


@contextmanager
def served() -> Iterator[Server]:
    """An empty account on a free port."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        patch.setenv("MOTO_SQS_ENFORCE_STRICT_QUEUE_PURGE_BEHAVIOUR", "false")
        patch.setenv(
            "MOTO_ECS_SERVICE_RUNNING", "1"
        )  # a new service's one task runs, or its rollout never ends
        patch.setattr(ApplicationAutoscalingBackend, "put_scaling_policy", _put_scaling_policy)
        # State machines are parsed and run by their definitions, not merely kept.
        patch.setitem(default_user_config["stepfunctions"], "execute_state_machine", True)
        # The tests invoke the functions themselves; moto would start a container for each message.
        patch.setattr(LambdaBackend, "send_sqs_batch", lambda *_: False)
        add_missing_operations(patch)
        keep_enabled(patch)
        patch.setattr(logging.getLogger("werkzeug"), "disabled", True)  # a line for every request
        gate = Gate()
        # Every service of AWS knows them; moto warns of a code that a service's model does not list.
        patch.setattr(errors, "COMMON_ERROR_CODES", [*errors.COMMON_ERROR_CODES, *CODES])
        patch.setattr(BaseResponse, "call_action", gate.before(BaseResponse.call_action))
        moto = ThreadedMotoServer(ip_address=HOST, port=0, verbose=False)
        moto.start()
        # Only with this host name does moto expect buckets in the path.
        endpoint = f"http://localhost:{moto.get_host_and_port()[1]}"
        aws = Aws(endpoint)
        _deploy_with(aws, patch)
        tasks = Tasks()
        try:
            with QueryDefinitions().patched_moto(), tasks.patched_moto():
                yield Server(endpoint=endpoint, aws=aws, gate=gate, tasks=tasks)
        finally:
            aws.close()
            moto.stop()


@contextmanager
def listening_at(address: str) -> Iterator[int]:
    """Serve the embedded AWS at another address of this machine as well; yields the port."""
    moto = ThreadedMotoServer(ip_address=address, port=0, verbose=False)  # its state is the process's own
    moto.start()
    try:
        yield moto.get_host_and_port()[1]
    finally:
        moto.stop()


def _put_scaling_policy(backend: ApplicationAutoscalingBackend, *args: Any, **kwargs: Any) -> Any:
    """Keep a policy's ARN and delete its old alarms: moto does neither when a policy is put again."""
    before = list(backend.policies.values())
    policy = PUT_SCALING_POLICY(backend, *args, **kwargs)
    policy.policy_arn = service_policy_arn(policy.resource_id, policy.policy_name)
    for old in before:
        if (old.resource_id, old.policy_name) == (policy.resource_id, policy.policy_name):
            old.delete_alarms(backend.account_id, backend.region_name)
    return policy


def _deploy_with(aws: Aws, patch: pytest.MonkeyPatch) -> None:
    """Make moto's CloudFormation API use our own stacks."""

    def resources(stack: Stack) -> Deployed:
        return Deployed(stack, aws, cloudformation_backends[stack.account_id][stack.region_name].exports)

    def parse(change_set: ChangeSet) -> None:
        change_set.template_dict = yaml_parse(change_set.template)

    patch.setattr(Stack, "_create_resource_map", resources)
    patch.setattr(Stack, "_create_output_map", lambda stack: stack.resource_map.shown)
    patch.setattr(Stack, "parse_template", staticmethod(yaml_parse))
    patch.setattr(ChangeSet, "_parse_template", parse)
    # The id that the resolver writes for AWS::StackId.
    patch.setattr(
        cloudformation, "generate_stack_id", lambda name, region, account: stack_id(account, region, name)
    )
