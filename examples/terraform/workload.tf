# Written from workload.yaml by `make infrastructure`; change that file, then run it again.
# A variable that is null has the template's default.

variable "name" {
  description = "Name of the workload, in its document, its alarms and every log line."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z][a-zA-Z0-9-]{0,63}$", var.name))
    error_message = "name must be 1 to 64 letters, digits or hyphens, beginning with a letter."
  }
}

variable "control_plane_stack" {
  description = "Stack of the control plane, whose exports are imported here. Default: sluice."
  type        = string
  default     = null

  validation {
    condition     = var.control_plane_stack == null ? true : can(regex("^[a-zA-Z][a-zA-Z0-9-]{0,127}$", var.control_plane_stack))
    error_message = "control_plane_stack must be the name of a stack."
  }
}

variable "mode" {
  description = "active scales; observe publishes metrics and logs what it would do; paused publishes metrics alone. Default: active."
  type        = string
  default     = null

  validation {
    condition     = var.mode == null ? true : contains(["active", "observe", "paused"], var.mode)
    error_message = "mode must be active, observe or paused."
  }
}

variable "queue_name" {
  description = "Name of the SQS queue; tag it sluice = managed."
  type        = string

  validation {
    condition     = can(regex("^([a-zA-Z0-9_-]{1,80}|[a-zA-Z0-9_-]{1,75}\\.fifo)$", var.queue_name))
    error_message = "queue_name must be the name of a queue (not its URL) in this account and region."
  }
}

variable "fleet_type" {
  description = "asg for an EC2 Auto Scaling group, ecs for an ECS service. Default: asg."
  type        = string
  default     = null

  validation {
    condition     = var.fleet_type == null ? true : contains(["asg", "ecs"], var.fleet_type)
    error_message = "fleet_type must be asg or ecs."
  }
}

variable "auto_scaling_group_name" {
  description = "For asg - name of the group; tag it sluice = managed and turn its group metrics on."
  type        = string
  default     = null

  validation {
    condition     = var.auto_scaling_group_name == null ? true : can(regex("^[a-zA-Z0-9_.#/@=+() -]{0,255}$", var.auto_scaling_group_name))
    error_message = "auto_scaling_group_name must be the name of an Auto Scaling group, without quotes, backslashes or colons."
  }
}

variable "cluster_name" {
  description = "For ecs - name of the cluster."
  type        = string
  default     = null

  validation {
    condition     = var.cluster_name == null ? true : can(regex("^[a-zA-Z0-9_-]{0,255}$", var.cluster_name))
    error_message = "cluster_name must be the short name of an ECS cluster."
  }
}

variable "service_name" {
  description = "For ecs - name of the service; tag it sluice = managed."
  type        = string
  default     = null

  validation {
    condition     = var.service_name == null ? true : can(regex("^[a-zA-Z0-9_-]{0,255}$", var.service_name))
    error_message = "service_name must be the short name of an ECS service."
  }
}

variable "green_auto_scaling_group_name" {
  description = "For asg, blue/green - name of a second group on the same queue, green; auto_scaling_group_name is blue then. Only the active one is scaled. Tag it sluice = managed."
  type        = string
  default     = null

  validation {
    condition     = var.green_auto_scaling_group_name == null ? true : can(regex("^[a-zA-Z0-9_.#/@=+() -]{0,255}$", var.green_auto_scaling_group_name))
    error_message = "green_auto_scaling_group_name must be empty or the name of an Auto Scaling group, without quotes, backslashes or colons."
  }
}

variable "green_service_name" {
  description = "For ecs, blue/green - name of a second service of the cluster on the same queue, green; service_name is blue then. Only the active one is scaled. Tag it sluice = managed."
  type        = string
  default     = null

  validation {
    condition     = var.green_service_name == null ? true : can(regex("^[a-zA-Z0-9_-]{0,255}$", var.green_service_name))
    error_message = "green_service_name must be empty or the short name of an ECS service."
  }
}

variable "min_capacity" {
  description = "Fewest instances, which a shutdown sets; the fleet's own minimum applies as well. Default: 0."
  type        = number
  default     = null

  validation {
    condition     = var.min_capacity == null ? true : can(regex("^(0|[1-9][0-9]{0,3})$", var.min_capacity))
    error_message = "min_capacity must be a whole number from 0 to 9999."
  }
}

variable "max_capacity" {
  description = "Most instances; the fleet's own maximum applies as well."
  type        = number

  validation {
    condition     = can(regex("^[1-9][0-9]{0,3}$", var.max_capacity))
    error_message = "max_capacity must be a whole number from 1 to 9999."
  }
}

variable "schedules" {
  description = "A schedule of the fleet's own minimum and maximum - name,weekdays,time,time zone,minimum,maximum. From that time on AWS holds them, until the next schedule starts. Weekdays are MON-FRI, SUN-SAT (every day) or days joined by +; hours have no zero before them; the bounds lie within min_capacity and max_capacity. Only in mode active."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(var.schedules) <= 5 && alltrue([for each in var.schedules : can(regex("^([a-z][a-z0-9-]{0,23},(MON-FRI|SUN-SAT|(MON|TUE|WED|THU|FRI|SAT|SUN)(\\+(MON|TUE|WED|THU|FRI|SAT|SUN)){0,6}),([0-9]|1[0-9]|2[0-3]):[0-5][0-9],[A-Z][a-zA-Z0-9_+/-]{1,31},(0|[1-9][0-9]{0,3}),[1-9][0-9]{0,3})?$", each))])
    error_message = "schedules has at most 5 items; each must be empty or like office-hours,MON-FRI,8:00,Europe/Berlin,3,20."
  }
}

