"""Whether the role may use a queue's KMS key, as far as KMS can say so before the first message.

Owns the dry runs and what their answers mean. Refuses to take a doubtful answer for a refusal: SQS's own call
on the worker's behalf may pass where the worker's does not, because a policy can allow a key to SQS alone
(kms:ViaService).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from sluice.errors import TransientError

MANAGED_ALIAS = "alias/aws/sqs"
"""AWS's own key: its policy lets every principal of the account use it that may use SQS (documented)."""
TO_RECEIVE = ("kms:Decrypt",)
TO_SEND = ("kms:GenerateDataKey", "kms:Decrypt")
PERMITTED = "DryRunOperationException"
USELESS = ("DisabledException", "InvalidKeyUsageException", "KMSInvalidStateException")
"""The key itself is at fault, whoever asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueKey:
    """The customer's key that encrypts a queue, as an ARN, and the queue's own ARN."""

    arn: str
    queue_arn: str

    @property
    def region(self) -> str:
        """Where the key lies."""
        return self.arn.split(":")[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What speaks against the key; `is_clear` where SQS would be refused as well."""

    reason: str
    is_clear: bool


def queue_key(queue_arn: str, key: str) -> QueueKey | None:
    """The customer's key by what the queue's attributes say; None where it is AWS's own."""
    if key == MANAGED_ALIAS or key.endswith(f":{MANAGED_ALIAS}"):
        return None
    if not key.startswith("arn:"):
        _, partition, _, region, account, _ = queue_arn.split(":", 5)
        rest = key if key.startswith("alias/") else f"key/{key}"
        key = f"arn:{partition}:kms:{region}:{account}:{rest}"
    return QueueKey(arn=key, queue_arn=queue_arn)


def client(region: str) -> Any:
    """A client that gives up soon: many a worker's subnet has a way to SQS and none to KMS."""
    return boto3.client(
        "kms",
        region_name=region,
        config=Config(
            connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 1}
        ),
    )


def doubt(kms: Any, key: QueueKey, actions: Sequence[str]) -> Doubt | None:
    """What speaks against one of the actions first, or None; TransientError where KMS is out of reach."""
    for action in actions:
        try:
            _dry_run(kms, key, action)
        except ClientError as answered:
            error = answered.response.get("Error", {})
            found = _judged(action, key, error.get("Code", "?"), error.get("Message", ""))
            if found is not None:
                return found
        except BotoCoreError as unreachable:
            raise TransientError(
                f"{action} on {key.arn}: KMS could not be asked: {unreachable}"
            ) from unreachable
    return None


def _dry_run(kms: Any, key: QueueKey, action: str) -> None:
    """It always ends in an error, which says what would have become of the call; nothing is encrypted."""
    # The context is the one that SQS gives: a policy may ask for it.
    request = {"KeyId": key.arn, "EncryptionContext": {"aws:sqs:arn": key.queue_arn}, "DryRun": True}
    if action == "kms:Decrypt":
        kms.decrypt(**request, DryRunModifiers=["IGNORE_CIPHERTEXT"])
    else:
        kms.generate_data_key(**request, KeySpec="AES_256")


def _judged(action: str, key: QueueKey, code: str, message: str) -> Doubt | None:
    if code == PERMITTED:
        return None
    # The same words come where a policy allows the action to SQS alone: for that there is --no-check-keys.
    lacking = code == "AccessDeniedException" and f"no identity-based policy allows the {action}" in message
    return Doubt(
        reason=f"{action} on {key.arn}: KMS answered {code}: {message}", is_clear=lacking or code in USELESS
    )
