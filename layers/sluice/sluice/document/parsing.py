"""Parses the workload document: JSON becomes a `Workload`, or a list of all its problems.

Lambda, the command and the simulator share this one schema, and docs/workload.schema.json is generated from
it. Unknown keys, strings in place of numbers, names that workload.yaml does not accept, and settings that
contradict each other are problems.

Longer than 300 lines because each field stands next to its constraints and error messages.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from sluice.core.model import (
    MSG_PROCESSING_DURATION,
    AutoScalingGroup,
    Bounds,
    BusyInstances,
    Color,
    ColoredFleet,
    Deadline,
    DynamicTarget,
    EcsService,
    Fleet,
    GuardSettings,
    Metric,
    MetricSource,
    Mode,
    Schedule,
    StaticTarget,
    SurgeOnAlarms,
    TrackedMetric,
    Tracking,
    Workload,
)
from sluice.core.schedules import coinciding
from sluice.document.problems import (
    problem,
    repeated_keys,
)
from sluice.document.schedule_lines import PATTERN as SCHEDULE_PATTERN
from sluice.document.schedule_lines import parsed
from sluice.document.versions import (
    RELEASE_PATTERN,
    newer_release,
    version_problem,
)
from sluice.errors import DocumentError, Problem

MAX_BYTES = 8192  # an advanced SSM parameter; a standard one has 4,096
Number = TypeVar("Number", int, float)

NAME = r"^[a-zA-Z][a-zA-Z0-9-]{0,63}$"
Text = Annotated[str, Field(min_length=1, max_length=255)]
# The characters that the parameters of workload.yaml allow.
GroupName = Annotated[Text, Field(pattern=r"^[a-zA-Z0-9_.#/@=+() -]*$")]
EcsName = Annotated[Text, Field(pattern=r"^[a-zA-Z0-9_-]*$")]
Namespace = Annotated[Text, Field(pattern=r"^[a-zA-Z0-9_.#/ -][a-zA-Z0-9_.#/: -]*$")]
# CloudWatch's limits: percentiles above 0 up to 100, and 30 dimensions of printable ASCII.
STATISTIC = r"^(Average|p(100|(0?[1-9]|[1-9][0-9])(\.[0-9]{1,2})?|00?\.(0[1-9]|[1-9][0-9]?)))$"
DimensionName = Annotated[str, Field(pattern=r"^[ -~]{1,255}$")]
DimensionValue = Annotated[str, Field(pattern=r"^[ -~]{1,1024}$")]
GUARD_SIGNALS = ("failed_percent", "dead_letters_per_minute", "alarm_name")
NO_OTHERS = {"additionalProperties": False}  # pydantic's JSON Schema lets keys outside the pattern through
Dimensions = Annotated[
    dict[DimensionName, DimensionValue], Field(min_length=1, max_length=30, json_schema_extra=NO_OTHERS)
]
# Any printable character at the end: a group's name may contain blanks, and its policy's ARN contains it.
# ASCII ranges in place of \s, which matches different characters in other implementations of JSON Schema.
ARN = r"arn:[!-9;-~]+:[!-9;-~]+:[!-9;-~]*:[0-9]{12}:[ -~]+"
Arn = Annotated[str, Field(pattern=f"^{ARN}$")]
ScheduleLine = Annotated[str, Field(pattern=f"^{SCHEDULE_PATTERN}$")]
AlarmName = Annotated[Text, Field(pattern=r"^[a-zA-Z0-9_.,:#/@=+() -]*$")]
# The range of the parameters of workload.yaml; within it no arithmetic overflows.
Positive = Annotated[float, Field(ge=1e-6, lt=1e7, allow_inf_nan=False)]
PerInstance = Annotated[float, Field(ge=1e-6, allow_inf_nan=False)]

# Fn::Sub cannot omit a value, so a missing one arrives as an empty string.
OptionalArn = Annotated[
    Annotated[str, Field(pattern=f"^({ARN})?$")] | None, AfterValidator(lambda value: value or None)
]


BEYOND_SCHEMA = (
    "One registered workload, as its stack writes it. What a JSON Schema cannot say, `sluice validate` does: "
    "capacity.max is at least min, and bootstrap within both; margin_s is below promise_s; "
    "surge.hold_min is at least drain_min; "
    "schedules have different names and starts, and bounds within capacity; "
    "the colors of a blue/green fleet are two of one kind, each with its policy_arn, and not tracked by "
    "AWS's own metrics; "
    "max_messages_per_instance is at least min_messages_per_instance, and fallback_messages_per_instance "
    "within both; whole numbers are written 5, "
    f"not 5.0; no key stands twice; the document has at most {MAX_BYTES} bytes."
)


IS_DEADLINE: dict[str, Any] = {
    "properties": {"scaling": {"properties": {"type": {"const": "deadline"}}, "required": ["type"]}},
    "required": ["scaling"],
}
IS_BLUE_GREEN: dict[str, Any] = {
    "properties": {"fleet": {"properties": {"type": {"const": "blue_green"}}, "required": ["type"]}},
    "required": ["fleet"],
}
POLICY_NEEDED: dict[str, Any] = {
    "if": {
        "properties": {"mode": {"const": Mode.ACTIVE.value}},
        "required": ["mode"],
        "not": {"anyOf": [IS_DEADLINE, IS_BLUE_GREEN]},
    },
    "then": {"properties": {"policy_arn": {"type": "string", "minLength": 1}}, "required": ["policy_arn"]},
}
"""JSON Schema for: mode active needs policy_arn, unless the deadline engine scales or each color has one."""
PROCESSING_TIME_NEEDED: dict[str, Any] = {
    "properties": {
        "tracking": {"properties": {"processing_s": {"type": "number"}}, "required": ["processing_s"]}
    }
}
DEADLINE_NEEDS_PROCESSING_TIME: dict[str, Any] = {"if": IS_DEADLINE, "then": PROCESSING_TIME_NEEDED}
NATIVE_NEEDS_PROCESSING_TIME: dict[str, Any] = {
    "if": {
        "properties": {
            "target": {"properties": {"type": {"const": "static"}}, "required": ["type"]},
            "tracking": {
                "properties": {"metric": {"const": "effective"}, "source": {"const": "native"}},
                "required": ["metric", "source"],
            },
        },
        "required": ["target", "tracking"],
    },
    "then": PROCESSING_TIME_NEEDED,
}
"""JSON Schema for: processing_s is required if neither AWS's metrics nor the target imply it."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _at_least(other: str, value: Number, info: ValidationInfo) -> Number:
    floor = info.data.get(other, value)  # absent if that field is invalid itself
    if value < floor:
        raise PydanticCustomError("order", f"must be at least {other} ({floor}): raise this or lower {other}")
    return value


