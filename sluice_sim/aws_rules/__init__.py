"""AWS's documented behaviour: alarms, metric math, target tracking, schedules. Pure."""
