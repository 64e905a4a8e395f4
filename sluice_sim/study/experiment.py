"""One experiment: everything that a run depends on, as values that can be sent to another process.

Builds the load, the deployed workload and the run. Every random stream has a number of its own beside the
seed, so that changing one input leaves the other draws unchanged. Invalid inputs are SettingErrors before
anything runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from sluice.core.model import AutoScalingGroup, Workload
from sluice_sim import policies
from sluice_sim.promise import promise_s
from sluice_sim.simulator.downstream import Downstream
from sluice_sim.simulator.fleet import (
    Conditions,
    ScaleIn,
)
from sluice_sim.simulator.run import (
    START_S,
    Load,
    OnProgress,
    Run,
    simulate,
)
from sluice_sim.simulator.warm_pool import WarmPoolSettings
from sluice_sim.study.lower_bound import (
    Bound,
    lower_bound,
)
from sluice_sim.template import deployment
from sluice_sim.template.deployment import (
    Deployed,
    SettingError,
)
from sluice_sim.workloads import (
    generators,
    service_times,
    traces,
)
from sluice_sim.workloads.limits import (
    MAX_INSTANCES,
    MAX_S,
    MAX_TICKS,
    MIN_S,
)
from sluice_sim.workloads.service_times import Boot
from sluice_sim.workloads.traces import (
    MINUTE_S,
    Trace,
)

ARRIVALS, SERVICE, BOOTS, GROUPS, WARM_BOOTS = 3, 4, 5, 6, 7
"""Random streams; 1 is the fleet's, 2 the generated traces', 8 the downstream's, 9 the second fleet's, 10 a
switch's. A schedule's depends on its name."""
GROUPS_PER_SLOT = 10
"""Default number of message groups per slot of the largest fleet: enough not to limit it."""

THREE_MINUTES = Boot(min_s=180.0, max_s=180.0)
WARM_BOOT = Boot(min_s=45.0, max_s=45.0)
WARM_PRICE_RATIO = 0.01
"""Price of a stopped instance, which is its volumes', over that of a running one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """The parameters of a generated trace."""

    shape: str
    days: float = 1.0
    per_day: int = 200_000
    interval_s: float = 60.0

    def __str__(self) -> str:
        return f"{self.shape} ({self.days:g} d, {self.per_day:,} messages a day)"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """What a load depends on: runs with equal settings have the same messages."""

    trace: Path | Generated
    duration_s: float
    variation: float
    durations: Path | None
    groups: int | None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """The inputs of one run."""

    root: Path
    """The folder of `workload.yaml`."""
    parameters: Mapping[str, str]
    """Parameters of `workload.yaml`."""
    policy: str
    trace: Path | Generated
    durations: Path | None = None
    duration_s: float = 5.0
    variation: float = 0.0
    """Coefficient of variation of the processing times; 0 for constant ones."""
    boot: Boot = THREE_MINUTES
    warm_pool: int = 0
    """Instances of the warm pool; 0 for none."""
    warm_boot: Boot = WARM_BOOT
    warm_price_ratio: float = WARM_PRICE_RATIO
    warm_reuse: bool = False
    tick_s: float | None = None
    seed: int = 0
    promise_s: float | None = None
    concurrency: int | None = None
    groups: int | None = None
    scale_in: ScaleIn | None = None
    """None for the policy's own, or drain."""
    visibility_timeout_s: float = 300.0
    max_receives: int = 3
    delay_s: float = 0.0
    interruptions_per_instance_hour: float = 0.0
    refusal_ratio: float = 0.0
    count_lag_s: float = 0.0
    late_ratio: float = 0.01
    downstream_capacity: int | None = None
    """Attempts that the downstream serves concurrently without a failure; None for no limit."""
    downstream_failed_time_ratio: float = 1.0
    switch_at_min: float | None = None
    """When a blue/green workload is switched to its other color, in minutes of the run; None for never."""

    def deployed(self) -> Deployed:
        """The workload as its stack would deploy it."""
        return _deployed(self.root, tuple(sorted(self.parameters.items())))

    @property
    def slots_per_instance(self) -> int:
        """Messages that an instance processes concurrently: as given, else the target's concurrency."""
        if self.concurrency is not None:
            return self.concurrency
        return max(1, round(self.deployed().workload.target.concurrency_per_instance))

    @property
    def load_settings(self) -> LoadSettings:
        """The settings of its load."""
        return LoadSettings(
            trace=self.trace,
            duration_s=self.duration_s,
            variation=self.variation,
            durations=self.durations,
            groups=self._groups(self.deployed().workload),
            seed=self.seed,
        )

    @property
    def shortest_boot_s(self) -> float:
        """The shortest time from a launch to ready, from the warm pool if there is one."""
        return min(self.boot.min_s, self.warm_boot.min_s) if self.warm_pool else self.boot.min_s

    def warm_pool_settings(self) -> WarmPoolSettings | None:
        """The warm pool, None for none; SettingError for a fleet that cannot have one."""
        if not self.warm_pool:
            return None
        fleet = self.deployed().workload.fleet
        if not isinstance(fleet, AutoScalingGroup):
            raise SettingError(
                f"--warm-pool {self.warm_pool}: {fleet} has no warm pool, only an Auto Scaling group "
                "has: leave it out"
            )
        if self.interruptions_per_instance_hour:
            raise SettingError(
                f"--warm-pool {self.warm_pool}: a warm pool holds no Spot instances: leave it or "
                "--spot-interruptions-per-hour out"
            )
        return WarmPoolSettings(
            size=self.warm_pool,
            boot_s=self.warm_boot.drawn(np.random.default_rng([self.seed, WARM_BOOTS])),
            price_ratio=self.warm_price_ratio,
            reuse=self.warm_reuse,
        )

    def switch_at_s(self) -> float | None:
        """When the switch begins, in seconds of the run; SettingError for what cannot be switched."""
        if self.switch_at_min is None:
            return None
        given, workload = f"--switch-at-min {self.switch_at_min:g}", self.deployed().workload
        if workload.idle is None:
            other = (
                "GreenAutoScalingGroupName"
                if isinstance(workload.fleet, AutoScalingGroup)
                else "GreenServiceName"
            )
            raise SettingError(
                f"{given}: {workload.name} has one fleet only, {workload.fleet}, so there is nothing to "
                f"switch to: leave it out, or give it a second fleet with --set {other}=NAME"
            )
        if not has_switch(self.policy):
            raise SettingError(
                f"{given}: the policy {self.policy} knows no colors; leave it out, or give "
                "--policy sluice or --policy deadline"
            )
        return self.switch_at_min * MINUTE_S

    @property
    def simulated_scale_in(self) -> ScaleIn:
        """As given; else drain, or protect for a switch, which no worker without protection goes through."""
        default = ScaleIn.DRAIN if self.switch_at_min is None else ScaleIn.PROTECT
        return self.scale_in or default

    def downstream(self) -> Downstream | None:
        """The downstream service, None for one without a limit."""
        if self.downstream_capacity is None:
            return None
        return Downstream(
            capacity=self.downstream_capacity,
            failed_time_ratio=self.downstream_failed_time_ratio,
            seed=self.seed,
        )

    def promise(self, mean_service_s: float) -> float:
        """Seconds within which a message shall start: as given, else from the workload's target."""
        if self.promise_s is not None:
            return self.promise_s
        promised_s = promise_s(self.deployed().workload, mean_service_s, self.slots_per_instance)
        if not MIN_S <= promised_s <= MAX_S:
            raise SettingError(
                f"the workload's target makes a promise of {promised_s:g} s, and the allowed range is "
                f"{MIN_S:g} to {MAX_S:,.0f} s: give --promise-s, or another target"
            )
        return promised_s

    def _groups(self, workload: Workload) -> int | None:
        if not workload.is_fifo:
            return None
        return self.groups or GROUPS_PER_SLOT * workload.bounds.max * self.slots_per_instance