variable "bootstrap_capacity" {
  description = "Instances that a bootstrap starts - a number from min_capacity to max_capacity, or backlog for as many as the backlog needs. Empty means 1, or min_capacity if that is more."
  type        = string
  default     = null

  validation {
    condition     = var.bootstrap_capacity == null ? true : can(regex("^(backlog|[1-9][0-9]{0,3})?$", var.bootstrap_capacity))
    error_message = "bootstrap_capacity must be empty, backlog, or a whole number from 1 to 9999."
  }
}

variable "count_in_flight" {
  description = "Whether messages received but not yet deleted count toward BacklogPerInstance. Default: true."
  type        = bool
  default     = null
}

variable "target_type" {
  description = "static holds messages_per_instance; dynamic recomputes it every hour from acceptable_latency_seconds and MsgProcessingDuration. Default: static."
  type        = string
  default     = null

  validation {
    condition     = var.target_type == null ? true : contains(["static", "dynamic"], var.target_type)
    error_message = "target_type must be static or dynamic."
  }
}

variable "messages_per_instance" {
  description = "Messages per instance to hold. For a dynamic target, the value until enough durations are known; it must be within min_messages_per_instance and max_messages_per_instance. Default: 10."
  type        = number
  default     = null

  validation {
    condition     = var.messages_per_instance == null ? true : can(regex("^(0\\.[0-9]{0,5}[1-9]|[1-9][0-9]{0,5}(\\.[0-9]{1,6})?)$", var.messages_per_instance))
    error_message = "messages_per_instance must be a positive number such as 8 or 0.5."
  }
}

variable "acceptable_latency_seconds" {
  description = "For a dynamic target or scaling deadline - the promise, in seconds from a message's arrival to the start of its processing. Default: 600."
  type        = number
  default     = null

  validation {
    condition     = var.acceptable_latency_seconds == null ? true : can(regex("^(0\\.[0-9]{0,5}[1-9]|[1-9][0-9]{0,6}(\\.[0-9]{1,6})?)$", var.acceptable_latency_seconds))
    error_message = "acceptable_latency_seconds must be a positive number of seconds."
  }
}

variable "concurrency_per_instance" {
  description = "Messages that one instance processes at a time. Default: 1."
  type        = number
  default     = null

  validation {
    condition     = var.concurrency_per_instance == null ? true : can(regex("^(0\\.[0-9]{0,5}[1-9]|[1-9][0-9]{0,5}(\\.[0-9]{1,6})?)$", var.concurrency_per_instance))
    error_message = "concurrency_per_instance must be a positive number."
  }
}

variable "processing_seconds" {
  description = "Mean seconds that a message takes. With a static target it converts arrivals into instances. A dynamic target and scaling deadline measure it, and use this value only until enough durations are known; scaling deadline requires it."
  type        = number
  default     = null

  validation {
    condition     = var.processing_seconds == null ? true : can(regex("^(0\\.[0-9]{0,5}[1-9]|[1-9][0-9]{0,6}(\\.[0-9]{1,6})?)?$", var.processing_seconds))
    error_message = "processing_seconds must be empty or a positive number of seconds, such as 60 or 4.32."
  }
}

variable "duration_statistic" {
  description = "For a dynamic target - statistic of MsgProcessingDuration that is used. Default: Average."
  type        = string
  default     = null

  validation {
    condition     = var.duration_statistic == null ? true : can(regex("^(Average|p[1-9][0-9]?(\\.[0-9]{1,2})?)$", var.duration_statistic))
    error_message = "duration_statistic must be Average or a percentile such as p90."
  }
}

variable "min_messages_per_instance" {
  description = "For a dynamic target - its lowest value. Default: 0.1."
  type        = number
  default     = null

  validation {
    condition     = var.min_messages_per_instance == null ? true : can(regex("^(0\\.[0-9]{0,5}[1-9]|[1-9][0-9]{0,5}(\\.[0-9]{1,6})?)$", var.min_messages_per_instance))
    error_message = "min_messages_per_instance must be a positive number."
  }
}

variable "max_messages_per_instance" {
  description = "For a dynamic target - its highest value. Default: 1000."
  type        = number
  default     = null

  validation {
    condition     = var.max_messages_per_instance == null ? true : can(regex("^(0\\.[0-9]{0,5}[1-9]|[1-9][0-9]{0,5}(\\.[0-9]{1,6})?)$", var.max_messages_per_instance))
    error_message = "max_messages_per_instance must be a positive number."
  }
}

variable "deadband_ratio" {
  description = "For a dynamic target - change, as a ratio of the current target, up to which the policy is left alone. Default: 0.1."
  type        = number
  default     = null

  validation {
    condition     = var.deadband_ratio == null ? true : can(regex("^0(\\.[0-9]{1,6})?$", var.deadband_ratio))
    error_message = "deadband_ratio must be a ratio from 0 to below 1, such as 0.1."
  }
}

