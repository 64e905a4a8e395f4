import math
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.model import AutoScalingGroup, EcsService
from sluice.errors import DocumentError
from sluice_worker.core.batch import BatchRule
from sluice_worker.core.model import Priority, Queue
from sluice_worker.core.pool_size import Range
from sluice_worker.core.retry_policy import FailurePolicy
from sluice_worker.naming import QueueIdentity, identity
from sluice_worker.settings import Settings, Sink, settings
from tests.support.builders import queue_url

URL = queue_url("uploads")
DEAD = queue_url("dead")


def configured(*queues: str, **options: Any) -> Settings:
    return settings({"queues": queues or (URL,), **options})


def refused(*queues: str, **options: Any) -> list[str]:
    """Every problem, one sentence each."""
    with pytest.raises(DocumentError) as error:
        configured(*queues, **options)
    return [str(problem) for problem in error.value.problems]


class TestQueues:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (URL, Queue(url=URL)),
            (f"{URL}=high", Queue(url=URL, priority=Priority.HIGH)),
            (f"{URL}=low:0.5", Queue(url=URL, priority=Priority.LOW, weight=0.5)),
            (f"{URL}:3", Queue(url=URL, weight=3)),
            (f"{URL}.fifo=medium:1000", Queue(url=f"{URL}.fifo", weight=1000)),
            ("http://aws:5000/123456789012/q", Queue(url="http://aws:5000/123456789012/q")),
            ("http://aws:5000/123456789012/q:2", Queue(url="http://aws:5000/123456789012/q", weight=2)),
            (
                "http://localhost:4566/queue/eu-west-1/000000000000/q-1_b=high:7",
                Queue(
                    url="http://localhost:4566/queue/eu-west-1/000000000000/q-1_b",
                    priority=Priority.HIGH,
                    weight=7,
                ),
            ),
        ],
    )
    def test_a_queue_is_a_url_with_a_priority_and_a_weight_if_given(self, text: str, expected: Queue) -> None:
        assert configured(text).queues == (expected,)

    @given(
        st.sampled_from(["https://sqs.eu-west-1.amazonaws.com/1/", "http://h:1/", "http://[::1]:4566/x/"]),
        st.from_regex(r"[a-zA-Z0-9_-]{1,75}(\.fifo)?", fullmatch=True),
        st.sampled_from(Priority),
        st.floats(min_value=0.001, max_value=1000),
    )
    def test_a_written_trace_is_read_back(
        self, base: str, name: str, priority: Priority, weight: float
    ) -> None:
        [read] = configured(f"{base}{name}={priority}:{weight}").queues
        assert read == Queue(url=base + name, priority=priority, weight=weight)
        assert read.name == name

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "uploads",
            "arn:aws:sqs:eu-west-1:123456789012:uploads",
            "sqs.eu-west-1.amazonaws.com/123456789012/uploads",
            "ftp://host/1/uploads",
            "https://sqs.eu-west-1.amazonaws.com",
            "https://sqs.eu-west-1.amazonaws.com/",
            f"{URL}=high=low",
            f"{URL}:2=high",  # swapped
            f"{URL}:1:2",
            f"{URL} =high",
            f"{URL},{URL}2",
            f"{URL} {URL}2",
        ],
    )
    def test_an_invalid_queue_is_refused_with_what_to_write(self, text: str) -> None:
        [problem] = refused(text)
        assert problem.startswith("queues.0: ")
        assert "write URL[=high|medium|low][:weight], with the queue's whole URL" in problem

    @pytest.mark.parametrize(
        ("ending", "expected"),
        [
            ("=urgent", "priority 'urgent' is none of high, medium, low"),
            ("=High", "priority 'High' is none of high, medium, low"),
            ("=", "priority '' is none of high, medium, low"),
            ("=high:", "weight '' is not a number"),
            (":much", "weight 'much' is not a number"),
            (":0", "weight 0 is not within 0 (excluded) and 1000"),
            (":-1", "weight -1 is not within 0 (excluded) and 1000"),
            (":1001", "weight 1001 is not within 0 (excluded) and 1000"),
            (":nan", "weight nan is not within 0 (excluded) and 1000"),
            (":inf", "weight inf is not within 0 (excluded) and 1000"),
        ],
    )
    def test_a_wrong_priority_or_weight_is_named(self, ending: str, expected: str) -> None:
        [problem] = refused(URL + ending)
        assert expected in problem

    def test_every_wrong_queue_is_reported_at_its_position(self) -> None:
        first, second = refused("one", URL, "three")
        assert first.startswith("queues.0: 'one': ")
        assert second.startswith("queues.2: 'three': ")

    @pytest.mark.parametrize("settings_", [{}, {"queues": []}])
    def test_no_queue_at_all_is_refused(self, settings_: dict[str, Any]) -> None:
        with pytest.raises(DocumentError, match=r"queues: .*give at least one"):
            settings(settings_)

    def test_more_queues_than_a_worker_takes_are_refused_with_the_way_out(self) -> None:
        [problem] = refused(*(f"{URL}{number}" for number in range(21)))
        assert problem == "queues: '21 queues': give 20 at most, and the others to another worker"

    def test_a_text_names_queues_as_the_variable_does(self) -> None:
        queues = settings({"queues": f"{URL}=high {URL}-2"}).queues
        assert [(queue.url, queue.priority) for queue in queues] == [
            (URL, Priority.HIGH),
            (f"{URL}-2", Priority.MEDIUM),
        ]

    def test_a_program_may_pass_queue_objects(self) -> None:
        queue = Queue(url=URL, priority=Priority.LOW, weight=2)
        assert settings({"queues": [queue]}).queues == (queue,)

    def test_a_queue_that_is_neither_text_nor_a_queue_object_is_refused(self) -> None:
        with pytest.raises(DocumentError, match=r"queues\.0: 7"):
            settings({"queues": [7]})


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"namespace": "AWS/SQS"}, "namespace begins with AWS/, which belongs to AWS"),
    ({"queues": [URL, f"{URL}=high"]}, "the same queue is given twice: give each once"),
    ({"min_concurrency": 20}, "min_concurrency 20 is more than max_concurrency 10"),
    ({"min_pollers": 11}, "max_pollers 10 is fewer than 11"),
    ({"queues": [f"{URL}{n}" for n in range(3)], "max_pollers": 2}, "max_pollers 2 is fewer than 3"),
    (
        {"auto_scaling_group": "g", "cluster": "c", "service": "s"},
        "auto_scaling_group and cluster exclude each other",
    ),
    ({"cluster": "c"}, "cluster and service belong together"),
    ({"service": "s"}, "cluster and service belong together"),
    ({"lifecycle_hook": "drain"}, "lifecycle_hook needs auto_scaling_group"),
    ({"launch_hook": "start"}, "launch_hook needs auto_scaling_group"),
    ({"heartbeat_file": "/run/heartbeat", "processes": 2}, "heartbeat_file shows one process"),
    (
        {"heartbeat_file": "/run/heartbeat", "auto_scaling_group": "g"},
        "heartbeat_file excludes auto_scaling_group",
    ),
    (
        {"auto_scaling_group": "g", "color": "blue"},
        "color and draining_color_parameter belong together",
    ),
    (
        {"auto_scaling_group": "g", "draining_color_parameter": "/w/draining-color"},
        "color and draining_color_parameter belong together",
    ),
    (
        {"color": "green", "draining_color_parameter": "/w/draining-color"},
        "color needs a fleet: give auto_scaling_group, or cluster and service",
    ),
    (
        {"auto_scaling_group": "g", "color": "green", "draining_color_parameter": "/w/c", "protect": False},
        "color needs protect: without it a switch of colors takes a busy worker for an idle one",
    ),
    ({"max_attempts": 3}, "max_attempts needs dead_letter_queue"),
    ({"metrics": "cloudwatch"}, "metrics need a fleet"),
    ({"metrics": "emf"}, "metrics need a fleet"),
    ({"publish_wait": True}, "publish_wait needs metrics"),
    ({"publish_gauges": True}, "publish_gauges needs metrics"),
    ({"dead_letter_queue": URL}, "dead_letter_queue is one of the queues"),
    ({"dead_letter_queue": f"{DEAD}.fifo"}, "dead_letter_queue must be FIFO for FIFO queues"),
    (
        {"queues": [f"{URL}.fifo"], "dead_letter_queue": DEAD},
        "dead_letter_queue must be FIFO for FIFO queues",
    ),
    (
        {"queues": [URL, f"{URL}.fifo"], "dead_letter_queue": DEAD},
        "dead_letter_queue must be FIFO for FIFO queues",
    ),
]

