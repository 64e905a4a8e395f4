"""Surges a workload, and ends a surge: the control plane's own function does it.

An operator needs no right on the fleet, and the same code serves a critical alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sluice.errors import ConfigError
from sluice.ports import RemainingS
from sluice_operator.account import Account
from sluice_operator.aws import caller, functions
from sluice_operator.dead_letters import registered

OLDER_PLANE = (
    "the control plane's stack is of an earlier release, which knows no surge: update it (`make deploy`)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many instances: a number, or as many as drain the backlog in time."""

    to: int | None = None
    drain_in: timedelta | None = None


def surge(
    account: Account,
    name: str,
    size: Size,
    hold: timedelta,
    remaining_s: RemainingS,
    on_step: Callable[[str], None] = lambda _: None,
) -> Mapping[str, Any]:
    """What the function answers; raises ConfigError with the reason and the way out if it refuses."""
    request = {"hold_s": hold.total_seconds()}
    if size.to is not None:
        request["to"] = size.to
    elif size.drain_in is not None:
        request["drain_in_s"] = size.drain_in.total_seconds()
    return _invoke(account, name, request, remaining_s, on_step)


def end(
    account: Account,
    name: str,
    remaining_s: RemainingS,
    on_step: Callable[[str], None] = lambda _: None,
) -> Mapping[str, Any]:
    """What the function answers; the minimum is as before the surge then."""
    return _invoke(account, name, {"end": True}, remaining_s, on_step)


def _invoke(
    account: Account,
    name: str,
    request: Mapping[str, Any],
    remaining_s: RemainingS,
    on_step: Callable[[str], None],
) -> Mapping[str, Any]:
    on_step("reading the registry")
    workload = registered(account, name, remaining_s)
    if account.plane.surge_function_arn is None:
        raise ConfigError(OLDER_PLANE)
    by = caller.arn(account.clients("sts"))
    on_step("invoking the control plane")
    answer = functions.invoke(
        account.clients("lambda"),
        account.plane.surge_function_arn,
        {"workload": workload.name, "by": by, **request},
    )
    if answer.get("refusal"):
        raise ConfigError(f"{answer['refusal']}; nothing was changed")
    return answer