variable "max_factor_per_retune" {
  description = "For a dynamic target - largest factor up or down within one hour. Default: 2."
  type        = number
  default     = null

  validation {
    condition     = var.max_factor_per_retune == null ? true : can(regex("^(1\\.[0-9]{0,5}[1-9]|([2-9]|[1-9][0-9]{1,3})(\\.[0-9]{1,6})?)$", var.max_factor_per_retune))
    error_message = "max_factor_per_retune must be a number above 1."
  }
}

variable "min_samples" {
  description = "For a dynamic target - processed messages that a window needs to count. Default: 30."
  type        = number
  default     = null

  validation {
    condition     = var.min_samples == null ? true : can(regex("^[1-9][0-9]{0,6}$", var.min_samples))
    error_message = "min_samples must be a whole number of at least 1."
  }
}

variable "duration_namespace" {
  description = "Namespace in which the workers publish MsgProcessingDuration; empty means the control plane's."
  type        = string
  default     = null

  validation {
    condition     = var.duration_namespace == null ? true : can(regex("^([a-zA-Z0-9_.#/ -][a-zA-Z0-9_.#/: -]{0,254})?$", var.duration_namespace))
    error_message = "duration_namespace must be empty or the name of a CloudWatch namespace, which does not begin with a colon."
  }
}

variable "idle_minutes" {
  description = "Minutes the queue must be empty before the fleet is lowered to min_capacity. Default: 5."
  type        = number
  default     = null

  validation {
    condition     = var.idle_minutes == null ? true : can(regex("^([1-9]|[1-9][0-9]|1[01][0-9]|120)$", var.idle_minutes))
    error_message = "idle_minutes must be a whole number from 1 to 120."
  }
}

variable "tracked_metric" {
  description = "effective tracks the backlog and what keeps arriving, so that a fleet keeps up with its load before a backlog builds up; backlog tracks the backlog alone. Empty means effective if the processing time is known (a dynamic target measures it, processing_seconds sets it), otherwise backlog."
  type        = string
  default     = null

  validation {
    condition     = var.tracked_metric == null ? true : contains(["effective", "backlog"], var.tracked_metric)
    error_message = "tracked_metric must be effective or backlog."
  }
}

variable "arrival_margin" {
  description = "For tracked_metric effective from published metrics - spare instances, as a multiple of the square root of those that the arrivals keep busy. Default: 0.3."
  type        = number
  default     = null

  validation {
    condition     = var.arrival_margin == null ? true : can(regex("^([0-2](\\.[0-9]{1,6})?|3(\\.0{1,6})?)$", var.arrival_margin))
    error_message = "arrival_margin must be a number from 0 to 3, such as 0.3."
  }
}

variable "metric_source" {
  description = "published tracks EffectiveBacklogPerInstance or BacklogPerInstance; native tracks (visible messages + promise x messages sent a second) / running instances from AWS's own metrics, which leaves out messages in flight and takes one minute's arrivals (needs group metrics, for ecs Container Insights). Default: published."
  type        = string
  default     = null

  validation {
    condition     = var.metric_source == null ? true : contains(["published", "native"], var.metric_source)
    error_message = "metric_source must be published or native."
  }
}

variable "scaling" {
  description = "target_tracking - AWS holds messages_per_instance, looking once a minute. deadline - Sluice itself sets the size every tick_seconds, so that every message starts within acceptable_latency_seconds; for bursts. Default: target_tracking."
  type        = string
  default     = null

  validation {
    condition     = var.scaling == null ? true : contains(["target_tracking", "deadline"], var.scaling)
    error_message = "scaling must be target_tracking or deadline."
  }
}

variable "promise_percent" {
  description = "For scaling deadline - share of the messages that start within acceptable_latency_seconds. Default: 99."
  type        = number
  default     = null

  validation {
    condition     = var.promise_percent == null ? true : can(regex("^([5-9][0-9])(\\.[0-9]{1,2})?$", var.promise_percent))
    error_message = "promise_percent must be a percentage from 50 to 99.99."
  }
}

variable "tick_seconds" {
  description = "For scaling deadline - seconds between two decisions. Default: 10."
  type        = number
  default     = null

  validation {
    condition     = var.tick_seconds == null ? true : contains([5, 10, 20, 30, 60], var.tick_seconds)
    error_message = "tick_seconds must be 5, 10, 20, 30 or 60."
  }
}

variable "boot_seconds" {
  description = "For scaling deadline - seconds from an instance's launch to its first message, until they are measured. Default: 180."
  type        = number
  default     = null

  validation {
    condition     = var.boot_seconds == null ? true : can(regex("^[1-9][0-9]{0,3}$", var.boot_seconds))
    error_message = "boot_seconds must be a whole number of seconds from 1 to 9999."
  }
}

variable "margin_seconds" {
  description = "For scaling deadline - seconds by which the plan keeps ahead of acceptable_latency_seconds, as SQS's counts are old and estimates are wrong. Default: 20."
  type        = number
  default     = null

  validation {
    condition     = var.margin_seconds == null ? true : can(regex("^(0|[1-9][0-9]{0,3})$", var.margin_seconds))
    error_message = "margin_seconds must be a whole number of seconds, below AcceptableLatencySeconds."
  }
}

