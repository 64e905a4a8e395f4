"""An EC2 instance of an Auto Scaling group: its scale-in protection, lifecycle state and hooks."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from sluice.aws.errors import aws_errors
from sluice.errors import ConfigError, TransientError
from sluice_worker.aws.metadata import InstanceMetadata
from sluice_worker.core import instance_state
from sluice_worker.core.instance_state import OutOfService

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient

MAX_LAUNCH_REFUSALS = 12
"""Refused completions of a launch after which none is tried. AWS refuses one of a hook that does not wait
yet, as it does one of an instance that was launched long ago."""


def client(region: str | None = None) -> AutoScalingClient:
    """A client with short timeouts: no message waits for these calls."""
    return boto3.client(
        "autoscaling",
        region_name=region,
        config=Config(
            connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
        ),
    )


class GroupInstance:
    """Implements `ports.Protection` and `ports.InstanceLifecycle`."""

    expires_after_s = float("inf")

    def __init__(
        self,
        client: AutoScalingClient,
        metadata: InstanceMetadata,
        *,
        group: str,
        hook: str | None,
        launch_hook: str | None = None,
    ) -> None:
        """`hook` is the group's termination hook."""
        self._client, self._metadata, self._group = client, metadata, group
        self._hook, self._launch_hook = hook, launch_hook
        self._target_state: str | None = None
        self._hook_waits = False
        self._launch_refusals_left = 0

    @cached_property
    def _instance_id(self) -> str:
        found = self._metadata.get("instance-id")
        if found is None:
            raise TransientError("the instance metadata knows no instance-id")
        return found

    def protect(self) -> None:
        """Blocks scale-in only; health checks, Spot interruptions and manual termination still apply."""
        self._set(protected=True)

    def release(self) -> None:
        """Scale-in may choose the instance again."""
        self._set(protected=False)

    def _set(self, *, protected: bool) -> None:
        instance_id = self._instance_id
        with aws_errors(f"setting scale-in protection of {instance_id} in {self._group}"):
            self._client.set_instance_protection(
                InstanceIds=[instance_id], AutoScalingGroupName=self._group, ProtectedFromScaleIn=protected
            )

    def out_of_service(self) -> OutOfService | None:
        """A Spot interruption notice (two minutes ahead), or a target state other than InService."""
        interrupted = self._metadata.get("spot/instance-action") is not None
        # Read after a Spot notice as well: the group then runs its lifecycle hook, and waits for its
        # completion.
        state = self._metadata.get("autoscaling/target-lifecycle-state")
        if state != self._target_state:
            self._hook_waits = instance_state.termination_hook_runs(self._target_state, state)
            may_wait = instance_state.launch_hook_runs(self._target_state, state)
            self._launch_refusals_left = MAX_LAUNCH_REFUSALS if may_wait else 0
            self._target_state = state
        return instance_state.out_of_service(state, self._group, interrupted=interrupted)

    def extend_hook(self) -> None:
        """RecordLifecycleActionHeartbeat: the hook's timeout starts again."""
        if self._hook is not None and self._hook_waits:
            with aws_errors(f"asking {self._group} for more time"):
                self._client.record_lifecycle_action_heartbeat(
                    AutoScalingGroupName=self._group,
                    LifecycleHookName=self._hook,
                    InstanceId=self._instance_id,
                )

    def complete_hook(self) -> None:
        """CompleteLifecycleAction, once: the group does not wait for the hook's timeout."""
        if self._hook is not None and self._hook_waits:
            self._complete(self._hook)
            self._hook_waits = False

    def complete_launch_hook(self) -> None:
        """CompleteLifecycleAction, once for each launch; after MAX_LAUNCH_REFUSALS not again."""
        if self._launch_hook is not None and self._launch_refusals_left:
            try:
                self._complete(self._launch_hook)
            except ConfigError:
                self._launch_refusals_left -= 1
                raise
            self._launch_refusals_left = 0

    def _complete(self, hook: str) -> None:
        with aws_errors(f"completing the lifecycle action {hook} of {self._group}"):
            self._client.complete_lifecycle_action(
                AutoScalingGroupName=self._group,
                LifecycleHookName=hook,
                InstanceId=self._instance_id,
                LifecycleActionResult="CONTINUE",
            )