def trace_of(settings: LoadSettings) -> Trace:
    """Read or generate the trace."""
    made = settings.trace
    if isinstance(made, Path):
        return traces.read(made)
    return generators.generate(
        made.shape, days=made.days, per_day=made.per_day, interval_s=made.interval_s, seed=settings.seed
    )


def expected_service_s(settings: LoadSettings) -> float:
    """Mean service time that the load of any trace is drawn with."""
    if settings.durations is None:
        return settings.duration_s
    found = service_times.read(settings.durations)
    return float(np.average(found.seconds, weights=found.messages))


def load_of(settings: LoadSettings, trace: Trace) -> Load:
    """The messages of a trace: arrival, service time and message group of each."""
    arrival_s = traces.moments(trace, np.random.default_rng([settings.seed, ARRIVALS]))
    count, random = arrival_s.size, np.random.default_rng([settings.seed, SERVICE])
    if settings.durations is not None:
        service_s = service_times.read(settings.durations).draw(count, random)
    elif settings.variation:
        service_s = service_times.lognormal(settings.duration_s, settings.variation, count, random)
    else:
        service_s = service_times.constant(settings.duration_s, count)
    groups = None
    if settings.groups is not None:
        groups = np.random.default_rng([settings.seed, GROUPS]).integers(0, settings.groups, count)
    return Load(arrival_s=arrival_s, service_s=service_s, horizon_s=trace.horizon_s, groups=groups)


