from datetime import timedelta
from typing import NoReturn

import pytest

from sluice.aws import asg, cloudwatch
from sluice.errors import DefectError, TransientError
from tests.functions.conftest import NOON, Plane, sample
from tests.sluice.aws import account
from tests.support.builders import document


def test_the_schedule_publishes_every_workload_at_its_minute_under_its_fleets_dimensions(
    plane: Plane,
) -> None:
    account.send(plane.queues["asg"], 6)
    account.receive(plane.queues["asg"], 2)
    plane.ask_for("asg", 3)
    plane.invoke("publish_backlog", sample("schedule"))
    assert plane.points("asg") == {NOON: 2}
    assert plane.points("ecs") == {NOON: 0}


def test_each_workloads_line_has_its_whole_observation_and_the_plane_its_counters(plane: Plane) -> None:
    account.send(plane.queues["asg"], 3)
    plane.ask_for("asg", 2)
    plane.invoke("publish_backlog", sample("schedule"))
    lines = plane.lines()
    [record] = [line for line in lines if line.get("workload") == "transcription"]
    assert (
        record.items()
        >= {
            "level": "INFO",
            "backlog_per_instance": 1.5,
            "mode": "active",
            "visible": 3,
            "in_flight": 0,
            "delayed": 0,
            "desired_now": 2,
            "running": 2,
            "fleet_min": 0,
            "fleet_max": 5,
        }.items()
    )
    [counted] = [line for line in lines if "_aws" in line]
    assert counted["WorkloadsServed"] == [2]
    assert counted["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Sluice/ControlPlane"


def test_a_manual_event_publishes_at_the_present_minute(plane: Plane) -> None:
    plane.at(NOON + timedelta(minutes=7, seconds=42))
    plane.invoke("publish_backlog", sample("schedule-manual"))
    assert plane.points("asg") == {NOON + timedelta(minutes=7): 0}


def test_a_stale_tick_is_counted_and_changes_nothing(plane: Plane) -> None:
    account.send(plane.queues["asg"], 3)
    plane.at(NOON + timedelta(minutes=3))
    plane.invoke("publish_backlog", sample("schedule-stale"))
    assert plane.points("asg") == {}
    assert plane.desired("asg") == 0
    [counted] = [line for line in plane.lines() if "_aws" in line]
    assert counted["StaleTick"] == [1]


@pytest.mark.parametrize("kind", ["asg", "ecs"])
def test_a_tick_bootstraps_a_fleet_whose_alarm_was_missed(plane: Plane, kind: str) -> None:
    account.send(plane.queues[kind], 3)
    plane.invoke("publish_backlog", sample("schedule"))
    assert plane.desired(kind) == 1
    [decision] = [line for line in plane.lines() if "decision" in line]
    assert (
        decision.items()
        >= {
            "decision": "bootstrap",
            "trigger": "tick",
            "outcome": "acted",
            "reason": "work_waits",
            "desired": 1,
            "visible": 3,
            "message": "bootstrap 0 -> 1: work waits and nothing runs",
        }.items()
    )


@pytest.mark.parametrize("kind", ["asg", "ecs"])
def test_ticks_over_an_empty_queue_prove_it_and_set_the_fleet_to_its_minimum(plane: Plane, kind: str) -> None:
    plane.ask_for(kind, 2)
    desired = []
    for minute in range(6):
        plane.at(NOON + timedelta(minutes=minute, seconds=1))
        plane.invoke("publish_backlog", {"scheduled_time": f"2026-01-15T12:{minute:02}:00Z"})
        desired.append(plane.desired(kind))
    assert desired == [2, 2, 2, 2, 2, 0]


def test_a_duplicate_tick_adds_no_second_minute_and_no_second_act(plane: Plane) -> None:
    account.send(plane.queues["asg"], 3)
    for _ in range(2):
        plane.invoke("publish_backlog", sample("schedule"))
    assert list(plane.points("asg")) == [NOON]
    assert plane.desired("asg") == 1
    acted = [line for line in plane.lines() if line.get("outcome") == "acted"]
    assert len(acted) == 1


def test_a_deleted_queue_is_counted_while_the_other_workload_is_served(plane: Plane) -> None:
    account.client("sqs").delete_queue(QueueUrl=plane.queues["asg"])
    plane.invoke("publish_backlog", sample("schedule"))
    assert (plane.points("asg"), plane.points("ecs")) == ({}, {NOON: 0})
    lines = plane.lines()
    [failed] = [line for line in lines if line.get("level") == "ERROR"]
    assert failed.items() >= {"workload": "transcription", "failure": "ObservationFailed"}.items()
    assert "GetQueueAttributes" in failed["message"]
    [counted] = [line for line in lines if "_aws" in line]
    assert counted["ObservationFailed"] == [1]


def test_a_tick_without_workloads_logs_nothing(plane: Plane) -> None:
    for name in ("transcription", "queue-proc"):
        account.client("ssm").delete_parameter(Name=f"{account.PREFIX}/{name}")
    plane.invoke("publish_backlog", sample("schedule"))
    [counted] = [line for line in plane.lines() if "_aws" in line]
    assert counted["WorkloadsServed"] == [0]


@pytest.mark.parametrize(
    "defect",
    [
        TypeError("ours"),
        KeyError("ours"),
        IndexError("ours"),
        RuntimeError("ours"),
        OSError("ours"),
        AssertionError("ours"),
    ],
)
def test_a_defect_in_one_read_fails_the_invocation_with_its_trace_after_serving_the_others(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, defect: Exception
) -> None:
    """Here in what reads groups, which a workload on a service has nothing to do with."""
    account.send(plane.queues["ecs"], 3)

    def broken(*_: object) -> NoReturn:
        raise defect

    monkeypatch.setattr(asg, "_capacity", broken)
    with pytest.raises(DefectError, match="1 defects of Sluice's own code"):
        plane.invoke("publish_backlog", sample("schedule"))
    assert (plane.points("asg"), plane.points("ecs")) == ({}, {NOON: 3})
    assert plane.desired("ecs") == 1
    lines = plane.lines()
    [failed] = [line for line in lines if line.get("failure") == "ObservationFailed"]
    assert failed["workload"] == "transcription"
    assert failed["message"].endswith(f"unexpected {type(defect).__name__}: {defect}")
    assert f"{type(defect).__name__}: {defect}" in failed["exception"]
    assert lines[-1]["InvocationFailed"] == [1]


def test_a_defect_that_hits_many_workloads_logs_its_trace_once(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(3):
        account.create_group(f"g{index}")
        account.register(document(f"g{index}", queue_url=plane.queues["asg"]))

    def broken(*_: object) -> NoReturn:
        raise IndexError("ours")

    monkeypatch.setattr(asg, "_capacity", broken)
    with pytest.raises(DefectError):
        plane.invoke("publish_backlog", sample("schedule"))
    failed = [line for line in plane.lines() if line.get("failure") == "ObservationFailed"]
    assert len(failed) == 4
    assert len([line for line in failed if "exception" in line]) == 1


@pytest.mark.parametrize(
    ("function", "event"), [("bootstrap", "bootstrap-asg-direct"), ("shutdown", "shutdown-asg-direct")]
)
def test_a_defect_in_an_alarms_function_is_raised_unchanged(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, function: str, event: str
) -> None:
    def broken(*_: object) -> NoReturn:
        raise IndexError("ours")

    monkeypatch.setattr(asg, "_capacity", broken)
    with pytest.raises(IndexError, match="ours"):
        plane.invoke(function, sample(event))
    [failed] = [line for line in plane.lines() if line.get("failure") == "InvocationFailed"]
    assert "IndexError: ours" in failed["exception"]


def test_a_defect_while_the_proof_is_read_keeps_the_fleet_and_fails_the_invocation(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.ask_for("asg", 2)
    plane.idle("asg")

    def broken(*_: object) -> NoReturn:
        raise IndexError("ours")

    monkeypatch.setattr(cloudwatch, "_query", broken)
    with pytest.raises(DefectError):
        plane.invoke("publish_backlog", sample("schedule"))
    with pytest.raises(IndexError):
        plane.invoke("shutdown", sample("shutdown-asg-direct"))
    with pytest.raises(TransientError, match="retune failed"):
        plane.invoke("retune_target", sample("schedule"))
    assert plane.desired("asg") == 2
    traces = [line for line in plane.lines() if "exception" in line]
    assert {line.get("failure") for line in traces} == {
        "ObservationFailed",
        "InvocationFailed",
        "RetuneFailed",
    }
