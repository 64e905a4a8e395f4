"""A lifecycle hook of ECS's own blue/green deployments: the old revision ends once it holds no message.

Each revision's workers have a color, and one parameter says the color that receives nothing. Before a
deployment starts anything, the color of its target is written: the new tasks wait. At the traffic shift the
other color is written, and ECS is told to ask again until the old revision is proven to work on nothing. A
rollback shifts back and drains the new revision alike. What is unknown proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from os import environ
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools import Logger

from sluice.aws import clients
from sluice.aws.concurrent_reads import batches
from sluice.aws.errors import aws_errors
from sluice.aws.occupancy import ENDED, TASKS_PER_CALL, protected_tasks
from sluice.aws.responses import MalformedResponse, field, list_field, optional_list_field
from sluice.core.model import Color
from sluice.core.switch import BETWEEN_READINGS, SETTLING
from sluice.errors import ConfigError, SluiceError, TransientError

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_ssm import SSMClient

PARAMETER = "DRAINING_COLOR_PARAMETER"
COLOR = "SLUICE_WORKER_COLOR"
"""The worker's variable in its task definition."""
NEITHER = "none"
BEFORE, SHIFT = "PRE_SCALE_UP", "PRODUCTION_TRAFFIC_SHIFT"
WAIT_S, BUSY_WAIT_S = 10, 30
"""How long ECS waits before it asks again."""
WAY_OUT = (
    "each deployment is to alternate between Color=blue and Color=green; see README.md for a service that "
    "has none yet"
)

