import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sluice.core.model import (
    AutoScalingGroup,
    Bounds,
    BusyInstances,
    Deadline,
    DynamicTarget,
    EcsService,
    Metric,
    MetricSource,
    Mode,
    StaticTarget,
    TrackedMetric,
    Tracking,
)
from sluice.document import parsing, schedule_lines
from sluice.errors import ConfigError, DocumentError
from tests.support.builders import (
    POLICY_ARN,
    alarm_arn,
    deadline_document,
    deadline_section,
    document,
    dynamic_section,
    ecs_document,
    parsed,
    queue_url,
    stack_id,
    static_section,
    tracking_section,
)

SCHEMA = Path(__file__).parents[3] / "docs" / "workload.schema.json"

VALID: dict[str, dict[str, Any]] = {
    "asg": document(),
    "ecs": ecs_document(),
    "dynamic": document(target=dynamic_section()),
    "percentile": document(target=dynamic_section(statistic="p99.9")),
    "dynamic, defaults": document(
        target={"type": "dynamic", "acceptable_latency_s": 60, "fallback_messages_per_instance": 3}
    ),
    "observe, no policy": document(mode="observe", policy_arn=""),
    "bootstrap by backlog": document(capacity={"min": 1, "max": 1, "bootstrap": "backlog"}),
    "own dimensions": document(
        duration_metric={"namespace": "Workers", "name": "Seconds", "dimensions": {"Queue": "q"}}
    ),
    "names as workload.yaml allows them": document(
        fleet={"type": "asg", "name": "a B_1.#/@=+()-"}, duration_metric={"namespace": "a B_1.#/:-"}
    ),
    "a policy's ARN with any group name that workload.yaml allows": document(
        fleet={"type": "asg", "name": "a B_1.#/@=+()-"},
        policy_arn=POLICY_ARN.replace("transcription", "a B_1.#/@=+()-"),
    ),
    "most dimensions": document(
        duration_metric={"namespace": "n", "dimensions": {f"D {index}~": "!" for index in range(30)}}
    ),
    "longest dimension": document(duration_metric={"namespace": "n", "dimensions": {"k" * 255: "v" * 1024}}),
    "paused, no policy": document(mode="paused", policy_arn=""),
    "effective": document(tracking=tracking_section("effective", processing_s=4.2)),
    "effective, no processing time": document(tracking={"metric": "effective"}),
    "effective, native": document(tracking=tracking_section("effective", source="native", processing_s=60)),
    "no margin": document(tracking=tracking_section("effective", arrival_margin=0)),
    "largest margin": document(tracking=tracking_section("effective", arrival_margin=3)),
    "static with concurrency": document(target=static_section() | {"concurrency_per_instance": 2.5}),
    "fifo": document(queue_url=queue_url("transcription.fifo")),
    "deadline": deadline_document(),
    "deadline, ecs": ecs_document(
        scaling=deadline_section(), tracking=tracking_section(processing_s=5), policy_arn=""
    ),
    "deadline, defaults": deadline_document(scaling={"type": "deadline", "promise_s": 300, "boot_s": 180}),
    "deadline, fifo": deadline_document(queue_url=queue_url("transcription.fifo")),
    "deadline, the lowest values": deadline_document(
        scaling=deadline_section(promise_s=1e-6, promise_percent=50, tick_s=5, boot_s=1e-6, margin_s=0),
        processing_s=1e-6,
    ),
    "deadline, the highest values": deadline_document(
        scaling=deadline_section(
            promise_s=9_999_999.5, promise_percent=99.99, tick_s=60, boot_s=9_999_999, margin_s=9_999_999.4
        ),
        processing_s=9_999_999.9,
    ),
    "deadline, a message takes longer than the promise": deadline_document(processing_s=3600),
    "deadline, a boot takes longer than the promise": deadline_document(
        scaling=deadline_section(promise_s=60, boot_s=180)
    ),
}


def without(*path: str) -> dict[str, Any]:
    whole = json.loads(json.dumps(document()))
    section = whole
    for key in path[:-1]:
        section = section[key]
    del section[path[-1]]
    return whole


def problems(text: str) -> list[tuple[str, object, str]]:
    with pytest.raises(DocumentError) as refused:
        parsing.parse(text)
    return [(problem.path, problem.value, problem.way_out) for problem in refused.value.problems]