variable "busy_instances" {
  description = "For scaling deadline - protected if the workers hold scale-in protection or task protection while they process messages, as Sluice's worker does; unprotected ends surplus instances later and in steps. Default: protected."
  type        = string
  default     = null

  validation {
    condition     = var.busy_instances == null ? true : contains(["protected", "unprotected"], var.busy_instances)
    error_message = "busy_instances must be protected or unprotected."
  }
}

variable "fallback" {
  description = "For scaling deadline - whether AWS scales the fleet out, by a policy on its own metrics, while Sluice publishes nothing for this workload. Empty means true for asg and false for ecs, which needs Container Insights for it (for asg - group metrics)."
  type        = bool
  default     = null
}

variable "instance_warmup_seconds" {
  description = "For asg - seconds until a new instance processes messages; target tracking waits that long. Default: 120."
  type        = number
  default     = null

  validation {
    condition     = var.instance_warmup_seconds == null ? true : can(regex("^(0|[1-9][0-9]{0,4})$", var.instance_warmup_seconds))
    error_message = "instance_warmup_seconds must be a whole number of seconds."
  }
}

variable "scale_out_cooldown_seconds" {
  description = "For ecs - seconds between two scale-outs of target tracking. Default: 60."
  type        = number
  default     = null

  validation {
    condition     = var.scale_out_cooldown_seconds == null ? true : can(regex("^(0|[1-9][0-9]{0,4})$", var.scale_out_cooldown_seconds))
    error_message = "scale_out_cooldown_seconds must be a whole number of seconds."
  }
}

variable "scale_in_cooldown_seconds" {
  description = "For ecs - seconds between two scale-ins of target tracking. Default: 300."
  type        = number
  default     = null

  validation {
    condition     = var.scale_in_cooldown_seconds == null ? true : can(regex("^(0|[1-9][0-9]{0,4})$", var.scale_in_cooldown_seconds))
    error_message = "scale_in_cooldown_seconds must be a whole number of seconds."
  }
}

variable "create_scalable_target" {
  description = "For ecs - who registers the service as a scalable target. Empty - this stack, in mode active only. true - this stack, in every mode (suspended unless active); use it once the workload has been active. not-yet - nobody, because the workload was never active. false - something else, which must tag the target sluice = managed."
  type        = string
  default     = null

  validation {
    condition     = var.create_scalable_target == null ? true : contains(["true", "not-yet", "false"], var.create_scalable_target)
    error_message = "create_scalable_target must be true, not-yet or false."
  }
}

variable "oldest_message_age_seconds" {
  description = "Age of the oldest message above which the alarm notifies the topic. A message ages until it is deleted, so longer jobs or delays need a higher value. Empty means 900, or three times acceptable_latency_seconds if that is more and the target is dynamic or scaling is deadline."
  type        = number
  default     = null

  validation {
    condition     = var.oldest_message_age_seconds == null ? true : can(regex("^([6-9][0-9]|[1-9][0-9]{2,5}|1[01][0-9]{5}|120[0-8][0-9]{3}|1209[0-5][0-9]{2}|1209600)?$", var.oldest_message_age_seconds))
    error_message = "oldest_message_age_seconds must be empty or a whole number of seconds from 60 to 1209600."
  }
}

variable "depth_alarms" {
  description = "Whether two alarms notify the topic when more than warning_depth_messages and critical_depth_messages are visible for 3 minutes. Default: false."
  type        = bool
  default     = null
}

variable "warning_depth_messages" {
  description = "For depth_alarms - visible messages that warn. Default: 500000."
  type        = number
  default     = null

  validation {
    condition     = var.warning_depth_messages == null ? true : can(regex("^[1-9][0-9]{0,8}$", var.warning_depth_messages))
    error_message = "warning_depth_messages must be a whole number of messages, below CriticalDepthMessages."
  }
}

variable "critical_depth_messages" {
  description = "For depth_alarms - visible messages that are critical. Default: 1000000."
  type        = number
  default     = null

  validation {
    condition     = var.critical_depth_messages == null ? true : can(regex("^[1-9][0-9]{0,8}$", var.critical_depth_messages))
    error_message = "critical_depth_messages must be a whole number of messages, above WarningDepthMessages."
  }
}

variable "age_alarms" {
  description = "Whether two more alarms notify the topic when the oldest message is older than warning_age_seconds and critical_age_seconds for 3 minutes. Default: false."
  type        = bool
  default     = null
}

variable "warning_age_seconds" {
  description = "For age_alarms - age of the oldest message that warns. Default: 300."
  type        = number
  default     = null

  validation {
    condition     = var.warning_age_seconds == null ? true : can(regex("^([6-9][0-9]|[1-9][0-9]{2,5}|1[01][0-9]{5}|120[0-8][0-9]{3}|1209[0-5][0-9]{2}|1209600)$", var.warning_age_seconds))
    error_message = "warning_age_seconds must be a whole number of seconds from 60 to 1209600, below CriticalAgeSeconds."
  }
}

variable "critical_age_seconds" {
  description = "For age_alarms - age of the oldest message that is critical. Default: 600."
  type        = number
  default     = null

  validation {
    condition     = var.critical_age_seconds == null ? true : can(regex("^([6-9][0-9]|[1-9][0-9]{2,5}|1[01][0-9]{5}|120[0-8][0-9]{3}|1209[0-5][0-9]{2}|1209600)$", var.critical_age_seconds))
    error_message = "critical_age_seconds must be a whole number of seconds from 60 to 1209600, above WarningAgeSeconds."
  }
}

