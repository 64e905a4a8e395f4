"""The settings of a worker, shared by the command, the environment and the library.

Settings that contradict each other are refused with a sentence for each. The module is long because every
setting has its description here, which is also the command's help.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from sluice.core.model import AutoScalingGroup, Color, EcsService, Fleet
from sluice.document.parsing import (
    EcsName,
    GroupName,
    Namespace,
)
from sluice.document.problems import problem
from sluice.errors import DocumentError, Problem
from sluice_worker.core.batch import BatchRule
from sluice_worker.core.model import MAX_VISIBILITY_S, Priority, Queue
from sluice_worker.core.pool_size import Range
from sluice_worker.core.retry_policy import FailurePolicy
from sluice_worker.naming import identity, parse_queue

MAX_QUEUES = 20
POLLERS_PER_SENDER = 8
"""Pollers send full batches: a sender has only what is urgent, and what no poller has sent in time."""


class Sink(StrEnum):
    """Where the metrics go."""

    CLOUDWATCH = "cloudwatch"
    EMF = "emf"
    NONE = "none"


def _without_slash(url: object) -> object:
    return url.rstrip("/") if isinstance(url, str) else url


def _separated(queues: object) -> object:
    return queues.split() if isinstance(queues, str) else queues


QueueSetting = Annotated[Queue, BeforeValidator(parse_queue)]
Seconds = Annotated[float, Field(ge=0, le=MAX_VISIBILITY_S)]
Count = Annotated[int, Field(ge=1, le=1000)]


class Settings(BaseModel):
    """All settings; each field is also an option and a variable SLUICE_WORKER_<NAME>."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    queues: Annotated[tuple[QueueSetting, ...], BeforeValidator(_separated)] = Field(
        min_length=1,
        max_length=MAX_QUEUES,
        description="URL[=high|medium|low][:weight] of a queue to consume, medium and 1 where not given; "
        "repeat it for each queue; separate them by spaces in the variable.",
    )
    processes: int = Field(
        1, ge=1, le=256, description="Worker processes; more than 1 for handlers that compute."
    )

    min_concurrency: Count = Field(1, description="Minimum of messages processed at a time, per process.")
    max_concurrency: Count = Field(10, description="Maximum of messages processed at a time, per process.")
    batch: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Call the handler with a list of up to so many messages of one queue, whose failed ones "
        "it returns (Failed); not given, with one message at a time.",
    )
    batch_wait_s: float = Field(
        1.0,
        ge=0,
        le=60,
        description="How long the oldest message waits for a batch to fill.",
    )
    min_pollers: int = Field(
        0, ge=0, le=1000, description="Minimum of threads that receive; at least one for each queue."
    )
    max_pollers: Count = Field(10, description="Maximum of threads that receive.")
    buffer_high: Count = Field(200, description="Maximum of high-priority messages held before they start.")
    buffer_medium: Count = Field(200, description="The same for medium priority.")
    buffer_low: Count = Field(200, description="The same for low priority.")
    buffer_mib: int = Field(
        32,
        ge=1,
        le=100_000,
        description="Maximum of MiB held before they start, for each priority; one message always fits.",
    )
    prefetch_s: Seconds = Field(
        1.0, description="How far to receive ahead: as many messages as can start within this time."
    )
    interval_s: float = Field(
        5.0,
        gt=0,
        le=60,
        description="How often depths are read; there are pollers to receive what waits within this time.",
    )
    starving_after_s: float = Field(
        60.0, gt=0, description="A queue not polled or a message not started for so long goes first."
    )

    visibility_s: int = Field(
        60,
        ge=2,
        le=MAX_VISIBILITY_S,
        description="How long a received message is hidden from others; renewed at half while it is held.",
    )
    max_processing_s: float = Field(
        3600.0, gt=0, le=MAX_VISIBILITY_S, description="Deadline of a handler, unless it extends it."
    )
    backoff_s: Seconds = Field(
        10.0, description="How long a failed message is hidden, doubled with each attempt."
    )
    max_backoff_s: float = Field(
        900.0, ge=0, le=MAX_VISIBILITY_S, description="The longest that it is hidden."
    )
    max_attempts: int | None = Field(
        None, ge=1, description="Attempts after which a failed message goes to the dead-letter queue."
    )
    dead_letter_queue: Annotated[str | None, BeforeValidator(_without_slash)] = Field(
        None,
        pattern=r"^https?://[^=\s]+/[^=\s]+$",
        description="URL of the queue for messages that are rejected or failed too often, FIFO for FIFO "
        "queues; without it the queue's own redrive policy applies.",
    )
    delete_linger_s: float = Field(
        0.2, ge=0, le=10, description="How long a finished message waits for nine others to be deleted with."
    )
    check_keys: bool = Field(
        True,
        description="Ask KMS at the start whether the role may use the customer keys of the queues; not for "
        "keys that a policy allows to SQS alone (kms:ViaService).",
    )

    auto_scaling_group: GroupName | None = Field(
        None, description="Name of the Auto Scaling group that the instance belongs to."
    )
    lifecycle_hook: str | None = Field(
        None, min_length=1, description="Name of its termination hook, which is completed after a drain."
    )
    launch_hook: str | None = Field(
        None,
        min_length=1,
        description="Name of its launch hook, which is completed when the worker begins to receive.",
    )
    cluster: EcsName | None = Field(None, description="Name of the ECS cluster, not its ARN.")
    service: EcsName | None = Field(None, description="Name of the ECS service that the task belongs to.")
    color: Color | None = Field(
        None, description="Which of a blue/green workload's two fleets the worker belongs to."
    )
    draining_color_parameter: str | None = Field(
        None,
        pattern=r"^/?[a-zA-Z0-9_./-]{1,1010}$",
        description="SSM parameter that names the color whose workers receive no more, or none; read every "
        "10 s. What was received is finished, and receiving goes on once the value is another.",
    )
    protect: bool = Field(True, description="Protect a busy instance or task when its fleet shrinks.")
    protection_idle_s: Seconds = Field(
        60.0,
        description="How long without a message before protection is given up, and up to a fifth longer: "
        "the calls of a whole fleet share one throttle.",
    )
    grace_s: Seconds = Field(
        100.0, description="How long running handlers may take after SIGTERM; the rest is released."
    )

    metrics: Sink | None = Field(
        None,
        description="Where metrics go; emf is the log. [default: cloudwatch with a fleet, else none]",
    )
    namespace: Namespace = Field("Sluice", description="CloudWatch namespace of the metrics.")
    promise_s: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="Acceptable time from a message's sending to its start; the share within it is reported.",
    )
    publish_wait: bool = Field(
        False, description="Publish MsgWaitDuration too, at the price of a custom metric."
    )
    publish_gauges: bool = Field(
        False,
        description="Publish buffer, pools and depths too, at the price of 9 custom metrics or more and a "
        "call of each process in each report, also when it is idle.",
    )
    report_s: float = Field(60.0, ge=1, le=3600, description="Time between two reports.")
    heartbeat_file: Path | None = Field(
        None,
        description="File to touch every second while the worker makes progress, for a probe that reads its "
        "age; the container's supervisor restarts what hangs.",
    )
    worker_id: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        max_length=255,
        description="Who reports. [default: the host's name]",
    )

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        disagreements = [said for wrong, said in self._disagreements() if wrong]
        if disagreements:
            raise ValueError("; ".join(disagreements))
        return self

    def _disagreements(self) -> list[tuple[bool, str]]:
        # Long because it is a table: a condition and its sentence for each pair of settings.
        dead = self.dead_letter_queue
        consumed = [identity(queue.url) for queue in self.queues]
        return [
            (self.namespace.startswith("AWS/"), "namespace begins with AWS/, which belongs to AWS"),
            (
                any(one.may_be(other) for one, other in itertools.combinations(consumed, 2)),
                "the same queue is given twice: give each once",
            ),
            (
                self.min_concurrency > self.max_concurrency,
                f"min_concurrency {self.min_concurrency} is more than max_concurrency {self.max_concurrency}",
            ),
            (
                self.batch is None and "batch_wait_s" in self.model_fields_set,
                "batch_wait_s needs batch: without it the handler takes one message at a time",
            ),
            (
                self.batches.prefetch_per_slot > self.smallest_buffer,
                (
                    f"batch {self.batch} needs buffers of {self.batches.prefetch_per_slot}: "
                    "polls bring ten at a time"
                ),
            ),
            (
                self.batch is not None and self.promise_s is not None and self.batch_wait_s >= self.promise_s,
                f"batch_wait_s {self.batch_wait_s:g} is not below promise_s: the wait alone breaks it",
            ),
            (
                self.pollers.min > self.max_pollers,
                f"max_pollers {self.max_pollers} is fewer than {self.pollers.min}: each queue needs one",
            ),
            (
                self.auto_scaling_group is not None and self.cluster is not None,
                "auto_scaling_group and cluster exclude each other: a worker belongs to one fleet",
            ),
            (
                (self.cluster is None) != (self.service is None),
                "cluster and service belong together",
            ),
            (
                self.lifecycle_hook is not None and self.auto_scaling_group is None,
                "lifecycle_hook needs auto_scaling_group",
            ),
            (
                self.launch_hook is not None and self.auto_scaling_group is None,
                "launch_hook needs auto_scaling_group",
            ),
            (
                (self.color is None) != (self.draining_color_parameter is None),
                "color and draining_color_parameter belong together",
            ),
            (
                self.color is not None and self.fleet is None,
                "color needs a fleet: give auto_scaling_group, or cluster and service",
            ),
            (
                self.color is not None and not self.protect,
                "color needs protect: without it a switch of colors takes a busy worker for an idle one",
            ),
            (
                self.max_attempts is not None and self.dead_letter_queue is None,
                "max_attempts needs dead_letter_queue: without it the queue's redrive policy counts",
            ),
            (
                dead is not None and any(identity(dead).may_be(one) for one in consumed),
                "dead_letter_queue is one of the queues: what is rejected would come back for ever",
            ),
            (
                dead is not None and any(queue.is_fifo != dead.endswith(".fifo") for queue in self.queues),
                "dead_letter_queue must be FIFO for FIFO queues, standard for others: one worker for each",
            ),
            (
                self.metrics in (Sink.CLOUDWATCH, Sink.EMF) and self.fleet is None,
                "metrics need a fleet: give auto_scaling_group, or cluster and service",
            ),
            (
                self.heartbeat_file is not None and self.processes > 1,
                "heartbeat_file shows one process: start a container for each",
            ),
            (
                self.heartbeat_file is not None and self.auto_scaling_group is not None,
                "heartbeat_file excludes auto_scaling_group: out of service nothing works, and nothing hangs",
            ),
            (
                self.publish_wait and self.sink is Sink.NONE,
                "publish_wait needs metrics: give auto_scaling_group, or cluster and service",
            ),
            (
                self.publish_gauges and self.sink is Sink.NONE,
                "publish_gauges needs metrics: give auto_scaling_group, or cluster and service",
            ),
        ]

    @property
    def fleet(self) -> Fleet | None:
        """The fleet whose dimensions the metrics carry."""
        if self.auto_scaling_group is not None:
            return AutoScalingGroup(name=self.auto_scaling_group)
        if self.cluster is not None and self.service is not None:
            return EcsService(cluster=self.cluster, service=self.service)
        return None

    @property
    def sink(self) -> Sink:
        """Where metrics go."""
        return self.metrics or (Sink.NONE if self.fleet is None else Sink.CLOUDWATCH)

    @property
    def pollers(self) -> Range:
        """Threads that receive."""
        return Range(min=max(self.min_pollers, len(self.queues)), max=self.max_pollers)

    @property
    def senders(self) -> int:
        """Threads that send acknowledgements to SQS where no poller does."""
        return -(-self.max_pollers // POLLERS_PER_SENDER)

    @property
    def connections(self) -> int:
        """The maximum of concurrent requests to SQS; the reading of depths is one."""
        return self.max_pollers + self.senders + 1

    @property
    def slots(self) -> Range:
        """Batches processed at a time."""
        return Range(min=self.min_concurrency, max=self.max_concurrency)

    @property
    def batches(self) -> BatchRule:
        """How messages are batched for the handler."""
        return BatchRule() if self.batch is None else BatchRule(size=self.batch, wait_s=self.batch_wait_s)

    @property
    def smallest_buffer(self) -> int:
        """The smallest buffer of the priorities that have queues, in messages."""
        return min(self.limits[queue.priority] for queue in self.queues)

    @property
    def limits(self) -> dict[Priority, int]:
        """The maximum of messages held before they begin, by priority."""
        return {
            Priority.HIGH: self.buffer_high,
            Priority.MEDIUM: self.buffer_medium,
            Priority.LOW: self.buffer_low,
        }

    @property
    def buffer_bytes(self) -> int:
        """The maximum of bytes held before they begin, for each priority."""
        return self.buffer_mib * 2**20

    @property
    def failure_policy(self) -> FailurePolicy:
        """What follows the failure of a message."""
        return FailurePolicy(
            backoff_s=self.backoff_s,
            max_backoff_s=self.max_backoff_s,
            max_attempts=self.max_attempts,
            dead_letters=self.dead_letter_queue is not None,
        )


def settings(given: Mapping[str, Any]) -> Settings:
    """The settings, or DocumentError with everything wrong with them."""
    try:
        return Settings(**given)
    except ValidationError as refused:
        problems = list(_named(refused.errors(include_url=False)))
        raise DocumentError("the worker's setting", problems) from refused


def _named(errors: Iterable[ErrorDetails]) -> Iterator[Problem]:
    """The problems by setting; a contradiction of several settings has the path `together`."""
    for error in errors:
        found = problem(error)
        if found.path == "document":
            yield Problem(path="together", value="", way_out=_said(found))
        elif found.path == "queues" and error["type"] == "too_long":
            way_out = f"give {MAX_QUEUES} at most, and the others to another worker"
            yield Problem(path="queues", value=f"{error['ctx']['actual_length']} queues", way_out=way_out)
        elif found.path != "queues" or error["type"] not in ("missing", "too_short"):
            yield Problem(path=found.path, value=found.value, way_out=_said(found))
        # Otherwise each queue that was given has a problem of its own.
        elif error["type"] == "missing" or not error["input"]:
            yield Problem(path="queues", value=(), way_out="give at least one")


def _said(found: Problem) -> str:
    return found.way_out.removeprefix("value error, ")