ONE_QUEUE = {
    "us-east-1": [
        "https://sqs.us-east-1.amazonaws.com/123456789012/uploads",
        "https://sqs.us-east-1.amazonaws.com/123456789012/uploads/",
        "http://SQS.us-east-1.amazonaws.com:80/123456789012/uploads",
        "https://us-east-1.queue.amazonaws.com/123456789012/uploads",
        "https://queue.amazonaws.com/123456789012/uploads",
        "https://sqs-fips.us-east-1.amazonaws.com/123456789012/uploads",
        "https://sqs.us-east-1.api.aws/123456789012/uploads",
        "https://sqs-fips.us-east-1.api.aws/123456789012/uploads",
        "https://vpce-0abc1234-xyz.sqs.us-east-1.vpce.amazonaws.com/123456789012/uploads",
        "https://vpce-0abc1234-xyz-us-east-1a.sqs.us-east-1.vpce.amazonaws.com/123456789012/uploads",
        "http://sqs.us-east-1.localhost.localstack.cloud:4566/123456789012/uploads",
        "http://localhost:4566/queue/us-east-1/123456789012/uploads",
    ],
    "cn-north-1": [
        "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/uploads",
        "https://cn-north-1.queue.amazonaws.com.cn/123456789012/uploads",
        "https://sqs.cn-north-1.api.amazonwebservices.com.cn/123456789012/uploads",
    ],
    "us-gov-west-1": ["https://us-gov-west-1.queue.amazonaws.com/123456789012/uploads"],
    "eusc-de-east-1": ["https://sqs.eusc-de-east-1.amazonaws.eu/123456789012/uploads"],
    None: [
        "http://localhost:4566/123456789012/uploads",
        "http://[::1]:9324/123456789012/uploads",
        "https://queues.internal/proxy/123456789012/uploads/",
    ],
}
"""A region, and every form of the URL of one queue in it; None is an endpoint that does not say."""
URLS = [(region, url) for region, urls in ONE_QUEUE.items() for url in urls]
OTHERS = [
    "https://sqs.us-east-1.amazonaws.com/123456789012/uploads2",
    "https://sqs.us-east-1.amazonaws.com/123456789012/Uploads",
    "https://sqs.us-east-1.amazonaws.com/210987654321/uploads",
    "http://localhost:4566/000000000000/uploads",
]


