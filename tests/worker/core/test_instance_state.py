"""Which target lifecycle states let a worker work, and for which a hook may wait."""

import pytest

from sluice_worker.core.instance_state import (
    launch_hook_runs,
    out_of_service,
    termination_hook_runs,
)

OUT = [
    "Standby",
    "Detached",
    "Warmed:Stopped",
    "Warmed:Running",
    "Warmed:Hibernated",
    "Warmed:Pending:Wait",
    "SomethingNew",
]


@pytest.mark.parametrize("state", [None, "InService"])
def test_an_instance_in_service_or_of_no_group_works(state: str | None) -> None:
    assert out_of_service(state, "g", interrupted=False) is None


@pytest.mark.parametrize("state", OUT)
def test_every_other_state_keeps_an_instance_from_work_until_it_is_in_service(state: str) -> None:
    out = out_of_service(state, "g", interrupted=False)
    assert out is not None
    assert not out.for_good
    assert state in out.reason


@pytest.mark.parametrize(
    ("state", "interrupted"),
    [
        ("Terminated", False),
        ("Warmed:Terminated", False),
        ("Terminated", True),
        ("InService", True),
        (None, True),
    ],
)
def test_a_termination_and_a_spot_interruption_are_for_good(state: str | None, interrupted: bool) -> None:
    out = out_of_service(state, "g", interrupted=interrupted)
    assert out is not None
    assert out.for_good


@pytest.mark.parametrize(
    ("before", "state", "runs"),
    [
        (None, "Terminated", True),
        ("InService", "Terminated", True),
        ("Warmed:Stopped", "Warmed:Terminated", True),
        ("InService", "Warmed:Stopped", True),
        ("InService", "Standby", False),
        ("InService", "Detached", False),
        ("InService", None, False),
        (None, "Warmed:Stopped", False),
        ("Warmed:Stopped", "InService", False),
    ],
)
def test_a_termination_hook_runs_on_the_way_out_and_back_into_the_warm_pool(
    before: str | None, state: str | None, runs: bool
) -> None:
    assert termination_hook_runs(before, state) == runs


@pytest.mark.parametrize(
    ("before", "state", "runs"),
    [
        (None, "InService", True),
        (None, "Warmed:Stopped", True),
        (None, "Warmed:Hibernated", True),
        ("Warmed:Stopped", "InService", True),
        ("Standby", "InService", True),
        ("InService", "Warmed:Stopped", False),
        ("InService", "Terminated", False),
        ("InService", "Standby", False),
        ("InService", None, False),
        (None, "Warmed:Terminated", False),
        (None, "Terminated", False),
        (None, "Standby", False),
    ],
)
def test_a_launch_hook_may_wait_on_the_way_into_the_warm_pool_and_into_service(
    before: str | None, state: str | None, runs: bool
) -> None:
    """An instance that returns to the pool from service has a termination hook instead."""
    assert launch_hook_runs(before, state) == runs