def run_experiment(
    experiment: Experiment, load: Load, start_s: float | None, *, on_progress: OnProgress = lambda _: None
) -> Run:
    """Run an experiment; `start_s` is when the trace begins, None if it has no timestamps."""
    policy = policies.named(experiment.policy)
    if start_s is None and experiment.deployed().workload.schedules:
        raise SettingError(
            f"{experiment.trace}: its timestamps are seconds from a zero of its own, and schedules start "
            "by the clock: write them in ISO 8601, or leave the schedules out"
        )
    if experiment.tick_s is not None:
        if not has_tick(experiment.policy):
            raise SettingError(f"policy {experiment.policy} has no tick of its own: leave --tick-s out")
        _require_few_ticks(experiment.tick_s, load.horizon_s)
        setattr(policy, TICK, experiment.tick_s)
    switch_at_s = experiment.switch_at_s()
    if switch_at_s is not None and switch_at_s >= load.horizon_s:
        raise SettingError(
            f"--switch-at-min {experiment.switch_at_min:g}: the trace ends after "
            f"{load.horizon_s / MINUTE_S:g} min: give an earlier minute, or a longer trace"
        )
    conditions = Conditions(
        boot_s=experiment.boot.drawn(np.random.default_rng([experiment.seed, BOOTS])),
        concurrency=experiment.slots_per_instance,
        visibility_timeout_s=experiment.visibility_timeout_s,
        max_receives=experiment.max_receives,
        delay_s=experiment.delay_s,
        scale_in=experiment.simulated_scale_in,
        interruptions_per_instance_hour=experiment.interruptions_per_instance_hour,
        refusal_ratio=experiment.refusal_ratio,
        warm_pool=experiment.warm_pool_settings(),
        downstream=experiment.downstream(),
    )
    return simulate(
        experiment.deployed(),
        load,
        conditions,
        policy,
        promise_s=experiment.promise(load.mean_service_s),
        boot_s=experiment.boot.mean_s,
        seed=experiment.seed,
        start_s=START_S if start_s is None else start_s // MINUTE_S * MINUTE_S,
        count_lag_s=experiment.count_lag_s,
        switch_at_s=switch_at_s,
        on_progress=on_progress,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundSettings:
    """What a lower bound depends on besides the load: runs with equal settings share it."""

    concurrency: int
    promise_s: float
    minimum: int
    maximum: int
    boot_s: float
    late_ratio: float


def bound_settings(experiment: Experiment, mean_s: float) -> BoundSettings:
    """The settings of a bound that no run can beat.

    It takes the shortest boot, and no minimum if launches can fail: only then does every run pay that much.
    A warm start is preceded by an initialisation in the pool, which is a boot, too; only an instance that
    returns to the pool starts again without one. What the pool costs beyond that is left out.
    """
    bounds, refused = experiment.deployed().workload.bounds, experiment.refusal_ratio > 0
    return BoundSettings(
        concurrency=experiment.slots_per_instance,
        promise_s=experiment.promise(mean_s),
        minimum=0 if refused else bounds.min,
        maximum=bounds.max,
        boot_s=experiment.shortest_boot_s if experiment.warm_reuse else experiment.boot.min_s,
        late_ratio=experiment.late_ratio,
    )


def bound_of(settings: BoundSettings, load: Load, *, on_progress: OnProgress = lambda _: None) -> Bound:
    """The lower bound for a load."""
    return lower_bound(
        load,
        concurrency=settings.concurrency,
        promise_s=settings.promise_s,
        minimum=settings.minimum,
        maximum=settings.maximum,
        boot_s=settings.boot_s,
        late_ratio=settings.late_ratio,
        on_progress=on_progress,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Overridden:
    """A setting that a policy replaces by its own."""

    name: str
    given: str
    used: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.given} is not used: the policy {self.used}; {self.way_out}"


def overridden(experiment: Experiment) -> list[Overridden]:
    """The settings of the experiment in place of which its policy takes others."""
    policy, found = policies.named(experiment.policy), []
    if experiment.scale_in is not None and policy.scale_in not in (None, experiment.scale_in):
        found.append(
            Overridden(
                name="scale-in",
                given=f"--scale-in {experiment.scale_in}",
                used=f"{policy.name} needs {policy.scale_in}",
                way_out="leave --scale-in out",
            )
        )
    if policy.name == "deadline":
        found += _planned_otherwise(experiment)
    return found


def _planned_otherwise(experiment: Experiment) -> Iterator[Overridden]:
    """The parameters in place of which the deadline engine plans with what the run is like."""
    promised_s, tick_s = experiment.promise_s, experiment.tick_s
    planned = {
        "AcceptableLatencySeconds": (promised_s, "--promise-s"),
        "BootSeconds": (max(1.0, round(experiment.boot.mean_s)), "--boot-s"),
        "ProcessingSeconds": (None if experiment.durations else experiment.duration_s, "--duration-s"),
        "ConcurrencyPerInstance": (experiment.concurrency, "--concurrency"),
        "TickSeconds": (tick_s or getattr(policies.named("deadline"), TICK), "--tick-s"),
    }
    for name, (used, option) in planned.items():
        given = experiment.parameters.get(name)
        if given and used is not None and float(given) != used:
            yield Overridden(
                name=name,
                given=f"{name}={given}",
                used=f"deadline plans with the {used:g} of the run",
                way_out=f"give {option} {given}",
            )


TICK = "tick_s"
"""The attribute of a policy that holds the period of its ticks, if it can be set."""


def has_tick(policy: str) -> bool:
    """Whether the period of a policy's ticks can be set."""
    return hasattr(policies.named(policy), TICK)


def has_switch(policy: str) -> bool:
    """Whether a policy runs the control plane's switch between two colors."""
    return hasattr(policies.named(policy), "switches_colors")


def without_switch(experiment: Experiment) -> Experiment:
    """The same experiment, but for the switch."""
    return replace(experiment, switch_at_min=None, scale_in=experiment.simulated_scale_in)


def _require_few_ticks(tick_s: float, horizon_s: float) -> None:
    ticks = horizon_s / tick_s
    if ticks > MAX_TICKS:
        raise SettingError(
            f"--tick-s {tick_s:g}: {ticks:,.0f} decisions over the trace, and {MAX_TICKS:,} are simulated at "
            "most: give a longer tick or a shorter trace"
        )


@lru_cache(maxsize=64)
def _deployed(root: Path, parameters: tuple[tuple[str, str], ...]) -> Deployed:
    made = deployment.deployed(root, dict(parameters))
    if made.workload.bounds.max > MAX_INSTANCES:
        raise SettingError(
            f"MaxCapacity={made.workload.bounds.max}: at most {MAX_INSTANCES:,} instances are simulated: "
            "give a smaller MaxCapacity"
        )
    return made