def _at_most(other: str, value: Number, info: ValidationInfo) -> Number:
    ceiling = info.data.get(other, value)
    if value > ceiling:
        raise PydanticCustomError(
            "order", f"must be at most {other} ({ceiling}): lower this or raise {other}"
        )
    return value


class AsgFleet(_Section):
    """An EC2 Auto Scaling group."""

    type: Literal["asg"]
    name: GroupName

    def fleet(self) -> Fleet:
        """The fleet as a type of the core."""
        return AutoScalingGroup(name=self.name)


class EcsFleet(_Section):
    """An ECS service."""

    type: Literal["ecs"]
    cluster: EcsName
    service: EcsName

    def fleet(self) -> Fleet:
        """The fleet as a type of the core."""
        return EcsService(cluster=self.cluster, service=self.service)


class ColorSection(_Section):
    """One fleet of a blue/green workload, and its own target-tracking policy."""

    fleet: Annotated[AsgFleet | EcsFleet, Field(discriminator="type")]
    policy_arn: OptionalArn = Field(default=None, validate_default=True)


class BlueGreenFleet(_Section):
    """Two fleets of one kind that consume one queue; the active one alone is scaled."""

    type: Literal["blue_green"]
    blue: ColorSection
    green: ColorSection
    active: Color | None = None
    """Put in by whoever reads the registry, from the SSM parameter that holds it; absent in the registry."""
    draining: Color | None = None
    """The color whose workers receive no more; put in alike, from a parameter of its own."""

    @field_validator("green")
    @classmethod
    def _another_of_the_kind(cls, value: ColorSection, info: ValidationInfo) -> ColorSection:
        blue = info.data.get("blue")
        if blue is not None and value.fleet == blue.fleet:
            raise PydanticCustomError("colors", "blue and green are the same fleet: give green its own")
        if blue is not None and value.fleet.type != blue.fleet.type:
            raise PydanticCustomError("colors", "blue and green are of different kinds: give two alike")
        return value

    def colored(self, color: Color) -> ColoredFleet:
        """One of the two as a type of the core."""
        section = self.blue if color is Color.BLUE else self.green
        return ColoredFleet(color=color, fleet=section.fleet.fleet(), policy_arn=section.policy_arn)


