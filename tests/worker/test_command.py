import json
import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from sluice_worker import supervisor
from sluice_worker.command import PREFIX, main
from sluice_worker.settings import Settings
from tests.support.builders import queue_url

URL = queue_url("uploads")
HANDLER = ("--handler", "thumbnails.app:handle")
QUEUE = ("--queue", URL)

# A value of each setting that is not its default, and the settings that it needs.
SAMPLES: dict[str, tuple[str, dict[str, str]]] = {
    "queues": (f"{URL}2=high:2", {}),
    "processes": ("3", {}),
    "min_concurrency": ("2", {}),
    "max_concurrency": ("20", {}),
    "batch": ("50", {}),
    "batch_wait_s": ("0.5", {"batch": "50"}),
    "min_pollers": ("2", {}),
    "max_pollers": ("20", {}),
    "buffer_high": ("10", {}),
    "buffer_medium": ("11", {}),
    "buffer_low": ("12", {}),
    "buffer_mib": ("64", {}),
    "prefetch_s": ("2.5", {}),
    "interval_s": ("2.5", {}),
    "starving_after_s": ("30", {}),
    "visibility_s": ("90", {}),
    "max_processing_s": ("90", {}),
    "backoff_s": ("1.5", {}),
    "max_backoff_s": ("60", {}),
    "max_attempts": ("3", {"dead_letter_queue": queue_url("dead")}),
    "dead_letter_queue": (queue_url("dead"), {}),
    "delete_linger_s": ("0", {}),
    "auto_scaling_group": ("transcription", {}),
    "lifecycle_hook": ("drain", {"auto_scaling_group": "transcription"}),
    "launch_hook": ("start", {"auto_scaling_group": "transcription"}),
    "cluster": ("workers", {"service": "queue-proc"}),
    "service": ("queue-proc", {"cluster": "workers"}),
    "color": ("green", {"cluster": "workers", "service": "queue-proc", "draining_color_parameter": "/p"}),
    "draining_color_parameter": ("/p", {"cluster": "workers", "service": "queue-proc", "color": "blue"}),
    "check_keys": ("no", {}),
    "protect": ("no", {}),
    "protection_idle_s": ("5", {}),
    "grace_s": ("30", {}),
    "metrics": ("emf", {"auto_scaling_group": "transcription"}),
    "namespace": ("Mine", {}),
    "promise_s": ("600", {}),
    "publish_wait": ("yes", {"auto_scaling_group": "transcription"}),
    "publish_gauges": ("yes", {"auto_scaling_group": "transcription"}),
    "report_s": ("10", {}),
    "heartbeat_file": ("/tmp/heartbeat", {}),
    "worker_id": ("me", {}),
}


class Started:
    """What the command would run."""

    def __init__(self) -> None:
        self.handler = ""
        self.settings: Settings | None = None
        self.status = 0

    def run(self, settings: Settings, handler: str) -> int:
        self.settings, self.handler = settings, handler
        return self.status


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    started = Started()
    monkeypatch.setattr(supervisor, "run", started.run)
    monkeypatch.setattr(supervisor, "configure_logging", lambda: None)
    return started


def command(*options: str, **variables: str) -> Result:
    return CliRunner().invoke(main, options, env=variables, prog_name="python -m sluice_worker")


def option(name: str, value: str) -> list[str]:
    flag = "--" + {"queues": "queue"}.get(name, name).replace("_", "-")
    if value in ("yes", "no"):
        return [flag if value == "yes" else flag.replace("--", "--no-")]
    return [flag, value]


def variable(name: str, value: str) -> dict[str, str]:
    return {f"{PREFIX}_{ {'queues': 'queue'}.get(name, name).upper() }": value}