variable "surge_on_critical_alarms" {
  description = "For depth_alarms or age_alarms - whether their critical alarm also raises the fleet at once, to what drains the backlog in surge_drain_minutes, and holds it for surge_hold_minutes. Default: false."
  type        = bool
  default     = null
}

variable "surge_drain_minutes" {
  description = "For surge_on_critical_alarms - minutes in which the backlog shall be drained. Default: 30."
  type        = number
  default     = null

  validation {
    condition     = var.surge_drain_minutes == null ? true : can(regex("^[1-9][0-9]{0,3}$", var.surge_drain_minutes))
    error_message = "surge_drain_minutes must be a whole number of minutes from 1 to 9999."
  }
}

variable "surge_hold_minutes" {
  description = "For surge_on_critical_alarms - minutes for which the fleet is held; at least surge_drain_minutes. Default: 60."
  type        = number
  default     = null

  validation {
    condition     = var.surge_hold_minutes == null ? true : can(regex("^([5-9]|[1-9][0-9]{1,3})$", var.surge_hold_minutes))
    error_message = "surge_hold_minutes must be a whole number of minutes from 5 to 9999."
  }
}

variable "processing_time_alarm_seconds" {
  description = "Mean processing time over 5 minutes above which an alarm notifies the topic, three times in a row; empty creates none."
  type        = number
  default     = null

  validation {
    condition     = var.processing_time_alarm_seconds == null ? true : can(regex("^(0\\.[0-9]{0,5}[1-9]|[1-9][0-9]{0,6}(\\.[0-9]{1,6})?)?$", var.processing_time_alarm_seconds))
    error_message = "processing_time_alarm_seconds must be empty or a positive number of seconds."
  }
}

variable "dead_letter_queue_name" {
  description = "Dead-letter queue of which an alarm notifies the topic as soon as it holds a message; empty creates none."
  type        = string
  default     = null

  validation {
    condition     = var.dead_letter_queue_name == null ? true : can(regex("^([a-zA-Z0-9_-]{1,80}|[a-zA-Z0-9_-]{1,75}\\.fifo)?$", var.dead_letter_queue_name))
    error_message = "dead_letter_queue_name must be empty or the name of a queue (not its URL) in this account and region."
  }
}

variable "at_maximum_alarm" {
  description = "Whether an alarm notifies the topic when messages wait for 15 minutes while as many instances as allowed are asked for; for ecs it needs Container Insights. Default: false."
  type        = bool
  default     = null
}

variable "missing_instances_alarm" {
  description = "Whether an alarm notifies the topic when fewer instances run than are asked for, for 20 minutes, because launches fail or boots never end; for ecs it needs Container Insights. Default: false."
  type        = bool
  default     = null
}

variable "throughput_alarm" {
  description = "Whether an alarm notifies the topic when fewer messages are deleted than sent in every 5 minutes of an hour. Default: false."
  type        = bool
  default     = null
}

variable "promise_alarm" {
  description = "Whether an alarm notifies the topic when less than promise_percent of an hour's messages start within acceptable_latency_seconds; needs the workers' MsgWaitDuration. Default: false."
  type        = bool
  default     = null
}

variable "guard_failed_percent" {
  description = "Downstream guard - share of the messages that fail, by the workers' Outcome over 5 minutes, above which nothing scales out beyond what runs; 0 does not watch it. Needs DownstreamGuard=true of the control plane, as each parameter of the guard does. Default: 0."
  type        = number
  default     = null

  validation {
    condition     = var.guard_failed_percent == null ? true : can(regex("^(0|0\\.[0-9]?[1-9]|[1-9][0-9]?(\\.[0-9]{1,2})?)$", var.guard_failed_percent))
    error_message = "guard_failed_percent must be 0, or a percentage above 0 and below 100."
  }
}

variable "guard_dead_letters_per_minute" {
  description = "Downstream guard - messages a minute by which the queue dead_letter_queue_name grows, above which nothing scales out; 0 does not watch it. Default: 0."
  type        = number
  default     = null

  validation {
    condition     = var.guard_dead_letters_per_minute == null ? true : can(regex("^(0|0\\.[0-9]{0,5}[1-9]|[1-9][0-9]{0,5}(\\.[0-9]{1,6})?)$", var.guard_dead_letters_per_minute))
    error_message = "guard_dead_letters_per_minute must be 0 or a positive number."
  }
}

variable "guard_alarm_name" {
  description = "Downstream guard - name of a CloudWatch alarm of yours, in this account and region, during whose ALARM nothing scales out; empty watches none."
  type        = string
  default     = null

  validation {
    condition     = var.guard_alarm_name == null ? true : can(regex("^[a-zA-Z0-9_.,:#/@=+() -]{0,255}$", var.guard_alarm_name))
    error_message = "guard_alarm_name must be empty or the name of an alarm, without quotes, backslashes and other rare characters."
  }
}