class CapacitySection(_Section):
    """The fleet's bounds, and how many instances a bootstrap starts."""

    min: Annotated[int, Field(ge=0)]
    max: Annotated[int, Field(ge=1)]
    bootstrap: Annotated[int, Field(ge=1)] | Literal["backlog"] = 1

    @field_validator("max")
    @classmethod
    def _above_min(cls, value: int, info: ValidationInfo) -> int:
        return _at_least("min", value, info)

    @field_validator("bootstrap")
    @classmethod
    def _within(cls, value: int | Literal["backlog"], info: ValidationInfo) -> int | Literal["backlog"]:
        return value if value == "backlog" else _at_most("max", _at_least("min", value, info), info)


class StaticSection(_Section):
    """A fixed target."""

    type: Literal["static"]
    messages_per_instance: PerInstance
    concurrency_per_instance: Positive = 1

    def target(self) -> StaticTarget:
        """The target as a type of the core."""
        return StaticTarget(**self.model_dump(exclude={"type"}))


class DynamicSection(_Section):
    """A target recomputed hourly from MsgProcessingDuration."""

    type: Literal["dynamic"]
    acceptable_latency_s: Positive
    concurrency_per_instance: Positive = 1
    statistic: Annotated[str, Field(pattern=STATISTIC)] = "Average"
    min_messages_per_instance: PerInstance = 0.1
    max_messages_per_instance: PerInstance = 100_000
    fallback_messages_per_instance: PerInstance
    deadband_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.1
    max_factor_per_retune: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 2
    min_samples: Annotated[int, Field(ge=1)] = 30

    @field_validator("max_messages_per_instance")
    @classmethod
    def _above_min(cls, value: float, info: ValidationInfo) -> float:
        return _at_least("min_messages_per_instance", value, info)

    @field_validator("fallback_messages_per_instance")
    @classmethod
    def _within(cls, value: float, info: ValidationInfo) -> float:
        value = _at_least("min_messages_per_instance", value, info)
        return _at_most("max_messages_per_instance", value, info)

    def target(self) -> DynamicTarget:
        """The target as a type of the core."""
        return DynamicTarget(**self.model_dump(exclude={"type"}))


class DurationMetricSection(_Section):
    """The metric under which the workers publish how long a message took."""

    namespace: Namespace
    name: Text = MSG_PROCESSING_DURATION
    dimensions: Dimensions | None = None
    """Exactly the published ones; absent: the dimensions of AWS's own metrics of the fleet."""


class TrackingSection(_Section):
    """Which metric target tracking reads, and the parameters of its share for arrivals."""

    metric: TrackedMetric
    source: MetricSource = MetricSource.PUBLISHED
    arrival_margin: Annotated[float, Field(ge=0, le=3, allow_inf_nan=False)] = 0.3
    processing_s: Positive | None = None

    def tracking(self) -> Tracking:
        """The settings as a type of the core."""
        return Tracking(**self.model_dump())


class TargetTrackingSection(_Section):
    """AWS's target tracking decides the fleet's size between 1 and the maximum."""

    type: Literal["target_tracking"]

    def deadline(self) -> None:
        """The settings of the deadline engine: none."""


