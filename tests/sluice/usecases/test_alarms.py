from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.core.model import Decision, DynamicTarget, Kind, Limit, Mode, Reason, Trigger, Workload
from sluice.core.target import initial_target
from sluice.errors import CapacityError, ConfigError, TransientError
from sluice.ports import Counter, Outcome
from sluice.usecases.alarms import on_bootstrap_alarm, on_shutdown_alarm
from tests.support.builders import (
    alarm,
    capacity,
    dynamic_workload,
    ecs_workload,
    workload,
)
from tests.support.fakes import FakeAccount


def bootstrap(account: FakeAccount, served: Workload | None = None, state: str = "ALARM") -> None:
    event = alarm("bootstrap", served.name if served else "transcription", state)
    on_bootstrap_alarm(event, account.ports, account.report, account.remaining_s)


def shutdown(account: FakeAccount, served: Workload | None = None, state: str = "ALARM") -> None:
    event = alarm("shutdown", served.name if served else "transcription", state)
    on_shutdown_alarm(event, account.ports, account.report, account.remaining_s)


def logged(account: FakeAccount) -> tuple[Decision, Outcome]:
    [(decision, outcome)] = account.report.decisions
    assert isinstance(decision, Decision)
    return decision, outcome


class TestBothAlarms:
    @pytest.mark.parametrize("handle", [bootstrap, shutdown])
    @pytest.mark.parametrize("state", ["OK", "INSUFFICIENT_DATA"])
    def test_any_other_state_is_counted_and_ignored_without_a_call(
        self, account: FakeAccount, handle: object, state: str
    ) -> None:
        account.add_workload(workload(), visible=5)
        handle(account, state=state)
        assert account.calls.made == []
        assert account.report.counts == {Counter.EVENT_IGNORED: 1}

    @pytest.mark.parametrize("kind", ["bootstrap", "shutdown"])
    def test_an_alarm_that_the_document_does_not_name_is_refused(
        self, account: FakeAccount, kind: str
    ) -> None:
        account.add_workload(workload(), visible=5)
        stray = alarm(kind, arn="arn:aws:cloudwatch:eu-west-1:123456789012:alarm:sluice-stray")
        handle = on_bootstrap_alarm if kind == "bootstrap" else on_shutdown_alarm
        with pytest.raises(ConfigError, match="sluice-stray says it belongs to workload transcription"):
            handle(stray, account.ports, account.report, account.remaining_s)
        assert account.resizes() == []

    def test_the_other_functions_alarm_is_also_a_stray_one(self, account: FakeAccount) -> None:
        account.add_workload(workload(), visible=5)
        with pytest.raises(ConfigError, match=r"document names .*sluice-transcription-bootstrap"):
            on_bootstrap_alarm(alarm("shutdown"), account.ports, account.report, account.remaining_s)

    @pytest.mark.parametrize("handle", [bootstrap, shutdown])
    def test_an_unknown_workload_is_refused(self, account: FakeAccount, handle: object) -> None:
        with pytest.raises(ConfigError, match="no workload transcription is registered"):
            handle(account)

    @pytest.mark.parametrize("handle", [bootstrap, shutdown])
    def test_a_reading_that_failed_is_logged_and_fails_the_invocation_so_that_it_is_retried(
        self, account: FakeAccount, handle: object
    ) -> None:
        served = account.add_workload(workload(), visible=5)
        account.queues.failing[served.queue_url] = "GetQueueAttributes was throttled"
        with pytest.raises(
            TransientError, match="of transcription is held: GetQueueAttributes was throttled"
        ):
            handle(account)
        decision, outcome = logged(account)
        assert (decision.reason, outcome) == (Reason.UNKNOWN_READING, Outcome.HELD)
        assert account.resizes() == []

    def test_a_refused_resize_fails_the_invocation(self, account: FakeAccount) -> None:
        account.add_workload(workload(), visible=5)
        account.fleets.refusing = CapacityError("no room")
        with pytest.raises(CapacityError):
            bootstrap(account)


