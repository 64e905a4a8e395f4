"""A group that AWS counts in capacity units is refused, whatever its document says."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from sluice.core.model import Reason
from sluice.ports import Counter, Outcome
from sluice.usecases.alarms import (
    on_bootstrap_alarm,
    on_shutdown_alarm,
)
from sluice.usecases.tick import publish_backlog
from tests.support.builders import (
    alarm,
    ecs_workload,
    workload,
)
from tests.support.fakes import FakeAccount


def weigh(account: FakeAccount, name: str = "transcription") -> None:
    fleet = account.registry.registered[name].fleet
    account.fleets.capacities[fleet] = replace(
        account.fleets.capacities[fleet], unsupported_units=("WeightedCapacity 2",)
    )


@pytest.mark.parametrize(("visible", "desired"), [(9, 0), (0, 3), (9, 3)])
def test_a_tick_neither_publishes_nor_scales_it_and_counts_it_as_an_invalid_document(
    account: FakeAccount, visible: int, desired: int
) -> None:
    account.add_workload(workload(), visible=visible, desired=desired)
    account.add_workload(ecs_workload(), visible=9, desired=3)
    weigh(account)
    publish_backlog(account.clock(), account.ports, account.report, account.remaining_s)
    assert set(account.published()) == {"queue-proc"}
    assert account.calls.named("fleets.set_desired") == []
    [(name, counter, reason)] = account.report.failures
    assert (name, counter) == ("transcription", Counter.DOCUMENT_INVALID)
    assert "WeightedCapacity 2" in reason
    assert "set every WeightedCapacity to 1 or remove it" in reason


@pytest.mark.parametrize(
    ("handle", "kind", "visible", "desired"),
    [(on_bootstrap_alarm, "bootstrap", 9, 0), (on_shutdown_alarm, "shutdown", 0, 3)],
)
def test_an_alarm_holds_it_with_a_reason_of_its_own(
    account: FakeAccount, handle: Callable[..., None], kind: str, visible: int, desired: int
) -> None:
    served = account.add_workload(workload(), visible=visible, desired=desired)
    account.publish_idle_minutes(served)
    weigh(account)
    handle(alarm(kind), account.ports, account.report, account.remaining_s)
    assert account.calls.named("fleets.set_desired") == []
    [(decision, outcome)] = account.report.decisions
    assert (decision.reason, outcome) == (Reason.INSTANCE_WEIGHTS, Outcome.HELD)