class DeadlineSection(_Section):
    """The deadline engine decides the fleet's size."""

    type: Literal["deadline"]
    promise_s: Positive
    """From a message's arrival to the start of its processing."""
    promise_percent: Annotated[float, Field(ge=50, le=99.99)] = 99
    tick_s: Literal[5, 10, 20, 30, 60] = 10
    boot_s: Positive
    margin_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20
    busy_instances: BusyInstances = BusyInstances.PROTECTED

    @field_validator("margin_s")
    @classmethod
    def _below_promise(cls, value: float, info: ValidationInfo) -> float:
        promise_s = info.data.get("promise_s", math.inf)
        if value >= promise_s:
            raise PydanticCustomError(
                "order", f"must be below promise_s ({promise_s:g}): lower this or raise promise_s"
            )
        return value

    def deadline(self) -> Deadline:
        """The settings as a type of the core."""
        return Deadline(**self.model_dump(exclude={"type"}))


def _given(key: str) -> dict[str, Any]:
    """JSON Schema for: the key is there, and not null."""
    return {"properties": {key: {"not": {"type": "null"}}}, "required": [key]}


class GuardSection(_Section):
    """When a failing downstream holds scale-out; at least one signal is given."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [_given(signal) for signal in GUARD_SIGNALS],
            "if": _given("dead_letters_per_minute"),
            "then": _given("dead_letter_queue"),
        }
    )

    failed_percent: Annotated[float, Field(gt=0, lt=100)] | None = None
    """Share of the messages that fail; at 100 nothing could be above it."""
    dead_letters_per_minute: Annotated[float, Field(gt=0, lt=1e7)] | None = None
    """Growth of the dead-letter queue."""
    dead_letter_queue: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,80}(\.fifo)?$")] | None = None
    """The name of the dead-letter queue."""
    alarm_name: AlarmName | None = None
    """A CloudWatch alarm in the same account and region."""
    minutes: Annotated[int, Field(ge=10, le=1440)] = 60
    """The longest hold; a release by itself takes ten minutes at least."""

    @model_validator(mode="after")
    def _watches_something(self) -> Self:
        if not any(getattr(self, signal) is not None for signal in GUARD_SIGNALS):
            raise PydanticCustomError(
                "guard",
                "watches nothing: give failed_percent, dead_letters_per_minute or alarm_name, or remove it",
            )
        if self.dead_letters_per_minute is not None and self.dead_letter_queue is None:
            raise PydanticCustomError(
                "guard",
                "dead_letters_per_minute needs dead_letter_queue, the name of the queue whose growth it is",
            )
        return self

    def settings(self) -> GuardSettings:
        """The settings as a type of the core."""
        return GuardSettings(**self.model_dump())


class AlarmArns(_Section):
    """The only alarms that may start a bootstrap or shutdown of this workload."""

    bootstrap: Arn
    shutdown: Arn


class SurgeSection(_Section):
    """The surge that the workload's critical alarms start."""

    alarm_arns: Annotated[list[Arn], Field(min_length=1, max_length=2)]
    """The only alarms that may start it."""
    drain_min: Annotated[int, Field(ge=1, le=9999)]
    """Minutes in which the backlog shall be drained."""
    hold_min: Annotated[int, Field(ge=5, le=9999)]
    """Minutes for which the fleet is held."""

    @field_validator("hold_min")
    @classmethod
    def _until_drained(cls, value: int, info: ValidationInfo) -> int:
        return _at_least("drain_min", value, info)

    def surge(self) -> SurgeOnAlarms:
        """The settings as a type of the core."""
        return SurgeOnAlarms(
            alarm_arns=tuple(self.alarm_arns), drain_in_s=60.0 * self.drain_min, hold_s=60.0 * self.hold_min
        )


def _schedules(lines: list[str]) -> list[Schedule]:
    return [parsed(line) for line in lines if line]


def _check_bounds(schedule: Schedule, capacity: CapacitySection | None) -> None:
    """Refuse bounds that no fleet can have; `capacity` is None if it is invalid itself."""
    low, high = schedule.bounds.min, schedule.bounds.max
    if high < low:
        raise _refused(schedule, f"its maximum {high} is below its minimum {low}: exchange them")
    if capacity is None:
        return
    if low < capacity.min:
        raise _refused(
            schedule, f"its minimum {low} is below capacity.min ({capacity.min}): raise it or lower that"
        )
    if high > capacity.max:
        raise _refused(
            schedule, f"its maximum {high} is above capacity.max ({capacity.max}): lower it or raise that"
        )