logger = Logger()
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A service revision's task definition, and the color of its workers."""

    task_definition: str
    color: Color


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Where the traffic goes: the revision that receives, and those that do no more."""

    keeps: str
    drains: Sequence[str]
    is_rollback: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is known of a drain from the invocations before; ECS keeps it in between."""

    draining: Color
    told_at: datetime
    quiet_at: datetime | None = None
    """The first of the readings in a row that saw no protected task."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> Answer:
    """Invoked by ECS, which goes on, rolls back or asks again by what `hookStatus` says."""
    del context
    return answered(event, _client("ecs"), _client("ssm"), environ[PARAMETER], datetime.now(UTC))


@cache
def _client(service: str) -> Any:
    retries = {"mode": "standard", "total_max_attempts": 3}
    return clients.client(boto3, service, connect_timeout=2, read_timeout=5, retries=retries)


def answered(
    event: Mapping[str, Any], ecs: ECSClient, ssm: SSMClient, parameter: str, now: datetime
) -> Answer:
    """The answer to one event of ECS. A wrong configuration fails the deployment, but no rollback."""
    stage, details = event["lifecycleStage"], event["executionDetails"]
    before = _progress(event.get("hookDetails"))
    is_rollback = False
    try:
        if stage == BEFORE:
            return _before(event, ecs, ssm, parameter)
        shift = shifted(details)
        is_rollback = shift.is_rollback
        return _shift(shift, details, before, ecs, ssm, parameter, now)
    except ConfigError as wrong:
        if not is_rollback:
            logger.error("the deployment is rolled back: %s", wrong)
            return {"hookStatus": "FAILED"}
        logger.error("the rollback waits, for a day at most: %s", wrong)
    except SluiceError as failure:
        logger.warning("asked again in %d s: %s", BUSY_WAIT_S, failure)
    # Two readings in a row are a proof, and this was none.
    return _again(BUSY_WAIT_S, before and Progress(draining=before.draining, told_at=before.told_at))


def _before(event: Mapping[str, Any], ecs: ECSClient, ssm: SSMClient, parameter: str) -> Answer:
    """Refuse a target that could not be told from its predecessors; otherwise have its tasks wait."""
    target = event["executionDetails"]["targetServiceRevisionArn"]
    deployment = event["resourceArn"]
    with aws_errors(f"DescribeServiceDeployments of {deployment}"):
        told = ecs.describe_service_deployments(serviceDeploymentArns=[deployment])
        described = list_field(told, "serviceDeployments")
        if len(described) != 1:
            raise MalformedResponse(f"{len(described)} deployments are described")
        revisions_before = optional_list_field(described[0], "sourceServiceRevisions")
        sources = [field(each, "arn") for each in revisions_before]
    revisions = _revisions(ecs, [target, *sources])
    same = [arn for arn in sources if revisions[arn].color is revisions[target].color]
    if same:
        raise ConfigError(f"{target} and {same[0]} are both {revisions[target].color}: {WAY_OUT}")
    _tell(ssm, parameter, revisions[target].color if sources else NEITHER)
    return _succeeded(f"{target} is {revisions[target].color}, and waits for its traffic")


def _shift(
    shift: Shift,
    details: Mapping[str, Any],
    before: Progress | None,
    ecs: ECSClient,
    ssm: SSMClient,
    parameter: str,
    now: datetime,
) -> Answer:
    """Tell the workers that receive no more, and wait until their tasks are proven to work on nothing."""
    if not shift.drains:
        _tell(ssm, parameter, NEITHER)
        return _succeeded(f"{shift.keeps} is the only revision")
    revisions = _revisions(ecs, [shift.keeps, *shift.drains])
    kept, colors = revisions[shift.keeps], {revisions[arn].color for arn in shift.drains}
    if colors != {kept.color.other}:
        raise ConfigError(f"{shift.keeps} is {kept.color} and no other revision may be: {WAY_OUT}")
    has_told = _tell(ssm, parameter, kept.color.other)
    if has_told or before is None or before.draining is not kept.color.other:
        before = Progress(draining=kept.color.other, told_at=now)
    busy = _busy(ecs, details["serviceArn"], kept.task_definition)
    return decided(before, busy, now)


# --- pure -------------------------------------------------------------------------------------------------


def shifted(details: Mapping[str, Any]) -> Shift:
    """Which revision receives by `productionTrafficWeights`, and which ones do not."""
    weights, target = details["productionTrafficWeights"], details["targetServiceRevisionArn"]
    if not weights:
        raise TransientError("ECS tells no weights, so it is unknown which revision is to receive no more")
    keeps = [arn for arn, weight in weights.items() if weight == 100]
    drains = [arn for arn, weight in weights.items() if weight == 0]
    if len(keeps) != 1 or len(keeps) + len(drains) != len(weights):
        raise ConfigError(f"the weights are {weights}: a queue is not shared by them, so use BLUE_GREEN")
    return Shift(keeps=keeps[0], drains=drains, is_rollback=keeps[0] != target)


def decided(before: Progress, busy: int | None, now: datetime) -> Answer:
    """Whether the drained revision, with so many protected tasks or None for no task, holds no message."""
    if busy is None:
        return _succeeded(f"no task of {before.draining} runs")
    is_settled = now >= before.told_at + SETTLING
    if busy > 0 or not is_settled:
        said = (
            f"{busy} tasks of {before.draining} work on messages" if busy else "the tasks have just been told"
        )
        logger.info("asked again: %s", said)
        waits = Progress(draining=before.draining, told_at=before.told_at)
        return _again(BUSY_WAIT_S if is_settled else WAIT_S, waits)
    if before.quiet_at is None or now < before.quiet_at + BETWEEN_READINGS:
        quiet_at = before.quiet_at or now
        quiet = Progress(draining=before.draining, told_at=before.told_at, quiet_at=quiet_at)
        logger.info("asked again: no task of %s works on a message at one reading", before.draining)
        return _again(WAIT_S, quiet)
    return _succeeded(f"no task of {before.draining} works on a message at two readings")


def _succeeded(why: str) -> Answer:
    logger.info("the deployment goes on: %s", why)
    return {"hookStatus": "SUCCEEDED"}


def _again(wait_s: int, progress: Progress | None) -> Answer:
    """Have ECS ask again. It merges what it is given, so every key is given each time."""
    kept = {
        "draining": progress and progress.draining.value,
        "toldAt": progress and progress.told_at.isoformat(),
        "quietAt": progress and progress.quiet_at and progress.quiet_at.isoformat(),
    }
    return {"hookStatus": "IN_PROGRESS", "callBackDelay": wait_s, "hookDetails": kept}


def _progress(kept: Mapping[str, Any] | None) -> Progress | None:
    """What `_again` gave; None for nothing, or for what cannot be read: the workers are told anew."""
    try:
        quiet = (kept or {}).get("quietAt")
        return Progress(
            draining=Color((kept or {})["draining"]),
            told_at=datetime.fromisoformat((kept or {})["toldAt"]),
            quiet_at=datetime.fromisoformat(quiet) if quiet else None,
        )
    except (LookupError, TypeError, ValueError):
        return None


# --- AWS --------------------------------------------------------------------------------------------------


def _revisions(ecs: ECSClient, arns: Sequence[str]) -> Mapping[str, Revision]:
    """Task definition and color of each revision; raises ConfigError for one whose workers have no color."""
    with aws_errors(f"DescribeServiceRevisions of {', '.join(arns)}"):
        told = ecs.describe_service_revisions(serviceRevisionArns=list(arns))
        described = list_field(told, "serviceRevisions")
        definitions = {field(each, "serviceRevisionArn"): field(each, "taskDefinition") for each in described}
        if missing := set(arns) - definitions.keys():
            raise MalformedResponse(f"{', '.join(sorted(missing))} are not described")
    return {
        arn: Revision(task_definition=definitions[arn], color=_color(ecs, definitions[arn])) for arn in arns
    }


def _color(ecs: ECSClient, task_definition: str) -> Color:
    with aws_errors(f"DescribeTaskDefinition of {task_definition}"):
        told = ecs.describe_task_definition(taskDefinition=task_definition)
        containers = list_field(field(told, "taskDefinition"), "containerDefinitions")
        variables = [one for each in containers for one in optional_list_field(each, "environment")]
        named = {field(one, "value") for one in variables if field(one, "name") == COLOR}
    if len(named) != 1 or not named <= set(Color):
        raise ConfigError(f"{task_definition} has {sorted(named) or 'nothing'} for {COLOR}: {WAY_OUT}")
    return Color(named.pop())


def _tell(ssm: SSMClient, parameter: str, value: str) -> bool:
    """Whether the parameter has had to be written: it had another value."""
    with aws_errors(f"GetParameter of {parameter}"):
        present = field(field(ssm.get_parameter(Name=parameter), "Parameter"), "Value")
    if present == value:
        return False
    with aws_errors(f"PutParameter of {parameter}"):
        ssm.put_parameter(Name=parameter, Value=value, Overwrite=True)
    return True


def _busy(ecs: ECSClient, service_arn: str, kept: str) -> int | None:
    """Protected tasks of every other task definition than the kept one; None if there is no such task.

    A task is of the kept revision only if it is known to be.
    """
    _, cluster, service = service_arn.rsplit("/", 2)
    with aws_errors(f"the protection from scale-in of the tasks of {service}"):
        pages = ecs.get_paginator("list_tasks").paginate(cluster=cluster, serviceName=service)
        tasks = [task for page in pages for task in list_field(page, "taskArns")]
        old: list[str] = []
        for some in batches(tasks, TASKS_PER_CALL):
            told = ecs.describe_tasks(cluster=cluster, tasks=list(some))
            described = {
                field(one, "taskArn"): field(one, "taskDefinitionArn") for one in list_field(told, "tasks")
            }
            ended = {
                failure.get("arn")
                for failure in optional_list_field(told, "failures")
                if failure.get("reason") == ENDED
            }
            old += [task for task in some if task not in ended and described.get(task) != kept]
        return protected_tasks(ecs, cluster, old) if old else None
