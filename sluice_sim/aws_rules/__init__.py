"""AWS's documented behaviour: alarms, metric math, target tracking, schedules, IAM policies. Pure."""
