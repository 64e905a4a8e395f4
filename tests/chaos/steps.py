"""The ordinary steps, each a function of the cloud, one workload and a small number.

What messages, instances and operators do. A step does only what AWS or a person could do at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from sluice.core.minutes import MINUTE, minute_of
from sluice.core.model import (
    AutoScalingGroup,
    Backlog,
    Bounds,
    EcsService,
    Mode,
    StaticTarget,
    TrackedMetric,
    Tracking,
    Trigger,
    Workload,
)
from sluice.core.surge import Asked
from sluice.core.sustained_arrivals import READ_MINUTES
from sluice.events import RetuneRequest
from sluice.usecases.offered_load import SENT
from tests.chaos.cloud import Cloud, Event
from tests.support.builders import dynamic_target


@dataclass(frozen=True, slots=True)
class Step:
    """What happens, to which workload (counted round), and how much of it: 1 to 8."""

    what: str
    workload_index: int = 0
    amount: int = 1


StepFunction = Callable[[Cloud, Workload, int], None]

FLEET_BOUNDS = [(0, 5), (0, 5), (1, 3), (2, 4), (6, 8), (0, 0), (0, 0), None]
DOCUMENT_BOUNDS = [(0, 5), (0, 5), (0, 3), (1, 4), (2, 5), (0, 1), (4, 6), (0, 9)]
MODES = [Mode.ACTIVE, Mode.OBSERVE, Mode.PAUSED]
SIZES = [1, 2, 3, None]
EFFECTIVE = TrackedMetric.EFFECTIVE
TRACKINGS = [Tracking(), Tracking(metric=EFFECTIVE), Tracking(metric=EFFECTIVE, processing_s=30)]
WAITS_S = [
    [310.0] * 60 + [100.0] * 1000,
    [320.0] * 9 + [100.0] * 60,
    [305.0] * 8 + [100.0] * 1000,
    [100.0] * 5000,
    [100.0],
    [1e9],
    [60.0] * 3000,
    [0.0] * 2500,
]
"""What the messages of a while have waited: many too late, as many as allowed, hardly any."""
OPERATORS = [f"arn:aws:sts::123456789012:assumed-role/on-call/{name}" for name in ("alice", "bob")]
DURATIONS_S = [60, 60, 45, 300, 1, 1e9, 0, -5]


# --- messages ---------------------------------------------------------------------------------------------


def move(cloud: Cloud, served: Workload, *, visible: int = 0, in_flight: int = 0, delayed: int = 0) -> None:
    cloud.account.queues.change(served.queue_url, visible=visible, in_flight=in_flight, delayed=delayed)


def arrive(cloud: Cloud, served: Workload, amount: int) -> None:
    move(cloud, served, visible=amount * amount)  # up to 64: more than the instances can take
    cloud.sent[served.name] += amount * amount


def keep_arriving(cloud: Cloud, served: Workload, amount: int) -> None:
    """6 to 48 messages a minute have been sent for a while, and each was received at once."""
    metric, minute = served.queue_metric(SENT), minute_of(cloud.account.clock())
    for back in range(1, READ_MINUTES + 1):
        cloud.account.metrics.put(metric, minute - MINUTE * back, 6 * amount)


def arrive_delayed(cloud: Cloud, served: Workload, amount: int) -> None:
    move(cloud, served, delayed=amount)
    cloud.sent[served.name] += amount


def fall_due(cloud: Cloud, served: Workload, amount: int) -> None:
    due = min(amount, cloud.backlog(served).delayed)
    move(cloud, served, visible=due, delayed=-due)


def receive(cloud: Cloud, served: Workload, amount: int) -> None:
    taken = min(amount, cloud.backlog(served).visible) if cloud.capacity(served).running else 0
    move(cloud, served, visible=-taken, in_flight=taken)


def come_back(cloud: Cloud, served: Workload, amount: int) -> None:
    """The visibility timeout passes."""
    late = min(amount, cloud.backlog(served).in_flight)
    move(cloud, served, visible=late, in_flight=-late)


def delete(cloud: Cloud, served: Workload, amount: int) -> None:
    move(cloud, served, in_flight=-min(amount, cloud.backlog(served).in_flight))


def drain(cloud: Cloud, served: Workload, _: int) -> None:
    cloud.account.queues.backlogs[served.queue_url] = Backlog(visible=0, in_flight=0, delayed=0)


# --- instances --------------------------------------------------------------------------------------------


def fill_warm_pool(cloud: Cloud, served: Workload, amount: int) -> None:
    """The group has a warm pool, which holds some instances or, once they are started, none."""
    if isinstance(served.fleet, AutoScalingGroup):
        cloud.account.warm_pools.found[served.fleet] = amount - 1
        cloud.change(served, has_warm_pool=True)


def launch(cloud: Cloud, served: Workload, amount: int) -> None:
    """AWS launches some of the instances that a group lacks; they boot until a launch hook is completed."""
    capacity, fleet, pools = cloud.capacity(served), served.fleet, cloud.account.warm_pools.found
    if capacity.booting is None or not isinstance(fleet, AutoScalingGroup):
        return
    launched = min(amount, max(capacity.desired - capacity.running - capacity.booting, 0))
    cloud.change(served, booting=capacity.booting + launched)
    if isinstance(warm := pools.get(fleet), int):
        pools[fleet] = max(warm - launched, 0)


def boot(cloud: Cloud, served: Workload, amount: int) -> None:
    """Some of the desired instances start to run; the others stay pending."""
    capacity = cloud.capacity(served)
    ready = min(amount, capacity.desired - capacity.running)
    if ready > 0:
        booting = None if capacity.booting is None else max(capacity.booting - ready, 0)
        cloud.change(served, running=capacity.running + ready, booting=booting)


def stop(cloud: Cloud, served: Workload, amount: int) -> None:
    capacity = cloud.capacity(served)
    if capacity.running > capacity.desired:
        cloud.change(served, running=max(capacity.running - amount, capacity.desired))


def abandon(cloud: Cloud, served: Workload, amount: int) -> None:
    """A launch hook ends without a worker that receives: AWS terminates the instance."""
    if booting := cloud.capacity(served).booting:
        cloud.change(served, booting=max(booting - amount, 0))


def lose_instance(cloud: Cloud, served: Workload, _: int) -> None:
    cloud.change(served, running=max(cloud.capacity(served).running - 1, 0))


def protect(cloud: Cloud, served: Workload, amount: int) -> None:
    """Some of a group's workers hold its instances' scale-in protection; a service shows none."""
    if isinstance(served.fleet, AutoScalingGroup):
        cloud.change(served, protected=min(amount - 1, cloud.capacity(served).running))


def track(cloud: Cloud, served: Workload, amount: int) -> None:
    """AWS's own target tracking: never from 0, never below 1, within the fleet's bounds, not while held."""
    capacity, arn = cloud.capacity(served), cloud.document(served).policy_arn
    if cloud.document(served).deadline:
        return  # its policy is the fallback
    if capacity.desired == 0 or capacity.bounds is None or arn not in cloud.account.policies.by_arn:
        return
    desired = min(max(amount, capacity.bounds.min, 1), capacity.bounds.max)
    blocked_by = capacity.scale_out_blocked_by if desired > capacity.desired else capacity.scale_in_blocked_by
    if not blocked_by:
        cloud.change(served, desired=desired)


def hold_out(cloud: Cloud, served: Workload, _: int) -> None:
    cloud.change(served, scale_out_blocked_by=("Launch is suspended",))


def hold_in(cloud: Cloud, served: Workload, amount: int) -> None:
    """A deployment is in progress; some have lasted for hours."""
    began = cloud.account.clock() - timedelta(minutes=30 * amount)
    cloud.change(served, scale_in_blocked_by=("a deployment is rolling",), deploying_since=began)


def release(cloud: Cloud, served: Workload, _: int) -> None:
    cloud.change(served, scale_out_blocked_by=(), scale_in_blocked_by=(), deploying_since=None)


# --- operators --------------------------------------------------------------------------------------------


def set_desired(cloud: Cloud, served: Workload, amount: int) -> None:
    """An operator sets the count, 0 included; a group enforces its bounds, a service does not."""
    bounds, desired = cloud.capacity(served).bounds, amount - 1
    outside = bounds is not None and not bounds.min <= desired <= bounds.max
    if isinstance(served.fleet, EcsService) or not outside:
        cloud.change(served, desired=desired)


def set_fleet_bounds(cloud: Cloud, served: Workload, amount: int) -> None:
    pair = FLEET_BOUNDS[amount - 1]
    if pair:
        cloud.change(served, bounds=Bounds(min=pair[0], max=pair[1]))
    elif isinstance(served.fleet, EcsService):  # the scalable target is gone
        cloud.change(served, bounds=None)


def set_document_bounds(cloud: Cloud, served: Workload, amount: int) -> None:
    min_target, max_target = DOCUMENT_BOUNDS[amount - 1]
    cloud.amend(served, bounds=Bounds(min=min_target, max=max_target))


def set_policy_target(cloud: Cloud, served: Workload, amount: int) -> None:
    policies = cloud.account.policies.by_arn
    arn = served.policy_arn
    if arn in policies:
        # From 0.125, far below the bound, to 512.
        policies[arn] = replace(policies[arn], target=float(amount**4) / 8)


def set_mode(cloud: Cloud, served: Workload, amount: int) -> None:
    """Pause and resume as the command does: the document changes, the policy stays."""
    cloud.amend(served, mode=MODES[amount % 3])


def set_idle_minutes(cloud: Cloud, served: Workload, amount: int) -> None:
    cloud.amend(served, idle_minutes=amount % 3 + 1)


def set_size(cloud: Cloud, served: Workload, amount: int) -> None:
    cloud.amend(served, bootstrap_instances=SIZES[amount % 4])


def switch_target(cloud: Cloud, served: Workload, amount: int) -> None:
    if served.deadline:
        return  # it has no target
    min_target = (0.1, 0.5, 2)[amount % 3]
    dynamic = dynamic_target(
        min_messages_per_instance=min_target,
        max_messages_per_instance=50,
        min_samples=3,
        max_factor_per_retune=2,
    )
    cloud.amend(served, target=StaticTarget(messages_per_instance=8) if amount > 6 else dynamic)


def switch_tracking(cloud: Cloud, served: Workload, amount: int) -> None:
    if served.deadline:
        return
    cloud.amend(served, tracking=TRACKINGS[amount % len(TRACKINGS)])


def switch_engine(cloud: Cloud, served: Workload, amount: int) -> None:
    """The stack leaves the deadline engine, returns to it, or gives it another promise."""
    if served.deadline:
        cloud.amend(
            served, deadline=(None, served.deadline, replace(served.deadline, promise_s=900))[amount % 3]
        )


def update_stack(cloud: Cloud, served: Workload, amount: int) -> None:
    """The stack rewrites document and policy; the policy exists only while the mode is active."""
    mode = MODES[amount % 3]
    if mode is Mode.ACTIVE:
        cloud.install_policy(served)
    else:
        cloud.account.policies.by_arn.pop(str(served.policy_arn), None)
    arn = served.policy_arn if mode is Mode.ACTIVE else None
    cloud.amend(served, mode=mode, policy_arn=arn)
    request = RetuneRequest(trigger=Trigger.STACK, stack_id=served.stack_id)
    cloud.post(served.name, Event(retune=request))


def asked_surge(amount: int) -> Asked:
    """What an operator asks for: 1 to 6 instances, or as many as drain the queue in time."""
    by, hold_s = OPERATORS[amount % 2], 240.0 * amount
    if amount <= 6:
        return Asked(by=by, hold_s=hold_s, to=amount)
    return Asked(by=by, hold_s=hold_s, drain_in_s=600.0 * (amount - 6))


def claim_neighbours_fleet(cloud: Cloud, served: Workload, amount: int) -> None:
    """A rare step, after which Sluice touches neither workload until a repair."""
    others = [other for other in cloud.workloads if other.name != served.name]
    if amount == 1 and others and all(cloud.document(each).fleet == each.fleet for each in cloud.workloads):
        cloud.amend(served, fleet=others[0].fleet)


def measure(cloud: Cloud, served: Workload, amount: int) -> None:
    """The workers publish processing times; two of them are too few for a retune."""
    of = cloud.document(served).duration_metric
    cloud.account.metrics.put(of, cloud.account.clock(), *[DURATIONS_S[amount - 1]] * (amount % 3 + 2))


def start(cloud: Cloud, served: Workload, amount: int) -> None:
    """The workers publish how long the messages that they started have waited, and take to process."""
    document, now = cloud.document(served), cloud.account.clock()
    cloud.account.metrics.put(document.wait_metric, now, *WAITS_S[amount - 1])
    cloud.account.metrics.put(document.duration_metric, now, *[DURATIONS_S[amount - 1]] * 30)


MESSAGES: Mapping[str, StepFunction] = {
    "arrive": arrive,
    "keep arriving": keep_arriving,
    "arrive delayed": arrive_delayed,
    "fall due": fall_due,
    "receive": receive,
    "come back": come_back,
    "delete": delete,
    "drain": drain,
}
INSTANCES: Mapping[str, StepFunction] = {
    "fill warm pool": fill_warm_pool,
    "launch": launch,
    "boot": boot,
    "abandon": abandon,
    "stop": stop,
    "lose instance": lose_instance,
    "protect": protect,
    "track": track,
    "hold out": hold_out,
    "hold in": hold_in,
    "release": release,
}
OPERATOR_STEPS: Mapping[str, StepFunction] = {
    "set desired": set_desired,
    "set fleet bounds": set_fleet_bounds,
    "set document bounds": set_document_bounds,
    "set policy target": set_policy_target,
    "set mode": set_mode,
    "set idle minutes": set_idle_minutes,
    "set size": set_size,
    "switch target": switch_target,
    "switch tracking": switch_tracking,
    "switch engine": switch_engine,
    "update stack": update_stack,
    "claim neighbour's fleet": claim_neighbours_fleet,
}
