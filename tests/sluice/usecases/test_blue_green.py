"""Of two fleets on one queue the active one alone is scaled, whatever the other one does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sluice.core.model import Color, Reason, Trigger
from sluice.errors import ConfigError
from sluice.ports import Counter
from sluice.usecases.resize import bootstrap, shutdown
from sluice.usecases.tick import publish_backlog
from tests.support.builders import blue_green, effective, minutes_ago, plenty
from tests.support.fakes import FakeAccount

KINDS = ("asg", "ecs")


def tick(account: FakeAccount) -> None:
    publish_backlog(account.clock(), account.ports, account.report, account.remaining_s)


@pytest.fixture(params=KINDS)
def pair(request, account):
    """`pair(active, ...)`: register a blue/green workload with these counts."""
    return lambda active=Color.GREEN, **counts: account.add_workload(
        blue_green(kind=request.param, active=active), **counts
    )


class TestPublishing:
    @pytest.mark.parametrize("active", Color)
    def test_the_backlog_is_shared_by_the_running_instances_of_both_and_published_for_the_active_one(
        self, account, pair, active
    ):
        workload = pair(active, visible=24, desired=3, idle=1)
        tick(account)
        point = account.published()["transcription"]
        assert point.value == 24 / 4
        assert point.metric.dimensions == workload.fleet.dimensions

    def test_an_idle_color_without_instances_changes_nothing(self, account, pair):
        pair(visible=24, desired=3)
        tick(account)
        assert account.published()["transcription"].value == 8

    def test_an_idle_color_that_cannot_be_read_may_run_so_nothing_is_published(self, account, pair):
        workload = pair(visible=24, desired=3)
        account.fleets.failing[workload.idle.fleet] = "AccessDenied"
        tick(account)
        assert account.published() == {}
        assert account.report.failures == [("transcription", Counter.OBSERVATION_FAILED, "AccessDenied")]

    def test_an_idle_color_that_drains_shares_no_backlog_whether_it_can_be_read_or_not(self, account, pair):
        workload = pair(visible=24, desired=3, idle=5)
        account.registry.draining["transcription"] = workload.idle.color
        tick(account)
        assert account.published()["transcription"].value == 8
        account.fleets.failing[workload.idle.fleet] = "AccessDenied"
        account.clock.advance(seconds=60)
        tick(account)
        assert account.published()["transcription"].value == 8

    def test_what_arrives_is_shared_by_the_active_color_alone_while_the_idle_one_drains(self, account):
        workload = account.add_workload(
            effective(blue_green(active=Color.GREEN)), visible=8, desired=1, idle=3
        )
        account.registry.draining["transcription"] = workload.idle.color
        tick(account)
        assert account.published("EffectiveBacklogPerInstance")["transcription"].value == 8

    def test_what_arrives_is_shared_by_both_as_well(self, account):
        workload = account.add_workload(
            effective(blue_green(active=Color.GREEN)), visible=8, desired=1, idle=3
        )
        tick(account)
        published = account.published("EffectiveBacklogPerInstance")["transcription"]
        assert published.value == 2
        assert published.metric.dimensions == workload.fleet.dimensions

    def test_after_a_switch_the_next_tick_publishes_for_the_other_color(self, account, pair):
        workload = pair(Color.BLUE, visible=6, desired=2, idle=1)
        tick(account)
        account.registry.colors["transcription"] = "green"
        account.clock.advance(seconds=60)
        tick(account)
        assert account.published()["transcription"].metric.dimensions == workload.idle.fleet.dimensions

    @pytest.mark.parametrize("color", [None, "purple"])
    def test_without_an_active_color_nothing_is_published_or_scaled_and_it_is_counted(
        self, account, pair, color
    ):
        pair(visible=5)
        account.registry.colors["transcription"] = color
        tick(account)
        assert account.published() == {}
        assert account.resizes() == []
        [(name, counter, reason)] = account.report.failures
        assert (name, counter) == ("transcription", Counter.DOCUMENT_INVALID)
        assert "active color" in reason


class TestScaling:
    def test_a_bootstrap_starts_the_active_color_and_leaves_the_idle_one_at_zero(self, account, pair):
        workload = pair(visible=5)
        bootstrap(workload, account.ports, Trigger.ALARM, account.report, plenty)
        assert account.resizes() == [(workload.fleet, 1)]

    def test_an_active_color_at_zero_is_started_though_the_idle_one_runs(self, account, pair):
        """It may be draining, or of the wrong version: only the active one counts as what serves."""
        workload = pair(visible=5, idle=2)
        bootstrap(workload, account.ports, Trigger.ALARM, account.report, plenty)
        assert account.resizes() == [(workload.fleet, 1)]

    def test_an_unreadable_idle_color_holds_no_bootstrap(self, account, pair):
        workload = pair(visible=5)
        account.fleets.failing[workload.idle.fleet] = "AccessDenied"
        bootstrap(workload, account.ports, Trigger.ALARM, account.report, plenty)
        assert account.resizes() == [(workload.fleet, 1)]

    def test_a_shutdown_lowers_the_active_color_and_leaves_the_idle_one_as_it_is(self, account, pair):
        workload = pair(desired=2, idle=3)
        account.publish_idle_minutes(workload)
        shutdown(workload, [minutes_ago(1)], account.ports, Trigger.ALARM, account.report, plenty)
        assert account.resizes() == [(workload.fleet, 0)]

    def test_nothing_lowers_the_active_color_while_the_idle_one_drains(self, account, pair):
        workload = pair(desired=2, idle=3)
        account.publish_idle_minutes(workload)
        account.registry.draining["transcription"] = workload.idle.color
        workload = replace(workload, draining=workload.idle.color)
        shutdown(workload, [minutes_ago(1)], account.ports, Trigger.ALARM, account.report, plenty)
        assert account.resizes() == []
        held = account.report.decisions[-1][0]
        assert (held.reason, f"{workload.idle.color} drains" in held.detail) == (Reason.HELD, True)

    def test_a_message_that_the_idle_color_holds_in_flight_prevents_the_shutdown(self, account, pair):
        workload = pair(desired=2, idle=1, in_flight=1)
        account.publish_idle_minutes(workload)
        shutdown(workload, [minutes_ago(1)], account.ports, Trigger.ALARM, account.report, plenty)
        assert account.resizes() == []
        assert account.report.decisions[-1][0].reason is Reason.NOT_EMPTY

    def test_a_tick_that_has_missed_alarms_to_make_up_for_never_touches_the_idle_color(self, account, pair):
        workload = pair(visible=9, desired=0, idle=2)
        for _ in range(5):
            tick(account)
            account.clock.advance(seconds=60)
            account.fleets.settle()
        assert {fleet for fleet, _ in account.resizes()} == {workload.fleet}

    def test_the_color_is_read_anew_before_the_act(self, account, pair):
        workload = pair(Color.BLUE, visible=5)
        account.registry.colors["transcription"] = "green"
        fresh = account.registry.one("transcription", plenty)
        assert fresh.fleet == workload.idle.fleet
        account.registry.colors["transcription"] = None
        with pytest.raises(ConfigError, match="active color"):
            account.registry.one("transcription", plenty)


def test_two_readings_are_one_only_where_both_are_known(account):
    workload = account.add_workload(blue_green(), desired=2, idle=3)
    from sluice.usecases.observe import observe

    seen = observe(account.ports, [workload], plenty)["transcription"]
    assert seen.consuming == replace(seen.capacity, running=5)
    assert replace(seen, idle=None).consuming == seen.capacity
    account.fleets.failing[workload.idle.fleet] = "throttled"
    assert observe(account.ports, [workload], plenty)["transcription"].consuming.reason == "throttled"
    account.fleets.failing[workload.fleet] = "denied"
