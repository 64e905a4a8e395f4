"""The steps that are faults, the steps that repair them, and those that affect the whole control plane.

Each fault is switched on by one step and lasts until the step that repairs it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from sluice.core.minutes import MINUTE, minute_of
from sluice.core.model import (
    BACKLOG_PER_INSTANCE,
    MSG_PROCESSING_DURATION,
    MSG_WAIT_DURATION,
    AutoScalingGroup,
    Bounds,
    LaunchAttempt,
    Metric,
    Mode,
    Trigger,
    Unknown,
    Workload,
)
from sluice.core.sustained_arrivals import READ_MINUTES
from sluice.errors import CapacityError, ConfigError, TransientError
from sluice.events import RetuneRequest
from sluice.usecases.learn import HOUR
from sluice.usecases.offered_load import SENT
from tests.chaos.cloud import ATTEMPTS, CRITICAL, GAPPED, LATE, PLANE, Cloud, Event, metric_key
from tests.chaos.minimums import MAX_LATE, FailingCall
from tests.chaos.steps import INSTANCES, MESSAGES, OPERATOR_STEPS, StepFunction, measure, start
from tests.support.builders import alarm

REFUSALS = [
    TransientError("ScalingActivityInProgress"),
    CapacityError("InsufficientInstanceCapacity"),
    ConfigError("AccessDenied"),
]


# --- faults -----------------------------------------------------------------------------------------------


def queue_fails(cloud: Cloud, served: Workload, _: int) -> None:
    cloud.account.queues.failing[served.queue_url] = f"GetQueueAttributes of {served.name} timed out"


def fleet_fails(cloud: Cloud, served: Workload, _: int) -> None:
    cloud.account.fleets.failing[served.fleet] = f"describing the fleet of {served.name} was throttled"


def proof_fails(cloud: Cloud, served: Workload, _: int) -> None:
    of = Metric(namespace="", name=BACKLOG_PER_INSTANCE, dimensions=served.fleet.dimensions)
    cloud.unreadable[metric_key(of)] = f"GetMetricData for the backlog of {served.name}: InternalError"


def durations_fail(cloud: Cloud, served: Workload, _: int) -> None:
    of = Metric(namespace="", name=MSG_PROCESSING_DURATION, dimensions=served.fleet.dimensions)
    cloud.unreadable[metric_key(of)] = f"GetMetricData for the durations of {served.name}: Forbidden"


def waits_fail(cloud: Cloud, served: Workload, _: int) -> None:
    of = Metric(namespace="", name=MSG_WAIT_DURATION, dimensions=served.fleet.dimensions)
    cloud.unreadable[metric_key(of)] = f"GetMetricData for the waits of {served.name}: Forbidden"


def arrivals_fail(cloud: Cloud, served: Workload, _: int) -> None:
    of = served.queue_metric(SENT)
    cloud.unreadable[metric_key(of)] = f"GetMetricData for the messages sent to {served.name}: Forbidden"


def arrivals_come_late(cloud: Cloud, served: Workload, amount: int) -> None:
    """Values come late, as for a queue that was idle for six hours; or only every other minute has one."""
    cloud.sent_is[served.name] = LATE if amount % 2 else GAPPED


def arrivals_are_absurd(cloud: Cloud, served: Workload, amount: int) -> None:
    minute = minute_of(cloud.account.clock())
    for back in range(1, READ_MINUTES + 1):
        count = (math.nan, -1.0, 1e18)[amount % 3]
        cloud.account.metrics.put(served.queue_metric(SENT), minute - MINUTE * back, count)


def target_fails(cloud: Cloud, served: Workload, _: int) -> None:
    cloud.account.policies.unreadable[served.name] = f"describing the policy of {served.name} was throttled"


def running_count_fails(cloud: Cloud, served: Workload, _: int) -> None:
    of = served.fleet.running_metric
    cloud.unreadable[metric_key(of)] = f"GetMetricData for the running count of {served.name}: InternalError"


def acts_are_refused(cloud: Cloud, served: Workload, amount: int) -> None:
    cloud.refused_actions[served.fleet] = REFUSALS[amount % 3]


def document_spoils(cloud: Cloud, served: Workload, _: int) -> None:
    cloud.account.registry.bad[served.name] = f"the document of workload {served.name} is refused"


def surge_call_fails(cloud: Cloud, served: Workload, amount: int) -> None:
    """The next such call for the fleet's minimum fails; of some AWS has done it, and the answer is lost."""
    method = ("read", "schedule_end", "cancel", "set_minimum")[amount % 4]
    error = REFUSALS[2 * (amount % 2)]
    cloud.minimums.failing[served.fleet] = FailingCall(method, error, done=amount > 4)