class TestOneQueue:
    """SQS knows a queue by its account, region and name, whatever host the URL names."""

    @pytest.mark.parametrize(("region", "url"), URLS)
    def test_every_form_of_a_url_identifies_its_queue(self, region: str | None, url: str) -> None:
        assert identity(url) == QueueIdentity("123456789012", region, "uploads")

    @pytest.mark.parametrize(("region", "url"), URLS)
    def test_a_queue_is_not_its_own_dead_letter_queue_under_another_url(
        self, region: str | None, url: str
    ) -> None:
        for sibling in [*ONE_QUEUE[region], *ONE_QUEUE[None]]:
            [problem] = refused(url, dead_letter_queue=sibling)
            assert "dead_letter_queue is one of the queues: what is rejected would come back" in problem

    @pytest.mark.parametrize(("region", "url"), URLS)
    def test_a_queue_is_not_given_twice_under_two_urls(self, region: str | None, url: str) -> None:
        for sibling in [*ONE_QUEUE[region], *ONE_QUEUE[None]]:
            [problem] = refused(url, f"{sibling}=high")
            assert problem.endswith("the same queue is given twice: give each once")

    @pytest.mark.parametrize("other", [*OTHERS, *ONE_QUEUE["cn-north-1"]])
    def test_queues_of_other_names_accounts_and_regions_are_others(self, other: str) -> None:
        for url in ONE_QUEUE["us-east-1"]:
            assert len(configured(url, other).queues) == 2
            assert configured(url, dead_letter_queue=other).dead_letter_queue == other

    def test_a_slash_at_the_end_is_no_part_of_the_url(self) -> None:
        chosen = configured(f"{URL}.fifo/=high:2", dead_letter_queue=f"{DEAD}.fifo/")
        assert chosen.queues == (Queue(url=f"{URL}.fifo", priority=Priority.HIGH, weight=2),)
        assert chosen.dead_letter_queue == f"{DEAD}.fifo"
        [queue] = Settings(queues=(Queue(url=f"{URL}.fifo/"),)).queues
        assert queue.is_fifo