class TestAccepted:
    @pytest.mark.parametrize("name", VALID)
    def test_a_valid_document_parses_and_is_valid_by_its_json_schema(self, name: str) -> None:
        assert parsed(VALID[name]).name == VALID[name]["name"]
        jsonschema.validate(VALID[name], parsing.json_schema())

    def test_the_workload_says_what_the_document_says(self) -> None:
        served = parsed(document())
        assert (served.name, served.stack_id, served.mode) == (
            "transcription",
            stack_id("transcription"),
            Mode.ACTIVE,
        )
        assert served.queue_url == queue_url("transcription")
        assert served.fleet == AutoScalingGroup(name="transcription")
        assert (served.bounds, served.bootstrap_instances) == (Bounds(min=0, max=5), 1)
        assert served.target == StaticTarget(messages_per_instance=8)
        assert (served.count_in_flight, served.idle_minutes) == (True, 5)
        assert served.policy_arn == POLICY_ARN
        assert served.bootstrap_alarm_arn == alarm_arn("transcription", "bootstrap")
        assert served.shutdown_alarm_arn == alarm_arn("transcription", "shutdown")

    def test_schedules_are_lines_of_which_an_empty_one_does_not_count(self) -> None:
        lines = ["office-hours,MON-FRI,8:00,Europe/Berlin,3,5", "", "weekend,SAT+SUN,0:05,UTC,0,1"]
        office, weekend = parsed(document(schedules=lines)).schedules
        assert (office.name, office.weekdays, office.hour, office.minute) == (
            "office-hours",
            frozenset(range(5)),
            8,
            0,
        )
        assert (office.time_zone, office.bounds) == ("Europe/Berlin", Bounds(min=3, max=5))
        assert (weekend.weekdays, weekend.hour, weekend.minute) == (frozenset({5, 6}), 0, 5)
        assert parsed(document()).schedules == parsed(document(schedules=[""] * 5)).schedules == ()

    def test_every_day_is_a_range_of_weekdays_from_sunday(self) -> None:
        [daily] = parsed(document(schedules=["daily,SUN-SAT,8:00,UTC,0,5"])).schedules
        assert daily.weekdays == frozenset(range(7))

    def test_two_at_one_time_of_different_weekdays_or_zones_are_accepted(self) -> None:
        lines = ["a,MON-FRI,8:00,UTC,1,5", "b,SAT+SUN,8:00,UTC,0,5", "c,SUN-SAT,8:00,Asia/Tokyo,0,5"]
        assert len(parsed(document(schedules=lines)).schedules) == 3

    def test_an_ecs_service_is_named_by_cluster_and_service(self) -> None:
        assert parsed(ecs_document()).fleet == EcsService(cluster="workers", service="queue-proc")

    def test_a_dynamic_target_keeps_every_setting(self) -> None:
        served = parsed(document(target=dynamic_section(statistic="p90", deadband_ratio=0.2)))
        assert served.target == DynamicTarget(
            acceptable_latency_s=600,
            concurrency_per_instance=1,
            statistic="p90",
            min_messages_per_instance=0.1,
            max_messages_per_instance=1000,
            fallback_messages_per_instance=10,
            deadband_ratio=0.2,
            max_factor_per_retune=2,
            min_samples=30,
        )

    def test_the_duration_metric_has_the_fleets_own_dimensions_unless_the_document_names_others(self) -> None:
        assert parsed(ecs_document()).duration_metric == Metric(
            namespace="Sluice",
            name="MsgProcessingDuration",
            dimensions={"ClusterName": "workers", "ServiceName": "queue-proc"},
        )
        assert parsed(VALID["own dimensions"]).duration_metric.dimensions == {"Queue": "q"}

    def test_the_tracked_metric_is_what_the_document_says(self) -> None:
        section = tracking_section("effective", arrival_margin=1.5, processing_s=4.2)
        served = parsed(document(tracking=section))
        assert served.tracking == Tracking(
            metric=TrackedMetric.EFFECTIVE,
            source=MetricSource.PUBLISHED,
            arrival_margin=1.5,
            processing_s=4.2,
        )
        assert served.publishes_effective

    @pytest.mark.parametrize(
        ("metric", "source", "published"),
        [
            ("effective", "published", True),
            ("effective", "native", False),
            ("backlog", "published", False),
            ("backlog", "native", False),
        ],
    )
    def test_the_effective_metric_is_published_where_a_policy_reads_it(
        self, metric: str, source: str, *, published: bool
    ) -> None:
        served = parsed(document(tracking=tracking_section(metric, source=source, processing_s=4)))
        assert served.publishes_effective == published

    def test_target_tracking_decides_the_size_unless_the_document_says_otherwise(self) -> None:
        assert parsed(document()).deadline is None
        assert parsed(document(scaling={"type": "target_tracking"})).deadline is None

    def test_the_deadline_engine_has_the_settings_of_the_document(self) -> None:
        section = deadline_section(
            promise_s=240.5,
            promise_percent=97.5,
            tick_s=20,
            boot_s=90,
            margin_s=30,
            busy_instances="unprotected",
        )
        served = parsed(deadline_document(scaling=section))
        assert served.deadline == Deadline(
            promise_s=240.5,
            promise_percent=97.5,
            tick_s=20,
            boot_s=90,
            margin_s=30,
            busy_instances=BusyInstances.UNPROTECTED,
        )
        assert served.policy_arn is None

    def test_the_deadline_engine_ticks_every_ten_seconds_with_a_margin_of_fifteen_by_default(self) -> None:
        served = parsed(VALID["deadline, defaults"])
        assert served.deadline == Deadline(
            promise_s=300,
            promise_percent=99,
            tick_s=10,
            boot_s=180,
            margin_s=20,
            busy_instances=BusyInstances.PROTECTED,
        )

    @pytest.mark.parametrize("tick_s", [5, 10, 20, 30, 60])
    def test_the_deadline_engine_ticks_at_moments_that_every_minute_has(self, tick_s: int) -> None:
        served = parsed(deadline_document(scaling=deadline_section(tick_s=tick_s)))
        assert served.deadline is not None
        assert served.deadline.tick_s == tick_s

    def test_the_default_margin_is_three_tenths(self) -> None:
        served = parsed(document(tracking={"metric": "effective"}))
        assert (served.tracking.arrival_margin, served.tracking.processing_s) == (0.3, None)

    @pytest.mark.parametrize(("logged", "concurrency"), [({}, 1), ({"concurrency_per_instance": 2.5}, 2.5)])
    def test_an_instance_with_a_static_target_works_on_one_message_at_a_time_by_default(
        self, logged: dict[str, float], concurrency: float
    ) -> None:
        served = parsed(document(target=static_section() | logged))
        assert served.target.concurrency_per_instance == concurrency

    def test_an_empty_policy_arn_is_an_absent_one(self) -> None:
        assert parsed(document(mode="observe", policy_arn="")).policy_arn is None
        absent = without("policy_arn") | {"mode": "observe"}
        assert parsed(absent).policy_arn is None

    @pytest.mark.parametrize(
        "statistic", ["Average", "p1", "p05", "p90", "p99.99", "p100", "p0.01", "p0.1", "p0.10", "p00.5"]
    )
    def test_a_percentile_is_above_0_and_at_most_100(self, statistic: str) -> None:
        written = document(target=dynamic_section(statistic=statistic))
        jsonschema.validate(written, parsing.json_schema())
        target = parsed(written).target
        assert isinstance(target, DynamicTarget)
        assert target.statistic == statistic

    def test_a_bootstrap_by_backlog_has_no_fixed_size(self) -> None:
        assert parsed(VALID["bootstrap by backlog"]).bootstrap_instances is None

    def test_the_bootstrap_starts_one_instance_by_default(self) -> None:
        assert parsed(document(capacity={"min": 0, "max": 5})).bootstrap_instances == 1


