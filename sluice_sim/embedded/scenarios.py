"""The example workloads as scenarios: arrivals, processing times and boot times.

Sizes, targets and alarms come from samconfig.toml and workload.yaml.
"""

from __future__ import annotations

from dataclasses import replace

from sluice_sim.embedded.timeline import (
    Scenario,
    SteadyArrivals,
)

TRANSCRIPTION = Scenario(
    name="transcription",
    description=(
        "a GPU group at 8 messages per instance, 0..5: idle, 24 messages, a burst of 60, idle again"
    ),
    explanation=(
        "24 messages on one instance are three times the target of 8, so target tracking asks for three. It "
        "asks for fewer only after a quarter of an hour below the target; an empty queue is proven sooner. "
        "But eight messages of a minute each fill all of the eight minutes that may pass before one "
        "starts: nothing is left for noticing a burst, asking for instances and booting them, and five "
        "instances are too few for 60 messages. transcription-in-time is the same load with room for that."
    ),
    boot_s=120,
    durations=((0, 60),),
    visibility_timeout_s=300,
    bursts={4: 24, 14: 60},
)

TRANSCRIPTION_IN_TIME = replace(
    TRANSCRIPTION,
    name="transcription-in-time",
    description=(
        "the same group and load at 4 per instance, 0..12, woken by the backlog: the promise is kept"
    ),
    explanation=(
        "Of the eight minutes that may pass before a message starts, up to four go by until a fleet at zero "
        "works: a tick, a boot of two minutes and some to spare. Four are left, and so four messages of a "
        "minute each are the target. BootstrapCapacity=backlog asks for all instances at once where none "
        "runs. The second burst waits for target tracking, which takes three minutes, and for another boot; "
        "with the lower target enough run by then, and MaxCapacity=12 leaves room for the rest."
    ),
    environment="transcription",
    parameters={
        "Name": "transcription-in-time",
        "QueueName": "transcription-in-time",
        "AutoScalingGroupName": "transcription-in-time",
        "MessagesPerInstance": "4",
        "BootstrapCapacity": "backlog",
        "MaxCapacity": "12",
    },
    promise_s=480,
    row_every_minutes=5,
)

QUEUE_PROC = Scenario(
    name="queue-proc",
    description=(
        "a Fargate service with a dynamic target: over 150 minutes messages come to take 6 s, not 2 s"
    ),
    explanation=(
        "The longer a message takes, the fewer may wait for a task: every hour the target follows. The "
        "messages that are late come in the first minutes; once arrivals count as sustained, as many tasks "
        "are held as keep up with them, and nothing waits. After a retune AWS's alarm judges the minutes "
        "before it, reckoned with the old target, by the new one: tasks are added that a quarter of an hour "
        "later go again."
    ),
    boot_s=40,
    durations=((0, 2), (150, 6)),
    visibility_timeout_s=300,
    batch=10,
    steady=SteadyArrivals(first=3, last=165, per_minute=30),
    row_every_minutes=15,
    max_minutes=300,
    simulated_only=(
        "its target follows MsgProcessingDuration, which worker processes measure on the wall clock: thirty "
        "times too short for this stage"
    ),
)

COMPILER_PROD = Scenario(
    name="compiler-aarch64-prod",
    description=(
        "a FIFO queue with 12 message groups on native metrics, 3 per instance, 1..6: never below one"
    ),
    explanation=(
        "AWS's own metrics divide what waits by what runs, a minute or two late; nobody needs to publish "
        "anything. One instance is always there, so the first messages wait for no boot."
    ),
    boot_s=180,
    durations=((0, 90),),
    visibility_timeout_s=600,
    bursts={4: 18},
    message_groups=12,
)

COMPILER_STAGING = Scenario(
    name="compiler-aarch64-staging",
    description=(
        "a FIFO queue with 2 message groups, 0..4: a third instance finds no work, and the tick says so"
    ),
    explanation=(
        "A message in work blocks its message group, so two groups keep two instances busy however many "
        "run. Target tracking does not know that and asks for four; the tick tells what a cap would do."
    ),
    boot_s=180,
    durations=((0, 90),),
    visibility_timeout_s=600,
    bursts={4: 18},
    message_groups=2,
)

BULK_CONSUMER = Scenario(
    name="bulk-consumer",
    description=(
        "2.8 million messages at 600,000 a day, 10..30 tasks; scaled down 1:10,000 in messages and target, "
        "each taking 432 s in place of 4.32 s"
    ),
    explanation=(
        "All 30 tasks work until an hour's work is left for each of them; then they go step by step, 300 s "
        "between two scale-ins, down to the 10 that always stay. Such a target is no promise: the messages "
        "may wait for days, and the last of them shall start within five, here 72 minutes."
    ),
    boot_s=60,
    durations=((0, 432),),
    visibility_timeout_s=1800,
    bursts={3: 280},
    parameters={"MessagesPerInstance": "0.0833"},
    promise_s=4320,
    row_every_minutes=10,
    simulated_only="thirty processes are too many for one machine",
)

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        TRANSCRIPTION,
        TRANSCRIPTION_IN_TIME,
        QUEUE_PROC,
        COMPILER_PROD,
        COMPILER_STAGING,
        BULK_CONSUMER,
    )
}
DEMO = (TRANSCRIPTION, TRANSCRIPTION_IN_TIME, QUEUE_PROC)
DEMO_OF_PROCESSES = (TRANSCRIPTION,)
"""Scenarios that run with worker processes by default."""
