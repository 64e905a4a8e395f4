"""`sluice validate` prints the problems of a workload, or the settings in force."""

from __future__ import annotations

import json
import math
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine

from sluice_cli import workloads
from sluice_sim.template import deployment
from tests.cli.conftest import Answer
from tests.support.builders import (
    POLICY_ARN,
    blue_green_document,
    deadline_document,
    deadline_section,
    document,
    dynamic_section,
    ecs_document,
    static_section,
)


def written(folder: Path, body: Any, name: str = "document.json") -> Path:
    path = folder / name
    path.write_text(body if isinstance(body, str) else json.dumps(body))
    return path


@pytest.fixture
def samconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose samconfig.toml is the test's own."""
    (tmp_path / "workload.yaml").symlink_to(workloads.CHECKOUT / "workload.yaml")
    monkeypatch.setattr(workloads, "CHECKOUT", tmp_path)
    return tmp_path / "samconfig.toml"


def environment(name: str, overrides: str) -> str:
    return f'[{name}.deploy.parameters]\ntemplate_file = "workload.yaml"\nparameter_overrides = {overrides}\n'


SERVICE = (
    '"Name=w", "QueueName=w", "FleetType=ecs", "ClusterName=c", "ServiceName=s", "MaxCapacity=5", '
    '"Mode=paused"'
)
GROUP = '"Name=w", "QueueName=w", "AutoScalingGroupName=w"'


def test_every_environment_of_the_project_is_valid(sluice: Any) -> None:
    names = deployment.environments(workloads.CHECKOUT)
    answer: Answer = sluice("validate", *names)
    assert (answer.exit_code, answer.stderr) == (0, "")
    fine = [line for line in answer.stdout.splitlines() if ": note: " not in line]
    assert [line.partition(": OK: ")[0] for line in fine] == list(names)


@pytest.mark.parametrize(
    ("active", "said"),
    [
        (
            {"active": "green"},
            "group w-green (green, active) and group w-blue (blue, idle), 0 to 5 instances",
        ),
        (
            {},
            "group w-blue (blue, active at first) and group w-green (green, idle at first), 0 to 5 instances",
        ),
    ],
)
def test_both_colors_are_shown_and_which_of_them_is_active(
    sluice: Any, tmp_path: Path, active: dict[str, str], said: str
) -> None:
    of_two = blue_green_document("w")
    of_two["fleet"] |= active
    answer: Answer = sluice("validate", written(tmp_path, of_two))
    assert answer.exit_code == 0
    assert said in answer.stdout


def test_an_environment_of_two_services_shows_both(sluice: Any, samconfig: Path) -> None:
    service = SERVICE.replace("Mode=paused", "GreenServiceName=green")
    samconfig.write_text(environment("w", f"[{service}]"))
    said = (
        "service s in cluster c (blue, active at first) and service green in cluster c (green, idle at first)"
    )
    assert said in sluice("validate", "w").stdout


def test_it_prints_the_settings_in_force(sluice: Any, tmp_path: Path) -> None:
    dynamic = written(tmp_path, ecs_document(target=dynamic_section(), count_in_flight=False, mode="observe"))
    message = sluice("validate", "transcription", dynamic).stdout.splitlines()
    assert message[0] == (
        "transcription: OK: mode active; queue transcription; group transcription, 0 to 5 instances, "
        "bootstrap 1; target 8 messages per instance; tracks EffectiveBacklogPerInstance (margin 0.3, "
        "processing time 60 s); shutdown after 5 empty minutes"
    )
    assert message[1].removeprefix(f"{dynamic}: OK: ") == (
        "mode observe; queue queue-proc; service queue-proc in cluster workers, 0 to 5 instances, "
        "bootstrap 1; target 600 s x 1 / Average MsgProcessingDuration, 0.1 to 1000 messages per instance "
        "(10 until it is known), messages in flight not counted; tracks BacklogPerInstance; "
        "shutdown after 5 empty minutes"
    )