class TestRefused:
    @pytest.mark.parametrize(
        ("changed", "path", "value", "way_out"),
        [
            ({"name": "9lives"}, "name", "9lives", "pattern"),
            ({"name": "a" * 65}, "name", "a" * 65, "pattern"),
            ({"name": "under_score"}, "name", "under_score", "pattern"),
            ({"stack_id": "sluice-x"}, "stack_id", "sluice-x", "pattern"),
            ({"mode": "on"}, "mode", "on", "'active', 'observe' or 'paused'"),
            ({"queue_url": "transcription"}, "queue_url", "transcription", "pattern"),
            ({"fleet": {"type": "vm"}}, "fleet", {"type": "vm"}, "'asg', 'ecs'"),
            ({"fleet": {"type": "asg", "name": ""}}, "fleet.name", "", "at least 1 character"),
            (
                {"fleet": {"type": "ecs", "cluster": "c", "service": 7}},
                "fleet.service",
                7,
                "valid string",
            ),
            (
                {"fleet": {"type": "asg", "name": "g", "service": "s"}},
                "fleet.service",
                "s",
                "unknown key: remove it, or check its spelling and place",
            ),
            ({"capacity": {"min": -1, "max": 5}}, "capacity.min", -1, "greater than or equal to 0"),
            ({"capacity": {"min": 0, "max": 0}}, "capacity.max", 0, "greater than or equal to 1"),
            ({"capacity": {"min": "0", "max": 5}}, "capacity.min", "0", "valid integer"),
            ({"capacity": {"min": 0, "max": 2.5}}, "capacity.max", 2.5, "integer"),
            (
                {"capacity": {"min": 3, "max": 2, "bootstrap": "backlog"}},
                "capacity.max",
                2,
                "must be at least min (3): raise this or lower min",
            ),
            (
                {"capacity": {"min": 2, "max": 5, "bootstrap": 1}},
                "capacity.bootstrap",
                1,
                "must be at least min (2): raise this or lower min",
            ),
            (
                {"capacity": {"min": 0, "max": 5, "bootstrap": 6}},
                "capacity.bootstrap",
                6,
                "must be at most max (5): lower this or raise max",
            ),
            ({"count_in_flight": "true"}, "count_in_flight", "true", "valid boolean"),
            ({"target": {"type": "fast"}}, "target", {"type": "fast"}, "'static', 'dynamic'"),
            (
                {"target": static_section(0)},
                "target.messages_per_instance",
                0,
                "greater than or equal to 0.000001",
            ),
            (
                {"target": static_section(-8)},
                "target.messages_per_instance",
                -8,
                "greater than or equal to 0.000001",
            ),
            (
                {"target": dynamic_section(acceptable_latency_s=0)},
                "target.acceptable_latency_s",
                0,
                "greater than or equal to 0.000001",
            ),
            ({"target": dynamic_section(statistic="Sum")}, "target.statistic", "Sum", "pattern"),
            (
                {
                    "target": dynamic_section(
                        min_messages_per_instance=20,
                        max_messages_per_instance=15,
                        fallback_messages_per_instance=20,
                    )
                },
                "target.max_messages_per_instance",
                15,
                "must be at least min_messages_per_instance (20.0)",
            ),
            (
                {"target": dynamic_section(min_messages_per_instance=20)},
                "target.fallback_messages_per_instance",
                10,
                "must be at least min_messages_per_instance (20.0)",
            ),
            (
                {"target": dynamic_section(fallback_messages_per_instance=2000)},
                "target.fallback_messages_per_instance",
                2000,
                "must be at most max_messages_per_instance (1000.0)",
            ),
            ({"target": dynamic_section(deadband_ratio=1)}, "target.deadband_ratio", 1, "less than 1"),
            (
                {"target": dynamic_section(max_factor_per_retune=1)},
                "target.max_factor_per_retune",
                1,
                "greater than 1",
            ),
            ({"target": dynamic_section(min_samples=0)}, "target.min_samples", 0, "or equal to 1"),
            ({"duration_metric": {"namespace": ""}}, "duration_metric.namespace", "", "at least 1"),
            (
                {"tracking": tracking_section("queue")},
                "tracking.metric",
                "queue",
                "input should be 'effective' or 'backlog'",
            ),
            (
                {"tracking": tracking_section(source="other")},
                "tracking.source",
                "other",
                "input should be 'published' or 'native'",
            ),
            (
                {"tracking": tracking_section(beta=1)},
                "tracking.beta",
                1,
                "unknown key: remove it, or check its spelling and place",
            ),
            (
                {"tracking": tracking_section(arrival_margin=-1)},
                "tracking.arrival_margin",
                -1,
                "input should be greater than or equal to 0",
            ),
            (
                {"tracking": tracking_section(arrival_margin=3.1)},
                "tracking.arrival_margin",
                3.1,
                "input should be less than or equal to 3",
            ),
            (
                {"tracking": tracking_section(arrival_margin="0.3")},
                "tracking.arrival_margin",
                "0.3",
                "valid number",
            ),
            (
                {"tracking": tracking_section(processing_s=0)},
                "tracking.processing_s",
                0,
                "input should be greater than or equal to 0.000001",
            ),
            (
                {"tracking": tracking_section(processing_s=-4.2)},
                "tracking.processing_s",
                -4.2,
                "input should be greater than or equal to 0.000001",
            ),
            (
                {"target": static_section() | {"concurrency_per_instance": 0}},
                "target.concurrency_per_instance",
                0,
                "greater than or equal to 0.000001",
            ),
            ({"idle_minutes": 0}, "idle_minutes", 0, "greater than or equal to 1"),
            ({"idle_minutes": 121}, "idle_minutes", 121, "less than or equal to 120"),
            ({"duration_metric": {"namespace": 'a"b'}}, "duration_metric.namespace", 'a"b', "pattern"),
            ({"duration_metric": {"namespace": "Größe"}}, "duration_metric.namespace", "Größe", "pattern"),
            ({"duration_metric": {"namespace": ":Acme"}}, "duration_metric.namespace", ":Acme", "pattern"),
            ({"policy_arn": "my-policy"}, "policy_arn", "my-policy", "pattern"),
            ({"policy_arn": POLICY_ARN + "\n"}, "policy_arn", POLICY_ARN + "\n", "pattern"),
            ({"policy_arn": ""}, "policy_arn", "", "mode active needs policy_arn: workload.yaml writes it"),
            ({"policy_arn": None}, "policy_arn", None, "mode active needs policy_arn"),
            (
                {"alarm_arns": {"bootstrap": "", "shutdown": alarm_arn("x", "shutdown")}},
                "alarm_arns.bootstrap",
                "",
                "pattern",
            ),
            (
                {"colour": "blue"},
                "colour",
                "blue",
                "unknown key: remove it, or check its spelling and place",
            ),
        ],
    )
    def test_a_wrong_value_is_refused_with_its_path_the_value_and_a_way_out(
        self, changed: dict[str, Any], path: str, value: object, way_out: str
    ) -> None:
        found = problems(json.dumps(document(**changed)))
        assert [(at, shown) for at, shown, _ in found] == [(path, value)] * len(found)
        assert any(way_out in problem for _, _, problem in found)

    @pytest.mark.parametrize(
        ("changed", "path", "value", "way_out"),
        [
            ({"failed_percent": 0}, "failed_percent", 0, "greater than 0"),
            ({"failed_percent": 100}, "failed_percent", 100, "less than 100"),
            ({"dead_letters_per_minute": 0}, "dead_letters_per_minute", 0, "greater than 0"),
            ({"dead_letters_per_minute": 1e7}, "dead_letters_per_minute", 1e7, "less than 10000000"),
            ({"dead_letter_queue": "a/b"}, "dead_letter_queue", "a/b", "pattern"),
            ({"alarm_name": ""}, "alarm_name", "", ""),
            ({"minutes": 9}, "minutes", 9, "greater than or equal to 10"),
            ({"minutes": 1441}, "minutes", 1441, "less than or equal to 1440"),
            ({"minutes": 30.5}, "minutes", 30.5, "integer"),
            ({"percent": 50}, "percent", 50, "unknown key"),
        ],
    )
    def test_a_wrong_setting_of_the_guard_is_refused_with_its_path_the_value_and_a_way_out(
        self, changed: dict[str, Any], path: str, value: object, way_out: str
    ) -> None:
        found = problems(json.dumps(document(guard={"failed_percent": 50} | changed)))
        assert [(at, shown) for at, shown, _ in found] == [(f"guard.{path}", value)] * len(found)
        assert any(way_out in problem for _, _, problem in found)

    @pytest.mark.parametrize(
        ("lines", "way_out"),
        [
            (["a,MON-FRI,8:00,UTC,4,3"], "schedule a: its maximum 3 is below its minimum 4: exchange them"),
            (
                ["a,MON-FRI,8:00,UTC,0,5"],
                "schedule a: its minimum 0 is below capacity.min (1): raise it or lower that",
            ),
            (
                ["a,MON-FRI,8:00,UTC,1,6"],
                "schedule a: its maximum 6 is above capacity.max (5): lower it or raise that",
            ),
            (
                ["a,MON-FRI,8:00,UTC,1,5", "a,MON-FRI,9:00,UTC,1,5"],
                "schedule a: two schedules have this name: rename one",
            ),
            (
                ["a,MON-FRI,8:00,UTC,1,5", "b,FRI+SAT,8:00,UTC,2,5"],
                "schedule a: it starts at the same minute as b, and AWS sets one of both: change one",
            ),
        ],
    )
    def test_schedules_that_contradict_each_other_or_the_bounds_are_refused(
        self, lines: list[str], way_out: str
    ) -> None:
        text = json.dumps(document(capacity={"min": 1, "max": 5, "bootstrap": 1}, schedules=lines))
        [(path, _, said)] = problems(text)
        assert path == "schedules"
        assert way_out in said

    @pytest.mark.parametrize(
        "line",
        [
            "a,MON-FRI,08:00,UTC,0,5",
            "a,MON-FRI,8:0,UTC,0,5",
            "a,MON-FRI,24:00,UTC,0,5",
            "a,MON-SUN,8:00,UTC,0,5",
            "a,mon,8:00,UTC,0,5",
            "a,MON,FRI,8:00,UTC,0,5",
            "a,MON-FRI,8:00,utc,0,5",
            "a,MON-FRI,8:00,UTC,0,0",
            "a,MON-FRI,8:00,UTC,00,5",
            "A,MON-FRI,8:00,UTC,0,5",
            "a,MON-FRI,8:00,UTC,0",
            "a,MON-FRI,8:00,UTC,0,5\n",
        ],
    )
    def test_a_line_that_is_no_schedule_is_refused_by_its_place(self, line: str) -> None:
        [(path, shown, way_out)] = problems(json.dumps(document(schedules=["", line])))
        assert (path, shown) == ("schedules.1", line)
        assert "pattern" in way_out
        with pytest.raises(ValueError, match="is no schedule: write it as office-hours,MON-FRI,8:00"):
            schedule_lines.parsed(line)

    def test_bounds_that_are_wrong_themselves_are_named_once(self) -> None:
        lines = ["a,MON-FRI,8:00,UTC,0,5"]
        found = problems(json.dumps(document(capacity={"min": 0, "max": 0, "bootstrap": 1}, schedules=lines)))
        assert {path.partition(".")[0] for path, _, _ in found} == {"capacity"}

    @pytest.mark.parametrize("section", [{}, {"minutes": 30}, {"dead_letter_queue": "dead"}])
    def test_a_guard_that_watches_nothing_is_refused(self, section: dict[str, Any]) -> None:
        [(path, _, way_out)] = problems(json.dumps(document(guard=section)))
        assert path == "guard"
        assert "give failed_percent, dead_letters_per_minute or alarm_name, or remove it" in way_out

    def test_a_guard_of_a_growth_needs_the_queue_that_grows(self) -> None:
        section = {"dead_letters_per_minute": 1}
        [(path, _, way_out)] = problems(json.dumps(document(guard=section)))
        assert path == "guard"
        assert "needs dead_letter_queue" in way_out

    @pytest.mark.parametrize(
        ("changed", "path", "value", "way_out"),
        [
            ({"tick_s": 15}, "tick_s", 15, "input should be 5, 10, 20, 30 or 60"),
            ({"tick_s": 0}, "tick_s", 0, "input should be 5, 10, 20, 30 or 60"),
            ({"tick_s": 90}, "tick_s", 90, "input should be 5, 10, 20, 30 or 60"),
            ({"tick_s": "10"}, "tick_s", "10", "input should be 5, 10, 20, 30 or 60"),
            ({"promise_percent": 49.9}, "promise_percent", 49.9, "should be greater than or equal to 50"),
            ({"promise_percent": 0.99}, "promise_percent", 0.99, "should be greater than or equal to 50"),
            ({"promise_percent": 100}, "promise_percent", 100, "should be less than or equal to 99.99"),
            (
                {"promise_s": 0, "margin_s": 0},
                "promise_s",
                0,
                "input should be greater than or equal to 0.000001",
            ),
            ({"promise_s": 1e7}, "promise_s", 1e7, "input should be less than 10000000"),
            ({"boot_s": 1e-7}, "boot_s", 1e-7, "input should be greater than or equal to 0.000001"),
            ({"promise_s": math.inf}, "promise_s", math.inf, "input should be a finite number"),
            ({"boot_s": 0}, "boot_s", 0, "input should be greater than or equal to 0.000001"),
            ({"boot_s": -180}, "boot_s", -180, "input should be greater than or equal to 0.000001"),
            ({"margin_s": -1}, "margin_s", -1, "input should be greater than or equal to 0"),
            (
                {"margin_s": 300},
                "margin_s",
                300,
                "must be below promise_s (300): lower this or raise promise_s",
            ),
            ({"promise_s": 14.5}, "margin_s", 15, "must be below promise_s (14.5): lower this or raise"),
            ({"busy_instances": "idle"}, "busy_instances", "idle", "should be 'protected' or 'unprotected'"),
            ({"tick": 10}, "tick", 10, "unknown key: remove it, or check its spelling and place"),
        ],
    )
    def test_a_wrong_setting_of_the_deadline_engine_is_refused_in_a_sentence_of_its_own(
        self, changed: dict[str, Any], path: str, value: object, way_out: str
    ) -> None:
        [(where, shown, problem)] = problems(
            json.dumps(deadline_document(scaling=deadline_section(**changed)))
        )
        assert (where, shown) == (f"scaling.{path}", value)
        assert way_out in problem

    @pytest.mark.parametrize("key", ["promise_s", "boot_s"])
    def test_the_deadline_engine_needs_a_promise_and_a_boot_time(self, key: str) -> None:
        section = deadline_section()
        del section[key]
        assert problems(json.dumps(deadline_document() | {"scaling": section})) == [
            (f"scaling.{key}", section, "required: add this key")
        ]

    @pytest.mark.parametrize("key", ["promise_s", "promise_percent", "boot_s", "margin_s"])
    def test_a_setting_of_the_deadline_engine_that_is_not_a_number_is_refused(self, key: str) -> None:
        [(where, shown, _)] = problems(
            json.dumps(deadline_document(scaling=deadline_section(**{key: math.nan})))
        )
        assert (where, str(shown)) == (f"scaling.{key}", "nan")

    def test_the_deadline_engine_needs_a_processing_time(self) -> None:
        [(where, _, problem)] = problems(json.dumps(deadline_document(processing_s=None)))
        assert where == "tracking"
        assert problem == (
            "the deadline engine plans with how long a message takes, until it is measured: give processing_s"
        )

    @pytest.mark.parametrize("processing_s", [0, -5, math.nan])
    def test_the_deadline_engine_needs_a_processing_time_above_zero(self, processing_s: float) -> None:
        [(where, _, problem)] = problems(json.dumps(deadline_document(processing_s=processing_s)))
        assert where == "tracking.processing_s"
        assert problem == (
            "input should be a finite number"
            if math.isnan(processing_s)
            else "input should be greater than or equal to 0.000001"
        )

    def test_a_way_of_scaling_is_one_of_two(self) -> None:
        [(where, _, problem)] = problems(json.dumps(document(scaling={"type": "forecast"})))
        assert where == "scaling"
        assert "'target_tracking', 'deadline'" in problem

    def test_target_tracking_takes_no_setting_of_the_deadline_engine(self) -> None:
        section = {"type": "target_tracking", "promise_s": 300}
        assert problems(json.dumps(document(scaling=section))) == [
            ("scaling.promise_s", 300, "unknown key: remove it, or check its spelling and place")
        ]

    @pytest.mark.parametrize("name", ["a:b", 'a"b', "a\\b", "ä", "a\n", "a\tb", "a" * 256])
    def test_a_group_is_named_as_workload_yaml_would_take_it(self, name: str) -> None:
        found = problems(json.dumps(document(fleet={"type": "asg", "name": name})))
        assert [(path, value) for path, value, _ in found] == [("fleet.name", name)]

    @pytest.mark.parametrize("name", ["a/b", "a b", "a.b", "ä", "a\n", "", "a" * 256])
    @pytest.mark.parametrize("key", ["cluster", "service"])
    def test_a_cluster_and_a_service_have_short_names(self, key: str, name: str) -> None:
        fleet = {"type": "ecs", "cluster": "c", "service": "s"} | {key: name}
        found = problems(json.dumps(ecs_document(fleet=fleet)))
        assert [(path, value) for path, value, _ in found] == [(f"fleet.{key}", name)]

    @pytest.mark.parametrize(
        "statistic", ["p0", "p00", "p0.0", "p0.00", "p100.1", "p101", "p", "p9٣", "p90\n"]
    )
    def test_an_invalid_percentile_is_refused(self, statistic: str) -> None:
        found = problems(json.dumps(document(target=dynamic_section(statistic=statistic))))
        assert [(path, value) for path, value, _ in found] == [("target.statistic", statistic)]

    @pytest.mark.parametrize(
        ("dimensions", "path", "way_out"),
        [
            ({}, "", "at least 1 item"),
            ({f"D{index}": "x" for index in range(31)}, "", "at most 30 items"),
            ({"": "x"}, "", "pattern"),
            ({"ü": "x"}, "", "pattern"),
            ({"k" * 256: "x"}, "", "pattern"),
            ({"Queue": ""}, ".Queue", "pattern"),
            ({"Queue": "ü"}, ".Queue", "pattern"),
            ({"Queue": "a\n"}, ".Queue", "pattern"),
            ({"Queue": "v" * 1025}, ".Queue", "pattern"),
            ({"Queue": 7}, ".Queue", "valid string"),
        ],
    )
    def test_dimensions_are_valid_for_cloudwatch(
        self, dimensions: dict[str, object], path: str, way_out: str
    ) -> None:
        metric = {"namespace": "n", "dimensions": dimensions}
        [(at, _, problem)] = problems(json.dumps(document(duration_metric=metric)))
        assert at == f"duration_metric.dimensions{path}"
        assert way_out in problem

    def test_mode_active_needs_the_key_of_the_policy_too(self) -> None:
        [(path, value, way_out)] = problems(json.dumps(without("policy_arn")))
        assert (path, value) == ("policy_arn", None)
        assert way_out.startswith("mode active needs policy_arn: ")

    def test_a_key_given_twice_is_refused_wherever_it_is(self) -> None:
        text = json.dumps(document(mode="on"))
        text = text.replace('"idle_minutes": 5', '"idle_minutes": 5, "idle_minutes": 9, "idle_minutes": 5')
        text = text.replace('"min": 0', '"min": 0, "min": 1')
        found = problems(text)
        assert [(path, problem) for path, _, problem in found[:2]] == [
            ("idle_minutes", "given 3 times: keep one"),
            ("capacity.min", "given 2 times: keep one"),
        ]
        assert [path for path, _, _ in found[2:]] == ["mode"]

    def test_a_document_with_a_duplicate_key_is_refused(self) -> None:
        text = json.dumps(document()).replace('"min": 0', '"min": 0, "min": 0')
        assert problems(text) == [("capacity.min", "min", "given 2 times: keep one")]

    @pytest.mark.parametrize("text", ["[" * 4000, '{"a":' * 4000, "9" * 4090])
    def test_json_that_is_too_deep_or_too_long_is_refused(self, text: str) -> None:
        assert [path for path, _, _ in problems(text)][:1] == ["document"]

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
    @pytest.mark.parametrize(
        "setting",
        [
            "acceptable_latency_s",
            "concurrency_per_instance",
            "min_messages_per_instance",
            "max_messages_per_instance",
            "fallback_messages_per_instance",
            "deadband_ratio",
            "max_factor_per_retune",
            "min_samples",
        ],
    )
    def test_no_setting_takes_a_number_that_is_not_finite(self, setting: str, number: str) -> None:
        text = json.dumps(document(target=dynamic_section(**{setting: 424242}))).replace("424242", number)
        assert f"target.{setting}" in [path for path, _, _ in problems(text)]

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
    @pytest.mark.parametrize("setting", ["arrival_margin", "processing_s"])
    def test_no_setting_of_the_tracking_takes_a_number_that_is_not_finite(
        self, setting: str, number: str
    ) -> None:
        text = json.dumps(document(tracking=tracking_section(**{setting: 424242}))).replace("424242", number)
        [(path, value, way_out), *others] = problems(text)
        assert (path, others) == (f"tracking.{setting}", [])
        assert repr(value) == repr(float(number))
        assert way_out.startswith("input should be")

    @pytest.mark.parametrize(
        "path",
        [
            ("name",),
            ("stack_id",),
            ("mode",),
            ("queue_url",),
            ("fleet",),
            ("fleet", "name"),
            ("capacity",),
            ("capacity", "min"),
            ("capacity", "max"),
            ("target",),
            ("target", "messages_per_instance"),
            ("duration_metric",),
            ("duration_metric", "namespace"),
            ("alarm_arns",),
            ("alarm_arns", "bootstrap"),
            ("alarm_arns", "shutdown"),
        ],
    )
    def test_a_missing_key_is_asked_for_by_its_path(self, path: tuple[str, ...]) -> None:
        assert [(at, problem) for at, _, problem in problems(json.dumps(without(*path)))] == [
            (".".join(path), "required: add this key")
        ]

    def test_all_problems_are_reported_at_once(self) -> None:
        text = document(
            name="9",
            mode="on",
            capacity={"min": 3, "max": 2, "bootstrap": "all"},
            target=static_section(-1),
            extra=1,
        )
        del text["queue_url"]
        assert {path for path, _, _ in problems(json.dumps(text))} == {
            "name",
            "mode",
            "queue_url",
            "capacity.max",
            "capacity.bootstrap",
            "target.messages_per_instance",
            "extra",
        }

    def test_the_message_is_one_sentence_a_person_can_act_on(self) -> None:
        with pytest.raises(ConfigError) as refused:
            parsing.parse(json.dumps(document(idle_minutes=0, colour="blue")), what="the document of x")
        assert str(refused.value) == (
            "the document of x is refused; "
            "colour: 'blue': unknown key: remove it, or check its spelling and place; "
            "idle_minutes: 0: input should be greater than or equal to 1"
        )

    def test_a_long_value_is_shown_shortened(self) -> None:
        with pytest.raises(ConfigError) as refused:
            parsing.parse(json.dumps(document(name="n" * 500)))
        assert "n" * 70 in str(refused.value)
        assert "n" * 80 not in str(refused.value)

    @pytest.mark.parametrize("text", ["", "{", "name: x", '{"a": 1} b'])
    def test_invalid_json_is_refused_as_such(self, text: str) -> None:
        [(path, value, way_out)] = problems(text)
        assert (path, value) == ("document", text)
        assert way_out.startswith("not valid JSON: ")

    @pytest.mark.parametrize("text", ["[]", "null", '"transcription"', "7"])
    def test_json_that_is_no_object_is_refused(self, text: str) -> None:
        [(path, value, way_out)] = problems(text)
        assert (path, value) == ("document", json.loads(text))
        assert "object" in way_out

    def test_a_document_over_eight_kilobytes_does_not_fit_its_parameter(self) -> None:
        dimensions = {f"D{index}": "x" * 400 for index in range(20)}
        text = json.dumps(document(duration_metric={"namespace": "n", "dimensions": dimensions}))
        assert problems(text) == [
            ("document", f"{len(text)} bytes", "shorten it to 8192 bytes at most"),
        ]

    def test_eight_kilobytes_are_counted_in_bytes_and_may_be_full(self) -> None:
        text = json.dumps(document())
        assert parsing.parse(text + " " * (8192 - len(text))).name == "transcription"
        metric = {"namespace": "n", "name": "ü" * 200}
        wide = json.dumps(document(duration_metric=metric), ensure_ascii=False).ljust(8100)
        assert len(wide) < 8192 < len(wide.encode())
        assert [path for path, _, _ in problems(wide)] == ["document"]

    def test_a_long_document_reports_its_length_beside_its_other_problems(self) -> None:
        text = json.dumps(document(mode="on")) + " " * 8192
        assert [path for path, _, _ in problems(text)] == ["mode", "document"]


