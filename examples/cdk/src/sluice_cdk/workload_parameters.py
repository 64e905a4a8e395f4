"""Written from workload.yaml by `make infrastructure`; change that file, then run it again."""

from collections.abc import Sequence
from typing import Literal, Required, TypedDict


class WorkloadParameters(TypedDict, total=False):
    """What a workload is made from; what is left out has the default of the template."""

    name: Required[str]
    """Name of the workload, in its document, its alarms and every log line."""
    control_plane_stack: str | None
    """Stack of the control plane, whose exports are imported here. Default: sluice."""
    mode: Literal["active", "observe", "paused"] | None
    """active scales; observe publishes metrics and logs what it would do; paused publishes metrics alone.
    Default: active.
    """
    queue_name: Required[str]
    """Name of the SQS queue; tag it sluice = managed."""
    fleet_type: Literal["asg", "ecs"] | None
    """asg for an EC2 Auto Scaling group, ecs for an ECS service. Default: asg."""
    auto_scaling_group_name: str | None
    """For asg - name of the group; tag it sluice = managed and turn its group metrics on."""
    cluster_name: str | None
    """For ecs - name of the cluster."""
    service_name: str | None
    """For ecs - name of the service; tag it sluice = managed."""
    green_auto_scaling_group_name: str | None
    """For asg, blue/green - name of a second group on the same queue, green; auto_scaling_group_name is
    blue then. Only the active one is scaled. Tag it sluice = managed.
    """
    green_service_name: str | None
    """For ecs, blue/green - name of a second service of the cluster on the same queue, green; service_name
    is blue then. Only the active one is scaled. Tag it sluice = managed.
    """
    min_capacity: int | None
    """Fewest instances, which a shutdown sets; the fleet's own minimum applies as well. Default: 0."""
    max_capacity: Required[int]
    """Most instances; the fleet's own maximum applies as well."""
    schedules: Sequence[str] | None
    """A schedule of the fleet's own minimum and maximum - name,weekdays,time,time zone,minimum,maximum.
    From that time on AWS holds them, until the next schedule starts. Weekdays are MON-FRI, SUN-SAT
    (every day) or days joined by +; hours have no zero before them; the bounds lie within min_capacity
    and max_capacity. Only in mode active.
    """
    bootstrap_capacity: str | None
    """Instances that a bootstrap starts - a number from min_capacity to max_capacity, or backlog for as
    many as the backlog needs. Empty means 1, or min_capacity if that is more.
    """
    count_in_flight: bool | None
    """Whether messages received but not yet deleted count toward BacklogPerInstance. Default: true."""
    target_type: Literal["static", "dynamic"] | None
    """static holds messages_per_instance; dynamic recomputes it every hour from acceptable_latency_seconds
    and MsgProcessingDuration. Default: static.
    """
    messages_per_instance: float | None
    """Messages per instance to hold. For a dynamic target, the value until enough durations are known; it
    must be within min_messages_per_instance and max_messages_per_instance. Default: 10.
    """
    acceptable_latency_seconds: float | None
    """For a dynamic target or scaling deadline - the promise, in seconds from a message's arrival to the
    start of its processing. Default: 600.
    """
    concurrency_per_instance: float | None
    """Messages that one instance processes at a time. Default: 1."""
    processing_seconds: float | None
    """Mean seconds that a message takes. With a static target it converts arrivals into instances. A
    dynamic target and scaling deadline measure it, and use this value only until enough durations are
    known; scaling deadline requires it.
    """
    duration_statistic: str | None
    """For a dynamic target - statistic of MsgProcessingDuration that is used. Default: Average."""
    min_messages_per_instance: float | None
    """For a dynamic target - its lowest value. Default: 0.1."""
    max_messages_per_instance: float | None
    """For a dynamic target - its highest value. Default: 1000."""
    deadband_ratio: float | None
    """For a dynamic target - change, as a ratio of the current target, up to which the policy is left
    alone. Default: 0.1.
    """
    max_factor_per_retune: float | None
    """For a dynamic target - largest factor up or down within one hour. Default: 2."""
    min_samples: int | None
    """For a dynamic target - processed messages that a window needs to count. Default: 30."""
    duration_namespace: str | None
    """Namespace in which the workers publish MsgProcessingDuration; empty means the control plane's."""
    idle_minutes: int | None
    """Minutes the queue must be empty before the fleet is lowered to min_capacity. Default: 5."""
    tracked_metric: Literal["effective", "backlog"] | None
    """effective tracks the backlog and what keeps arriving, so that a fleet keeps up with its load before
    a backlog builds up; backlog tracks the backlog alone. Empty means effective if the processing time
    is known (a dynamic target measures it, processing_seconds sets it), otherwise backlog.
    """
    arrival_margin: float | None
    """For tracked_metric effective from published metrics - spare instances, as a multiple of the square
    root of those that the arrivals keep busy. Default: 0.3.
    """
    metric_source: Literal["published", "native"] | None
    """published tracks EffectiveBacklogPerInstance or BacklogPerInstance; native tracks (visible messages
    + promise x messages sent a second) / running instances from AWS's own metrics, which leaves out
    messages in flight and takes one minute's arrivals (needs group metrics, for ecs Container
    Insights). Default: published.
    """
    scaling: Literal["target_tracking", "deadline"] | None
    """target_tracking - AWS holds messages_per_instance, looking once a minute. deadline - Sluice itself
    sets the size every tick_seconds, so that every message starts within acceptable_latency_seconds;
    for bursts. Default: target_tracking.
    """
    promise_percent: float | None
    """For scaling deadline - share of the messages that start within acceptable_latency_seconds. Default:
    99.
    """
    tick_seconds: Literal[5, 10, 20, 30, 60] | None
    """For scaling deadline - seconds between two decisions. Default: 10."""
    boot_seconds: int | None
    """For scaling deadline - seconds from an instance's launch to its first message, until they are
    measured. Default: 180.
    """
    margin_seconds: int | None
    """For scaling deadline - seconds by which the plan keeps ahead of acceptable_latency_seconds, as SQS's
    counts are old and estimates are wrong. Default: 20.
    """
    busy_instances: Literal["protected", "unprotected"] | None
    """For scaling deadline - protected if the workers hold scale-in protection or task protection while
    they process messages, as Sluice's worker does; unprotected ends surplus instances later and in
    steps. Default: protected.
    """
    fallback: bool | None
    """For scaling deadline - whether AWS scales the fleet out, by a policy on its own metrics, while
    Sluice publishes nothing for this workload. Empty means true for asg and false for ecs, which needs
    Container Insights for it (for asg - group metrics).
    """
    instance_warmup_seconds: int | None
    """For asg - seconds until a new instance processes messages; target tracking waits that long. Default:
    120.
    """
    scale_out_cooldown_seconds: int | None
    """For ecs - seconds between two scale-outs of target tracking. Default: 60."""
    scale_in_cooldown_seconds: int | None
    """For ecs - seconds between two scale-ins of target tracking. Default: 300."""
    create_scalable_target: Literal["true", "not-yet", "false"] | None
    """For ecs - who registers the service as a scalable target. Empty - this stack, in mode active only.
    true - this stack, in every mode (suspended unless active); use it once the workload has been
    active. not-yet - nobody, because the workload was never active. false - something else, which must
    tag the target sluice = managed.
    """
    oldest_message_age_seconds: int | None
    """Age of the oldest message above which the alarm notifies the topic. A message ages until it is
    deleted, so longer jobs or delays need a higher value. Empty means 900, or three times
    acceptable_latency_seconds if that is more and the target is dynamic or scaling is deadline.
    """
    depth_alarms: bool | None
    """Whether two alarms notify the topic when more than warning_depth_messages and
    critical_depth_messages are visible for 3 minutes. Default: false.
    """
    warning_depth_messages: int | None
    """For depth_alarms - visible messages that warn. Default: 500000."""
    critical_depth_messages: int | None
    """For depth_alarms - visible messages that are critical. Default: 1000000."""
    age_alarms: bool | None
    """Whether two more alarms notify the topic when the oldest message is older than warning_age_seconds
    and critical_age_seconds for 3 minutes. Default: false.
    """
    warning_age_seconds: int | None
    """For age_alarms - age of the oldest message that warns. Default: 300."""
    critical_age_seconds: int | None
    """For age_alarms - age of the oldest message that is critical. Default: 600."""
    surge_on_critical_alarms: bool | None
    """For depth_alarms or age_alarms - whether their critical alarm also raises the fleet at once, to what
    drains the backlog in surge_drain_minutes, and holds it for surge_hold_minutes. Default: false.
    """
    surge_drain_minutes: int | None
    """For surge_on_critical_alarms - minutes in which the backlog shall be drained. Default: 30."""
    surge_hold_minutes: int | None
    """For surge_on_critical_alarms - minutes for which the fleet is held; at least surge_drain_minutes.
    Default: 60.
    """
    processing_time_alarm_seconds: float | None
    """Mean processing time over 5 minutes above which an alarm notifies the topic, three times in a row;
    empty creates none.
    """
    dead_letter_queue_name: str | None
    """Dead-letter queue of which an alarm notifies the topic as soon as it holds a message; empty creates
    none.
    """
    at_maximum_alarm: bool | None
    """Whether an alarm notifies the topic when messages wait for 15 minutes while as many instances as
    allowed are asked for; for ecs it needs Container Insights. Default: false.
    """
    missing_instances_alarm: bool | None
    """Whether an alarm notifies the topic when fewer instances run than are asked for, for 20 minutes,
    because launches fail or boots never end; for ecs it needs Container Insights. Default: false.
    """
    throughput_alarm: bool | None
    """Whether an alarm notifies the topic when fewer messages are deleted than sent in every 5 minutes of
    an hour. Default: false.
    """
    promise_alarm: bool | None
    """Whether an alarm notifies the topic when less than promise_percent of an hour's messages start
    within acceptable_latency_seconds; needs the workers' MsgWaitDuration. Default: false.
    """
    guard_failed_percent: float | None
    """Downstream guard - share of the messages that fail, by the workers' Outcome over 5 minutes, above
    which nothing scales out beyond what runs; 0 does not watch it. Needs DownstreamGuard=true of the
    control plane, as each parameter of the guard does. Default: 0.
    """
    guard_dead_letters_per_minute: float | None
    """Downstream guard - messages a minute by which the queue dead_letter_queue_name grows, above which
    nothing scales out; 0 does not watch it. Default: 0.
    """
    guard_alarm_name: str | None
    """Downstream guard - name of a CloudWatch alarm of yours, in this account and region, during whose
    ALARM nothing scales out; empty watches none.
    """
    guard_minutes: int | None
    """Downstream guard - minutes after which it lets the fleet scale out again, even if the downstream
    fails still. Default: 60.
    """
    dashboard: bool | None
    """Whether a CloudWatch dashboard shows the queue, the fleet, the workers, the decisions and the alarms
    of this workload, for $3 a month; for ecs its fleet's counts need Container Insights. Default:
    false.
    """
    notification_topic_arn: str | None
    """SNS topic that is notified when no metric of this workload is published, when its oldest message is
    too old, and by each alarm above; empty notifies nobody. An encrypted topic needs a customer key
    whose policy lets cloudwatch.amazonaws.com use kms:Decrypt and kms:GenerateDataKey*; with
    alias/aws/sns its alarms are lost.
    """