class TestBootstrap:
    @pytest.mark.parametrize(("size", "visible", "expected"), [(1, 30, 1), (3, 1, 3), ("backlog", 30, 4)])
    def test_the_alarm_bootstraps_the_fleet_at_its_configured_size(
        self, account: FakeAccount, size: int | str, visible: int, expected: int
    ) -> None:
        served = account.add_workload(workload(bootstrap=size), visible=visible)
        bootstrap(account)
        assert account.desired(served) == expected
        decision, outcome = logged(account)
        assert (decision.kind, decision.trigger, outcome) == (Kind.BOOTSTRAP, Trigger.ALARM, Outcome.ACTED)

    def test_an_ecs_service_is_bootstrapped_the_same_way(self, account: FakeAccount) -> None:
        served = account.add_workload(ecs_workload(), visible=1)
        bootstrap(account, served)
        assert account.resizes() == [(served.fleet, 1)]

    def test_a_dynamic_target_sizes_the_bootstrap_by_its_fallback(self, account: FakeAccount) -> None:
        served = replace(dynamic_workload(fallback_messages_per_instance=10), bootstrap_instances=None)
        account.add_workload(served, visible=21)
        bootstrap(account)
        assert account.desired(served) == 3
        assert isinstance(served.target, DynamicTarget)
        assert initial_target(served) == 10

    @pytest.mark.parametrize("desired", [1, 5])
    def test_a_running_fleet_is_never_bootstrapped(self, account: FakeAccount, desired: int) -> None:
        served = account.add_workload(workload(bootstrap=3), visible=50, desired=desired)
        bootstrap(account)
        assert account.desired(served) == desired
        assert logged(account)[0].reason is Reason.AWAKE

    def test_a_late_alarm_over_an_empty_queue_does_nothing(self, account: FakeAccount) -> None:
        account.add_workload(workload())
        bootstrap(account)
        assert account.resizes() == []
        assert logged(account)[0].reason is Reason.NO_WORK

    def test_a_suspended_launch_holds_with_its_reason(self, account: FakeAccount) -> None:
        served = account.add_workload(workload(), visible=5)
        account.fleets.capacities[served.fleet] = capacity(scale_out_blocked_by=("Launch is suspended",))
        bootstrap(account)
        decision, outcome = logged(account)
        assert (decision.reason, decision.detail, outcome) == (
            Reason.HELD,
            "Launch is suspended",
            Outcome.HELD,
        )

    def test_observe_logs_and_does_not_act(self, account: FakeAccount) -> None:
        account.add_workload(workload(mode=Mode.OBSERVE), visible=5)
        bootstrap(account)
        decision, outcome = logged(account)
        assert (decision.desired, outcome, account.resizes()) == (1, Outcome.OBSERVED, [])

    def test_paused_holds(self, account: FakeAccount) -> None:
        account.add_workload(workload(mode=Mode.PAUSED), visible=5)
        bootstrap(account)
        assert (logged(account)[0].reason, account.resizes()) == (Reason.PAUSED, [])

    def test_one_alarm_costs_one_read_of_the_document_the_queue_the_fleet_and_the_pause(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(workload(), visible=5)
        bootstrap(account)
        assert [name for name, _ in account.calls.made] == [
            "registry.one",
            "queues.read",
            "fleets.read",
            "states.read",
            "fleets.set_desired",
        ]
        assert account.calls.made[0] == ("registry.one", served.name)


class TestShutdown:
    @pytest.mark.parametrize("minimum", [0, 2])
    def test_a_proven_empty_queue_sets_the_fleet_to_its_minimum(
        self, account: FakeAccount, minimum: int
    ) -> None:
        served = account.add_workload(workload(min_instances=minimum, bootstrap=2), desired=4)
        account.publish_idle_minutes(served)
        shutdown(account)
        assert account.desired(served) == minimum
        decision, outcome = logged(account)
        assert (decision.kind, decision.trigger, outcome) == (Kind.SHUTDOWN, Trigger.ALARM, Outcome.ACTED)

    @pytest.mark.parametrize("waiting", ["visible", "in_flight", "delayed"])
    def test_a_late_alarm_over_a_queue_that_holds_anything_does_nothing(
        self, account: FakeAccount, waiting: str
    ) -> None:
        served = account.add_workload(workload(), desired=2)
        account.queues.change(served.queue_url, **{waiting: 1})
        account.publish_idle_minutes(served)
        shutdown(account)
        assert (logged(account)[0].reason, account.resizes()) == (Reason.NOT_EMPTY, [])
        assert account.calls.named("metrics.read") == []

    def test_a_fleet_already_at_its_minimum_is_left_alone(self, account: FakeAccount) -> None:
        account.add_workload(workload(min_instances=1), desired=1)
        shutdown(account)
        assert (logged(account)[0].reason, account.resizes()) == (Reason.AT_MINIMUM, [])

    def test_missing_data_is_no_proof(self, account: FakeAccount) -> None:
        account.add_workload(workload(), desired=2)
        shutdown(account)
        assert (logged(account)[0].reason, account.resizes()) == (Reason.NOT_PROVEN, [])

    def test_a_proof_that_could_not_be_read_holds_and_fails_the_invocation(
        self, account: FakeAccount
    ) -> None:
        account.add_workload(workload(), desired=2)
        account.metrics.unreadable["BacklogPerInstance"] = "GetMetricData was throttled"
        with pytest.raises(TransientError, match="GetMetricData was throttled"):
            shutdown(account)
        assert account.resizes() == []

    @pytest.mark.parametrize("blocked_by", ["a deployment is rolling", "Terminate is suspended"])
    def test_what_holds_a_direction_holds_the_shutdown_and_is_logged(
        self, account: FakeAccount, blocked_by: str
    ) -> None:
        served = account.add_workload(workload(), desired=2)
        account.fleets.capacities[served.fleet] = capacity(2, scale_in_blocked_by=(blocked_by,))
        account.publish_idle_minutes(served)
        shutdown(account)
        decision, _ = logged(account)
        assert (decision.reason, decision.detail, account.resizes()) == (Reason.HELD, blocked_by, [])

    def test_a_deployment_that_never_ends_is_an_error(self, account: FakeAccount) -> None:
        served = account.add_workload(workload(), desired=2)
        account.fleets.capacities[served.fleet] = capacity(
            2,
            scale_in_blocked_by=("a deployment is rolling",),
            deploying_since=account.clock() - timedelta(minutes=90),
        )
        account.publish_idle_minutes(served)
        shutdown(account)
        assert (logged(account)[0].reason, account.resizes()) == (Reason.DEPLOYMENT_STUCK, [])
        [(name, counter, reason)] = account.report.failures
        assert (name, counter) == (served.name, Counter.DEPLOYMENT_STUCK)
        assert reason.endswith("since 2026-01-15 10:30 UTC, for 89 min")

    def test_a_difference_between_the_documents_and_the_fleets_bounds_is_logged(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(workload(), desired=2)
        account.fleets.capacities[served.fleet] = capacity(2, bounds=workload(max_instances=9).bounds)
        account.publish_idle_minutes(served)
        shutdown(account)
        assert logged(account)[0].limits == (Limit.BOUNDS_DIFFER,)

    def test_observe_logs_and_does_not_act(self, account: FakeAccount) -> None:
        served = account.add_workload(workload(mode=Mode.OBSERVE), desired=2)
        account.publish_idle_minutes(served)
        shutdown(account)
        decision, outcome = logged(account)
        assert (decision.desired, outcome, account.resizes()) == (0, Outcome.OBSERVED, [])

    def test_a_message_that_arrives_before_a_shutdown_bootstraps_the_fleet_at_once(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(workload(), desired=2)
        account.publish_idle_minutes(served)
        arrived = False

        def a_message_arrives_after_the_proof() -> None:
            nonlocal arrived
            if account.calls.named("metrics.read") and not arrived:
                arrived = True
                account.queues.change(served.queue_url, visible=1)

        account.calls.between = a_message_arrives_after_the_proof
        shutdown(account)
        assert account.resizes() == [(served.fleet, 0), (served.fleet, 1)]
        kinds = [(decision.kind, decision.trigger, outcome) for decision, outcome in account.report.decisions]
        assert kinds == [
            (Kind.SHUTDOWN, Trigger.ALARM, Outcome.ACTED),
            (Kind.BOOTSTRAP, Trigger.ALARM, Outcome.ACTED),
        ]

    def test_a_failed_read_after_the_action_is_logged_and_fails_the_invocation(
        self, account: FakeAccount
    ) -> None:
        served = account.add_workload(workload(), desired=2)
        account.publish_idle_minutes(served)

        def the_queue_breaks_after_the_act() -> None:
            if account.resizes():
                account.queues.failing[served.queue_url] = "throttled"

        account.calls.between = the_queue_breaks_after_the_act
        with pytest.raises(TransientError, match="bootstrap of transcription is held: throttled"):
            shutdown(account)
        assert account.desired(served) == 0

    def test_a_quiet_shutdown_logs_one_decision(self, account: FakeAccount) -> None:
        served = account.add_workload(workload(), desired=2)
        account.publish_idle_minutes(served)
        shutdown(account)
        shutdown(account)  # a duplicate
        assert [decision.reason for decision, _ in account.report.decisions] == [
            Reason.PROVEN_EMPTY,
            Reason.AT_MINIMUM,
        ]
        assert len(account.resizes()) == 1


def test_a_decision_that_aws_refuses_is_logged_with_its_observation(account: FakeAccount) -> None:
    account.add_workload(workload(), visible=5)
    account.fleets.refusing = ConfigError("AccessDenied")
    with pytest.raises(ConfigError, match="AccessDenied"):
        bootstrap(account)
    decision, outcome = logged(account)
    assert (decision.reason, decision.desired, outcome) == (Reason.WORK_WAITS, 1, Outcome.FAILED)


def test_lambdas_retry_bootstraps_the_fleet_if_the_read_after_a_shutdown_failed(
    account: FakeAccount,
) -> None:
    served = account.add_workload(
        workload(), visible=3, desired=0
    )  # shut down by the attempt before, work came since
    shutdown(account)
    assert account.desired(served) == 1
    assert [decision.kind for decision, _ in account.report.decisions] == [Kind.SHUTDOWN, Kind.BOOTSTRAP]
