"""`sluice events` prints events that the deployed handlers accept and that match events/."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sluice import wiring
from sluice_cli.events import KINDS
from sluice_sim import sample_events
from tests.functions.conftest import NOON, Plane, plane, sample
from tests.sluice.aws import account
from tests.support.builders import (
    deadline_document,
    document,
    dynamic_section,
    ecs_document,
    stack_id,
)
from tests.templates import stacks

__all__ = ["plane"]
NOW = "2026-01-15T12:00:30Z"
WORKLOADS = {"asg": "transcription", "ecs": "queue-proc"}


@pytest.fixture
def event(sluice: Any) -> Callable[..., Any]:
    """The event that the command prints."""

    def event(*arguments: object) -> Any:
        answer = sluice("events", *arguments)
        assert answer.exit_code == 0, answer.stderr
        return json.loads(answer.stdout)

    return event


class TestSampleEvents:
    @pytest.mark.parametrize("fleet", ["asg", "ecs"])
    @pytest.mark.parametrize("kind", ["bootstrap", "shutdown"])
    def test_alarms_are_what_the_command_prints(self, event: Any, kind: str, fleet: str) -> None:
        requested = (f"{kind}-alarm", WORKLOADS[fleet], "--at", NOW)
        assert event(*requested) == sample(f"{kind}-{fleet}-direct")
        assert event(*requested, "--event-bus") == sample(f"{kind}-{fleet}-eventbridge")

    def test_schedules_are_what_the_command_prints(self, event: Any) -> None:
        assert event("schedule", "transcription", "--at", NOW) == sample("schedule")
        assert event("send-test-messages", "transcription", "--at", NOW) == sample("send-test-messages")

    def test_the_first_step_of_a_switch_is_what_the_command_prints(self, event: Any) -> None:
        printed = event("switch", "compiler-aarch64-prod")
        assert printed == sample("switch") | {"workload": "compiler-aarch64-prod"}

    def test_a_workload_with_one_fleet_has_no_event_of_a_switch(self, sluice: Any) -> None:
        answer = sluice("events", "switch", "transcription")
        assert answer.exit_code == 2
        assert "nothing to switch to" in answer.stderr

    def test_a_stack_status_is_what_the_command_fills_in(self) -> None:
        assert sample_events.stack_status(stack_id("transcription"), NOON) == sample("stack-status")

    def test_a_shard_is_what_the_command_fills_in(self) -> None:
        documents = {
            WORKLOADS[fleet]: stacks.workload(fleet).resources["Registration"].properties["Value"]
            for fleet in ("asg", "ecs")
        }
        at = NOON + timedelta(seconds=4.012)
        made = sample_events.shard(documents, at, region=stacks.REGION, account=stacks.ACCOUNT)
        assert made == sample("shard")

    def test_a_tick_below_a_minute_is_what_the_command_fills_in(self) -> None:
        stack = stacks.workload(
            "asg", Scaling="deadline", AcceptableLatencySeconds="300", ProcessingSeconds="5"
        )
        documents = {"transcription": stack.resources["Registration"].properties["Value"]}
        at = NOON + timedelta(seconds=34.2)
        made = sample_events.deadline_tick(documents, at, region=stacks.REGION, account=stacks.ACCOUNT)
        assert made == sample("deadline-tick")


class TestDeployedHandlers:
    """Each handler is invoked with the event printed for a document that is registered in the account."""

    @pytest.fixture
    def documents(self, tmp_path: Path) -> dict[str, Path]:
        bodies = {"asg": document(target=dynamic_section()), "ecs": ecs_document(target=dynamic_section())}
        for fleet, body in bodies.items():
            (tmp_path / f"{fleet}.json").write_text(json.dumps(body))
        return {fleet: tmp_path / f"{fleet}.json" for fleet in bodies}

    @pytest.mark.parametrize("on_the_bus", [(), ("--event-bus",)], ids=["direct", "event bus"])
    @pytest.mark.parametrize("fleet", ["asg", "ecs"])
    def test_the_bootstrap_alarm_starts_the_fleet(
        self, event: Any, plane: Plane, documents: Any, fleet: str, on_the_bus: tuple[str, ...]
    ) -> None:
        account.send(plane.queues[fleet], 3)
        plane.invoke("bootstrap", event("bootstrap-alarm", documents[fleet], *on_the_bus))
        assert plane.desired(fleet) == 1

    @pytest.mark.parametrize("fleet", ["asg", "ecs"])
    def test_the_shutdown_alarm_returns_the_fleet_to_its_minimum(
        self, event: Any, plane: Plane, documents: Any, fleet: str
    ) -> None:
        plane.ask_for(fleet, 2)
        plane.idle(fleet, minutes=6)
        plane.invoke("shutdown", event("shutdown-alarm", documents[fleet]))
        assert plane.desired(fleet) == 0

    def test_the_schedule_publishes(self, event: Any, plane: Plane, documents: Any) -> None:
        plane.invoke("publish_backlog", event("schedule", documents["asg"]))
        assert list(plane.points("asg")) == [NOON]

    def test_a_shard_publishes_only_its_workload(
        self, event: Any, plane: Plane, documents: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SLUICE_SHARD_QUEUE_URL", account.create_queue("shards"))
        wiring.cold_start()
        answer = plane.invoke("publish_backlog", event("shard", documents["ecs"]))
        assert answer == {"batchItemFailures": []}
        assert (list(plane.points("ecs")), list(plane.points("asg"))) == ([NOON], [])

    def test_a_tick_below_a_minute_scales_the_workload(
        self, event: Any, plane: Plane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "mine.json").write_text(json.dumps(deadline_document()))
        account.register(deadline_document())
        account.send(plane.queues["asg"], 3)
        monkeypatch.setenv("SLUICE_TICK_QUEUE_URL", account.create_queue("ticks"))
        wiring.cold_start()
        plane.invoke("deadline_tick", event("deadline-tick", tmp_path / "mine.json"))
        assert plane.desired("asg") == 1

    def test_a_stack_status_retunes_the_workload(self, event: Any, plane: Plane, documents: Any) -> None:
        plane.processed("ecs", 100)
        plane.invoke("retune_target", event("stack", documents["ecs"]))
        assert plane.target("ecs") == 6

    def test_the_requested_number_of_test_messages_is_sent(
        self, event: Any, plane: Plane, documents: Any
    ) -> None:
        requested = event("send-test-messages", documents["asg"], "--messages", 3, "--duration-s", 1.5)
        plane.invoke("send_test_messages", requested)
        client = account.client("sqs")
        received = client.receive_message(QueueUrl=plane.queues["asg"], MaxNumberOfMessages=10)["Messages"]
        assert [json.loads(message["Body"])["duration_s"] for message in received] == [1.5] * 3


class TestPrintedEvent:
    def test_the_time_of_an_event_is_now_by_default(self, event: Any) -> None:
        message = datetime.fromisoformat(event("schedule", "transcription")["scheduled_time"])
        assert timedelta() <= datetime.now(UTC) - message < timedelta(minutes=2)

    def test_a_time_without_an_offset_is_utc_and_others_are_converted(self, event: Any) -> None:
        for at in ("2026-01-15T12:00:30", "2026-01-15T14:00:59+02:00"):
            assert event("schedule", "transcription", "--at", at) == sample("schedule")

    def test_it_has_the_documents_account_region_and_alarms(self, event: Any, tmp_path: Path) -> None:
        text = json.dumps(document(), indent=1).replace("123456789012", "210987654321")
        (tmp_path / "mine.json").write_text(text.replace("eu-west-1", "us-east-2"))
        printed = event("bootstrap-alarm", tmp_path / "mine.json")
        assert (printed["accountId"], printed["region"]) == ("210987654321", "us-east-2")
        assert (
            printed["alarmArn"]
            == json.loads(text.replace("eu-west-1", "us-east-2"))["alarm_arns"]["bootstrap"]
        )
        [record] = event("shard", tmp_path / "mine.json")["Records"]
        assert record["eventSourceARN"].startswith("arn:aws:sqs:us-east-2:210987654321:")

    def test_a_shutdown_alarm_has_as_many_data_points_as_idle_minutes(
        self, event: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "mine.json").write_text(json.dumps(document(idle_minutes=30)))
        state = event("shutdown-alarm", tmp_path / "mine.json")["alarmData"]["state"]
        assert json.loads(state["reasonData"])["recentDatapoints"] == [0.0] * 30

    def test_the_help_names_every_kind_and_its_function(self, sluice: Any) -> None:
        printed = sluice("events", "--help").stdout
        for name, kind in KINDS.items():
            assert f"{name} " in printed
            assert kind.function in printed

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("alarm", "transcription"), "'alarm' is not one of 'bootstrap-alarm'"),
            (("schedule", "no-such"), "no-such: neither an environment"),
            (("schedule", "transcription", "--at", "noon"), "'noon' is not an ISO 8601 time"),
            (("send-test-messages", "transcription", "--messages", "0"), "0 is not in the range"),
            (("send-test-messages", "transcription", "--duration-s", "nan"), "nan is not a finite number"),
            (("bootstrap-alarm", "transcription", "--at", "0001-01-01"), "'0001-01-01' is before 1970"),
            (("schedule", "transcription", "--at", "9999-12-31T23:59:59-12:00"), "is not an ISO 8601 time"),
        ],
    )
    def test_an_event_that_cannot_be_filled_in_is_rejected_in_one_line(
        self, sluice: Any, arguments: tuple[str, ...], message: str
    ) -> None:
        answer = sluice("events", *arguments)
        assert answer.exit_code == 2
        assert message in answer.stderr.replace("\n", " ")