def launches_fail(cloud: Cloud, served: Workload, _: int) -> None:
    """AWS launches no more instances; the running ones stay."""
    attempt = LaunchAttempt(at=cloud.account.clock(), failure=f"no capacity for {served.name}")
    cloud.account.launches.attempts[served.fleet] = [attempt]


def state_cannot_be_read(cloud: Cloud, served: Workload, _: int) -> None:
    cloud.account.states.failing[served.name] = f"BatchGetItem of the state of {served.name} was throttled"


def state_cannot_be_written(cloud: Cloud, served: Workload, _: int) -> None:
    cloud.account.states.refusing[served.name] = f"UpdateItem of the state of {served.name} was throttled"


def state_is_lost(cloud: Cloud, served: Workload, _: int) -> None:
    cloud.account.states.stored.pop(served.name, None)


def state_is_unusable(cloud: Cloud, served: Workload, amount: int) -> None:
    """Its item is damaged or from another version; or it was stored for a tick of tomorrow."""
    stored = cloud.account.states.stored
    found = stored.get(served.name)
    if found is None:
        return
    ahead_s = 86_400.0 if amount % 2 else 0.0
    stored[served.name] = replace(
        found, tick_s=found.tick_s + ahead_s, state=None, problem="damaged: not a state", learned=None
    )


def weights_are_set(cloud: Cloud, served: Workload, _: int) -> None:
    """A group's sizes are now counted in capacity units; a service has none."""
    if isinstance(served.fleet, AutoScalingGroup):
        cloud.change(served, unsupported_units=("WeightedCapacity 2",))


def warm_pool_fails(cloud: Cloud, served: Workload, _: int) -> None:
    found = cloud.account.warm_pools.found
    if isinstance(fleet := served.fleet, AutoScalingGroup) and fleet in found:
        found[fleet] = Unknown(reason=f"DescribeWarmPool of {served.name} was throttled")


def policy_vanishes(cloud: Cloud, served: Workload, _: int) -> None:
    cloud.account.policies.by_arn.pop(str(served.policy_arn), None)


def repair(cloud: Cloud, served: Workload, _: int) -> None:
    """An operator reads the log and repairs the workload; its document says active again."""
    account = cloud.account
    account.queues.failing.pop(served.queue_url, None)
    account.fleets.failing.pop(served.fleet, None)
    account.registry.bad.pop(served.name, None)
    cloud.refused_actions.pop(served.fleet, None)
    account.policies.unreadable.pop(served.name, None)
    account.states.failing.pop(served.name, None)
    account.states.refusing.pop(served.name, None)
    if (found := account.states.stored.get(served.name)) and found.problem:
        del account.states.stored[served.name]
    cloud.catch_up(served)
    own = [served.fleet.dimensions, served.queue_metric(SENT).dimensions]
    for key in [key for key in cloud.unreadable if key[1] in [frozenset(each.values()) for each in own]]:
        del cloud.unreadable[key]
    if served.policy_arn not in account.policies.by_arn:
        cloud.install_policy(served)
    cloud.amend(
        served,
        mode=Mode.ACTIVE,
        policy_arn=served.policy_arn,
        fleet=served.fleet,
        bounds=served.bounds,
        deadline=served.deadline,
    )
    account.launches.attempts.pop(served.fleet, None)
    cloud.minimums.failing.pop(served.fleet, None)
    cloud.change(
        served,
        bounds=_repaired_bounds(cloud, served),
        scale_out_blocked_by=(),
        scale_in_blocked_by=(),
        deploying_since=None,
        unsupported_units=(),
        protected=None,
        has_warm_pool=False,
    )


def _repaired_bounds(cloud: Cloud, served: Workload) -> Bounds:
    """Those of the stack; a minimum that a surge has raised is left to the surge's end."""
    bounds, minimums = cloud.capacity(served).bounds, cloud.minimums
    is_raised = bounds is not None and bounds.max == served.bounds.max and served.fleet not in minimums.edited
    if bounds is not None and is_raised and minimums.set_by_people[served.fleet] == served.bounds.min:
        return bounds
    return served.bounds


# --- the control plane: the workload that is passed does not matter -----------------------------------------


def registry_fails(cloud: Cloud, _: Workload, __: int) -> None:
    for registry in cloud.registries.values():
        registry.failing = TransientError("GetParametersByPath was throttled")


def points_are_refused(cloud: Cloud, _: Workload, __: int) -> None:
    cloud.account.metrics.refusing = "PutMetricData was throttled"


