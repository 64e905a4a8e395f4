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
        "24 messages on one instance are three times the target of 8, so target tracking scales out to "
        "three. It scales in only after a quarter of an hour below the target; Sluice shuts an empty "
        "queue's fleet down sooner. But eight messages of a minute each use up all eight minutes within "
        "which a message shall start. No time is left to notice a burst and to launch and boot instances, "
        "and five instances are too few for 60 messages. transcription-in-time has room for both."
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
        "the same group and load at 4 per instance, 0..12, bootstrapped by the backlog: the promise is kept"
    ),
    explanation=(
        "Of the eight minutes within which a message shall start, up to four pass until a fleet at zero "
        "works: a tick, a boot of two minutes and a reserve. Four are left, so the target is four "
        "messages of a minute each. BootstrapCapacity=backlog launches all instances at once when none "
        "runs. The second burst waits for target tracking, which takes three minutes, and for another "
        "boot. With the lower target enough instances run by then, and MaxCapacity=12 leaves room for the "
        "rest."
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
        "a Fargate service with a dynamic target: over 150 minutes the processing time grows from 2 s to 6 s"
    ),
    explanation=(
        "The longer a message takes, the fewer may wait per task, so the target is retuned every hour. "
        "Late messages arrive in the first minutes. Once arrivals count as sustained, enough tasks run to "
        "keep up with them, and no message waits. After a retune AWS's alarm compares the previous "
        "minutes, computed with the old target, with the new one: it adds tasks that are removed a "
        "quarter of an hour later."
    ),
    boot_s=40,
    durations=((0, 2), (150, 6)),
    visibility_timeout_s=300,
    batch=10,
    steady=SteadyArrivals(first=3, last=165, per_minute=30),
    row_every_minutes=15,
    max_minutes=300,
    simulated_only=(
        "its target follows MsgProcessingDuration, which worker processes measure in wall seconds: a "
        "thirtieth of the virtual ones"
    ),
)

COMPILER_PROD = Scenario(
    name="compiler-aarch64-prod",
    description=(
        "a FIFO queue with 12 message groups, blue/green, 3 per instance, 1..6: the active color never below "
        "one, the idle one at zero"
    ),
    explanation=(
        "One instance of the active color always runs, so the first messages wait for no boot. The idle "
        "color has a policy and no metric, so nothing scales it. compiler-aarch64-switch switches the two."
    ),
    boot_s=180,
    durations=((0, 90),),
    visibility_timeout_s=600,
    bursts={4: 18},
    message_groups=12,
)

COMPILER_SWITCH = replace(
    COMPILER_PROD,
    name="compiler-aarch64-switch",
    description="the same under steady load and a burst, while an operator switches from blue to green",
    explanation=(
        "`sluice switch` raises green to as many instances as blue has, waits until they work, makes green "
        "the active color, and tells blue to receive no more. Both work meanwhile, so no message waits for a "
        "boot, and messages of one group stay in order: SQS gives out none of a group that has one in "
        "flight. Blue is set to zero once none of its instances is protected any more, and let go seven "
        "minutes after the flip, when AWS's alarms of blue have forgotten its backlog. The late messages are "
        "those of the first ten minutes, in which target tracking scales blue out; the switch has none."
    ),
    bursts={22: 12},
    steady=SteadyArrivals(first=1, last=38, per_minute=2),
    environment="compiler-aarch64-prod",
    parameters={
        "Name": "compiler-aarch64-switch",
        "QueueName": "compiler-aarch64-switch.fifo",
        "AutoScalingGroupName": "compiler-aarch64-switch",
        "GreenAutoScalingGroupName": "compiler-aarch64-switch-green",
    },
    switched_in=20,
    simulated_only=(
        "a switch needs workers that protect their instance from scale-in, and a process here has none"
    ),
)

COMPILER_STAGING = Scenario(
    name="compiler-aarch64-staging",
    description=(
        "a FIFO queue with 2 message groups, 0..4: a third instance has nothing to do, and the tick logs it"
    ),
    explanation=(
        "A message in flight blocks its message group, so two groups keep two instances busy, however "
        "many run. Target tracking does not know that and scales out to four; the tick logs what a cap "
        "would do."
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
        "2.8 million messages at 600,000 a day, 10..30 tasks; messages and target scaled down 1:10,000, "
        "each message taking 432 s instead of 4.32 s"
    ),
    explanation=(
        "All 30 tasks run until an hour's work is left for each. Then the service scales in step by step, "
        "300 s between two scale-ins, to the 10 tasks that always run. Such a target is no promise: "
        "messages may wait for days. The last of them shall start within five days, here 72 minutes."
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

TRANSLATION = Scenario(
    name="translation",
    description="two groups on one queue, blue and green, 0..5: only the active color is scaled",
    explanation="`sluice switch translation` makes green the active color while blue works on messages.",
    boot_s=60,
    durations=((0, 60),),
    visibility_timeout_s=300,
    steady=SteadyArrivals(first=2, last=10_000, per_minute=3),
    environment="transcription",
    parameters={
        "Name": "translation",
        "QueueName": "translation",
        "AutoScalingGroupName": "translation-blue",
        "GreenAutoScalingGroupName": "translation-green",
        "MessagesPerInstance": "2",
    },
)

PHOTO_IMPORT = Scenario(
    name="photo-import",
    description=(
        "a group scaled by the deadline engine, 0..40: hundreds of photos at once start within five minutes"
    ),
    explanation=(
        "Every ten seconds the deadline engine computes which messages would start late, and launches the "
        "fewest instances, ready after a boot of three minutes, with which all start within five. Once no "
        "message waits, it ends the idle instances at once: busy ones are protected. "
        "photo-import-tracked has the same load and target tracking."
    ),
    boot_s=180,
    durations=((0, 10),),
    visibility_timeout_s=300,
    bursts={4: 200, 24: 350},
    parameters={"ProcessingSeconds": "10"},
    row_every_minutes=5,
)

PHOTO_IMPORT_TRACKED = replace(
    PHOTO_IMPORT,
    name="photo-import-tracked",
    description="the same group and load with target tracking, bootstrapped by the backlog",
    explanation=(
        "An instance starts 30 photos of ten seconds within five minutes, so that is the target. But three "
        "of the minutes are the boot: the instances that a bootstrap launches begin only then, and most "
        "photos start late. Target tracking launches no more, since the backlog per instance is at its "
        "target, and keeps the instances until the queue is proven empty. photo-import is scaled by the "
        "deadline engine instead."
    ),
    environment="photo-import",
    parameters={
        "Name": "photo-import-tracked",
        "QueueName": "photo-import-tracked",
        "AutoScalingGroupName": "photo-import-tracked",
        "Scaling": "target_tracking",
        "ProcessingSeconds": "10",
        "MessagesPerInstance": "30",
        "BootstrapCapacity": "backlog",
    },
    promise_s=300,
)

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        TRANSCRIPTION,
        TRANSCRIPTION_IN_TIME,
        QUEUE_PROC,
        COMPILER_PROD,
        COMPILER_SWITCH,
        COMPILER_STAGING,
        BULK_CONSUMER,
        PHOTO_IMPORT,
        PHOTO_IMPORT_TRACKED,
    )
}
DEMO = (TRANSCRIPTION, TRANSCRIPTION_IN_TIME, QUEUE_PROC, PHOTO_IMPORT, PHOTO_IMPORT_TRACKED)
DEMO_OF_PROCESSES = (TRANSCRIPTION,)
"""Scenarios that run with worker processes by default."""
