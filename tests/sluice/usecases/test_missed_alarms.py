"""Which retries run if there is not enough time for all of them, and what a retry costs."""

from collections.abc import Iterable

import pytest

from sluice.core.model import Fleet, Mode, Reason, Workload
from sluice.core.rotation import rotated
from sluice.errors import ConfigError
from sluice.ports import Counter, Outcome
from sluice.usecases.tick import publish_backlog
from tests.support.builders import workload
from tests.support.fakes import FakeAccount

TICK_S, CALL_S = 25.0, 0.2


def tick(account: FakeAccount) -> None:
    """A tick in its own minute, each of whose calls takes some time."""
    account.clock.advance(minutes=1)
    account.remaining = TICK_S
    publish_backlog(account.clock(), account.ports, account.report, account.remaining_s)


def each_call_takes_a_while(account: FakeAccount) -> None:
    def passes() -> None:
        account.remaining -= CALL_S / 2  # before and after the call

    account.calls.between = passes


def refuse(account: FakeAccount, refused: Iterable[Workload]) -> None:
    set_desired, fleets = account.fleets.set_desired, {each.fleet for each in refused}

    def act(fleet: Fleet, instances: int) -> None:
        if fleet in fleets:
            account.calls.record("fleets.set_desired", (fleet, instances))
            raise ConfigError("AWS answered AccessDenied")
        set_desired(fleet, instances)

    account.fleets.set_desired = act


def test_a_hundred_idle_fleets_in_mode_observe_do_not_keep_an_active_one_running(
    account: FakeAccount,
) -> None:
    for index in range(100):
        account.publish_idle_minutes(
            account.add_workload(workload(f"a{index:02}", mode=Mode.OBSERVE), desired=1)
        )
    active = account.add_workload(workload("z"), desired=3)
    account.publish_idle_minutes(active)
    each_call_takes_a_while(account)
    account.clock.advance(minutes=-1)
    tick(account)
    assert account.desired(active) == 0
    observed = [
        decision.workload for decision, outcome in account.report.decisions if outcome is Outcome.OBSERVED
    ]
    assert len(observed) == 100


@pytest.mark.parametrize(("visible", "desired"), [(5, 0), (0, 3)])
def test_mode_observe_decides_without_another_read(account: FakeAccount, visible: int, desired: int) -> None:
    account.publish_idle_minutes(
        account.add_workload(workload(mode=Mode.OBSERVE), visible=visible, desired=desired)
    )
    publish_backlog(account.clock(), account.ports, account.report, account.remaining_s)
    [(_, outcome)] = account.report.decisions
    assert outcome is Outcome.OBSERVED
    assert account.calls.named("registry.one") == []
    assert len(account.calls.named("queues.read")) == len(account.calls.named("fleets.read")) == 1


def test_a_hundred_groups_that_refuse_do_not_block_the_bootstrap_of_a_healthy_one(
    account: FakeAccount,
) -> None:
    refused = [account.add_workload(workload(f"a{index:02}"), visible=5) for index in range(100)]
    healthy = account.add_workload(workload("z"), visible=5)
    refuse(account, refused)
    each_call_takes_a_while(account)
    ticks = 0
    while account.desired(healthy) == 0:
        tick(account)
        ticks += 1
        assert ticks <= 101 * 5 * CALL_S / TICK_S + 2, "one round of all takes so many ticks"
    assert account.report.counts[Counter.ACTION_FAILED] >= 1


def test_a_hundred_refused_bootstraps_do_not_keep_a_proven_empty_fleet_running(account: FakeAccount) -> None:
    refuse(account, [account.add_workload(workload(f"a{index:02}"), visible=5) for index in range(100)])
    empty = account.add_workload(workload("z", idle_minutes=1), desired=3)
    each_call_takes_a_while(account)
    for _ in range(8):
        tick(account)
    assert account.desired(empty) == 0


