"""Builders of runs, with defaults: a test names only what it is about.

60 messages in ten minutes, one every 10 s; the first 20 wait 400 s, the others 5 s. One instance serves from
minute 4 to minute 25, another from minute 8 to the end after 30 minutes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from sluice_sim.simulator import queue_kernel
from sluice_sim.simulator.context import LogEntry
from sluice_sim.simulator.fleet import (
    Instance,
    Snapshot,
)
from sluice_sim.simulator.queue_kernel import Messages
from sluice_sim.simulator.run import (
    Load,
    Run,
)
from sluice_sim.study import result
from sluice_sim.study.lower_bound import Bound

PROMISE_S = 300.0
END_S = 1800.0
BOOTSTRAP = "bootstrap 0 -> 1: work waits and nothing runs (by tick)"
RETUNE = "retune 30 -> 23.4 per instance: the target follows the measured processing time (by schedule)"


def log_entry(at_s: float, text: str, source: str = "Sluice") -> LogEntry:
    return LogEntry(at_s=at_s, source=source, text=text)


def decisions() -> list[LogEntry]:
    return [
        log_entry(63, BOOTSTRAP),
        log_entry(300, "1 -> 2: target tracking, 24 per instance against a target of 8", source="AWS"),
        log_entry(360, RETUNE),
        log_entry(1500, "2 -> 1: target tracking, 0 per instance against a target of 8", source="AWS"),
    ]


def instances(*lives: tuple[float, float]) -> list[Instance]:
    """Instances from (launched, ready) times, in seconds."""
    return [
        Instance(number=number, block=number, launched_s=launched, ready_s=ready)
        for number, (launched, ready) in enumerate(lives)
    ]


def snapshot(now_s: float, **changes: Any) -> Snapshot:
    values: dict[str, Any] = {
        "visible": 0, "in_flight": 0, "delayed": 0, "desired": 0, "running": 0, "idle": 0, "launched_s": (),
        "oldest_age_s": 0.0,
    }  # fmt: skip
    return Snapshot(now_s=now_s, **(values | changes))


def snapshots(
    arrival_s: np.ndarray, wait_s: np.ndarray, service_s: np.ndarray, end_s: float
) -> list[Snapshot]:
    started = arrival_s + wait_s
    return [
        snapshot(
            now,
            visible=int(((arrival_s <= now) & (started > now)).sum()),
            in_flight=int(((started <= now) & (started + service_s > now)).sum()),
            desired=0 if now <= 60 else 1 if now <= 300 or now > 1500 else 2,
        )
        for now in np.arange(0.0, end_s + 1, 60.0)
    ]


def run(policy: str = "sluice", **changes: Any) -> Run:
    """`wait_s` and `arrival_s` define messages and snapshots; any field of a run can be given."""
    arrival_s = np.asarray(changes.pop("arrival_s", np.arange(0.0, 600.0, 10.0)), dtype=float)
    count = arrival_s.size
    standard = np.where(np.arange(count) < 20, 400.0, 5.0)
    wait_s = np.asarray(changes.pop("wait_s", standard), dtype=float)
    service_s = np.full(count, 5.0)
    end_s = changes.get("end_s", END_S)
    values: dict[str, Any] = {
        # The horizon gives a load of one instance: below that there is no cost ratio.
        "load": Load(arrival_s=arrival_s, service_s=service_s, horizon_s=float(service_s.sum()) or end_s),
        "messages": Messages(
            arrival_s=arrival_s,
            service_s=service_s,
            started_s=arrival_s + wait_s,
            state=np.where(np.isnan(wait_s), queue_kernel.WAITING, queue_kernel.PROCESSED).astype(np.uint8),
            receives=np.ones(count, np.uint8),
            next_in_group=np.zeros(0, np.int64),
        ),
        "promise_s": PROMISE_S,
        "instances": instances((60, 240), (300, 480)),
        "terminated_s": np.array([1500.0, math.nan]),
        "log": decisions(),
        "redelivered": 0,
        "dead_letters": 0,
        "end_s": end_s,
        "wall_s": 0.25,
    }
    if "snapshots" not in changes:
        values["snapshots"] = snapshots(arrival_s, wait_s, service_s, end_s)
    return Run(policy=policy, **(values | changes))


def bound(demand: Sequence[float] = (1,) * 12, **changes: Any) -> Bound:
    values: dict[str, Any] = {"instance_hours": 0.25, "slot_s": 60.0, "attainable": True}
    return Bound(demand=np.array(demand, dtype=float), **(values | changes))


def measured(finished_run: Run, known: Bound | None = None) -> dict[str, Any]:
    return result.result(result.measure(finished_run), result.supply(finished_run), known)