class TestContradictions:
    @pytest.mark.parametrize(("options", "expected"), CONTRADICTIONS)
    def test_contradicting_settings_are_refused_with_the_way_out(
        self, options: dict[str, Any], expected: str
    ) -> None:
        with pytest.raises(DocumentError) as error:
            settings({"queues": [URL], **options})
        [problem] = error.value.problems
        assert problem.path == "together"
        assert problem.way_out.startswith(expected)

    def test_all_contradictions_are_reported_at_once(self) -> None:
        [problem] = refused(min_concurrency=20, cluster="c", lifecycle_hook="h", max_attempts=3)
        for expected in ("min_concurrency 20", "cluster and service", "lifecycle_hook", "max_attempts"):
            assert expected in problem

    def test_all_wrong_values_are_reported_at_once(self) -> None:
        problems = refused(
            "nonsense", grace_s="soon", visibility_s=1, processes=2.5, metrics="statsd", graze_s=1
        )
        assert [sentence.split(":")[0] for sentence in problems] == [
            "queues.0",
            "processes",
            "visibility_s",
            "grace_s",
            "metrics",
            "graze_s",
        ]
        assert "unknown key" in problems[-1]

    def test_as_many_pollers_as_queues_suffice(self) -> None:
        assert configured(*(f"{URL}{n}" for n in range(10))).pollers == Range(min=10, max=10)


class TestValues:
    @pytest.mark.parametrize("name", [name for name in Settings.model_fields if name.endswith("_s")])
    @pytest.mark.parametrize("value", [math.nan, -math.inf, -1, "", "1 minute"])
    def test_no_time_is_negative_or_nonsense(self, name: str, value: object) -> None:
        [problem] = refused(**{name: value})
        assert problem.startswith(f"{name}: ")

    @pytest.mark.parametrize(
        "name", [name for name in Settings.model_fields if name.endswith("_s") and name != "starving_after_s"]
    )
    def test_no_time_may_be_infinite(self, name: str) -> None:
        """The rule against starvation alone may be turned off with an infinite time."""
        [problem] = refused(**{name: math.inf})
        assert problem.startswith(f"{name}: ")
        assert configured(starving_after_s=math.inf).starving_after_s == math.inf

    @pytest.mark.parametrize(
        ("name", "minimum", "maximum"),
        [
            ("processes", 1, 256),
            ("min_pollers", 0, 10),
            ("max_pollers", 1, 1000),
            ("max_concurrency", 1, 1000),
            ("buffer_high", 1, 1000),
            ("buffer_medium", 1, 1000),
            ("buffer_low", 1, 1000),
            ("buffer_mib", 1, 100_000),
            ("visibility_s", 2, 43_200),
            ("interval_s", 0.1, 60),
            ("max_processing_s", 0.1, 43_200),
            ("max_backoff_s", 0, 43_200),
            ("delete_linger_s", 0, 10),
            ("grace_s", 0, 43_200),
            ("report_s", 1, 3600),
            ("batch", 1, 191),
            ("prefetch_s", 0, 43_200),
            ("protection_idle_s", 0, 43_200),
        ],
    )
    def test_bounds_are_included_and_what_lies_beyond_is_refused(
        self, name: str, minimum: float, maximum: float
    ) -> None:
        assert getattr(configured(**{name: minimum}), name) == minimum
        assert getattr(configured(**{name: maximum}), name) == maximum
        assert refused(**{name: minimum - 1})
        assert refused(**{name: maximum + 1})

    def test_a_batch_must_fit_its_queues_buffers_and_its_wait_the_promise(self) -> None:
        assert configured(batch=991, buffer_medium=1000, buffer_low=1).batch == 991
        [problem] = refused(batch=300)
        assert "batch 300 needs buffers of 309: polls bring ten at a time" in problem
        [problem] = refused(batch=10, batch_wait_s=5, promise_s=5)
        assert "batch_wait_s 5 is not below promise_s" in problem
        assert configured(batch=10, promise_s=5, batch_wait_s=1).batch_wait_s == 1

    def test_a_wait_without_batches_is_refused(self) -> None:
        [problem] = refused(batch_wait_s=2)
        assert "batch_wait_s needs batch" in problem
        assert configured().batches == BatchRule(size=1, wait_s=0)
        assert configured(batch=7).batches == BatchRule(size=7, wait_s=1)

    @pytest.mark.parametrize("name", ["auto_scaling_group", "cluster", "service", "worker_id"])
    def test_an_empty_name_is_refused(self, name: str) -> None:
        assert [problem.split(":")[0] for problem in refused(**{name: ""})] == [name]

    @pytest.mark.parametrize("name", ["cluster", "service"])
    def test_an_arn_is_no_short_name(self, name: str) -> None:
        [problem] = refused(
            **{"cluster": "c", "service": "s", name: "arn:aws:ecs:eu-west-1:123456789012:x/y"}
        )
        assert problem.startswith(f"{name}: ")

    @pytest.mark.parametrize("namespace", ["My Company: Workers/1", "Sluice"])
    def test_every_namespace_that_a_workload_may_name_can_be_published_to(self, namespace: str) -> None:
        assert configured(namespace=namespace).namespace == namespace

    @pytest.mark.parametrize(
        "url", ["dead", "arn:aws:sqs:eu-west-1:123456789012:dead", "https://host", f"{DEAD}=high"]
    )
    def test_dead_letters_have_a_url(self, url: str) -> None:
        [problem] = refused(dead_letter_queue=url)
        assert problem.startswith("dead_letter_queue: ")

    def test_an_option_that_does_not_exist_is_refused(self) -> None:
        [problem] = refused(grace=30)
        assert problem == "grace: 30: unknown key: remove it, or check its spelling and place"