def _refused(schedule: Schedule, why: str) -> PydanticCustomError:
    return PydanticCustomError("schedules", f"schedule {schedule.name}: {why}")


class WorkloadDocument(_Section):
    """One registered workload, as its stack writes it."""

    model_config = ConfigDict(
        json_schema_extra={
            "description": BEYOND_SCHEMA,
            "allOf": [POLICY_NEEDED, NATIVE_NEEDS_PROCESSING_TIME, DEADLINE_NEEDS_PROCESSING_TIME],
        }
    )

    version: Literal[3, 4]
    release: Annotated[str, Field(pattern=RELEASE_PATTERN)]
    """The release of the workload.yaml that wrote the document."""
    name: Annotated[str, Field(pattern=NAME)]
    stack_id: Arn
    mode: Mode
    queue_url: Annotated[str, Field(pattern=r"^https?://[!-.0-~]+/[0-9]{12}/[A-Za-z0-9_-]{1,80}(\.fifo)?$")]
    fleet: Annotated[AsgFleet | EcsFleet | BlueGreenFleet, Field(discriminator="type")]
    capacity: CapacitySection
    count_in_flight: bool = True
    target: Annotated[StaticSection | DynamicSection, Field(discriminator="type")]
    duration_metric: DurationMetricSection
    scaling: Annotated[TargetTrackingSection | DeadlineSection, Field(discriminator="type")] = (
        TargetTrackingSection(type="target_tracking")
    )
    """Absent in a document of version 3."""
    tracking: TrackingSection
    idle_minutes: Annotated[int, Field(ge=1, le=120)] = 5
    policy_arn: OptionalArn = Field(default=None, validate_default=True)
    alarm_arns: AlarmArns
    surge: SurgeSection | None = None
    """Absent where no alarm starts a surge."""
    guard: GuardSection | None = None
    """Absent: nothing but bounds and pauses holds scale-out."""
    schedules: Annotated[list[ScheduleLine], Field(max_length=5)] = []
    """Absent where there are none; an empty one does not count."""

    @field_validator("tracking")
    @classmethod
    def _knows_processing_time(cls, value: TrackingSection, info: ValidationInfo) -> TrackingSection:
        native = value.metric is TrackedMetric.EFFECTIVE and value.source is MetricSource.NATIVE
        if native and value.processing_s is None and isinstance(info.data.get("target"), StaticSection):
            raise PydanticCustomError(
                "processing",
                "AWS's own metrics do not say how long a message takes, and nor does a static target: "
                "give processing_s, or track the backlog",
            )
        if value.processing_s is None and isinstance(info.data.get("scaling"), DeadlineSection):
            raise PydanticCustomError(
                "processing",
                "the deadline engine plans with how long a message takes, until it is measured: give "
                "processing_s",
            )
        return value

    @field_validator("policy_arn")
    @classmethod
    def _needed_to_act(cls, value: str | None, info: ValidationInfo) -> str | None:
        fleet, is_tracked = (
            info.data.get("fleet"),
            isinstance(info.data.get("scaling"), TargetTrackingSection),
        )
        colors = (fleet.blue, fleet.green) if isinstance(fleet, BlueGreenFleet) else ()
        if colors and value is not None:
            raise PydanticCustomError(
                "policy", "each color of fleet has a policy_arn of its own: move it there"
            )
        has_policy = all(each.policy_arn for each in colors) if colors else value is not None
        if is_tracked and info.data.get("mode") is Mode.ACTIVE and not has_policy:
            whose = " of each color" if colors else ""
            raise PydanticCustomError(
                "policy", f"mode active needs policy_arn{whose}: workload.yaml writes it"
            )
        return value

    @field_validator("tracking")
    @classmethod
    def _idle_color_is_not_scaled(cls, value: TrackingSection, info: ValidationInfo) -> TrackingSection:
        if isinstance(info.data.get("fleet"), BlueGreenFleet) and value.source is MetricSource.NATIVE:
            raise PydanticCustomError(
                "colors", "AWS's own metrics would scale the idle color too: track the published ones"
            )
        return value

    @field_validator("schedules")
    @classmethod
    def _served_together(cls, value: list[str], info: ValidationInfo) -> list[str]:
        found = _schedules(value)
        for each in found:
            _check_bounds(each, info.data.get("capacity"))
        names = [each.name for each in found]
        if twice := [each for each in found if names.count(each.name) > 1]:
            raise _refused(twice[0], "two schedules have this name: rename one")
        if pair := coinciding(found):
            why = f"it starts at the same minute as {pair[1].name}, and AWS sets one of both: change one"
            raise _refused(pair[0], why)
        return value

    def _fleets(self, active: Color | None) -> tuple[ColoredFleet, ColoredFleet | None]:
        """The fleet that is scaled, blue where there is one alone, and the idle one."""
        if not isinstance(self.fleet, BlueGreenFleet):
            return ColoredFleet(color=Color.BLUE, fleet=self.fleet.fleet(), policy_arn=self.policy_arn), None
        color = self.fleet.active or active
        assert color is not None  # `parse` has checked it
        return self.fleet.colored(color), self.fleet.colored(color.other)

    def workload(self, active: Color | None) -> Workload:
        """The document as a type of the core; `active` is the active color if the document names none."""
        scaled, idle = self._fleets(active)
        fleet, size = scaled.fleet, self.capacity.bootstrap
        duration = self.duration_metric
        return Workload(
            name=self.name,
            stack_id=self.stack_id,
            mode=self.mode,
            queue_url=self.queue_url,
            fleet=fleet,
            bounds=Bounds(min=self.capacity.min, max=self.capacity.max),
            bootstrap_instances=None if size == "backlog" else size,
            count_in_flight=self.count_in_flight,
            target=self.target.target(),
            duration_metric=Metric(
                namespace=duration.namespace,
                name=duration.name,
                dimensions=fleet.dimensions if duration.dimensions is None else duration.dimensions,
            ),
            tracking=self.tracking.tracking(),
            idle_minutes=self.idle_minutes,
            policy_arn=scaled.policy_arn,
            idle=idle,
            draining=self.fleet.draining if isinstance(self.fleet, BlueGreenFleet) else None,
            bootstrap_alarm_arn=self.alarm_arns.bootstrap,
            shutdown_alarm_arn=self.alarm_arns.shutdown,
            deadline=self.scaling.deadline(),
            surge=None if self.surge is None else self.surge.surge(),
            guard=None if self.guard is None else self.guard.settings(),
            schedules=tuple(_schedules(self.schedules)),
        )