@pytest.mark.parametrize(
    ("tracking", "target", "message"),
    [
        ({"metric": "backlog"}, static_section(), "tracks BacklogPerInstance"),
        (
            {"metric": "effective", "arrival_margin": 0, "processing_s": 4.32},
            dynamic_section(),
            "tracks EffectiveBacklogPerInstance (margin 0, processing time 4.32 s until measured)",
        ),
        (
            {"metric": "effective"},
            dynamic_section(),
            "tracks EffectiveBacklogPerInstance (margin 0.3, processing time as measured)",
        ),
        (
            {"metric": "backlog", "source": "native"},
            static_section(),
            "tracks AWS's own metrics, visible / running",
        ),
        (
            {"metric": "effective", "source": "native"},
            dynamic_section(),
            "tracks AWS's own metrics, (visible + sent within the promise) / running",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_prints_what_target_tracking_reads(
    sluice: Any, tmp_path: Path, tracking: dict[str, Any], target: dict[str, Any], message: str
) -> None:
    line = sluice("validate", written(tmp_path, document(tracking=tracking, target=target))).stdout
    assert f"; {message}; shutdown" in line


def test_it_prints_what_the_deadline_engine_plans_with(sluice: Any, tmp_path: Path) -> None:
    section = deadline_section(promise_s=240.5, promise_percent=97.5, tick_s=20, boot_s=90, margin_s=30)
    body = deadline_document(
        scaling=section, target=static_section() | {"concurrency_per_instance": 2}, processing_s=4.32
    )
    line = sluice("validate", written(tmp_path, body)).stdout
    assert line.partition(": OK: ")[2].splitlines()[0] == (
        "mode active; queue transcription; group transcription, 0 to 5 instances, bootstrap as "
        "many as start the messages in time; "
        "planned every 20 s, so that 97.5 % of the messages start within 240.5 s of their arrival "
        "(margin 30 s; until measured, boot 90 s and processing time 4.32 s; 2 at a time; busy instances "
        "protected); shutdown after 5 empty minutes"
    )


ALONE = "it tracks the backlog alone"
CLAMPED = "where a message takes less than 0.6 s, MaxMessagesPerInstance=1000 clamps the target, and Metric"
METRICS = (
    "MetricSource=native needs the metrics of group a b, without which target tracking sees nothing: aws "
    "autoscaling enable-metrics-collection --auto-scaling-group-name 'a b' --granularity 1Minute"
)
INSIGHTS = (
    "MetricSource=native needs Container Insights in cluster workers, without which target tracking sees "
    "nothing: aws ecs update-cluster-settings --cluster workers "
    "--settings name=containerInsights,value=enabled"
)


def tracked(metric: str, source: str = "published", **changes: Any) -> dict[str, Any]:
    group = {"type": "asg", "name": "a b"}
    return document(tracking={"metric": metric, "source": source} | changes, fleet=group)


UNHELD = "nothing scales the fleet out while Sluice is silent: Fallback=true does, with the metrics of group"
HELD = "its fallback needs the metrics of group transcription, without which AWS sees nothing while Sluice is"
OUT_OF_REACH = "the promise cannot be kept from zero instances: a start within "


def promised(promise_s: float, **changes: Any) -> dict[str, Any]:
    return deadline_document(scaling=deadline_section(promise_s=promise_s, **changes))


def planned(metric: str, source: str, **changes: Any) -> dict[str, Any]:
    tracking = {"metric": metric, "source": source, "processing_s": 5} | changes
    return deadline_document(tracking=tracking)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (tracked("effective", processing_s=60), []),
        (tracked("backlog", processing_s=60), []),
        (tracked("effective") | {"target": dynamic_section()}, []),
        (
            tracked("backlog"),
            [f"{ALONE}, so it holds no capacity before a backlog has built up: give Process"],
        ),
        (
            tracked("effective"),
            [f"{ALONE} until the workers have published 30 MsgProcessingDuration within a day: "],
        ),
        (tracked("effective", processing_s=60, arrival_margin=3), []),
        (
            tracked("backlog", processing_s=60, arrival_margin=0),
            ["ArrivalMargin=0 has no effect: EffectiveBacklogPerInstance alone has a margin, and TrackedMet"],
        ),
        (
            tracked("effective", "native", processing_s=60, arrival_margin=1),
            [
                "ArrivalMargin=1 has no effect: EffectiveBacklogPerInstance alone has a margin, and Metric",
                METRICS,
            ],
        ),
        (tracked("backlog", "native"), [ALONE, METRICS]),
        (tracked("backlog", "native") | {"target": dynamic_section()}, [METRICS]),
        (tracked("effective", "native") | {"target": dynamic_section()}, [METRICS, CLAMPED]),
        (
            tracked("effective", "native", processing_s=0.59) | {"target": dynamic_section()},
            [METRICS, CLAMPED],
        ),
        (tracked("effective", "native", processing_s=0.6) | {"target": dynamic_section()}, [METRICS]),
        (
            ecs_document(tracking={"metric": "effective", "source": "native", "processing_s": 2}),
            [INSIGHTS],
        ),
        (deadline_document(), [UNHELD]),
        (deadline_document(mode="observe"), []),
        (deadline_document(policy_arn=POLICY_ARN), [HELD]),
        (
            deadline_document(fleet={"type": "ecs", "cluster": "workers", "service": "queue-proc"}),
            ["nothing scales the fleet out while Sluice is silent: Fallback=true does, with Container Insi"],
        ),
        (promised(235), [UNHELD]),
        (promised(226), [OUT_OF_REACH, UNHELD]),
        (promised(60), [OUT_OF_REACH, UNHELD]),
        # An instance that always runs starts what launches cannot.
        (promised(60) | {"capacity": {"min": 1, "max": 5, "bootstrap": 1}}, [UNHELD]),
        (promised(60, boot_s=20), [UNHELD]),
        (
            planned("backlog", "native", arrival_margin=1),
            [
                "ArrivalMargin=1 and MetricSource=native have no effect: with Scaling=deadline the plan",
                UNHELD,
            ],
        ),
        (
            deadline_document(target=dynamic_section()),
            ["TargetType=dynamic has no effect: with Scaling=deadline the plan alone decides", UNHELD],
        ),
        (
            deadline_document(capacity={"min": 0, "max": 5, "bootstrap": "backlog"}),
            ["BootstrapCapacity=backlog has no effect: with Scaling=deadline", UNHELD],
        ),
        (deadline_document(capacity={"min": 2, "max": 5, "bootstrap": 2}), [UNHELD]),
    ],
)
def test_a_note_explains_the_consequence_of_a_valid_setting(
    sluice: Any, tmp_path: Path, body: dict[str, Any], message: list[str]
) -> None:
    path = written(tmp_path, body)
    answer = sluice("validate", path)
    assert (answer.exit_code, answer.stderr) == (0, "")
    notes = answer.stdout.splitlines()[1:]
    assert len(notes) == len(message)
    for line, sentence in zip(notes, message, strict=True):
        assert line.startswith(f"{path}: note: {sentence}")


def test_a_promise_that_launches_cannot_keep_is_noted_with_the_three_ways_out(
    sluice: Any, tmp_path: Path
) -> None:
    path = written(tmp_path, promised(120))
    answer = sluice("validate", path)
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert answer.stdout.splitlines()[1] == (
        f"{path}: note: the promise cannot be kept from zero instances: a start within 120 s needs 217 s: a "
        "boot of 180 s, a tick of 10 s, a margin of 15 s, and 12 s for messages before it. Set a minimum "
        "above zero, use a warm pool, or promise a longer latency"
    )


@pytest.mark.parametrize(
    ("scaling", "problem"),
    [
        ({"tick_s": 15}, "scaling.tick_s: 15: input should be 5, 10, 20, 30 or 60"),
        (
            {"promise_percent": 100},
            "scaling.promise_percent: 100: input should be less than or equal to 99.99",
        ),
        ({"boot_s": 0}, "scaling.boot_s: 0: input should be greater than or equal to 0.000001"),
        ({"boot_s": math.nan}, "scaling.boot_s: nan: input should be a finite number"),
        (
            {"margin_s": 300},
            "scaling.margin_s: 300: must be below promise_s (300): lower this or raise promise_s",
        ),
    ],
)
def test_an_invalid_setting_of_the_deadline_engine_is_explained_in_one_line(
    sluice: Any, tmp_path: Path, scaling: dict[str, Any], problem: str
) -> None:
    wrong = written(tmp_path, deadline_document(scaling=deadline_section(**scaling)))
    answer = sluice("validate", wrong)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.splitlines() == [f"{wrong}: {problem}"]


OFFICE, NIGHT = "office,MON-FRI,8:00,Europe/Berlin,2,5", "night,SUN-SAT,20:00,Europe/Berlin,0,3"


def scheduled(sluice: Any, folder: Path, *lines: str, **changes: Any) -> Answer:
    body = document(schedules=[*lines], tracking={"metric": "effective", "source": "published",
                    "arrival_margin": 0.3, "processing_s": 2.0}, **changes)  # fmt: skip
    with time_machine.travel(datetime(2026, 1, 15, 12, tzinfo=UTC), tick=False):
        answer: Answer = sluice("validate", written(folder, body))
    return answer


def notes_of(answer: Answer) -> list[str]:
    assert (answer.exit_code, answer.stderr) == (0, "")
    return [line.partition(": note: ")[2] for line in answer.stdout.splitlines()[1:]]


def test_schedules_that_follow_one_another_are_in_force_without_a_note(sluice: Any, tmp_path: Path) -> None:
    answer = scheduled(sluice, tmp_path, OFFICE, "", NIGHT)
    assert notes_of(answer) == []
    assert f"; schedule {OFFICE}; schedule {NIGHT}" in answer.stdout


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("Europe", "write a name such as Europe/Berlin"),
        ("Zz", "write a name such as Europe/Berlin"),
    ],
)
def test_a_time_zone_that_does_not_exist_is_refused_with_the_one_that_was_meant(
    sluice: Any, tmp_path: Path, zone: str, meant: str
) -> None:
    answer = scheduled(sluice, tmp_path, OFFICE.replace("Europe/Berlin", zone), NIGHT)
    assert (answer.exit_code, answer.stdout) == (1, "")
    [line] = answer.stderr.splitlines()
    assert ": schedules: 'office,MON-FRI,8:00," in line
    assert line.endswith(f": {zone} is no time zone of the IANA database: {meant}")


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (
            [OFFICE],
            "nothing ends schedule office: from the first start on the fleet stays at minimum 2, maximum 5",
        ),
        (
            [OFFICE, NIGHT.replace("0,3", "2,5")],
            "nothing ends schedules office and night: from the first start on the fleet stays at minimum 2",
        ),
        (
            [OFFICE.replace("2,5", "0,5")],
            "schedule office sets MinCapacity and MaxCapacity of the workload, minimum 0, maximum 5: nothing",
        ),
        (
            [OFFICE, "other,SAT+SUN,8:00,UTC,0,5", "third,MON-FRI,9:00,Africa/Cairo,0,5"],
            "schedules office and third both start at 2026-01-16 07:00 UTC: EC2 Auto Scaling may refuse them",
        ),
        (
            [OFFICE, "early,SUN,2:30,Europe/Berlin,0,5"],
            "schedule early does not start on 2026-03-29: daylight saving skips 2:30 Europe/Berlin that day",
        ),
    ],
)
def test_a_schedule_that_does_not_what_is_meant_is_noted(
    sluice: Any, tmp_path: Path, lines: list[str], note: str
) -> None:
    [found] = notes_of(scheduled(sluice, tmp_path, *lines))
    assert found.startswith(note)


