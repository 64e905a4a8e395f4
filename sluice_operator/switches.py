"""Switches the colors of a blue/green workload by the control plane's state machine, and follows it.

The state machine decides again whatever is decided here: between a look and the start, anything may change.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sluice.core.model import Color, Unknown, Workload
from sluice.core.switch_record import Switch
from sluice.core.target import initial_target
from sluice.errors import ConfigError, TransientError
from sluice.ports import RemainingS
from sluice.usecases.switch import busy_by_color, observe_colors, refusal_to_begin
from sluice_operator.account import Account
from sluice_operator.aws import caller, executions
from sluice_operator.core.switching import (
    Execution,
    Plan,
    Progress,
    execution_name,
    is_of,
    planned,
    progress,
)
from sluice_operator.dead_letters import registered

OLDER_PLANE = (
    "the control plane's stack is of an earlier release, which knows no switch: update it (`make deploy`)"
)
OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An execution, and the workload and color that it is about."""

    workload: str
    to: Color | None
    execution: str


# --- what a switch would do -------------------------------------------------------------------------------


def plan(
    account: Account,
    name: str,
    to: Color | None,
    remaining_s: RemainingS,
    on_step: OnStep = lambda _: None,
) -> Plan:
    """What a switch would do now, or why it would be refused; changes nothing."""
    workload = _blue_green(account, name, remaining_s, on_step)
    active, idle = workload.color, workload.idle
    assert active is not None
    assert idle is not None
    if stored := _stored(account, workload.name, remaining_s):
        return Plan(
            workload=workload.name, active=active, to=idle.color, refusal=_in_progress(workload.name, stored)
        )
    if to is active:
        return Plan(workload=workload.name, active=active, to=active)
    on_step("reading the queue and both fleets")
    ports = account.ports
    observation = observe_colors(ports, workload, remaining_s)
    busy = busy_by_color(ports, workload, remaining_s)
    refusal = refusal_to_begin(ports, workload, observation, busy, remaining_s)
    if refusal is not None:
        return Plan(workload=workload.name, active=active, to=idle.color, refusal=refusal.why)
    target = (
        initial_target(workload)
        if workload.policy_arn is None
        else ports.policies.read(workload, remaining_s).target
    )
    return Plan(
        workload=workload.name,
        active=active,
        to=idle.color,
        steps=planned(workload, observation, target),
    )


# --- a switch ---------------------------------------------------------------------------------------------


def start(
    account: Account,
    name: str,
    to: Color | None,
    remaining_s: RemainingS,
    on_step: OnStep = lambda _: None,
) -> Found | None:
    """Start a switch; None if this color is active already. Raises ConfigError if it would be refused."""
    workload = _blue_green(account, name, remaining_s, on_step)
    machine = _machine(account)
    if stored := _stored(account, workload.name, remaining_s):
        raise ConfigError(_in_progress(workload.name, stored))
    if to is not None and to is workload.color:
        return None
    assert workload.idle is not None
    color = workload.idle.color
    by = _caller(account)
    on_step("starting the switch")
    started = executions.start(
        account.clients("stepfunctions"),
        machine,
        execution_name(workload.name, color, account.ports.now(), secrets.token_hex(2)),
        {"workload": workload.name, "to": color.value, "by": by},
    )
    return Found(workload=workload.name, to=color, execution=started)


def find(account: Account, name: str, remaining_s: RemainingS, on_step: OnStep = lambda _: None) -> Found:
    """The switch in progress, or what undoes it; raises ConfigError with the way out if none runs."""
    workload = _blue_green(account, name, remaining_s, on_step)
    states, stored = account.clients("stepfunctions"), _stored(account, workload.name, remaining_s)
    if stored is None:
        for named, arn in executions.running(states, _machine(account)):
            if is_of(workload.name, named):
                return Found(workload=workload.name, to=None, execution=arn)
        raise ConfigError(
            f"no switch of {workload.name} is in progress; "
            f"`sluice explain {workload.name}` shows the last one"
        )
    own = Found(workload=workload.name, to=stored.to, execution=stored.execution)
    if executions.runs(states, stored.execution):
        return own
    restoring = _restoring(account, stored)
    if restoring is None:
        raise ConfigError(
            f"{workload.name} is in {stored}, which has ended, and nothing undoes it: "
            f"`sluice switch {workload.name} --abort` does"
        )
    return Found(workload=workload.name, to=stored.to, execution=restoring)


