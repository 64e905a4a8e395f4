"""A queue whose KMS key the role may not use: a clear answer ends the start, a doubtful one does not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sluice.errors import ConfigError
from sluice_worker import settings, wiring
from sluice_worker.aws.kms import MANAGED_ALIAS
from tests.sluice.aws import account
from tests.sluice.aws.stubs import (
    Refusal,
    refusal,
    stubbed,
)
from tests.worker.process.endpoints import closed_endpoint

KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
QUEUE_ARN = "arn:aws:sqs:eu-west-1:123456789012:{name}"
PERMITTED = refusal("DryRunOperationException", "The request would have succeeded")
Kms = Callable[..., None]


def denied(action: str, reason: str) -> Refusal:
    who = "arn:aws:sts::123456789012:assumed-role/worker/i-0abc"
    text = f"User: {who} is not authorized to perform: {action} {reason}"
    return refusal("AccessDeniedException", text)


def lacking(action: str) -> Refusal:
    return denied(action, f"on resource: {KEY} because no identity-based policy allows the {action} action")


def decrypt(answer: Refusal, *, key: str = KEY, name: str = "uploads") -> tuple[str, dict[str, Any], Refusal]:
    return "decrypt", {**dry_run_parameters(key, name), "DryRunModifiers": ["IGNORE_CIPHERTEXT"]}, answer


def generate(answer: Refusal, *, name: str) -> tuple[str, dict[str, Any], Refusal]:
    return "generate_data_key", {**dry_run_parameters(KEY, name), "KeySpec": "AES_256"}, answer


def dry_run_parameters(key: str, name: str) -> dict[str, Any]:
    context = {"aws:sqs:arn": QUEUE_ARN.format(name=name)}
    return {"KeyId": key, "EncryptionContext": context, "DryRun": True}


@pytest.fixture(autouse=True)
def _account() -> Iterator[None]:
    with account.account():
        yield


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kms]:
    """A KMS that takes exactly these calls, all of one client."""
    with ExitStack() as clients:

        def answers(*calls: tuple[str, dict[str, Any], Refusal]) -> None:
            client = clients.enter_context(stubbed("kms", *calls))
            monkeypatch.setattr(wiring.kms, "client", lambda region: client)

        yield answers


def queue(name: str = "uploads", key: str | None = KEY) -> str:
    url = account.create_queue(name)
    if key is not None:
        account.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": key})
    return url


def check(*urls: str, **changes: Any) -> None:
    wiring.check(settings({"queues": list(urls), **changes}))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_role_without_the_permission_ends_the_start_and_names_action_key_and_queue(kms: Kms) -> None:
    kms(decrypt(lacking("kms:Decrypt")))
    with pytest.raises(ConfigError) as refused:
        check(queue())
    [line] = str(refused.value).splitlines()
    assert line.startswith(f"queue uploads cannot be used: kms:Decrypt on {KEY}: ")
    assert "no identity-based policy allows" in line
    assert "--no-check-keys" in line


@pytest.mark.parametrize(
    "code", ["DisabledException", "InvalidKeyUsageException", "KMSInvalidStateException"]
)
def test_an_unusable_key_ends_the_start(kms: Kms, code: str) -> None:
    kms(decrypt(refusal(code, f"{KEY} is of no use")))
    with pytest.raises(ConfigError, match=f"queue uploads cannot be used: kms:Decrypt on .*{code}"):
        check(queue())


def test_every_queue_is_checked_and_reported_at_once(kms: Kms) -> None:
    kms(
        decrypt(lacking("kms:Decrypt"), name="one"),
        decrypt(PERMITTED, name="two"),
        decrypt(lacking("kms:Decrypt"), name="three"),
    )
    with pytest.raises(ConfigError) as refused:
        check(queue("one"), queue("two"), queue("three"))
    assert [line.split()[1] for line in str(refused.value).splitlines()] == ["one", "three"]


def test_a_role_with_the_permission_starts_and_logs_nothing(
    kms: Kms, caplog: pytest.LogCaptureFixture
) -> None:
    kms(decrypt(PERMITTED))
    check(queue())
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    "answer",
    [
        denied("kms:Decrypt", f"on resource: {KEY} with an explicit deny in a resource-based policy"),
        denied(
            "kms:Decrypt",
            "because no resource-based policy allows the kms:Decrypt action",
        ),
        denied("kms:Decrypt", "on the resource associated with this ciphertext"),
        refusal("NotFoundException", "Alias is not found."),
        refusal("ThrottlingException", "Rate exceeded"),
        refusal("KMSInternalException", "", 500),
        refusal("ValidationException", "unknown parameter DryRunModifiers"),
    ],
    ids=["explicit deny", "key policy", "no reason", "unknown alias", "throttled", "broken", "older KMS"],
)
def test_an_unclear_response_of_kms_is_logged_and_the_worker_starts(
    kms: Kms, caplog: pytest.LogCaptureFixture, answer: Refusal
) -> None:
    kms(decrypt(answer))
    check(queue())
    [warning] = warnings(caplog)
    assert f"queue uploads may not be usable: kms:Decrypt on {KEY}: KMS answered " in warning


def test_an_unreachable_kms_is_logged_and_the_worker_starts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", closed_endpoint())
    check(queue("one"), queue("two"), dead_letter_queue=queue("failed"))
    [warning] = warnings(caplog)  # the others would hold the start up for as long each
    assert f"queue one: kms:Decrypt on {KEY}: KMS could not be asked: " in warning


@pytest.mark.parametrize("key", [None, MANAGED_ALIAS, f"arn:aws:kms:eu-west-1:123456789012:{MANAGED_ALIAS}"])
def test_a_queue_with_an_aws_managed_key_or_none_needs_no_permission(kms: Kms, key: str | None) -> None:
    kms()
    check(queue(key=key))


@pytest.mark.parametrize(
    ("key", "arn"),
    [
        ("1234abcd-12ab-34cd-56ef-1234567890ab", KEY),
        ("alias/uploads", "arn:aws:kms:eu-west-1:123456789012:alias/uploads"),
        (KEY.replace("123456789012", "210987654321"), KEY.replace("123456789012", "210987654321")),
    ],
)
def test_an_id_or_alias_is_a_key_of_the_queues_account_and_region(kms: Kms, key: str, arn: str) -> None:
    kms(decrypt(PERMITTED, key=arn))
    check(queue(key=key))


def test_the_key_check_can_be_turned_off(kms: Kms) -> None:
    kms()
    check(queue(), check_keys=False, dead_letter_queue=queue("failed"))


@pytest.mark.parametrize("missing", ["kms:GenerateDataKey", "kms:Decrypt"])
def test_sending_to_the_dead_letter_queue_needs_both_permissions(kms: Kms, missing: str) -> None:
    first = generate(lacking(missing) if missing == "kms:GenerateDataKey" else PERMITTED, name="failed")
    second = decrypt(lacking(missing), name="failed")
    kms(*([first] if missing == "kms:GenerateDataKey" else [first, second]))
    with pytest.raises(ConfigError, match=f"queue failed cannot be used: {missing} on {KEY}: "):
        check(queue(key=None), dead_letter_queue=queue("failed"))


def test_the_clients_of_kms_give_up_soon() -> None:
    config = wiring.kms.client("eu-central-1").meta.config
    assert (config.region_name, config.connect_timeout, config.read_timeout) == ("eu-central-1", 2, 5)
    assert config.retries["total_max_attempts"] == 1
