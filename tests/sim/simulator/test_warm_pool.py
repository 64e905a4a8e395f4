"""A warm pool's instances start sooner, and cost what the pool costs."""

from __future__ import annotations

from typing import Any

import pytest

from sluice_sim.simulator.fleet import ScaleIn, SimulatedFleet
from sluice_sim.simulator.warm_pool import WarmPoolSettings
from tests.sim.simulator.fleets import at, simulated_fleet

COLD_S, WARM_S, PRICE = 180.0, 45.0, 0.01


def fleet(size: int, *, reuse: bool = False, service_s: float = 5.0, **conditions: Any) -> SimulatedFleet:
    """A fleet at zero whose pool begins to initialise at 0 s; one message arrives at 1000 s."""
    pool = WarmPoolSettings(size=size, boot_s=lambda: WARM_S, price_ratio=PRICE, reuse=reuse)
    subject = simulated_fleet([1000], service_s, boot_s=COLD_S, maximum=20, warm_pool=pool, **conditions)
    subject.set_desired(0)
    return subject


def boots_s(subject: SimulatedFleet) -> list[float]:
    return [one.ready_s - one.launched_s for one in subject.instances]


def test_a_launch_takes_what_the_pool_has_and_boots_cold_beyond_it() -> None:
    subject = at(fleet(2), 500)
    subject.set_desired(3)
    assert boots_s(subject) == [WARM_S, WARM_S, COLD_S]
    assert [one.warm for one in subject.instances] == [True, True, False]


def test_an_instance_that_still_initialises_is_not_started_from_the_pool() -> None:
    subject = at(fleet(2), COLD_S - 1)
    subject.set_desired(1)
    assert boots_s(subject) == [COLD_S]


def test_the_pool_refills_within_a_cold_boot() -> None:
    subject = at(fleet(2), 500)
    subject.set_desired(2)
    assert at(subject, 500 + COLD_S - 1).size().warm == 0
    assert at(subject, 500 + COLD_S).size().warm == 2


def test_a_fleet_without_a_pool_knows_no_warm_instances() -> None:
    assert simulated_fleet([], 1).size().warm is None


def test_a_pool_costs_full_price_while_it_initialises_and_little_while_it_is_stopped() -> None:
    subject = at(fleet(2), 500)
    assert subject.warm_pool_cost_s() == pytest.approx(2 * (COLD_S + PRICE * 320))
    subject.set_desired(2)
    assert at(subject, 500 + COLD_S).warm_pool_cost_s() == pytest.approx(4 * COLD_S + 2 * PRICE * 320)


def test_a_scaled_in_instance_terminates_unless_the_pool_reuses_instances() -> None:
    costs = []
    for reuse in (False, True):
        subject = at(fleet(2, reuse=reuse), 500)
        subject.set_desired(2)
        at(subject, 600).set_desired(0)
        at(subject, 601).set_desired(2)
        assert boots_s(subject) == [WARM_S, WARM_S] + ([WARM_S] if reuse else [COLD_S]) * 2
        costs.append(subject.warm_pool_cost_s())
    assert costs[1] == pytest.approx(2 * (COLD_S + PRICE * 321))


def test_a_pool_that_reuses_instances_holds_what_the_fleet_does_not_run() -> None:
    subject = at(fleet(3, reuse=True), 500)
    subject.set_desired(2)
    assert at(subject, 900).size().warm == 1
    subject.set_desired(5)
    assert at(subject, 2000).size().warm == 0


def test_an_instance_returns_to_the_pool_once_its_message_is_done() -> None:
    subject = at(fleet(1, reuse=True, service_s=100.0, scale_in=ScaleIn.DRAIN), 900)
    subject.set_desired(1)
    at(subject, 1010).set_desired(0)
    at(subject, 1050).set_desired(0)
    assert subject.size().warm == 0
    at(subject, 1101).set_desired(0)
    assert subject.size().warm == 1


def test_a_booting_instance_that_is_cancelled_does_not_return() -> None:
    subject = at(fleet(1, reuse=True), 500)
    subject.set_desired(1)
    at(subject, 501).set_desired(0)
    assert subject.size().warm == 0