def test_one_with_the_whole_range_that_ends_another_is_no_mistake(sluice: Any, tmp_path: Path) -> None:
    assert notes_of(scheduled(sluice, tmp_path, OFFICE, NIGHT.replace("0,3", "0,5"))) == []


def test_notes_do_not_mix_with_the_json(sluice: Any, tmp_path: Path) -> None:
    path = written(tmp_path, tracked("backlog"))
    answer = sluice("validate", path, "--json")
    assert answer.exit_code == 0
    assert json.loads(answer.stdout) == tracked("backlog")
    assert answer.stderr.startswith(f"{path}: note: {ALONE}, ")


def test_each_problem_of_a_document_has_its_place_value_and_way_out(sluice: Any, tmp_path: Path) -> None:
    wrong = written(tmp_path, document(policy_arn="", capacity={"min": 0, "max": 2, "bootstrap": 3}))
    answer = sluice("validate", wrong)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.splitlines() == [
        f"{wrong}: capacity.bootstrap: 3: must be at most max (2): lower this or raise max",
        f"{wrong}: policy_arn: '': mode active needs policy_arn: workload.yaml writes it",
    ]


@pytest.mark.parametrize(
    ("tracking", "problem"),
    [
        (
            {"arrival_margin": -0.1},
            "tracking.arrival_margin: -0.1: input should be greater than or equal to 0",
        ),
        ({"arrival_margin": 3.1}, "tracking.arrival_margin: 3.1: input should be less than or equal to 3"),
        ({"processing_s": 0}, "tracking.processing_s: 0: input should be greater than or equal to 0.000001"),
        ({"processing_s": math.nan}, "tracking.processing_s: nan: input should be a finite number"),
        ({"metric": "both"}, "tracking.metric: 'both': input should be 'effective' or 'backlog'"),
    ],
)
def test_an_invalid_tracking_section_is_explained_in_one_line(
    sluice: Any, tmp_path: Path, tracking: dict[str, Any], problem: str
) -> None:
    wrong = written(tmp_path, document(tracking={"metric": "effective"} | tracking))
    answer = sluice("validate", wrong)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.splitlines() == [f"{wrong}: {problem}"]


