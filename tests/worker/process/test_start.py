"""A start that cannot succeed ends with one sentence and status 2; temporary failures are waited out."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial, partialmethod
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result

from sluice.aws.errors import aws_errors
from sluice.errors import ConfigError
from sluice_worker import run, settings, supervisor, wiring
from sluice_worker.command import main
from sluice_worker.settings import Settings
from tests.sluice.aws import account
from tests.sluice.aws.stubs import (
    ANY,
    refusal,
    stubbed,
)
from tests.worker.process import callables
from tests.worker.process.endpoints import (
    Metadata,
    closed_endpoint,
    serving,
)
from tests.worker.waiting import eventually

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/uploads"
HANDLER = "tests.worker.process.handlers:at_once"


@pytest.fixture
def queue_url() -> Iterator[str]:
    with account.account():
        yield account.create_queue("uploads")


@pytest.fixture(autouse=True)
def _log_levels_as_they_were() -> Iterator[None]:
    names = ("botocore", "urllib3")
    before = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(autouse=True)
def _nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that passes ends here."""
    monkeypatch.setattr(supervisor, "_run_single", lambda *_: 0)
    monkeypatch.setattr(supervisor, "_on_signals", lambda _: None)


def command(*options: str) -> Result:
    return CliRunner().invoke(main, [*options])


def refused(result: Result) -> str:
    """The one sentence of an exit with status 2 and no traceback."""
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 2
    [line] = result.output.splitlines()
    assert "Traceback" not in line
    return line


def test_a_start_with_everything_in_place_passes(queue_url: str) -> None:
    result = command("--handler", HANDLER, "--queue", queue_url)
    assert (result.exit_code, result.output) == (0, "")


def test_a_queue_that_does_not_exist_is_named_with_a_way_out(queue_url: str) -> None:
    line = refused(command("--handler", HANDLER, "--queue", queue_url.replace("uploads", "uplaods")))
    assert "queue uplaods cannot be used" in line
    assert "does not exist" in line
    assert "check its URL" in line


def test_every_queue_that_cannot_be_used_is_reported_at_once(queue_url: str) -> None:
    wrong = [queue_url.replace("uploads", name) for name in ("one", "two")]
    result = command("--handler", HANDLER, "--queue", wrong[0], "--queue", queue_url, "--queue", wrong[1])
    assert result.exit_code == 2
    first, second = result.output.splitlines()
    assert "queue one cannot be used" in first
    assert "queue two cannot be used" in second