variable "guard_minutes" {
  description = "Downstream guard - minutes after which it lets the fleet scale out again, even if the downstream fails still. Default: 60."
  type        = number
  default     = null

  validation {
    condition     = var.guard_minutes == null ? true : can(regex("^([1-9][0-9]{1,2}|1[0-3][0-9]{2}|14[0-3][0-9]|1440)$", var.guard_minutes))
    error_message = "guard_minutes must be a whole number of minutes from 10 to 1440."
  }
}

variable "dashboard" {
  description = "Whether a CloudWatch dashboard shows the queue, the fleet, the workers, the decisions and the alarms of this workload, for $3 a month; for ecs its fleet's counts need Container Insights. Default: false."
  type        = bool
  default     = null
}

variable "notification_topic_arn" {
  description = "SNS topic that is notified when no metric of this workload is published, when its oldest message is too old, and by each alarm above; empty notifies nobody. An encrypted topic needs a customer key whose policy lets cloudwatch.amazonaws.com use kms:Decrypt and kms:GenerateDataKey*; with alias/aws/sns its alarms are lost."
  type        = string
  default     = null

  validation {
    condition     = var.notification_topic_arn == null ? true : can(regex("^(arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[a-zA-Z0-9_-]{1,256})?$", var.notification_topic_arn))
    error_message = "notification_topic_arn must be empty or the ARN of an SNS standard topic."
  }
}