def refused(result: Result) -> list[str]:
    """The lines of a refusal: status 2, one message, no traceback."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "pydantic" not in result.output
    return result.output.splitlines()


class TestEverySetting:
    @pytest.mark.parametrize("name", Settings.model_fields)
    def test_is_an_option_and_a_variable_that_mean_the_same(self, name: str, started: Started) -> None:
        value, needed = SAMPLES[name]
        options = [text for pair in needed.items() for text in option(*pair)]
        queue = () if name == "queues" else QUEUE
        result = command(*HANDLER, *queue, *options, *option(name, value))
        assert result.exit_code == 0, result.output
        by_option = started.settings
        result = command(*HANDLER, *queue, *options, **variable(name, value))
        assert result.exit_code == 0, result.output
        assert started.settings == by_option
        assert by_option is not None
        assert getattr(by_option, name) != Settings.model_fields[name].default

    @pytest.mark.parametrize("name", Settings.model_fields)
    def test_is_explained_in_the_help(self, name: str) -> None:
        flag = option(name, "value")[0]
        options = command("--help").output.split("What to work on:")[1]
        [line] = [line for line in options.splitlines() if line.strip().startswith(f"{flag} ")]
        if name.endswith("_s"):
            assert f"{flag} SECONDS" in line

    def test_an_option_wins_over_its_variable(self, started: Started) -> None:
        command(*HANDLER, *QUEUE, "--grace-s", "5", SLUICE_WORKER_GRACE_S="9")
        assert started.settings is not None
        assert started.settings.grace_s == 5

    def test_everything_may_come_from_the_environment(self, started: Started) -> None:
        environment = {"SLUICE_WORKER_HANDLER": "a:b", "SLUICE_WORKER_QUEUE": f" {URL}=high\n{URL}2:3 "}
        assert command(**environment).exit_code == 0
        assert started.handler == "a:b"
        assert started.settings is not None
        assert [queue.weight for queue in started.settings.queues] == [1, 3]

    def test_several_queues_are_several_options(self, started: Started) -> None:
        command(*HANDLER, *QUEUE, "--queue", f"{URL}2=low")
        assert started.settings is not None
        assert [queue.name for queue in started.settings.queues] == ["uploads", "uploads2"]

    def test_an_empty_variable_is_one_that_is_not_set(self, started: Started) -> None:
        """Templates and compose files pass parameters on that are empty by default."""
        environment = {
            "SLUICE_WORKER_CLUSTER": "",
            "SLUICE_WORKER_PROMISE_S": "",
            "SLUICE_WORKER_METRICS": "",
        }
        assert command(*HANDLER, *QUEUE, **environment).exit_code == 0
        assert started.settings is not None
        assert started.settings.cluster is None
        assert started.settings.promise_s is None
        assert started.settings.metrics is None

    @pytest.mark.parametrize(
        ("text", "protects"), [("no", False), ("false", False), ("0", False), ("yes", True), ("1", True)]
    )
    def test_a_boolean_option_is_yes_or_no_in_the_environment(
        self, text: str, protects: bool, started: Started
    ) -> None:
        command(*HANDLER, *QUEUE, SLUICE_WORKER_PROTECT=text)
        assert started.settings is not None
        assert started.settings.protect is protects


class TestRefusals:
    def test_without_a_handler_it_says_so(self, started: Started) -> None:
        assert refused(command(*QUEUE))[-1] == "Error: Missing option '--handler'."

    def test_without_a_queue_it_says_so(self, started: Started) -> None:
        assert refused(command(*HANDLER)) == [
            "Error: these settings cannot be used:",
            "  --queue: give at least one",
        ]

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--grace-s", "2m"], "  --grace-s 2m: input should be a valid number"),
            (["--grace-s", "-1"], "  --grace-s -1: input should be greater than or equal to 0"),
            (["--processes", "2.5"], "  --processes 2.5: input should be a valid integer"),
            (["--max-concurrency", ""], "  --max-concurrency '': input should be a valid integer"),
            (["--metrics", "statsd"], "  --metrics statsd: input should be 'cloudwatch', 'emf' or 'none'"),
            (["--queue", "uploads"], "  --queue uploads: write URL[=high|medium|low][:weight]"),
            (["--queue", f"{URL}2=urgent"], f"  --queue {URL}2=urgent: priority 'urgent' is none of"),
            (["--queue", URL], "  the same queue is given twice: give each once"),
            (["--dead-letter-queue", "dead"], "  --dead-letter-queue dead: "),
            (["--lifecycle-hook", "drain"], "  lifecycle_hook needs auto_scaling_group"),
        ],
    )
    def test_a_wrong_option_is_named_with_its_value_and_the_way_out(
        self, options: list[str], expected: str, started: Started
    ) -> None:
        head, line = refused(command(*HANDLER, *QUEUE, *options))
        assert head == "Error: these settings cannot be used:"
        assert line.startswith(expected)

    def test_all_problems_are_reported_at_once_one_per_line(self, started: Started) -> None:
        lines = refused(
            command(
                *(*HANDLER, "--queue", "one", "--queue", "two", "--grace-s", "soon"),
                SLUICE_WORKER_VISIBILITY_S="x",
            )
        )
        assert [line.split(":")[0] for line in lines[1:]] == [
            "  --queue one",
            "  --queue two",
            "  --visibility-s x",
            "  --grace-s soon",
        ]

    def test_contradictions_stand_on_a_line_each(self, started: Started) -> None:
        lines = refused(command(*HANDLER, *QUEUE, "--cluster", "c", "--max-attempts", "3"))
        assert lines[1:] == [
            "  cluster and service belong together",
            "  max_attempts needs dead_letter_queue: without it the queue's redrive policy counts",
        ]

    def test_an_option_mistyped_is_answered_with_the_right_one(self, started: Started) -> None:
        assert "Did you mean --queue?" in refused(command(*HANDLER, "--queues", URL))[-1]
        assert "No such option" in refused(command(*HANDLER, *QUEUE, "--garce-s", "3"))[-1]

    def test_a_boolean_that_is_neither_yes_nor_no_is_refused(self, started: Started) -> None:
        lines = refused(command(*HANDLER, *QUEUE, SLUICE_WORKER_PROTECT="perhaps"))
        assert lines[-1] == "Error: Invalid value for '--protect': 'perhaps' is not a valid boolean."

    def test_an_extra_argument_is_refused(self, started: Started) -> None:
        """A list of queues without an option for each."""
        assert "unexpected extra argument" in refused(command(*HANDLER, *QUEUE, f"{URL}2"))[-1]

    def test_a_mistyped_variable_is_logged_with_the_right_one(
        self, started: Started, caplog: pytest.LogCaptureFixture
    ) -> None:
        strays = {"SLUICE_WORKER_QUEUES": URL, "SLUICE_WORKER_PORT_80_TCP": "x"}
        assert command(*HANDLER, *QUEUE, **strays, SLUICE_WORKER_GRACE_S="3").exit_code == 0
        assert [record.getMessage() for record in caplog.records] == [
            "SLUICE_WORKER_PORT_80_TCP is no setting and does nothing",
            "SLUICE_WORKER_QUEUES is no setting and does nothing; is it SLUICE_WORKER_QUEUE?",
        ]


class TestHelp:
    def test_it_has_sections_and_an_example(self) -> None:
        text = command("--help").output
        titles = re.findall(r"^(\w.*):$", text, re.MULTILINE)
        assert titles == [
            "What to work on",
            "How much at a time",
            "What becomes of a message",
            "The fleet, and its end",
            "Reports",
            "Help",
        ]
        assert "python -m sluice_worker --handler thumbnails.app:handle" in text

    def test_defaults_are_those_of_the_settings_in_plain_numbers(self) -> None:
        text = re.sub(r"\s+", " ", command("--help").output)
        for name, field in Settings.model_fields.items():
            if type(field.default) in (int, float, str):
                flag = option(name, "value")[0]
                expected = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
                assert re.search(rf"{flag} [A-Z]+ [^\[]*\[default: {re.escape(expected)}\]", text), name
        assert "[default: protect]" in text
        assert "[default: no-publish-wait]" in text

    def test_it_is_printed_without_loading_what_talks_to_aws(self) -> None:
        code = (
            "import sys, json, sluice_worker.command as c\n"
            "c.main(['--help'], standalone_mode=False)\n"
            "print(json.dumps('boto3' in sys.modules))"
        )
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert json.loads(ended.stdout.splitlines()[-1]) is False


@pytest.mark.parametrize("status", [0, 1])
def test_the_status_of_the_run_is_the_commands(status: int, started: Started) -> None:
    started.status = status
    result = command(*HANDLER, *QUEUE)
    assert (result.exit_code, result.output) == (status, "")