def test_a_document_can_come_through_a_pipe(sluice: Any, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=[json.dumps(document())])
    writer.start()
    answer = sluice("validate", pipe)
    writer.join(10)
    assert "OK: mode active" in answer.stdout


def test_invalid_json_is_a_problem(sluice: Any, tmp_path: Path) -> None:
    answer = sluice("validate", written(tmp_path, "name: x"))
    assert answer.exit_code == 1
    assert "document: 'name: x': not valid JSON" in answer.stderr


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (f'[{GROUP}, "MaxCapacity=0"]', "Parameters.MaxCapacity = '0': must match"),
        (f"[{GROUP}]", "Parameters.MaxCapacity is missing and has no default"),
        (f'[{GROUP}, "MaxCapacity=5", "Colour=red"]', "Parameters.Colour = 'red': the template has no such"),
        (
            '["Name=w", "QueueName=w", "MaxCapacity=5"]',
            "Rules.AnAsgHasAName: AutoScalingGroupName is empty",
        ),
        (f'[{GROUP}, "MaxCapacity=2", "MinCapacity=3"]', "capacity.max: 2: must be at least min (3)"),
        (
            f"[{SERVICE}]",
            "CreateScalableTarget is empty",
        ),
        (
            f'[{GROUP}, "MaxCapacity=5", "Scaling=deadline"]',
            "Rules.TheDeadlineEngineKnowsAProcessingTime: ProcessingSeconds is empty",
        ),
        (
            f'[{GROUP}, "MaxCapacity=5", "Scaling=deadline", "ProcessingSeconds=5", "TickSeconds=15"]',
            "Parameters.TickSeconds = '15': ",
        ),
        (
            f'[{GROUP}, "MaxCapacity=5", "Scaling=deadline", "ProcessingSeconds=5", "MarginSeconds=600"]',
            "scaling.margin_s: 600: must be below promise_s (600): lower this or raise promise_s",
        ),
        (
            f'[{GROUP}, "MaxCapacity=5", "CriticalDepthMessages=500000"]',
            "Parameters.WarningDepthMessages = '500000': must be below CriticalDepthMessages",
        ),
        (
            f'[{GROUP}, "MaxCapacity=5", "WarningAgeSeconds=601"]',
            "Parameters.WarningAgeSeconds = '601': must be below CriticalAgeSeconds, which is 600",
        ),
        (
            f'[{GROUP}, "MaxCapacity=5", "ArrivalMargin=-0.1"]',
            "Parameters.ArrivalMargin = '-0.1': must match",
        ),
        (
            f'[{GROUP}, "MaxCapacity=5", "ArrivalMargin=3.1"]',
            "Parameters.ArrivalMargin = '3.1': must match",
        ),
        (
            f'[{GROUP}, "MaxCapacity=5", "ProcessingSeconds=0"]',
            "Parameters.ProcessingSeconds = '0': must match",
        ),
        (
            f'[{GROUP}, "MaxCapacity=5", "ProcessingSeconds=NaN"]',
            "Parameters.ProcessingSeconds = 'NaN': must match",
        ),
        (
            f'[{GROUP}, "MaxCapacity=5", "TrackedMetric=effective", "MetricSource=native"]',
            "Rules.NativeMetricsSayNoProcessingTime: ProcessingSeconds is empty; AWS's own metrics do",
        ),
    ],
)
def test_an_environments_parameters_are_checked_as_in_a_deploy(
    sluice: Any, samconfig: Path, overrides: str, problem: str
) -> None:
    samconfig.write_text(environment("mine", overrides))
    answer = sluice("validate", "mine")
    assert answer.exit_code == 1
    assert f"mine: {problem}" in answer.stderr or f": {problem}" in answer.stderr
    assert answer.stdout == ""


