import json
import math
from dataclasses import replace

import pytest

from sluice.core.model import (
    AnyDecision,
    BootTime,
    Decision,
    Durations,
    GuardDecision,
    Kind,
    LearningDecision,
    Limit,
    Published,
    Reason,
    TargetDecision,
    Trigger,
    Unknown,
)
from sluice.ports import Outcome
from sluice.report import fields, published_fields, published_sentence, sentence
from tests.support.builders import (
    NOW,
    capacity,
    demand,
    durations,
    observation,
)

WOKEN = Decision(
    workload="transcription",
    kind=Kind.BOOTSTRAP,
    trigger=Trigger.TICK,
    reason=Reason.WORK_WAITS,
    observation=observation(visible=9, in_flight=2, delayed=1),
    desired=2,
    limits=(Limit.MAX_INSTANCES,),
)
RETUNED = TargetDecision(
    workload="transcription",
    trigger=Trigger.SCHEDULE,
    reason=Reason.RETUNED,
    durations=durations(48),
    current=10,
    target=12.5,
    detail="600 s x 1 / 48 s = 12.5",
)


def hold(reason: Reason, detail: str = "", **observed: object) -> Decision:
    return Decision(
        workload="transcription",
        kind=Kind.SHUTDOWN,
        trigger=Trigger.ALARM,
        reason=reason,
        observation=observation(**observed),
        detail=detail,
    )


def untuned(measured: Durations | Unknown, reason: Reason, current: float | None = 10) -> TargetDecision:
    return TargetDecision(
        workload="transcription",
        trigger=Trigger.STACK,
        reason=reason,
        durations=measured,
        current=current,
    )


@pytest.mark.parametrize(
    ("decision", "outcome", "expected"),
    [
        (WOKEN, Outcome.ACTED, "bootstrap 0 -> 2: work waits and nothing runs [cut to the maximum]"),
        (
            WOKEN,
            Outcome.OBSERVED,
            "would be bootstrap 0 -> 2: work waits and nothing runs [cut to the maximum]",
        ),
        (
            hold(Reason.HELD, "Terminate is suspended", desired=2),
            Outcome.HELD,
            "shutdown holds: scaling in this direction is held (Terminate is suspended)",
        ),
        (
            RETUNED,
            Outcome.ACTED,
            f"retune 10 -> 12.5 per instance: {Reason.RETUNED} (600 s x 1 / 48 s = 12.5)",
        ),
        (
            untuned(durations(60), Reason.WITHIN_DEADBAND),
            Outcome.HELD,
            "retune holds: the target moved less than the deadband",
        ),
    ],
)
def test_a_decision_reads_as_a_sentence(decision: AnyDecision, outcome: Outcome, expected: str) -> None:
    assert sentence(decision, outcome) == expected


def test_a_decisions_fields_carry_its_whole_observation() -> None:
    assert fields(WOKEN, Outcome.ACTED) == {
        "workload": "transcription",
        "decision": "bootstrap",
        "trigger": "tick",
        "outcome": "acted",
        "reason": "work_waits",
        "limits": ["max_instances"],
        "desired": 2,
        "visible": 9,
        "in_flight": 2,
        "delayed": 1,
        "desired_now": 0,
        "running": 0,
        "fleet_min": 0,
        "fleet_max": 5,
    }


def test_a_failed_reading_is_logged_as_its_reason_and_never_as_a_number() -> None:
    decision = hold(
        Reason.UNKNOWN_READING, queue=Unknown(reason="throttled"), fleet=Unknown(reason="no such group")
    )
    logged = fields(decision, Outcome.HELD)
    assert (logged["backlog_unknown"], logged["capacity_unknown"]) == ("throttled", "no such group")
    assert not {"visible", "in_flight", "delayed", "running", "desired_now"} & set(logged)


def test_a_fleet_without_its_own_bounds_logs_none() -> None:
    logged = fields(hold(Reason.NOT_EMPTY, visible=1, fleet=capacity(2, bounds=None)), Outcome.HELD)
    assert "fleet_min" not in logged


def test_a_retunes_fields_carry_the_target_and_the_duration_it_came_from() -> None:
    logged = fields(RETUNED, Outcome.ACTED)
    assert (logged["target"], logged["present_target"]) == (12.5, 10)
    assert logged["processing"] == {"seconds": 48, "samples": 100, "window_s": 3600}


@pytest.mark.parametrize("seconds", [math.nan, math.inf])
def test_a_duration_that_is_not_a_number_is_null_in_the_log(seconds: float) -> None:
    logged = fields(untuned(durations(seconds, samples=0), Reason.TOO_FEW_SAMPLES), Outcome.HELD)
    assert logged["processing"] == {"seconds": None, "samples": 0, "window_s": 3600}


def test_an_unknown_duration_is_logged_as_its_reason() -> None:
    logged = fields(untuned(Unknown(reason="throttled"), Reason.UNKNOWN_READING), Outcome.HELD)
    assert logged["processing"] == {"unknown": "throttled"}