class TestJsonSchema:
    def test_the_schema_beside_the_documentation_is_the_models_own(self) -> None:
        fresh = json.dumps(parsing.json_schema(), indent=2) + "\n"
        assert SCHEMA.read_text() == fresh, f"{SCHEMA.name} is stale: write it anew with `make schema`"

    @pytest.mark.parametrize(
        "changed",
        [
            {"colour": "blue"},
            {"mode": "on"},
            {"idle_minutes": 0},
            {"policy_arn": "my-policy"},
            {"target": static_section(0)},
            {"fleet": {"type": "vm"}},
            {"fleet": {"type": "asg", "name": "a:b"}},
            {"fleet": {"type": "ecs", "cluster": "a/b", "service": "s"}},
            {"target": dynamic_section(statistic="p0")},
            {"duration_metric": {"namespace": 'a"b'}},
            {"duration_metric": {"namespace": "n", "dimensions": {}}},
            {"duration_metric": {"namespace": "n", "dimensions": {"ü": "x"}}},
            {"duration_metric": {"namespace": "n", "dimensions": {"Queue": "ü"}}},
        ],
    )
    def test_the_schema_refuses_what_the_parser_refuses(self, changed: dict[str, Any]) -> None:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document(**changed), parsing.json_schema())


def test_a_lone_surrogate_is_a_problem_of_the_document() -> None:
    with pytest.raises(DocumentError):
        parsing.parse(json.dumps(document(), ensure_ascii=False).replace("transcription", "\ud800", 1))