def abort(account: Account, name: str, remaining_s: RemainingS, on_step: OnStep = lambda _: None) -> Found:
    """Stop the switch in progress, which a rule of the control plane undoes then.

    If its execution has ended and left its record, another one is started, which undoes it.
    """
    workload = _blue_green(account, name, remaining_s, on_step)
    states, stored = account.clients("stepfunctions"), _stored(account, workload.name, remaining_s)
    by = _caller(account)
    on_step("stopping the switch")
    if stored is not None and not executions.runs(states, stored.execution):
        if undoing := _restoring(account, stored):
            return Found(workload=workload.name, to=stored.to, execution=undoing)
        return _restore(account, workload.name, stored, by)
    found = find(account, name, remaining_s)
    executions.stop(states, found.execution, f"stopped by {by}")
    return found


def follow(
    account: Account, execution: str, wait: Callable[[], None]
) -> Iterator[tuple[Execution, Progress]]:
    """How the execution stands, again and again until it has ended, its end last."""
    states, seen = account.clients("stepfunctions"), Progress()
    while True:
        stands = executions.describe(states, execution)
        seen = progress(seen, executions.history(states, execution, seen.newest_id))
        yield stands, seen
        if not stands.runs:
            return
        wait()


def _restore(account: Account, workload: str, stored: Switch, by: str) -> Found:
    """Start what the rule of the control plane starts, with an input that the rule leaves out if it fails."""
    asked = json.dumps({"workload": workload, "to": stored.to.value, "by": by})
    started = executions.start(
        account.clients("stepfunctions"),
        _machine(account),
        execution_name(workload, stored.old, account.ports.now(), secrets.token_hex(2)),
        {"version": "0", "detail": {"executionArn": stored.execution, "input": asked}},
    )
    return Found(workload=workload, to=stored.to, execution=started)


def _restoring(account: Account, stored: Switch) -> str | None:
    """The execution that undoes this switch; None if none runs."""
    states = account.clients("stepfunctions")
    for _, arn in executions.running(states, _machine(account)):
        asked = executions.describe(states, arn).asked.get("detail")
        if isinstance(asked, dict) and asked.get("executionArn") == stored.execution:
            return arn
    return None


def _caller(account: Account) -> str:
    return caller.arn(account.clients("sts"))


def _blue_green(account: Account, name: str, remaining_s: RemainingS, on_step: OnStep) -> Workload:
    on_step("reading the registry")
    workload = registered(account, name, remaining_s)
    if workload.idle is None:
        raise ConfigError(
            f"{workload.name} has one fleet only, {workload.fleet}, so there is nothing to switch to: give "
            "its stack a GreenAutoScalingGroupName or a GreenServiceName"
        )
    return workload


def _machine(account: Account) -> str:
    if account.plane.switch_machine_arn is None:
        raise ConfigError(OLDER_PLANE)
    return account.plane.switch_machine_arn


def _stored(account: Account, name: str, remaining_s: RemainingS) -> Switch | None:
    """The record of a switch in progress; raises SluiceError if it cannot be read."""
    states = account.ports.states
    if states is None:
        raise ConfigError(OLDER_PLANE)
    found = states.read([name], remaining_s)[name]
    unknown = found if found is None or isinstance(found, Unknown) else found.switch
    if isinstance(unknown, Unknown):
        raise unknown.defect or TransientError(f"whether {name} is switched is unknown: {unknown.reason}")
    return unknown


def _in_progress(name: str, stored: Switch) -> str:
    return (
        f"{name} is in {stored} already: `sluice switch {name} --follow` shows it, and "
        f"`sluice switch {name} --abort` undoes it"
    )