def test_credentials_that_are_missing_are_named(
    queue_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    line = refused(command("--handler", HANDLER, "--queue", queue_url))
    assert "credentials" in line
    assert "uploads" in line


def test_a_region_that_is_missing_is_named_with_the_variable_that_sets_it(
    queue_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    line = refused(command("--handler", HANDLER, "--queue", queue_url))
    assert "AWS_REGION" in line
    assert "must specify a region" in line


def test_aws_region_alone_is_enough(queue_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    result = command("--handler", HANDLER, "--queue", queue_url)
    assert (result.exit_code, result.output) == (0, "")


def test_a_queue_of_another_region_is_named_with_both_regions(
    queue_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQS answers that there is no such queue: requests go to the worker's region, whatever the URL says."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    line = refused(command("--handler", HANDLER, "--queue", queue_url))
    assert line.endswith(
        "its URL is of eu-west-1, and the worker's region is us-east-1: set AWS_REGION=eu-west-1"
    )
    dead = queue_url.replace("eu-west-1", "us-west-2").replace("uploads", "dead")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    line = refused(command("--handler", HANDLER, "--queue", queue_url, "--dead-letter-queue", dead))
    assert line.endswith("the worker's region is eu-west-1: set AWS_REGION=us-west-2")


def test_a_dead_letter_queue_that_does_not_exist_is_named_with_a_way_out(queue_url: str) -> None:
    dead = queue_url.replace("uploads", "uploads-faild")
    for check in ("--check-keys", "--no-check-keys"):
        line = refused(
            command("--handler", HANDLER, "--queue", queue_url, "--dead-letter-queue", dead, check)
        )
        assert "dead-letter queue uploads-faild cannot be used" in line
        assert "does not exist" in line
        assert "check its URL" in line


@pytest.mark.parametrize("form", ["{}/", "{}"])
def test_a_dead_letter_queue_that_is_consumed_or_of_the_other_type_is_refused(
    queue_url: str, form: str
) -> None:
    same = form.format(queue_url.replace("https://sqs.eu-west-1.", "https://eu-west-1.queue."))
    for dead, expected in (
        (same, "is one of the queues"),
        (f"{queue_url}-failed.fifo", "must be FIFO for FIFO"),
    ):
        result = command("--handler", HANDLER, "--queue", queue_url, "--dead-letter-queue", dead)
        assert result.exit_code == 2
        assert f"dead_letter_queue {expected}" in result.output


def test_a_dead_letter_queue_that_the_role_may_not_read_is_logged_and_does_not_delay_the_start(
    queue_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Sending to it needs another permission, which only sending shows."""
    dead = account.create_queue("failed")

    def denied(sound: Any, queues: Any, url: str) -> Any:
        if url != dead:
            return sound(queues, url)
        with aws_errors(f"reading the attributes of {url}"):
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetQueueAttributes")

    for read in ("depth", "key"):
        sound = getattr(wiring.sqs.SqsQueues, read)
        monkeypatch.setattr(wiring.sqs.SqsQueues, read, partialmethod(partial(denied, sound)))
    for check in ("--check-keys", "--no-check-keys"):
        caplog.clear()
        result = command("--handler", HANDLER, "--queue", queue_url, "--dead-letter-queue", dead, check)
        assert result.exit_code == 0
        [record] = caplog.records
        assert "whether the dead-letter queue can be used is not known: " in record.getMessage()
        assert "failed" in record.getMessage()


def test_an_instance_whose_metadata_is_turned_off_logs_what_it_lacks_and_makes_no_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    metadata = Metadata()
    with serving(metadata) as address:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address)
        for value in ("true", "True", "TRUE"):
            monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", value)
            caplog.clear()
            assert wiring.detect_platform(configured(auto_scaling_group="g")) == wiring.Platform()
            [record] = caplog.records
            assert "AWS_EC2_METADATA_DISABLED" in record.getMessage()
        assert metadata.requests == []
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
        configuration = configured(auto_scaling_group="g")
        with wiring.lifecycle_tasks(
            configuration, wiring.detect_platform(configuration), lambda: True, lambda: False, print
        ):
            eventually(lambda: metadata.requests, "it is called unless something turns it off")


def test_a_missing_handler_is_named_with_where_it_was_searched(queue_url: str) -> None:
    line = refused(command("--handler", "nowhere.app:handle", "--queue", queue_url))
    assert "'nowhere.app:handle'" in line
    assert "looked for in" in line


CALLABLE = (
    *("plain", "coroutine", "with_default", "anything", "keyword_default", "decorated", "partial", "builtin"),
    *("thumbnails", "thumbnails.handle", "Thumbnails.of_the_class", "Thumbnails.static", "untold"),
)


@pytest.mark.parametrize("name", CALLABLE)
def test_a_handler_that_can_be_called_with_a_message_is_started(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(supervisor, "check", lambda _: None)
    result = command("--handler", f"{callables.__name__}:{name}", "--queue", QUEUE)
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("as_in_lambda", "takes (event: 'object', context: 'object')"),
        ("nothing", "takes ()"),
        ("keyword_only", "takes (*, message"),
        ("keyword_needed", "argument: 'table'"),
        ("partial_of_too_much", "takes ()"),
        ("Thumbnails", "is a class: a call makes an object and processes nothing"),
        ("Thumbnails.handle", "name the method of an object, not of its class"),
        ("generator", "contains yield"),
        ("async_generator", "contains yield"),
        ("yielding", "contains yield"),
    ],
)
def test_a_handler_that_cannot_be_called_is_refused_with_what_to_write(
    monkeypatch: pytest.MonkeyPatch, name: str, wrong: str
) -> None:
    """If it started, every message would fail and be dead-lettered within seconds."""
    monkeypatch.setattr(supervisor, "check", lambda _: pytest.fail("AWS was asked"))
    handler = f"{callables.__name__}:{name}"
    line = refused(command("--handler", handler, "--queue", QUEUE))
    assert f"handler '{handler}'" in line
    assert wrong in line
    assert line.endswith("write def handle(message)")


def test_a_function_that_is_passed_to_run_is_checked_too() -> None:
    with pytest.raises(
        ConfigError, match=r"handler 'as_in_lambda' is called with .message. and takes .event"
    ):
        run(configured(), callables.as_in_lambda)


def test_a_run_outside_the_main_thread_where_no_signal_arrives_is_refused_in_a_sentence() -> None:
    with ThreadPoolExecutor() as pool, pytest.raises(ConfigError, match="call it there"):
        pool.submit(run, settings({"queues": [QUEUE]}), callables.plain).result()


def test_a_handler_is_imported_before_aws_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "check", lambda _: pytest.fail("AWS was asked"))
    with pytest.raises(ConfigError, match="nowhere"):
        run(configured(), "nowhere.app:handle")


def test_a_permission_that_is_missing_is_named_with_the_queue(
    queue_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> None:
        raise ConfigError("reading the attributes: AWS answered AccessDenied: not authorized")

    monkeypatch.setattr(wiring.sqs.SqsQueues, "depth", denied)
    line = refused(command("--handler", HANDLER, "--queue", queue_url))
    assert "queue uploads cannot be used" in line
    assert "AccessDenied" in line
    assert "sqs:GetQueueAttributes" in line


def test_a_key_that_the_role_may_not_use_is_named_with_the_queue_and_the_action(
    queue_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    account.client("sqs").set_queue_attributes(QueueUrl=queue_url, Attributes={"KmsMasterKeyId": key})
    lacking = "not authorized because no identity-based policy allows the kms:Decrypt action"
    request = {
        "KeyId": key,
        "EncryptionContext": {"aws:sqs:arn": ANY},
        "DryRun": True,
        "DryRunModifiers": ANY,
    }
    with stubbed("kms", ("decrypt", request, refusal("AccessDeniedException", lacking))) as client:
        monkeypatch.setattr(wiring.kms, "client", lambda _: client)
        line = refused(command("--handler", HANDLER, "--queue", queue_url))
    assert f"queue uploads cannot be used: kms:Decrypt on {key}" in line
    result = command("--handler", HANDLER, "--queue", queue_url, "--no-check-keys")
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize(("receipts", "processes", "warned"), [(3, 1, False), (4, 3, False), (3, 3, True)])
def test_a_fifo_queue_whose_redrive_leaves_no_attempt_behind_a_failing_message_is_logged(
    caplog: pytest.LogCaptureFixture, receipts: int, processes: int, warned: bool
) -> None:
    with account.account():
        url, dead = account.create_queue("orders.fifo"), "arn:aws:sqs:eu-west-1:123456789012:dead.fifo"
        account.create_queue("dead.fifo")
        redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": str(receipts)})
        account.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": redrive})
        wiring.check(settings({"queues": [url], "processes": processes}))
    assert ("orders.fifo moves messages to its dead-letter queue after 3 receipts" in caplog.text) == warned


@pytest.mark.parametrize("name", ["orders.fifo", "uploads"])
def test_a_queue_without_a_redrive_policy_logs_no_warning(
    caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with account.account():
        wiring.check(settings({"queues": [account.create_queue(name)], "processes": 9}))
    assert caplog.text == ""


def test_an_unreachable_aws_is_logged_once_however_many_queues_there_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", closed_endpoint())
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    wiring.check(configured("one", "two", "three"))
    [record] = caplog.records
    assert "no answer from AWS" in record.getMessage()
    assert "it may heal, and is tried again" in record.getMessage()


def test_a_handler_that_cannot_reach_other_processes_is_refused_before_any_is_started() -> None:
    with pytest.raises(ConfigError, match=r"<lambda>.* cannot reach other processes: make it a function"):
        run(configured(processes=2), lambda message: None)


def test_a_task_without_an_agent_logs_once_that_nothing_protects_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("ECS_AGENT_URI", raising=False)
    assert wiring.detect_platform(configured(cluster="c", service="s")).protection is None
    assert [record.getMessage() for record in caplog.records] == [
        "the task is not protected from scale-in: ECS sets no ECS_AGENT_URI here"
    ]
    assert wiring.detect_platform(configured(cluster="c", service="s", protect=False)).protection is None
    assert len(caplog.records) == 1


def configured(*names: str, **changes: Any) -> Settings:
    urls = [f"https://sqs.eu-west-1.amazonaws.com/123456789012/{name}" for name in names or ("uploads",)]
    return settings({"queues": urls, **changes})
