"""What a user sees of a start that cannot succeed: one sentence and status 2; what may heal is waited out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sluice.errors import ConfigError
from sluice_worker import run, settings, supervisor, wiring
from sluice_worker.command import main
from sluice_worker.settings import Settings
from tests.aws import account
from tests.aws.stubs import ANY, refusal, stubbed
from tests.worker.surroundings.endpoints import nobody

HANDLER = "tests.worker.surroundings.handlers:at_once"


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
    monkeypatch.setattr(supervisor, "_alone", lambda *_: 0)
    monkeypatch.setattr(supervisor, "_on_signals", lambda _: None)


def command(*options: str) -> Result:
    return CliRunner().invoke(main, [*options])


def refused(result: Result) -> str:
    """The one sentence; status 2, and nothing raised through."""
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


def test_every_queue_that_cannot_be_used_is_told_at_once(queue_url: str) -> None:
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
    assert "AWS_DEFAULT_REGION" in line
    assert "must specify a region" in line


def test_a_handler_that_is_missing_is_named_with_where_it_was_looked_for(queue_url: str) -> None:
    line = refused(command("--handler", "nowhere.app:handle", "--queue", queue_url))
    assert "'nowhere.app:handle'" in line
    assert "looked for in" in line


def test_a_handler_is_looked_for_before_aws_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "check", lambda _: pytest.fail("AWS was asked"))
    with pytest.raises(ConfigError, match="nowhere"):
        run(told(), "nowhere.app:handle")


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
    asked = {"KeyId": key, "EncryptionContext": {"aws:sqs:arn": ANY}, "DryRun": True, "DryRunModifiers": ANY}
    with stubbed("kms", ("decrypt", asked, refusal("AccessDeniedException", lacking))) as client:
        monkeypatch.setattr(wiring.kms, "client", lambda _: client)
        line = refused(command("--handler", HANDLER, "--queue", queue_url))
    assert f"queue uploads cannot be used: kms:Decrypt on {key}" in line
    result = command("--handler", HANDLER, "--queue", queue_url, "--no-check-keys")
    assert (result.exit_code, result.output) == (0, "")


def test_an_aws_out_of_reach_may_heal_and_is_told_once_however_many_queues_there_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", nobody())
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    wiring.check(told("one", "two", "three"))
    [record] = caplog.records
    assert "no answer from AWS" in record.getMessage()
    assert "it may heal, and is tried again" in record.getMessage()


def test_a_handler_that_cannot_reach_other_processes_is_refused_before_any_is_started() -> None:
    with pytest.raises(ConfigError, match=r"<lambda>.* cannot reach other processes: make it a function"):
        run(told(processes=2), lambda message: None)


def test_a_task_without_an_agent_is_told_once_that_nothing_protects_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("ECS_AGENT_URI", raising=False)
    assert wiring.surroundings(told(cluster="c", service="s")).protection is None
    assert [record.getMessage() for record in caplog.records] == [
        "the task is not protected from scale-in: ECS sets no ECS_AGENT_URI here"
    ]
    assert wiring.surroundings(told(cluster="c", service="s", protect=False)).protection is None
    assert len(caplog.records) == 1


def told(*names: str, **given: Any) -> Settings:
    urls = [f"https://sqs.eu-west-1.amazonaws.com/123456789012/{name}" for name in names or ("uploads",)]
    return settings({"queues": urls, **given})
