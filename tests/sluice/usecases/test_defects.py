"""A defect that affects one workload in a tick: the others are served, and the tick fails visibly."""

from collections.abc import Callable
from typing import Any

import pytest

import sluice.usecases.fifo_warning
import sluice.usecases.launch_failures
import sluice.usecases.missed_alarms
import sluice.usecases.publish_metrics
import sluice.usecases.resize
import sluice.usecases.serve_workloads
from sluice.core.model import Mode, Workload
from sluice.errors import DefectError
from sluice.ports import Counter
from sluice.usecases.isolation import EVERY_WORKLOAD
from sluice.usecases.tick import publish_backlog
from tests.support.builders import (
    MINUTE_NOW,
    ecs_workload,
    queue_url,
    workload,
)
from tests.support.fakes import FakeAccount

FIFO = queue_url("builds.fifo")
STEPS = ("retry_missed_alarms", "warn_idle_instances", "report_launch_failures")
"""Of a tick, after publishing, in order."""


def about(args: tuple[Any, ...]) -> str:
    """The name of the workload among a call's arguments."""
    for each in args:
        if isinstance(each, Workload):
            return each.name
    return ""


def broken_for(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def breaks(*args: Any, **kwargs: Any) -> Any:
        if about(args) == name:
            raise IndexError("ours")
        return function(*args, **kwargs)

    return breaks


def tick(account: FakeAccount) -> None:
    publish_backlog(MINUTE_NOW, account.ports, account.report, account.remaining_s)


@pytest.mark.parametrize(
    ("module", "function", "logged"),
    [
        (sluice.usecases.publish_metrics, "_backlog_per_instance", Counter.OBSERVATION_FAILED),
        (sluice.usecases.missed_alarms, "decide_bootstrap", Counter.ACTION_FAILED),
        (sluice.usecases.missed_alarms, "initial_target", Counter.ACTION_FAILED),
        (sluice.usecases.resize, "decide_bootstrap", Counter.ACTION_FAILED),
    ],
)
def test_a_defect_in_a_bootstrap_does_not_affect_other_workloads(
    account: FakeAccount, monkeypatch: pytest.MonkeyPatch, module: Any, function: str, logged: Counter
) -> None:
    account.add_workload(workload("broken"), visible=5)
    others = [
        account.add_workload(workload("a"), visible=5),
        account.add_workload(ecs_workload("z"), visible=5),
    ]
    monkeypatch.setattr(module, function, broken_for("broken", getattr(module, function)))
    with pytest.raises(DefectError):
        tick(account)
    assert [account.desired(each) for each in others] == [1, 1]
    assert {each.name for each in others} <= set(account.published())
    assert ("broken", logged, "unexpected IndexError: ours") in account.report.failures
    assert account.report.defects == 1


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (sluice.usecases.missed_alarms, "reads_empty_above_min"),
        (sluice.usecases.missed_alarms, "decide_shutdown"),
        (sluice.usecases.resize, "decide_shutdown"),
    ],
)
def test_a_defect_in_a_shutdown_does_not_affect_other_workloads(
    account: FakeAccount, monkeypatch: pytest.MonkeyPatch, module: Any, function: str
) -> None:
    idle = [account.add_workload(workload(name), desired=3) for name in ("a", "broken", "z")]
    for each in idle:
        account.publish_idle_minutes(each)
    monkeypatch.setattr(module, function, broken_for("broken", getattr(module, function)))
    with pytest.raises(DefectError):
        tick(account)
    assert [account.desired(each) for each in idle] == [0, 3, 0]


@pytest.mark.parametrize("function", ["is_due", "may_exceed_groups", "decide_cap", "report_unknown"])
def test_a_defect_in_the_message_group_check_does_not_affect_other_workloads(
    account: FakeAccount, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    monkeypatch.setattr(sluice.usecases.fifo_warning, "is_due", lambda *_: True)
    for name in ("a", "broken", "z"):
        account.add_workload(workload(name, queue_url=FIFO), visible=5, desired=3)
    processed: list[str] = []
    real = getattr(sluice.usecases.fifo_warning, function)

    def recording(*args: Any, **kwargs: Any) -> Any:
        processed.append(about(args) or str(args[0]))
        if processed[-1] == "broken":
            raise IndexError("ours")
        return real(*args, **kwargs)

    if function == "report_unknown":
        account.metrics.unreadable["GroupInServiceInstances"] = "throttled"
    monkeypatch.setattr(sluice.usecases.fifo_warning, function, recording)
    with pytest.raises(DefectError):
        tick(account)
    assert processed == ["a", "broken", "z"]


@pytest.mark.parametrize("function", ["lacks_instances", "decide_held_launch", "report_unknown"])
def test_a_defect_in_the_launch_failure_check_does_not_affect_other_workloads(
    account: FakeAccount, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    served = [
        account.add_workload(workload(name), visible=5, desired=3, running=1) for name in ("a", "broken", "z")
    ]
    calls = 0
    real = getattr(sluice.usecases.launch_failures, function)

    def breaks_at_the_second(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise IndexError("ours")
        return real(*args, **kwargs)

    if function == "report_unknown":
        for each in served:
            account.launches.failing[each.fleet] = "throttled"
    monkeypatch.setattr(sluice.usecases.launch_failures, function, breaks_at_the_second)
    with pytest.raises(DefectError):
        tick(account)
    assert calls == 3


@pytest.mark.parametrize("step", ["publish", *STEPS])
def test_a_step_that_breaks_as_a_whole_leaves_the_other_steps_their_work(
    account: FakeAccount, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    at_zero = account.add_workload(workload("a"), visible=5)
    account.add_workload(workload("b", mode=Mode.OBSERVE), visible=5, desired=3, running=1)
    done: list[str] = []

    def recording(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            done.append(name)
            if name == step:
                raise IndexError("ours")
            return function(*args, **kwargs)

        return call

    module = sluice.usecases.serve_workloads
    for name in STEPS:
        monkeypatch.setattr(module, name, recording(name, getattr(module, name)))
    account.metrics.publish = recording("publish", account.metrics.publish)  # type: ignore[method-assign]
    with pytest.raises(DefectError):
        tick(account)
    assert done == ["publish", *STEPS]
    assert account.desired(at_zero) == (0 if step == "retry_missed_alarms" else 1)
    assert [name for name, _, reason in account.report.failures if "IndexError" in reason] == [EVERY_WORKLOAD]
