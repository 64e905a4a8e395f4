"""What a worker can be told: the command, the environment and the library share it.

Owns names, defaults, bounds and the words of refusals. Refuses what contradicts itself.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sluice.core.model import AutoScalingGroup, EcsService, Fleet
from sluice.errors import DocumentError, Problem
from sluice.problems import problem
from sluice_worker.core.failure import FailurePolicy
from sluice_worker.core.model import LONGEST_HOLD_S, Priority, Queue
from sluice_worker.core.sizing import Range

_QUEUE = re.compile(r"^(?P<url>https?://[^=\s]+/[^=:\s]+)(?:=(?P<priority>[^:=]*))?(?::(?P<weight>[^:=]*))?$")

POLLERS_FOR_A_COURIER = 3


class Sink(StrEnum):
    """Where the metrics go."""

    CLOUDWATCH = "cloudwatch"
    EMF = "emf"
    NONE = "none"


def parse_queue(text: object) -> object:
    """URL[=high|medium|low][:weight] as a Queue; whatever is not text passes through."""
    if not isinstance(text, str):
        return text
    found = _QUEUE.match(text)
    if found is None:
        raise ValueError("write URL[=high|medium|low][:weight], with the queue's whole URL")
    priority, weight = found["priority"], found["weight"]
    if priority is not None and priority not in list(Priority):
        raise ValueError(f"priority {priority!r} is none of {', '.join(Priority)}")
    try:
        weighs = 1.0 if weight is None else float(weight)
    except ValueError:
        raise ValueError(f"weight {weight!r} is not a number") from None
    if not 0 < weighs <= 1000:
        raise ValueError(f"weight {weight} is not within 0 (excluded) and 1000")
    return Queue(url=found["url"], priority=Priority(priority or Priority.MEDIUM), weight=weighs)


QueueSetting = Annotated[Queue, BeforeValidator(parse_queue)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1000)]


class Settings(BaseModel):
    """Everything a worker is told; each field is also an option and a variable SLUICE_WORKER_<NAME>."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    queues: tuple[QueueSetting, ...] = Field(
        min_length=1,
        max_length=20,
        description="URL[=high|medium|low][:weight] of a queue to consume; repeatable, in the environment "
        "separated by spaces.",
    )
    processes: int = Field(
        1, ge=1, le=256, description="Worker processes; more than 1 for handlers that compute."
    )

    min_concurrency: Count = Field(1, description="Fewest messages worked on at a time, per process.")
    max_concurrency: Count = Field(10, description="Most messages worked on at a time, per process.")
    min_pollers: int = Field(
        0, ge=0, le=1000, description="Fewest threads that receive; 0, and at least: one for each queue."
    )
    max_pollers: Count = Field(10, description="Most threads that receive.")
    buffer_high: Count = Field(200, description="Most messages of high priority held before they are begun.")
    buffer_medium: Count = Field(200, description="The same for medium priority.")
    buffer_low: Count = Field(200, description="The same for low priority.")
    prefetch_s: Seconds = Field(
        1.0, description="How far to receive ahead: messages that can be begun within so many seconds."
    )
    interval_s: float = Field(
        5.0,
        gt=0,
        le=60,
        description="Seconds in which pollers should receive what waits; how often depths are read.",
    )
    starving_after_s: float = Field(
        60.0, gt=0, description="A queue not polled, or a message not begun for so many seconds goes first."
    )

    visibility_s: int = Field(
        60,
        ge=2,
        le=LONGEST_HOLD_S,
        description="Seconds a received message stays hidden from others; renewed at half while it is held.",
    )
    max_processing_s: float = Field(
        3600.0, gt=0, le=LONGEST_HOLD_S, description="Deadline of a handler, unless it extends it."
    )
    backoff_s: Seconds = Field(
        10.0, description="Seconds a failed message is hidden, doubled with each receipt."
    )
    max_backoff_s: float = Field(900.0, ge=0, le=LONGEST_HOLD_S, description="The longest of these.")
    max_attempts: int | None = Field(
        None, ge=1, description="Receipts after which a failed message goes to --dead-letter-queue."
    )
    dead_letter_queue: str | None = Field(
        None,
        pattern=r"^https?://\S+/\S+$",
        description="URL of the queue for messages that are rejected or failed --max-attempts times; "
        "without it the queue's own redrive policy has them.",
    )
    delete_linger_s: float = Field(
        0.2, ge=0, le=10, description="Seconds a finished message waits for nine others to be deleted with."
    )

    auto_scaling_group: str | None = Field(
        None, description="Name of the group that the instance belongs to."
    )
    lifecycle_hook: str | None = Field(
        None, description="Its termination hook, which is completed after a drain."
    )
    cluster: str | None = Field(None, description="Short name of the ECS cluster.")
    service: str | None = Field(None, description="Short name of the ECS service that the task belongs to.")
    protect: bool = Field(True, description="Protect a busy instance or task from scale-in.")
    protection_idle_s: Seconds = Field(
        10.0, description="Seconds without a message before protection is given up."
    )
    grace_s: float = Field(
        100.0, ge=0, description="Seconds to finish what runs once told to go; then it is handed back."
    )

    metrics: Sink | None = Field(
        None,
        description="Where metrics go: cloudwatch, emf (the log) or none. [default: cloudwatch with a fleet]",
    )
    namespace: str = Field(
        "Sluice",
        pattern=r"^[a-zA-Z0-9_.#/-]{1,200}$",
        description="CloudWatch namespace of the metrics.",
    )
    promise_s: float | None = Field(
        None,
        gt=0,
        description="Acceptable seconds from a message's sending to its start; its share is reported.",
    )
    publish_wait: bool = Field(
        False, description="Publish MsgWaitDuration too, at the price of a custom metric."
    )
    report_s: float = Field(60.0, ge=1, le=3600, description="Seconds between two reports.")
    worker_id: str = Field(
        default_factory=socket.gethostname,
        min_length=1,
        max_length=255,
        description="Who reports.",
    )

    @model_validator(mode="after")
    def _agree(self) -> Settings:
        disagreements = [said for wrong, said in self._disagreements() if wrong]
        if disagreements:
            raise ValueError("; ".join(disagreements))
        return self

    def _disagreements(self) -> list[tuple[bool, str]]:
        urls = [queue.url for queue in self.queues]
        return [
            (self.namespace.startswith("AWS/"), "namespace begins with AWS/, which belongs to AWS"),
            (len(set(urls)) < len(urls), "the same queue is given twice: give each once"),
            (
                self.min_concurrency > self.max_concurrency,
                f"min_concurrency {self.min_concurrency} is more than max_concurrency {self.max_concurrency}",
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
                self.max_attempts is not None and self.dead_letter_queue is None,
                "max_attempts needs dead_letter_queue; without it the queue's redrive policy counts",
            ),
            (
                self.metrics in (Sink.CLOUDWATCH, Sink.EMF) and self.fleet is None,
                "metrics need a fleet: give auto_scaling_group, or cluster and service",
            ),
        ]

    @property
    def fleet(self) -> Fleet | None:
        """Whose dimensions the metrics carry."""
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
    def couriers(self) -> int:
        """Threads that do nothing but tell SQS what became of messages; pollers help them."""
        return -(-self.max_pollers // POLLERS_FOR_A_COURIER)

    @property
    def connections(self) -> int:
        """Most requests to SQS at a time; the reading of depths is one."""
        return self.max_pollers + self.couriers + 1

    @property
    def slots(self) -> Range:
        """Messages worked on at a time."""
        return Range(min=self.min_concurrency, max=self.max_concurrency)

    @property
    def limits(self) -> dict[Priority, int]:
        """Messages held before they are begun."""
        return {
            Priority.HIGH: self.buffer_high,
            Priority.MEDIUM: self.buffer_medium,
            Priority.LOW: self.buffer_low,
        }

    @property
    def failure_policy(self) -> FailurePolicy:
        """What follows a failure."""
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
        problems = [_named(problem(error)) for error in refused.errors(include_url=False)]
        raise DocumentError("the worker's setting", problems) from refused


def _named(found: Problem) -> Problem:
    """What contradicts itself has no place of its own."""
    way_out = found.way_out.removeprefix("value error, ")
    if found.path == "document":
        return Problem(path="together", value="", way_out=way_out)
    return Problem(path=found.path, value=found.value, way_out=way_out)
