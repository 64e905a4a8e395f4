"""A day in which three in ten of the deadline engine's requests to AWS fail, after the SDK's own retries.

Each call of a port is a request. Its reading is Unknown then, what it would have written is not, and what it
raises ends the step as in the deployed function.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from sluice.core.model import Backlog, Capacity, Fleet, Unknown
from sluice.errors import SluiceError, TransientError
from sluice.ports import Ports, StoredState
from sluice_sim.policies import deadline, sluice
from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.ports import simulated_ports
from sluice_sim.simulator.run import Load, Run
from sluice_sim.workloads import generators, traces
from tests.sim.policies.builders import (
    PROMISE_S,
    SERVICE_S,
    deployed,
    hours,
    run_policy,
    unprocessed,
    waits_s,
)

pytestmark = pytest.mark.slow

SHARE = 0.3
FAILED = "AWS could not answer this time"


@dataclass
class Unreliable:
    """Ports of which a share of the calls fails, and what they answered since the tick began."""

    share: float
    drawn: random.Random = field(default_factory=lambda: random.Random(1))
    answers: dict[str, Any] = field(default_factory=dict)
    unsafe: list[str] = field(default_factory=list)
    calls: int = 0
    failed: int = 0
    lowered: int = 0

    def over(self, aws: SimulatedAws) -> Ports:
        ports = simulated_ports(aws)
        assert ports.states is not None
        return replace(
            ports,
            queues=_Port(self, "queue", ports.queues),
            fleets=_Port(self, "fleet", ports.fleets),
            states=_Port(self, "state", ports.states),
            metrics=_Port(self, "metrics", ports.metrics),
            registry=_Port(self, "registry", ports.registry),
        )

    def fails(self) -> bool:
        self.calls += 1
        failing = self.drawn.random() < self.share
        self.failed += failing
        return failing

    def check(self, instances: int) -> None:
        """Note why AWS must not be asked for so many instances."""
        backlog, capacity, state = (self.answers.get(name) for name in ("queue", "fleet", "state"))
        if not isinstance(backlog, Backlog) or not isinstance(capacity, Capacity):
            self.unsafe.append(f"{instances} over {backlog} and {capacity}")
        elif instances < capacity.desired:
            self.lowered += 1
            if not isinstance(state, StoredState) or state.state is None:
                self.unsafe.append(f"{instances} below {capacity.desired}, and remembered is {state}")
            if instances < max(backlog.in_flight, capacity.protected or 0):
                self.unsafe.append(f"{instances} below what is occupied: {capacity}, {backlog}")


class _Port:
    """One port: reading, writing and acting fail at random."""

    def __init__(self, of: Unreliable, name: str, port: Any) -> None:
        self._of, self._name, self._port = of, name, port

    def read(self, keys: Iterable[Any], *more: Any) -> Mapping[Any, Any]:
        found = (
            dict.fromkeys(keys, Unknown(reason=FAILED)) if self._of.fails() else self._port.read(keys, *more)
        )
        self._of.answers[self._name] = next(iter(found.values()), None)
        return found

    def write(self, writes: Mapping[str, Any], *more: Any) -> Mapping[str, Any]:
        return (
            dict.fromkeys(writes, Unknown(reason=FAILED))
            if self._of.fails()
            else self._port.write(writes, *more)
        )

    def publish(self, points: Mapping[str, Any]) -> Mapping[str, str]:
        return dict.fromkeys(points, FAILED) if self._of.fails() else self._port.publish(points)

    def set_desired(self, fleet: Fleet, instances: int) -> None:
        self._of.check(instances)
        self._or_raise(self._port.set_desired, fleet, instances)

    def all(self, *asked: Any, **how: Any) -> Any:
        return self._or_raise(self._port.all, *asked, **how)

    def one(self, *asked: Any) -> Any:
        return self._or_raise(self._port.one, *asked)

    def learn(self, *learned: Any) -> None:
        self._or_raise(self._port.learn, *learned)

    def _or_raise(self, call: Callable[..., Any], *asked: Any, **how: Any) -> Any:
        if self._of.fails():
            raise TransientError(FAILED)
        return call(*asked, **how)


def failing_alone(invoke: Callable[..., None]) -> Callable[..., None]:
    """An invocation that fails changes nothing for the next."""

    def invoked(*event: Any) -> None:
        with suppress(SluiceError):
            invoke(*event)

    return invoked


@cache
def day(share: float) -> tuple[Run, Unreliable]:
    """A diurnal day of 200,000 messages, while this share of the requests fails."""
    trace = generators.generate("diurnal", days=1, per_day=200_000, interval_s=60, seed=1)
    arrival_s = traces.moments(trace, np.random.default_rng(1))
    what = Load(arrival_s=arrival_s, service_s=np.full(arrival_s.size, SERVICE_S), horizon_s=trace.horizon_s)
    requests = Unreliable(share)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sluice, "simulated_ports", requests.over)
        for of, function in (
            (deadline.Policy, "_tick"),
            (deadline.Policy, "_minute"),
            (sluice.ControlPlane, "_retune"),
        ):
            patch.setattr(of, function, failing_alone(getattr(of, function)))
        return run_policy(deadline.Policy(), what, deployed(maximum=2000)), requests


def test_95_percent_start_in_time_on_a_day_on_which_three_in_ten_requests_fail() -> None:
    run, requests = day(SHARE)
    assert requests.failed / requests.calls == pytest.approx(SHARE, abs=0.01)
    assert unprocessed(run) == 0
    assert float((waits_s(run) <= PROMISE_S).mean()) >= 0.95


def test_nothing_unsafe_is_asked_for_meanwhile() -> None:
    run, requests = day(SHARE)
    assert requests.lowered > 10
    assert requests.unsafe == []
    assert (run.lost, run.dead_letters, run.redelivered) == (0, 0, 0)


def test_it_costs_little_more_than_a_day_without_failures() -> None:
    failing, healthy = day(SHARE)[0], day(0.0)[0]
    assert hours(failing) <= 1.15 * hours(healthy)