def policies_refuse(cloud: Cloud, _: Workload, __: int) -> None:
    cloud.account.policies.refusing = TransientError("PutScalingPolicy was throttled")


def ticks_are_refused(cloud: Cloud, _: Workload, __: int) -> None:
    cloud.account.tick_queue.refusing[""] = "SendMessageBatch was throttled"


def ticks_are_lost(cloud: Cloud, _: Workload, amount: int) -> None:
    """Of the messages that are queued, some never arrive."""
    del cloud.account.tick_queue.queued[amount - 1 :: 2]


def process_ends(cloud: Cloud, _: Workload, __: int) -> None:
    """Another process of the publisher takes over, which queues each tick of the next minutes again."""
    cloud.account.queued_ticks.clear()


def actions_are_late(cloud: Cloud, _: Workload, amount: int) -> None:
    """AWS executes scheduled actions up to two minutes late."""
    cloud.minimums.late = MAX_LATE * amount / 8


def repair_plane(cloud: Cloud, _: Workload, __: int) -> None:
    for registry in cloud.registries.values():
        registry.failing = None
    cloud.account.metrics.refusing = None
    cloud.account.policies.refusing = None
    cloud.account.tick_queue.refusing.clear()
    cloud.minimums.late = timedelta(0)


def wait(cloud: Cloud, _: Workload, amount: int) -> None:
    """Up to a minute and a half passes without an evaluation or a scheduled event."""
    cloud.account.clock.advance(seconds=12 * amount)


def minute_without_tick(cloud: Cloud, _: Workload, __: int) -> None:
    """The tick of this minute is scheduled, but delivered late or never."""
    cloud.next_minute()


def ask_for_retune(cloud: Cloud, _: Workload, __: int) -> None:
    cloud.post(PLANE, Event(retune=RetuneRequest(trigger=Trigger.SCHEDULE)))


def hour_passes(cloud: Cloud, _: Workload, amount: int) -> None:
    """Nothing runs until some minutes into the next hour."""
    clock = cloud.account.clock
    clock.at = clock.at.replace(minute=0, second=0, microsecond=0) + HOUR + MINUTE * amount


def stray_alarm(cloud: Cloud, served: Workload, amount: int) -> None:
    """An alarm that names the workload but is not the one its document names."""
    kind = ("shutdown", "bootstrap", CRITICAL)[amount % 3]
    stray = alarm(kind, served.name, arn="arn:aws:cloudwatch:eu-west-1:123456789012:alarm:stray")
    cloud.post(served.name, Event(alarm=stray))


def critical_alarm(cloud: Cloud, served: Workload, amount: int) -> None:
    """The backlog's critical alarm rings, or is over."""
    state = "ALARM" if amount > 1 else "OK"
    cloud.post(served.name, Event(alarm=alarm(CRITICAL, served.name, state), attempts=ATTEMPTS))


FAULTS: Mapping[str, StepFunction] = {
    "queue fails": queue_fails,
    "fleet fails": fleet_fails,
    "proof fails": proof_fails,
    "durations fail": durations_fail,
    "waits fail": waits_fail,
    "arrivals fail": arrivals_fail,
    "arrivals come late": arrivals_come_late,
    "arrivals are absurd": arrivals_are_absurd,
    "target fails": target_fails,
    "running count fails": running_count_fails,
    "acts are refused": acts_are_refused,
    "document spoils": document_spoils,
    "surge call fails": surge_call_fails,
    "warm pool fails": warm_pool_fails,
    "policy vanishes": policy_vanishes,
    "launches fail": launches_fail,
    "weights are given": weights_are_set,
    "state cannot be read": state_cannot_be_read,
    "state cannot be written": state_cannot_be_written,
    "state is lost": state_is_lost,
    "state is unusable": state_is_unusable,
    "repair": repair,
}
PLANE_STEPS: Mapping[str, StepFunction] = {
    "registry fails": registry_fails,
    "points are refused": points_are_refused,
    "policies refuse": policies_refuse,
    "ticks are refused": ticks_are_refused,
    "ticks are lost": ticks_are_lost,
    "process ends": process_ends,
    "actions are late": actions_are_late,
    "repair plane": repair_plane,
    "wait": wait,
    "minute without tick": minute_without_tick,
    "ask for retune": ask_for_retune,
}
OTHERS: Mapping[str, StepFunction] = {
    "measure": measure,
    "start": start,
    "hour passes": hour_passes,
    "stray alarm": stray_alarm,
    "critical alarm": critical_alarm,
}
STEPS: Mapping[str, StepFunction] = MESSAGES | INSTANCES | OPERATOR_STEPS | FAULTS | PLANE_STEPS | OTHERS
