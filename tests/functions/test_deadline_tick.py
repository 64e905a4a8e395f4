"""Ticks below a minute: the minute's tick queues them, and the queue delivers them to deadline_tick."""

from datetime import timedelta
from typing import Any

import pytest

from sluice import wiring
from sluice.core.deadline.encoding import decoded
from sluice.errors import ConfigError, TransientError
from sluice.events import parse_shard
from sluice.usecases.deadline_ticks import STORED_WITHIN_S
from sluice.usecases.tick_context import NO_TIME_LEFT
from tests.functions.conftest import NOON, Context, Plane, sample
from tests.sluice.aws import account
from tests.support.builders import deadline_document, plenty


@pytest.fixture
def ticks(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> str:
    """The queue of ticks; the deadline engine scales the workload `transcription`, and not `queue-proc`."""
    url = account.create_queue("ticks")
    monkeypatch.setenv("SLUICE_TICK_QUEUE_URL", url)
    account.register(deadline_document())
    wiring.cold_start()
    return url


def due(plane: Plane, url: str, seconds: float) -> dict[str, Any]:
    """What Lambda invokes the function with so long after noon: a batch of what is visible by then."""
    plane.at(NOON + timedelta(seconds=seconds))
    messages = account.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    record = sample("deadline-tick")["Records"][0]
    return {"Records": [record | {"messageId": each["MessageId"], "body": each["Body"]} for each in messages]}


def logged(plane: Plane, field: str) -> list[Any]:
    return [line[field] for line in plane.lines() if field in line]


def stored() -> dict[str, Any]:
    items = account.client("dynamodb").scan(TableName="states")["Items"]
    return {item["workload"]["S"]: decoded(item["state"]["B"]) for item in items}


def test_the_sample_tick_starts_the_fleet_and_is_remembered(plane: Plane, ticks: str) -> None:
    account.send(plane.queues["asg"], 3)
    assert plane.invoke("deadline_tick", sample("deadline-tick")) is None
    assert (plane.desired("asg"), plane.desired("ecs")) == (1, 0)
    [state] = stored().values()
    assert (state.tick_s, state.desired) == ((NOON + timedelta(seconds=30)).timestamp(), 1)
    [acted] = [line for line in plane.lines() if line.get("outcome") == "acted"]
    assert (acted["workload"], acted["decision"]) == ("transcription", "scale")


def test_a_second_delivery_changes_nothing(plane: Plane, ticks: str) -> None:
    account.send(plane.queues["asg"], 3)
    plane.invoke("deadline_tick", sample("deadline-tick"))
    before = stored()
    account.send(plane.queues["asg"], 300)
    plane.lines()
    wiring.cold_start()
    plane.invoke("deadline_tick", sample("deadline-tick"))
    assert (stored(), plane.desired("asg")) == (before, 1)
    assert plane.lines() == []


def test_the_minutes_tick_queues_the_ticks_of_four_minutes_for_the_engines_workloads_alone(
    plane: Plane, ticks: str
) -> None:
    plane.invoke("publish_backlog", sample("schedule"))
    assert logged(plane, "TicksQueued") == [[21]]
    sent = [parse_shard(record["body"]) for record in due(plane, ticks, 50)["Records"]]
    assert [each.scheduled for each in sent] == [NOON + timedelta(seconds=at) for at in (30, 40, 50)]
    assert [list(each.documents) for each in sent] == [["transcription"]] * 3


def test_a_queued_tick_starts_the_fleet_at_its_moment(plane: Plane, ticks: str) -> None:
    plane.invoke("publish_backlog", sample("schedule"))
    account.send(plane.queues["asg"], 3)
    assert due(plane, ticks, 30)["Records"]
    plane.invoke("deadline_tick", due(plane, ticks, 40))
    assert plane.desired("asg") == 1


def test_a_batch_is_one_decision_of_its_newest_tick(plane: Plane, ticks: str) -> None:
    plane.invoke("publish_backlog", sample("schedule"))
    account.send(plane.queues["asg"], 3)
    batch = due(plane, ticks, 60)
    assert len(batch["Records"]) == 4
    plane.invoke("deadline_tick", batch)
    assert [state.tick_s for state in stored().values()] == [(NOON + timedelta(seconds=60)).timestamp()]
    assert [line["workload"] for line in plane.lines() if line.get("outcome") == "acted"] == ["transcription"]


def test_a_stale_tick_is_counted_and_dropped(plane: Plane, ticks: str) -> None:
    plane.at(NOON + timedelta(seconds=30 + 91))
    plane.invoke("deadline_tick", sample("deadline-tick"))
    assert (stored(), logged(plane, "StaleTick")) == ({}, [[1]])


def test_an_event_that_no_queue_delivers_is_refused(plane: Plane, ticks: str) -> None:
    with pytest.raises(ConfigError, match=r"no `Records`; its keys are \['scheduled_time'\]"):
        plane.invoke("deadline_tick", sample("schedule"))


def test_a_missing_table_is_reported_for_the_workload_and_nothing_is_resized(
    plane: Plane, ticks: str
) -> None:
    account.client("dynamodb").delete_table(TableName="states")
    account.send(plane.queues["asg"], 3)
    plane.invoke("deadline_tick", sample("deadline-tick"))
    failures = [(line["failure"], line["message"]) for line in plane.lines() if "failure" in line]
    assert [failure for failure, _ in failures] == ["ObservationFailed", "ActionFailed"]
    assert all("AWS answered ResourceNotFoundException" in message for _, message in failures)
    assert plane.desired("asg") == 0


def test_a_missing_setting_fails_the_tick(plane: Plane, ticks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLUICE_STATE_TABLE")
    wiring.cold_start()
    with pytest.raises(TransientError):
        plane.invoke("deadline_tick", sample("deadline-tick"))
    [failed] = [line for line in plane.lines() if line.get("failure") == "TickFailed"]
    assert "template.yaml sets SLUICE_STATE_TABLE" in failed["message"]


def test_the_minutes_tick_without_a_queue_for_ticks_publishes_and_fails(
    plane: Plane, ticks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLUICE_TICK_QUEUE_URL")
    wiring.cold_start()
    with pytest.raises(TransientError, match="ticks below a minute could not be queued"):
        plane.invoke("publish_backlog", sample("schedule"))
    assert list(plane.points("asg")) == [NOON]
    [failed] = [line for line in plane.lines() if line.get("failure") == "TickFailed"]
    assert "template.yaml sets SLUICE_TICK_QUEUE_URL" in failed["message"]


class TestLimits:
    def test_a_tick_gives_up_a_call_early(self, plane: Plane, ticks: str) -> None:
        """Ten seconds later the next tick does its work."""
        settings = wiring.ports(limits=wiring.TICK_LIMITS).queues._client().meta.config  # type: ignore[attr-defined]
        assert (settings.connect_timeout, settings.read_timeout) == (1, 2)
        assert settings.retries == {"mode": "standard", "total_max_attempts": 2}

    def test_the_reserve_is_enough_to_remember_and_to_act(self) -> None:
        limits = wiring.TICK_LIMITS
        call_s = limits.attempts * (limits.connect_s + limits.read_s) + 1  # and a second between them
        assert call_s <= STORED_WITHIN_S <= limits.reserve_s - call_s
        assert limits.reserve_s <= 30 / 2

    def test_a_tick_without_time_to_remember_and_to_act_is_not_begun(
        self, plane: Plane, ticks: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Context, "get_remaining_time_in_millis", lambda _: 15_000)
        with pytest.raises(TransientError):
            plane.invoke("deadline_tick", sample("deadline-tick"))
        [failed] = [line for line in plane.lines() if line.get("failure") == "TickFailed"]
        assert failed["message"] == NO_TIME_LEFT
        assert stored() == {}

    def test_the_ports_of_other_limits_are_others(self, plane: Plane, ticks: str) -> None:
        assert wiring.ports(limits=wiring.TICK_LIMITS) is wiring.ports(limits=wiring.TICK_LIMITS)
        assert wiring.ports() is not wiring.ports(limits=wiring.TICK_LIMITS)
        assert wiring.ports().registry.all(plenty).refused == {}