def test_the_mode_of_an_environment_is_the_deployed_one(sluice: Any, samconfig: Path) -> None:
    samconfig.write_text(environment("mine", f'[{GROUP}, "MaxCapacity=5", "Mode=observe"]'))
    assert "mode observe" in sluice("validate", "mine").stdout
    assert json.loads(sluice("validate", "mine", "--json").stdout)["policy_arn"] == ""


def test_parameters_can_be_one_string_and_name_any_control_plane(sluice: Any, samconfig: Path) -> None:
    text = "'Name=w QueueName=w AutoScalingGroupName=\"a b\" MaxCapacity=5 ControlPlaneStack=mine'"
    samconfig.write_text(environment("mine", text))
    assert json.loads(sluice("validate", "mine", "--json").stdout)["fleet"] == {"type": "asg", "name": "a b"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (environment("mine", '["Name"]'), "parameter_overrides: 'Name': write it as Name=value"),
        ("[mine", "samconfig.toml: not valid TOML"),
        (environment("mine", "5"), "parameter_overrides: 5: write a list of Name=value"),
        (environment("mine", "[5]"), "parameter_overrides: 5: write it as Name=value"),
        (environment("mine", "'Name=\"w'"), "parameter_overrides: 'Name=\"w': No closing quotation"),
    ],
)
def test_an_unreadable_samconfig_is_reported_in_one_line(
    sluice: Any, samconfig: Path, text: str, message: str
) -> None:
    samconfig.write_text(text)
    answer = sluice("validate", "mine")
    assert answer.exit_code == 2
    [line] = answer.stderr.splitlines()
    assert message in line


