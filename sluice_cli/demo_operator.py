"""The operator in `sluice demo` who switches colors, by the use case of `sluice switch`."""

from __future__ import annotations

from collections.abc import Callable

from sluice_operator import switches
from sluice_operator.account import Account, open_account
from sluice_operator.aws import executions
from sluice_operator.core.switching import Progress, StepSeen, end, progress
from sluice_operator.session import AwsSession
from sluice_operator.switches import Found
from sluice_sim.embedded.timeline import SwitchSeen, SwitchStep

LIMIT_S = 60.0


def switch(workload: str, run_began_s: float) -> Callable[[], SwitchSeen]:
    """Begin to switch a workload of the embedded account to its idle color; returns how to look at it.

    `run_began_s` are epoch seconds.
    """
    account = open_account(AwsSession(), "sluice")
    found = switches.start(account, workload, None, lambda: LIMIT_S)
    assert found is not None, "without a color to switch to there is always something to do"
    return lambda: _seen(account, found, run_began_s)


def _seen(account: Account, found: Found, run_began_s: float) -> SwitchSeen:
    states = account.clients("stepfunctions")
    stands = executions.describe(states, found.execution)
    so_far = progress(Progress(), executions.history(states, found.execution, 0))
    ended = None if stands.runs else end(found.workload, stands, so_far)
    assert found.to is not None
    return SwitchSeen(
        old=found.to.other.value,
        new=found.to.value,
        steps=tuple(_step(each, run_began_s) for each in so_far.steps),
        outcome="" if ended is None else ended.message,
        is_done=ended is not None and ended.well,
    )


def _step(each: StepSeen, run_began_s: float) -> SwitchStep:
    return SwitchStep(
        step=each.step,
        began_s=each.began_at.timestamp() - run_began_s,
        ended_s=None if each.ended_at is None else each.ended_at.timestamp() - run_began_s,
        reason=each.detail,
    )