locals {
  given = {
    Name                       = var.name
    ControlPlaneStack          = var.control_plane_stack
    Mode                       = var.mode
    QueueName                  = var.queue_name
    FleetType                  = var.fleet_type
    AutoScalingGroupName       = var.auto_scaling_group_name
    ClusterName                = var.cluster_name
    ServiceName                = var.service_name
    GreenAutoScalingGroupName  = var.green_auto_scaling_group_name
    GreenServiceName           = var.green_service_name
    MinCapacity                = var.min_capacity
    MaxCapacity                = var.max_capacity
    Schedule1                  = try(var.schedules[0], null)
    Schedule2                  = try(var.schedules[1], null)
    Schedule3                  = try(var.schedules[2], null)
    Schedule4                  = try(var.schedules[3], null)
    Schedule5                  = try(var.schedules[4], null)
    BootstrapCapacity          = var.bootstrap_capacity
    CountInFlight              = var.count_in_flight
    TargetType                 = var.target_type
    MessagesPerInstance        = var.messages_per_instance
    AcceptableLatencySeconds   = var.acceptable_latency_seconds
    ConcurrencyPerInstance     = var.concurrency_per_instance
    ProcessingSeconds          = var.processing_seconds
    DurationStatistic          = var.duration_statistic
    MinMessagesPerInstance     = var.min_messages_per_instance
    MaxMessagesPerInstance     = var.max_messages_per_instance
    DeadbandRatio              = var.deadband_ratio
    MaxFactorPerRetune         = var.max_factor_per_retune
    MinSamples                 = var.min_samples
    DurationNamespace          = var.duration_namespace
    IdleMinutes                = var.idle_minutes
    TrackedMetric              = var.tracked_metric
    ArrivalMargin              = var.arrival_margin
    MetricSource               = var.metric_source
    Scaling                    = var.scaling
    PromisePercent             = var.promise_percent
    TickSeconds                = var.tick_seconds
    BootSeconds                = var.boot_seconds
    MarginSeconds              = var.margin_seconds
    BusyInstances              = var.busy_instances
    Fallback                   = var.fallback
    InstanceWarmupSeconds      = var.instance_warmup_seconds
    ScaleOutCooldownSeconds    = var.scale_out_cooldown_seconds
    ScaleInCooldownSeconds     = var.scale_in_cooldown_seconds
    CreateScalableTarget       = var.create_scalable_target
    OldestMessageAgeSeconds    = var.oldest_message_age_seconds
    DepthAlarms                = var.depth_alarms
    WarningDepthMessages       = var.warning_depth_messages
    CriticalDepthMessages      = var.critical_depth_messages
    AgeAlarms                  = var.age_alarms
    WarningAgeSeconds          = var.warning_age_seconds
    CriticalAgeSeconds         = var.critical_age_seconds
    SurgeOnCriticalAlarms      = var.surge_on_critical_alarms
    SurgeDrainMinutes          = var.surge_drain_minutes
    SurgeHoldMinutes           = var.surge_hold_minutes
    ProcessingTimeAlarmSeconds = var.processing_time_alarm_seconds
    DeadLetterQueueName        = var.dead_letter_queue_name
    AtMaximumAlarm             = var.at_maximum_alarm
    MissingInstancesAlarm      = var.missing_instances_alarm
    ThroughputAlarm            = var.throughput_alarm
    PromiseAlarm               = var.promise_alarm
    GuardFailedPercent         = var.guard_failed_percent
    GuardDeadLettersPerMinute  = var.guard_dead_letters_per_minute
    GuardAlarmName             = var.guard_alarm_name
    GuardMinutes               = var.guard_minutes
    Dashboard                  = var.dashboard
    NotificationTopicArn       = var.notification_topic_arn
  }

  # Each parameter of the stack, as text: a plan shows a default that has changed, too.
  parameters = merge({
    ControlPlaneStack          = "sluice"
    Mode                       = "active"
    FleetType                  = "asg"
    AutoScalingGroupName       = ""
    ClusterName                = ""
    ServiceName                = ""
    GreenAutoScalingGroupName  = ""
    GreenServiceName           = ""
    MinCapacity                = "0"
    Schedule1                  = ""
    Schedule2                  = ""
    Schedule3                  = ""
    Schedule4                  = ""
    Schedule5                  = ""
    BootstrapCapacity          = ""
    CountInFlight              = "true"
    TargetType                 = "static"
    MessagesPerInstance        = "10"
    AcceptableLatencySeconds   = "600"
    ConcurrencyPerInstance     = "1"
    ProcessingSeconds          = ""
    DurationStatistic          = "Average"
    MinMessagesPerInstance     = "0.1"
    MaxMessagesPerInstance     = "1000"
    DeadbandRatio              = "0.1"
    MaxFactorPerRetune         = "2"
    MinSamples                 = "30"
    DurationNamespace          = ""
    IdleMinutes                = "5"
    TrackedMetric              = ""
    ArrivalMargin              = "0.3"
    MetricSource               = "published"
    Scaling                    = "target_tracking"
    PromisePercent             = "99"
    TickSeconds                = "10"
    BootSeconds                = "180"
    MarginSeconds              = "20"
    BusyInstances              = "protected"
    Fallback                   = ""
    InstanceWarmupSeconds      = "120"
    ScaleOutCooldownSeconds    = "60"
    ScaleInCooldownSeconds     = "300"
    CreateScalableTarget       = ""
    OldestMessageAgeSeconds    = ""
    DepthAlarms                = "false"
    WarningDepthMessages       = "500000"
    CriticalDepthMessages      = "1000000"
    AgeAlarms                  = "false"
    WarningAgeSeconds          = "300"
    CriticalAgeSeconds         = "600"
    SurgeOnCriticalAlarms      = "false"
    SurgeDrainMinutes          = "30"
    SurgeHoldMinutes           = "60"
    ProcessingTimeAlarmSeconds = ""
    DeadLetterQueueName        = ""
    AtMaximumAlarm             = "false"
    MissingInstancesAlarm      = "false"
    ThroughputAlarm            = "false"
    PromiseAlarm               = "false"
    GuardFailedPercent         = "0"
    GuardDeadLettersPerMinute  = "0"
    GuardAlarmName             = ""
    GuardMinutes               = "60"
    Dashboard                  = "false"
    NotificationTopicArn       = ""
  }, { for name, value in local.given : name => tostring(value) if value != null })

  # The sentences of the template's Rules that refuse them.
  broken_rules = [for rule in [
    {
      applies = local.parameters.FleetType == "asg"
      holds   = local.parameters.AutoScalingGroupName != ""
      message = "auto_scaling_group_name is empty; fleet_type asg needs the name of the group."
    },
    {
      applies = local.parameters.FleetType == "ecs"
      holds   = local.parameters.ClusterName != ""
      message = "cluster_name is empty; fleet_type ecs needs the name of the cluster."
    },
    {
      applies = local.parameters.FleetType == "ecs"
      holds   = local.parameters.ServiceName != ""
      message = "service_name is empty; fleet_type ecs needs the name of the service."
    },
    {
      applies = local.parameters.MetricSource == "native" && local.parameters.TrackedMetric == "effective" && local.parameters.TargetType == "static"
      holds   = local.parameters.ProcessingSeconds != ""
      message = "processing_seconds is empty; AWS's own metrics do not say how long a message takes, so tracked_metric effective with metric_source native and a static target needs it."
    },
    {
      applies = local.parameters.Scaling == "deadline"
      holds   = local.parameters.ProcessingSeconds != ""
      message = "processing_seconds is empty; scaling deadline plans with how long a message takes, until it is measured."
    },
    {
      applies = local.parameters.SurgeOnCriticalAlarms == "true"
      holds   = local.parameters.DepthAlarms == "true" || local.parameters.AgeAlarms == "true"
      message = "depth_alarms and age_alarms are false; surge_on_critical_alarms needs the critical alarm of one of them."
    },
    {
      applies = local.parameters.FleetType == "ecs" && local.parameters.Mode != "active"
      holds   = local.parameters.CreateScalableTarget != ""
      message = "create_scalable_target is empty; an ecs workload that is not active needs true if it has been active before (its scalable target stays, suspended), not-yet if it never was, or false if another stack registers the target."
    },
    {
      applies = local.parameters.FleetType == "ecs" && local.parameters.Mode == "active"
      holds   = local.parameters.CreateScalableTarget != "not-yet"
      message = "create_scalable_target is not-yet; mode active registers the service as a scalable target, so deploy with create_scalable_target=true and leave it so from then on."
    },
    {
      applies = local.parameters.FleetType == "ecs" && local.parameters.CreateScalableTarget == "false"
      holds   = local.parameters.Schedule1 == ""
      message = "create_scalable_target is false; the scheduled action of schedules[0] belongs to the scalable target, so put it into the stack that registers that."
    },
    {
      applies = local.parameters.FleetType == "ecs" && local.parameters.CreateScalableTarget == "false"
      holds   = local.parameters.Schedule2 == ""
      message = "create_scalable_target is false; the scheduled action of schedules[1] belongs to the scalable target, so put it into the stack that registers that."
    },
    {
      applies = local.parameters.FleetType == "ecs" && local.parameters.CreateScalableTarget == "false"
      holds   = local.parameters.Schedule3 == ""
      message = "create_scalable_target is false; the scheduled action of schedules[2] belongs to the scalable target, so put it into the stack that registers that."
    },
    {
      applies = local.parameters.FleetType == "ecs" && local.parameters.CreateScalableTarget == "false"
      holds   = local.parameters.Schedule4 == ""
      message = "create_scalable_target is false; the scheduled action of schedules[3] belongs to the scalable target, so put it into the stack that registers that."
    },
    {
      applies = local.parameters.FleetType == "ecs" && local.parameters.CreateScalableTarget == "false"
      holds   = local.parameters.Schedule5 == ""
      message = "create_scalable_target is false; the scheduled action of schedules[4] belongs to the scalable target, so put it into the stack that registers that."
    },
    {
      applies = local.parameters.GuardDeadLettersPerMinute != "0"
      holds   = local.parameters.DeadLetterQueueName != ""
      message = "dead_letter_queue_name is empty; guard_dead_letters_per_minute watches how fast that queue grows."
    },
    {
      applies = !(local.parameters.GreenAutoScalingGroupName == "" && local.parameters.GreenServiceName == "")
      holds   = local.parameters.MetricSource == "published"
      message = "metric_source is native; AWS's own metrics would scale the idle color too, so blue/green needs published."
    },
    {
      applies = !(local.parameters.GreenAutoScalingGroupName == "" && local.parameters.GreenServiceName == "")
      holds   = local.parameters.Fallback != "true"
      message = "fallback is true; while Sluice is silent it would scale the idle color too, so blue/green has none."
    },
    {
      applies = !(local.parameters.GreenAutoScalingGroupName == "" && local.parameters.GreenServiceName == "")
      holds   = local.parameters.Schedule1 == "" && local.parameters.Schedule2 == "" && local.parameters.Schedule3 == "" && local.parameters.Schedule4 == "" && local.parameters.Schedule5 == ""
      message = "A schedule would start the idle color too; blue/green has none."
    },
    {
      applies = !(local.parameters.GreenAutoScalingGroupName == "" && local.parameters.GreenServiceName == "")
      holds   = local.parameters.AtMaximumAlarm == "false"
      message = "at_maximum_alarm knows one fleet only; blue/green has none."
    },
    {
      applies = !(local.parameters.GreenAutoScalingGroupName == "" && local.parameters.GreenServiceName == "")
      holds   = local.parameters.MissingInstancesAlarm == "false"
      message = "missing_instances_alarm knows one fleet only; blue/green has none."
    },
    {
      applies = !(local.parameters.GreenAutoScalingGroupName == "" && local.parameters.GreenServiceName == "")
      holds   = local.parameters.Dashboard == "false"
      message = "dashboard knows one fleet only; blue/green has none."
    },
    {
      applies = local.parameters.GreenAutoScalingGroupName != ""
      holds   = local.parameters.GreenAutoScalingGroupName != local.parameters.AutoScalingGroupName
      message = "green_auto_scaling_group_name is auto_scaling_group_name; give green a group of its own."
    },
    {
      applies = local.parameters.GreenServiceName != ""
      holds   = local.parameters.GreenServiceName != local.parameters.ServiceName
      message = "green_service_name is service_name; give green a service of its own."
    },
    {
      applies = local.parameters.FleetType == "asg"
      holds   = local.parameters.GreenServiceName == ""
      message = "green_service_name is given, but fleet_type is asg; give green_auto_scaling_group_name."
    },
    {
      applies = local.parameters.FleetType == "ecs"
      holds   = local.parameters.GreenAutoScalingGroupName == ""
      message = "green_auto_scaling_group_name is given, but fleet_type is ecs; give green_service_name."
    },
    {
      applies = local.parameters.Dashboard == "true"
      holds   = !(local.parameters.AutoScalingGroupName == "." || local.parameters.AutoScalingGroupName == "...")
      message = "A dashboard cannot show a group with the name . or ... of dots alone; set dashboard=false."
    },
    {
      applies = local.parameters.Dashboard == "true"
      holds   = !(local.parameters.DurationNamespace == "." || local.parameters.DurationNamespace == "...")
      message = "A dashboard cannot show a namespace with the name . or ... of dots alone; set dashboard=false."
    },
  ] : rule.message if rule.applies && !rule.holds]
}

output "document_parameter_name" {
  description = "SSM parameter that holds the workload document."
  value       = aws_cloudformation_stack.workload.outputs["DocumentParameterName"]
}

output "bootstrap_alarm_arn" {
  description = "Alarm that starts a fleet at zero."
  value       = aws_cloudformation_stack.workload.outputs["BootstrapAlarmArn"]
}

output "shutdown_alarm_arn" {
  description = "Alarm that lowers the fleet to its minimum."
  value       = aws_cloudformation_stack.workload.outputs["ShutdownAlarmArn"]
}

output "policy_arn" {
  description = "Target-tracking policy, empty unless mode is active; with scaling deadline the fallback's, if there is one."
  value       = aws_cloudformation_stack.workload.outputs["PolicyArn"]
}

output "dashboard_url" {
  description = "The workload's dashboard in the console."
  value       = lookup(aws_cloudformation_stack.workload.outputs, "DashboardUrl", null)
}
