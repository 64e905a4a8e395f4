"""What each source's answers say in the timeline of a workload."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice.core.model import AutoScalingGroup
from sluice.document.schedule_lines import parsed
from sluice_operator.aws import timeline_events
from sluice_operator.aws.timeline_events import log_entry
from sluice_operator.core.timeline import Effect, Source, folded
from tests.support.builders import GROUP, SERVICE, ecs_workload, workload

AT = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
NAME = "transcription"


def line(function="publish_backlog", **fields):
    stamped = {"@timestamp": "2026-01-15 12:00:00.000", "@log": f"123456789012:/aws/lambda/sluice/{function}"}
    return log_entry(stamped | fields, workload(NAME))


def paged(**answers):
    """A client that answers these operations with one page each."""

    class Client:
        def get_paginator(self, operation):
            return type("Paginator", (), {"paginate": lambda *_, **__: [answers[operation]]})()

        def __getattr__(self, operation):
            return lambda **_: answers[operation]

    return lambda _: Client()


class TestLogLines:
    def test_a_tick_has_its_numbers_and_not_the_workloads_name(self):
        entry = line(
            workload=NAME, message="transcription: 4 per instance", visible="8", running="2", mode="active"
        )
        assert (entry.source, entry.text) == (Source.TICK, "4 per instance (8 visible, 2 running)")
        assert entry.numbers == {"visible": 8.0, "running": 2.0}
        assert entry.effect is Effect.NONE

    def test_a_tick_of_a_paused_workload_says_why_nothing_is_decided(self):
        entry = line(workload=NAME, message="transcription: 4 per instance", mode="paused")
        assert entry.effect is Effect.HELD
        assert entry.text == "mode paused, so nothing is decided; 4 per instance"

    @pytest.mark.parametrize(
        ("kind", "outcome", "effect", "wrong"),
        [
            ("bootstrap", "acted", Effect.RESIZED, False),
            ("shutdown", "held", Effect.HELD, False),
            ("scale", "failed", Effect.HELD, True),
            ("launch", "held", Effect.HELD, False),
            ("bootstrap", "observed", Effect.HELD, False),
            ("retune", "acted", Effect.NONE, False),
            ("retune", "held", Effect.NONE, False),
            ("cap", "held", Effect.NONE, False),
        ],
    )
    def test_a_decision_says_whether_it_changed_the_size(self, kind, outcome, effect, wrong):
        entry = line(workload=NAME, message="...", decision=kind, outcome=outcome, reason="r")
        assert (entry.source, entry.effect, entry.wrong) == (Source.DECISION, effect, wrong)
        assert (entry.repeats is None) == (outcome == "acted")

    def test_mode_observe_is_said(self):
        entry = line(
            workload=NAME, message="would be bootstrap 0 -> 1", decision="bootstrap", outcome="observed"
        )
        assert entry.text == "would be bootstrap 0 -> 1; mode observe, so it did not act"

    def test_a_failure_names_its_counter(self):
        entry = line(workload=NAME, message="GetQueueAttributes: no", failure="ObservationFailed")
        assert (entry.source, entry.effect, entry.wrong) == (Source.FAILURE, Effect.HELD, True)
        assert entry.text == "ObservationFailed: GetQueueAttributes: no"

    @pytest.mark.parametrize("failure", ["RetuneFailed", "StateRebuilt", "GuardReleased"])
    def test_a_failure_that_keeps_no_size_is_no_reason(self, failure):
        assert line(workload=NAME, message="...", failure=failure).effect is Effect.NONE

    @pytest.mark.parametrize(
        "fields",
        [
            {"message": "StaleTick: scheduled 200 s ago"},
            {"message": "the registry was never read", "failure": "InvocationFailed"},
            {"message": "no time", "failure": "ShardFailed", "workload": "a to z at 12:00"},
            {"message": "no time", "failure": "TickFailed", "workload": "transcription at 12:00:10"},
            {"message": "a defect", "failure": "PublishFailed", "workload": "every workload"},
            {},
        ],
        ids=["stale tick", "invocation", "shard", "slice of one", "every workload", "timed out"],
    )
    def test_what_kept_the_plane_from_serving_the_workload_is_an_entry(self, fields):
        entry = line(**fields)
        assert (entry.source, entry.wrong, entry.effect) == (Source.PLANE, True, Effect.NONE)
        assert entry.text.startswith("publish_backlog: ")

    @pytest.mark.parametrize(
        ("function", "fields"),
        [
            ("publish_backlog", {"failure": "ShardFailed", "workload": "a to b at 12:00", "message": "..."}),
            ("bootstrap", {"failure": "InvocationFailed", "message": "SetDesiredCapacity of group other"}),
        ],
        ids=["another slice", "another workload's alarm"],
    )
    def test_what_concerns_other_workloads_is_left_out(self, function, fields):
        assert line(function, **fields) is None

    def test_a_failed_bootstrap_that_names_the_fleet_is_an_entry(self):
        message = "SetDesiredCapacity of Auto Scaling group transcription: AWS answered AccessDenied"
        entry = line("bootstrap", failure="InvocationFailed", message=message)
        assert entry.text == f"bootstrap: InvocationFailed: {message}"


class TestActivities:
    def test_why_a_service_was_not_scaled_is_a_hold_with_the_limit(self):
        activity = {
            "StartTime": AT,
            "Description": "Attempting to scale due to alarm triggered",
            "Cause": "monitor alarm in state ALARM",
            "StatusCode": "Failed",
            "NotScaledReasons": [{"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 5}],
        }
        clients = paged(describe_scaling_activities={"ScalingActivities": [activity]})
        [entry] = timeline_events.scaling_activities(clients, ecs_workload(), AT)
        assert (entry.effect, entry.wrong) == (Effect.HELD, False)
        assert "which changed nothing: already at its maximum of 5: monitor alarm" in entry.text

    def test_a_reason_that_is_not_known_yet_is_shown_by_its_code(self):
        activity = {
            "StartTime": AT,
            "Description": "Attempting",
            "StatusCode": "Failed",
            "NotScaledReasons": [{"Code": "TooWindy"}],
        }
        clients = paged(describe_scaling_activities={"ScalingActivities": [activity]})
        [entry] = timeline_events.scaling_activities(clients, ecs_workload(), AT)
        assert entry.text == "Attempting, which changed nothing: TooWindy"

    def test_a_launch_that_failed_is_wrong_and_says_why(self):
        activity = {
            "StartTime": AT,
            "Description": "Launching a new EC2 instance",
            "Cause": "At 2026-01-15T12:00:00Z a user request.  At 2026-01-15T12:00:01Z an instance",
            "StatusCode": "Failed",
            "StatusMessage": "We do not have sufficient capacity.",
        }
        clients = paged(describe_scaling_activities={"Activities": [activity]})
        [entry] = timeline_events.scaling_activities(clients, workload(), AT)
        assert (entry.effect, entry.wrong) == (Effect.HELD, True)
        assert entry.text == (
            "Launching a new EC2 instance Failed: We do not have sufficient capacity: a user request"
        )

    def test_an_old_activity_in_progress_which_aws_lists_first_hides_no_newer_one(self):
        def activity(started, status):
            return {"StartTime": started, "Description": status, "StatusCode": status}

        listed = [
            activity(AT - timedelta(hours=9), "WaitingForInstanceWarmup"),
            activity(AT, "Successful"),
            activity(AT - timedelta(hours=8), "Successful"),
        ]
        clients = paged(describe_scaling_activities={"Activities": listed})
        assert [entry.text for entry in timeline_events.scaling_activities(clients, workload(), AT)] == [
            "Successful"
        ]


SCHEDULES = (
    parsed("office-hours,MON-FRI,13:00,Europe/Berlin,3,5"),
    parsed("night,SUN-SAT,20:00,Europe/Berlin,0,5"),
)
"""The first one starts at noon UTC."""


class TestSchedules:
    def texts(self, served, at=AT, **described):
        activity = {"StartTime": at, "StatusCode": "Successful"} | described
        is_group = isinstance(served.fleet, AutoScalingGroup)
        clients = paged(
            describe_scaling_activities={"Activities" if is_group else "ScalingActivities": [activity]}
        )
        own = replace(served, schedules=SCHEDULES)
        [entry] = timeline_events.scaling_activities(clients, own, AT - timedelta(hours=1))
        return entry.text, entry.effect

    def of_service(self, name="sluice-queue-proc-office-hours", **changes):
        return self.texts(
            ecs_workload(),
            Description="Setting min capacity to 3 and max capacity to 5",
            Cause=f"scheduled action name {name} was triggered",
            **changes,
        )

    def of_group(self, bounds="min: 3, max: 5, desired: 3", at=AT + timedelta(seconds=40)):
        return self.texts(
            workload(),
            at,
            Description="Launching a new EC2 instance: i-1",
            Cause="At 2026-01-15T12:00:09Z a scheduled action update of AutoScalingGroup constraints to "
            f"{bounds} changing the desired capacity from 1 to 3.  At 2026-01-15T12:00:09Z the scheduled "
            "action sluice-x-AsgSchedule1-1X executed. Setting desired capacity from 1 to 3.",
        )

    def test_the_start_of_one_reads_as_what_it_set(self):
        assert self.of_service() == ("schedule office-hours set minimum 3, maximum 5", Effect.NONE)
        assert self.of_group() == (
            "Launching a new EC2 instance: i-1: schedule office-hours set minimum 3, maximum 5",
            Effect.RESIZED,
        )

    def test_one_that_failed_says_why(self):
        failed = {"StatusCode": "Failed", "StatusMessage": "Maximum capacity is below minimum capacity"}
        text, effect = self.of_service(**failed)
        assert text == (
            "Setting min capacity to 3 and max capacity to 5 Failed: Maximum capacity is below minimum "
            "capacity: scheduled action name sluice-queue-proc-office-hours was triggered"
        )
        assert effect is Effect.HELD

    def test_an_action_of_somebody_else_keeps_its_name(self):
        assert self.of_service("batch")[0].endswith("scheduled action name batch was triggered")
        assert "a scheduled action update" in self.of_group("min: 2, max: 5, desired: 3")[0]
        assert "a scheduled action update" in self.of_group(at=AT + timedelta(minutes=11))[0]


class TestDeployments:
    def test_an_instance_refresh_that_failed_is_wrong_and_says_why(self):
        refresh = {
            "StartTime": AT,
            "Status": "Failed",
            "PercentageComplete": 40,
            "StatusReason": "Warmup time exceeded",
        }
        clients = paged(describe_instance_refreshes={"InstanceRefreshes": [refresh]})
        [entry] = timeline_events.deployments(clients, GROUP, AT)
        assert entry.wrong
        assert entry.text == (
            "an instance refresh began; it is Failed, 40 % of the instances: Warmup time exceeded"
        )

    def test_a_deployment_has_the_tasks_that_run_of_those_desired(self):
        deployment = {
            "createdAt": AT,
            "status": "PRIMARY",
            "rolloutState": "IN_PROGRESS",
            "runningCount": 1,
            "desiredCount": 4,
        }
        clients = paged(describe_services={"services": [{"deployments": [deployment]}]})
        [entry] = timeline_events.deployments(clients, SERVICE, AT)
        assert entry.text == "a deployment began; it is PRIMARY, IN_PROGRESS, 1 of 4 tasks run"
        assert not entry.wrong


def service_events(*events):
    """The entries of these events, (seconds after AT, message), which ECS lists newest first."""
    listed = [
        {"id": str(number), "createdAt": AT + timedelta(seconds=after_s), "message": message}
        for number, (after_s, message) in enumerate(events)
    ]
    clients = paged(describe_services={"services": [{"deployments": [], "events": listed[::-1]}]})
    return list(timeline_events.deployments(clients, SERVICE, AT))


UNABLE = (
    "(service jobs) was unable to place a task because no container instance met all of its requirements. "
    "The closest matching container-instance 0123456789abcdef0123456789abcdef has insufficient memory."
)


class TestServiceEvents:
    def test_why_no_task_starts_is_wrong_and_holds_the_size(self):
        [entry] = service_events((5, UNABLE))
        assert (entry.source, entry.effect, entry.wrong) == (Source.SERVICE, Effect.HELD, True)
        assert (entry.at, entry.text) == (AT + timedelta(seconds=5), UNABLE.removeprefix("(service jobs) "))

    @pytest.mark.parametrize(
        "message",
        [
            "(service jobs) has reached a steady state.",
            "(service jobs) has started 2 tasks: (task 0123) (task 4567).",
            "(service jobs, taskSet ecs-svc/1) has started 1 tasks: (task 0123).",
            "(service jobs) has stopped 1 running tasks: (task 0123).",
            "(service jobs) has begun draining connections on 1 tasks.",
            "(service jobs) deregistered 1 targets in (target-group arn)",
            "(service jobs) (deployment ecs-svc/1) deployment completed.",
        ],
    )
    def test_routine_is_left_out(self, message):
        assert service_events((1, message)) == []

    @pytest.mark.parametrize(
        ("message", "wrong"),
        [
            ("(service jobs) (task 01) failed container health checks.", True),
            ("(service jobs) rolling back to deployment ecs-svc/1.", True),
            ("(service jobs) (deployment ecs-svc/2) deployment failed: tasks failed to start.", True),
            ("(service jobs) something new happened.", False),
        ],
    )
    def test_what_is_no_routine_is_shown(self, message, wrong):
        [entry] = service_events((1, message))
        assert (entry.text, entry.wrong) == (message.removeprefix("(service jobs) "), wrong)

    def test_events_from_before_are_left_out_and_alike_ones_fold(self):
        other = UNABLE.replace("0123456789abcdef", "f" * 16)
        entries = service_events((-1, UNABLE), (1, UNABLE), (2, other))
        [entry] = folded(entries)
        assert (entry.times, entry.at, entry.until) == (2, *(AT + timedelta(seconds=each) for each in (1, 2)))