PLAIN = Published(backlog_per_instance=4.5)
UNCOUNTED = Published(
    backlog_per_instance=4.5, effective_per_instance=4.5, demand=Unknown(reason="arrivals: throttled")
)
COUNTED = Published(
    backlog_per_instance=4.5,
    effective_per_instance=24.98765,
    demand=demand(0.123456, 4.2, 2, not_renewed=("arrivals: throttled; that of 11:55 counts",)),
)


@pytest.mark.parametrize(
    ("published", "expected"),
    [
        (PLAIN, "4.5 per instance"),
        (UNCOUNTED, "4.5 per instance; the backlog alone is tracked: arrivals: throttled"),
        (
            COUNTED,
            (
                "4.5 per instance; 24.99 effective: 0.1235 arrivals/s x 4.2 s / 2 = 0.2593 busy; "
                "arrivals: throttled; that of 11:55 counts"
            ),
        ),
    ],
)
def test_what_a_tick_publishes_reads_as_a_sentence(published: Published, expected: str) -> None:
    assert published_sentence(published) == expected


@pytest.mark.parametrize(
    ("published", "logged"),
    [
        (PLAIN, {"backlog_per_instance": 4.5}),
        (
            UNCOUNTED,
            {
                "backlog_per_instance": 4.5,
                "effective_backlog_per_instance": 4.5,
                "demand_unknown": "arrivals: throttled",
            },
        ),
        (
            COUNTED,
            {
                "backlog_per_instance": 4.5,
                "effective_backlog_per_instance": 24.98765,
                "arrivals_per_s": 0.123456,
                "processing_s": 4.2,
                "offered_load_instances": 0.123456 * 4.2 / 2,
                "target": 8,
                "not_renewed": ["arrivals: throttled; that of 11:55 counts"],
            },
        ),
    ],
)
def test_its_fields_carry_all_that_it_was_computed_from(
    published: Published, logged: dict[str, object]
) -> None:
    assert published_fields(published) == logged
    json.dumps(published_fields(published), allow_nan=False)


# ---- What was learned --------------------------------------------------------------------------------------

HELD = LearningDecision(
    workload="transcription",
    trigger=Trigger.SCHEDULE,
    reason=Reason.NO_WAITS,
    current_s=20,
    margin_s=None,
    processing_s=None,
    variation=None,
    boots=(BootTime(warm=False, mean_s=184.4, p90_s=230), BootTime(warm=True, mean_s=40.6, p90_s=50)),
)


def test_what_was_learned_ends_with_the_measured_boot_times_by_kind_of_start() -> None:
    said = sentence(HELD, Outcome.HELD)
    assert said.startswith("margin of 20 s holds: ")
    assert said.endswith("; boots: cold mean 184 s, p90 230 s; warm pool mean 41 s, p90 50 s")
    assert "boots" not in sentence(replace(HELD, boots=()), Outcome.HELD)


def test_boot_times_are_fields_as_far_as_they_were_measured() -> None:
    assert {name: value for name, value in fields(HELD, Outcome.HELD).items() if "boot" in name} == {
        "cold_boot_mean_s": 184.4,
        "cold_boot_p90_s": 230,
        "warm_boot_mean_s": 40.6,
        "warm_boot_p90_s": 50,
    }
    only_cold = fields(replace(HELD, boots=HELD.boots[:1]), Outcome.HELD)
    assert [name for name in only_cold if "boot" in name] == ["cold_boot_mean_s", "cold_boot_p90_s"]


def test_the_guards_fields_carry_its_signals_and_the_end_of_its_hold() -> None:
    decision = GuardDecision(
        workload="transcription",
        trigger=Trigger.TICK,
        reason=Reason.DOWNSTREAM_FAILS,
        engages=True,
        until=NOW,
        failed_percent=60.0,
        ended_messages=100,
        detail="60 % failed",
    )
    assert fields(decision, Outcome.ACTED) == {
        "workload": "transcription",
        "decision": "guard",
        "trigger": "tick",
        "outcome": "acted",
        "reason": "downstream_fails",
        "limits": [],
        "engages": True,
        "until": NOW.isoformat(),
        "failed_percent": 60.0,
        "ended_messages": 100,
        "dead_letters_per_minute": None,
        "alarm": None,
    }
    assert sentence(decision, Outcome.ACTED) == "guard holds scale-out: the downstream fails (60 % failed)"
    released = replace(decision, engages=False, until=None, reason=Reason.DOWNSTREAM_RECOVERED)
    assert sentence(released, Outcome.FAILED).startswith("guard failed to release scale-out: ")
    assert fields(released, Outcome.FAILED)["until"] is None
    unchanged = replace(decision, engages=None, reason=Reason.GUARDED)
    assert sentence(unchanged, Outcome.HELD).startswith("guard stays as it is: ")