class TestMeaning:
    def test_the_defaults_alone_are_a_worker(self) -> None:
        chosen = configured()
        assert chosen.pollers == Range(min=1, max=10)
        assert chosen.slots == Range(min=1, max=10)
        assert chosen.limits == dict.fromkeys(Priority, 200)
        assert chosen.failure_policy == FailurePolicy()
        assert (chosen.fleet, chosen.sink) == (None, Sink.NONE)
        assert chosen.worker_id == socket.gethostname()

    def test_a_queue_starves_after_a_minute_by_default(self) -> None:
        assert configured().starving_after_s == 60
        assert configured(starving_after_s=7).starving_after_s == 7

    def test_limits_are_those_of_each_priority(self) -> None:
        limits = configured(buffer_high=1, buffer_medium=2, buffer_low=3).limits
        assert limits == {Priority.HIGH: 1, Priority.MEDIUM: 2, Priority.LOW: 3}

    def test_the_failure_policy_follows_the_settings(self) -> None:
        chosen = configured(backoff_s=1, max_backoff_s=2, max_attempts=3, dead_letter_queue=DEAD)
        assert chosen.failure_policy == FailurePolicy(
            backoff_s=1, max_backoff_s=2, max_attempts=3, dead_letters=True
        )

    @pytest.mark.parametrize(
        ("options", "fleet"),
        [
            ({"auto_scaling_group": "transcription"}, AutoScalingGroup(name="transcription")),
            ({"cluster": "c", "service": "s"}, EcsService(cluster="c", service="s")),
        ],
    )
    def test_metrics_are_published_for_the_fleet(self, options: dict[str, str], fleet: object) -> None:
        assert configured(**options).fleet == fleet
        assert configured(**options).sink is Sink.CLOUDWATCH
        assert configured(**options, metrics="emf").sink is Sink.EMF
        assert configured(**options, metrics="none").sink is Sink.NONE

    def test_settings_cannot_be_changed(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            configured().grace_s = 1  # type: ignore[misc]
