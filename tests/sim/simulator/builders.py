"""Builders with defaults for simulations: a hand-made run, a small experiment, a trace in a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sluice_sim.simulator import queue_kernel
from sluice_sim.simulator.fleet import Instance
from sluice_sim.simulator.queue_kernel import Messages
from sluice_sim.simulator.run import (
    Load,
    Run,
)
from sluice_sim.study.experiment import (
    Experiment,
    Generated,
)
from sluice_sim.study.lower_bound import Bound
from sluice_sim.template import deployment

ROOT = Path(__file__).resolve().parents[3]
SHORT = Generated(shape="steady", days=0.05, per_day=4000)


def experiment(**changes: Any) -> Experiment:
    """200 messages in 72 minutes against `transcription` with room for 20 instances."""
    parameters = deployment.environments(ROOT)["transcription"] | {"MaxCapacity": "20"}
    fields: dict[str, Any] = {"root": ROOT, "parameters": parameters, "policy": "static", "trace": SHORT}
    return Experiment(**(fields | changes))


def load(arrival_s: Sequence[float], *, service_s: float = 5.0, horizon_s: float = 600.0) -> Load:
    return Load(
        arrival_s=np.array(arrival_s, float),
        service_s=np.full(len(arrival_s), service_s),
        horizon_s=horizon_s,
    )


def run(
    arrival_s: Sequence[float],
    started_s: Sequence[float],
    *,
    service_s: float = 5.0,
    state: Sequence[int] | None = None,
    lives: Sequence[tuple[float, float, float]] = ((0.0, 60.0, np.nan),),
    end_s: float = 600.0,
    promise_s: float = 30.0,
) -> Run:
    """A run written by hand; `lives` are (launched, ready, gone) of its instances, NaN for still alive."""
    made = load(arrival_s, service_s=service_s, horizon_s=end_s)
    count = len(arrival_s)
    messages = Messages(
        arrival_s=made.arrival_s,
        service_s=made.service_s,
        started_s=np.array(started_s, float),
        state=np.array([queue_kernel.PROCESSED] * count if state is None else state, np.uint8),
        receives=np.ones(count, np.uint16),
        next_in_group=np.zeros(0, np.int64),
    )
    instances = [
        Instance(number=number, block=number, launched_s=launched, ready_s=ready)
        for number, (launched, ready, _) in enumerate(lives)
    ]
    return Run(
        policy="static",
        load=made,
        messages=messages,
        promise_s=promise_s,
        instances=instances,
        terminated_s=np.array([ended for *_, ended in lives], float),
        snapshots=[],
        log=[],
        redelivered=0,
        dead_letters=0,
        end_s=end_s,
        wall_s=0.0,
    )


def bound(demand: Sequence[float], *, slot_s: float = 60.0, instance_hours: float = 1.0) -> Bound:
    return Bound(
        instance_hours=instance_hours, slot_s=slot_s, demand=np.array(demand, float), attainable=True
    )


def trace_file(folder: Path, *rows: str, header: str = "timestamp,arrivals", name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path
