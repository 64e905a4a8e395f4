"""The simulator's speed compared with a plain SimPy model on this machine: `python benchmarks/simulator.py`.

Compares whole runs of 30 days with 600,000 messages each with the whole run of the SimPy model, which has
workers and no control at all: `sluice`, whose alarms, ticks and target tracking decide each minute, and
`deadline`, which decides every ten seconds. Then the event loops alone. Times are of the processor.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("", "layers/sluice")]

from benchmarks import simpy_model  # noqa: E402
from sluice.core.model import Bounds  # noqa: E402
from sluice_sim import policies  # noqa: E402
from sluice_sim.clock import VirtualClock  # noqa: E402
from sluice_sim.simulator.fleet import (  # noqa: E402
    Conditions,
    SimulatedFleet,
)
from sluice_sim.simulator.queue import SimulatedQueue  # noqa: E402
from sluice_sim.simulator.queue_kernel import (  # noqa: E402
    Floats,
    Messages,
)
from sluice_sim.simulator.run import (  # noqa: E402
    Load,
    Run,
    simulate,
)
from sluice_sim.template import deployment  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
DAY_S = 86_400.0
MESSAGES_PER_DAY = 600_000
SERVICE_S, BOOT_S, PROMISE_S, WORKERS = 4.3, 180.0, 300.0, 32
POLICIES = ("sluice", "deadline")
SIMPY_DAYS = 0.5
"""Enough for a stable result; SimPy's time is linear in messages."""


def load(days: float) -> Load:
    """Random arrivals at a constant rate, with constant service times."""
    count = int(days * MESSAGES_PER_DAY)
    random = np.random.default_rng(0)
    return Load(
        arrival_s=np.sort(random.uniform(0, days * DAY_S, count)),
        service_s=np.full(count, SERVICE_S),
        horizon_s=days * DAY_S,
    )


def seconds(action: Callable[[], object]) -> float:
    """Processor seconds that an action takes."""
    started_s = time.process_time()
    action()
    return time.process_time() - started_s


def whole_run(what: Load, policy: str) -> Run:
    """The environment `bulk-consumer`, at a target of 60 messages per task."""
    environment = deployment.environments(ROOT)["bulk-consumer"] | {"MessagesPerInstance": "60"}
    return simulate(
        deployment.deployed(ROOT, environment),
        what,
        Conditions(boot_s=lambda: BOOT_S),
        policies.named(policy),
        promise_s=PROMISE_S,
        boot_s=BOOT_S,
    )


def event_loop(what: Load) -> tuple[float, Floats]:
    """Seconds that the event loop alone takes with a fixed fleet, and when each message starts."""
    count = what.arrival_s.size
    messages = Messages(
        arrival_s=what.arrival_s,
        service_s=what.service_s,
        started_s=np.full(count, np.nan),
        state=np.zeros(count, np.uint8),
        receives=np.zeros(count, np.uint16),
        next_in_group=np.zeros(0, np.int64),
    )
    clock = VirtualClock()
    queue = SimulatedQueue(messages=messages, clock=clock, concurrency=1, maximum=WORKERS)
    simulated_fleet = SimulatedFleet(
        queue, Conditions(boot_s=lambda: 0.0), np.random.default_rng(0), Bounds(min=0, max=WORKERS)
    )
    simulated_fleet.set_desired(WORKERS)
    clock.run_until(what.horizon_s + DAY_S)
    return seconds(simulated_fleet.snapshot), messages.started_s


@click.command()
@click.option("--days", default=30.0, show_default=True, help="Days of 600,000 messages for the whole run.")
def main(days: float) -> None:
    """Whole run against whole run, and event loop against event loop."""
    for policy in POLICIES:
        whole_run(load(0.05), policy)  # compiles the kernels, which are then cached
    month, short = load(days), load(SIMPY_DAYS)
    run_s = {policy: seconds(partial(whole_run, month, policy)) for policy in POLICIES}
    memory_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    loop_s, loop_starts_s = event_loop(month)
    _, starts_s = event_loop(short)
    simpy_starts_s: list[Floats] = []
    simpy_s = seconds(
        lambda: simpy_starts_s.append(simpy_model.simulate(short.arrival_s, short.service_s, WORKERS))
    )
    if not np.allclose(starts_s, simpy_starts_s[0]):
        raise SystemExit("the two models start messages at different times: nothing is compared")
    simpy_rate = short.arrival_s.size / simpy_s
    rows = [
        *(
            (f"whole run, {policy}, {days:g} days", month.arrival_s.size, run_s[policy])
            for policy in POLICIES
        ),
        (f"event loop alone, {days:g} days", loop_starts_s.size, loop_s),
        (f"SimPy, workers alone, {SIMPY_DAYS:g} days", short.arrival_s.size, simpy_s),
    ]
    click.echo(f"{'':38}{'messages':>12}{'seconds':>10}{'per second':>14}{'x SimPy':>9}")
    for name, count, took_s in rows:
        rate = count / took_s
        click.echo(f"{name:38}{count:>12,}{took_s:>10.1f}{rate:>14,.0f}{rate / simpy_rate:>9.1f}")
    click.echo(f"peak memory of the whole runs: {memory_gb:.2f} GB")


if __name__ == "__main__":
    main()