def test_json_is_the_document_that_the_stack_would_register(sluice: Any, tmp_path: Path) -> None:
    answer = sluice("validate", "transcription", "--json")
    assert answer.exit_code == 0
    again = sluice("validate", written(tmp_path, answer.stdout))
    assert "OK: mode active" in again.stdout


def test_json_of_several_workloads_lists_the_valid_ones(sluice: Any, tmp_path: Path) -> None:
    wrong = written(tmp_path, document(mode="on"))
    answer = sluice("validate", "transcription", wrong, "queue-proc", "--json")
    assert answer.exit_code == 1
    assert [each["name"] for each in json.loads(answer.stdout)] == ["transcription", "queue-proc"]


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_an_unreadable_workload_does_not_keep_others_from_being_checked(
    sluice: Any, tmp_path: Path, as_json: tuple[str, ...]
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    wrong = written(tmp_path, document(mode="on"))
    answer = sluice("validate", "no-such", tmp_path / "binary", tmp_path, wrong, "queue-proc", *as_json)
    assert answer.exit_code == 2
    printed = [line.partition(": ")[0] for line in answer.stderr.splitlines()]
    assert printed == ["no-such", f"{tmp_path}/binary", f"{tmp_path}", f"{wrong}"]
    assert ("queue-proc: OK" in answer.stdout) or [each["name"] for each in json.loads(answer.stdout)] == [
        "queue-proc"
    ]


@pytest.mark.parametrize("arguments", [(), ("no-such",)])
def test_a_call_without_a_known_workload_is_a_usage_error(sluice: Any, arguments: tuple[str, ...]) -> None:
    answer = sluice("validate", *arguments)
    assert answer.exit_code == 2
    assert "Traceback" not in answer.stderr


def test_a_samconfig_outside_the_clone_is_checked_too(sluice: Any, tmp_path: Path) -> None:
    config_file = tmp_path / "mine.toml"
    others = 'deploy = 5\n[default]\ndeploy = "x"\n[also.deploy.parameters]\ntemplate_file = 5\n'
    config_file.write_text(
        others
        + environment("mine", f'[{GROUP}, "MaxCapacity=5"]').replace("workload.yaml", "/c/workload.yaml")
    )
    assert sluice("validate", "mine", "--config-file", config_file).stdout.startswith("mine: OK: mode active")
    events = sluice("events", "schedule", "mine", "--config-file", config_file)
    assert events.exit_code == 0, events.stderr
    answer = sluice("validate", "--config-file", config_file, "transcription")
    assert "neither an environment of mine.toml (mine)" in answer.stderr
    missing = sluice("validate", "--config-file", tmp_path / "none.toml", "mine")
    assert (missing.exit_code, missing.stderr) == (
        2,
        f"{tmp_path}/none.toml: cannot be read: No such file or directory\n",
    )