def test_workloads_with_failed_repairs_come_last_fewest_failures_first(account: FakeAccount) -> None:
    for name in ("a", "b", "c", "d", "e"):
        account.add_workload(workload(name), visible=5)
    refuse(account, account.registry.registered.values())
    failures = {"a": 3, "b": 1, "c": 4, "e": 2}
    for _ in range(5):  # whatever workload the minute starts with
        account.calls.made.clear()
        account.retry_failures.clear()
        account.retry_failures |= failures
        tick(account)
        assert account.calls.named("registry.one") == ["d", "b", "e", "a", "c"]
        assert account.retry_failures == {"a": 4, "b": 2, "c": 5, "d": 1, "e": 3}


def test_one_throttle_does_not_delay_a_bootstrap_behind_permanent_failures(account: FakeAccount) -> None:
    refused = [
        account.add_workload(workload(f"a{index:02}", idle_minutes=1), desired=3) for index in range(100)
    ]
    throttled = account.add_workload(workload("z"), visible=5)
    account.retry_failures |= {each.name: 5 for each in refused} | {throttled.name: 1}
    for each in refused:
        account.publish_idle_minutes(each, minutes=3)
    refuse(account, refused)
    each_call_takes_a_while(account)
    tick(account)
    assert account.desired(throttled) == 1


def test_failure_counts_are_cleared_once_nothing_needs_a_repair(account: FakeAccount) -> None:
    served = account.add_workload(workload(), visible=5, desired=1)  # an alarm bootstrapped it meanwhile
    account.retry_failures[served.name] = 7
    account.retry_failures["served by another shard"] = 2
    tick(account)
    assert account.retry_failures == {"served by another shard": 2}


def test_a_successful_repair_clears_the_failure_count(account: FakeAccount) -> None:
    served = account.add_workload(workload(), visible=5)
    account.fleets.refusing = ConfigError("AccessDenied")
    tick(account)
    assert account.retry_failures == {served.name: 1}
    account.fleets.refusing = None
    tick(account)
    assert account.desired(served) == 1
    assert account.retry_failures == {}


def test_each_minute_starts_with_a_different_workload(account: FakeAccount) -> None:
    names = ("a", "b", "c")
    for name in names:
        account.add_workload(workload(name), visible=5)
    firsts = set()
    for _ in names:
        reads = len(account.calls.named("registry.one"))
        tick(account)
        firsts.add(account.calls.named("registry.one")[reads])
        for served in account.registry.registered.values():
            account.add_workload(served, visible=5)  # at zero again
    assert firsts == set(names)


def test_while_cloudwatch_hangs_bootstraps_are_done_and_no_fleet_is_shut_down(account: FakeAccount) -> None:
    at_zero = account.add_workload(workload("a"), visible=5)
    failed_before = account.add_workload(workload("b"), visible=5)
    account.retry_failures[failed_before.name] = 1
    idle = account.add_workload(workload("c"), desired=3)
    account.publish_idle_minutes(idle)

    def hangs(queries: object, start: object, end: object, remaining_s: object) -> object:
        while remaining_s() > 0:  # type: ignore[operator]
            account.remaining -= 1
        return read(queries, start, end, remaining_s)  # type: ignore[arg-type]

    read, account.metrics.read = account.metrics.read, hangs  # type: ignore[assignment, method-assign]
    tick(account)
    assert (account.desired(at_zero), account.desired(failed_before), account.desired(idle)) == (1, 1, 3)
    reasons = [decision.reason for decision, _ in account.report.decisions if decision.workload == idle.name]
    assert reasons == [Reason.UNKNOWN_READING]


@pytest.mark.parametrize("count", range(1, 40))
def test_rotation_omits_no_name_and_starts_with_each_once(count: int) -> None:
    names = [f"w{index:02}" for index in range(count)]
    orders = [rotated(reversed(names), round_) for round_ in range(count)]
    assert all(sorted(order) == names for order in orders)
    assert sorted(order[0] for order in orders) == names


def test_rotation_spreads_a_lack_of_time_over_all_workloads() -> None:
    """With time for a tenth of them, each is served within three rounds."""
    names, share = [f"w{index:03}" for index in range(200)], 20
    for first in range(200):
        served = {name for round_ in range(first, first + 30) for name in rotated(names, round_)[:share]}
        assert len(served) == 200


def test_rotating_no_names_returns_none() -> None:
    assert rotated([], 7) == []
