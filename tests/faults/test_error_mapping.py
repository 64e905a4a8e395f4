"""The matrix detects a missing mapping: without that of AWS's errors, cells of it fail."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sluice.aws import (
    asg,
    cloudwatch,
    ecs,
    engine_states,
    event_bus,
    hold_ends,
    launch_failures,
    own_scaling,
    policies,
    registry,
    sqs,
    surges,
)
from tests.faults.account import Account
from tests.faults.matrix import Cell, run_cell, share

pytestmark = pytest.mark.slow

ADAPTERS = (
    *(asg, cloudwatch, ecs, engine_states, event_bus, hold_ends, launch_failures),
    *(own_scaling, policies, registry, sqs, surges),
)
UNANSWERED = ("access denied", "timed out", "not found", "bad gateway")
OFTEN_ENOUGH = 20


@contextmanager
def unmapped_errors(what: str) -> Iterator[None]:
    """What `sluice.aws.errors.aws_errors` would be if it did nothing."""
    yield


def sample() -> list[Cell]:
    """Some cells of calls without an answer, evenly from the whole share.

    Messages to a queue of the control plane are sent again, and the guard's minute does again what it could
    not do, whichever error it was; an operator is told of any.
    """
    unanswered = [cell for cell in share() if cell.kind in UNANSWERED]
    cells = [
        cell
        for cell in unanswered
        if cell.call.operation != "SendMessageBatch" and not (cell.case.by_operator or cell.case.guards)
    ]
    return cells[:: len(cells) // OFTEN_ENOUGH]


def test_without_the_mapping_every_cell_of_a_sample_fails(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    for adapter in ADAPTERS:
        monkeypatch.setattr(adapter, "aws_errors", unmapped_errors)
    for cell in sample():
        with pytest.raises(AssertionError):
            run_cell(cell, account)


def test_with_the_mapping_every_cell_of_that_sample_passes(account: Account) -> None:
    for cell in sample():
        run_cell(cell, account)