def parse(text: str, *, what: str = "the workload document", active: Color | None = None) -> Workload:
    """The workload that a document describes; raises DocumentError with every problem in it.

    A document whose version this release does not serve is refused for that alone. `active` is the active
    color of a blue/green workload whose document names none.
    """
    if unserved := version_problem(text):
        raise DocumentError(what, [unserved])
    problems = repeated_keys(text)
    try:
        document = WorkloadDocument.model_validate_json(text)
    except ValidationError as invalid:
        newer = newer_release(text)
        problems += [problem(error, newer=newer) for error in invalid.errors(include_url=False)]
    if (size := len(text.encode(errors="surrogatepass"))) > MAX_BYTES:
        way_out = f"shorten it to {MAX_BYTES} bytes at most"
        problems.append(Problem(path="document", value=f"{size} bytes", way_out=way_out))
    if problems:
        raise DocumentError(what, problems)
    if isinstance(document.fleet, BlueGreenFleet) and not (document.fleet.active or active):
        way_out = "nothing is scaled until the active color is known: blue or green"
        raise DocumentError(what, [Problem(path="fleet.active", value=None, way_out=way_out)])
    return document.workload(active)


def json_schema() -> dict[str, Any]:
    """The document's JSON Schema, as kept beside the documentation."""
    return WorkloadDocument.model_json_schema()
