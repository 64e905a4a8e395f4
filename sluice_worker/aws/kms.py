"""Whether the role may use a queue's KMS key, as far as KMS can tell before the first message.

A doubtful response is no refusal: SQS's own call on the worker's behalf may succeed although the worker's
fails, because a policy can allow a key to SQS alone (kms:ViaService).
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
"""AWS's own key: its policy allows it to every principal of the account that may use SQS (documented)."""
TO_RECEIVE = ("kms:Decrypt",)
TO_SEND = ("kms:GenerateDataKey", "kms:Decrypt")
PERMITTED = "DryRunOperationException"
USELESS = ("DisabledException", "InvalidKeyUsageException", "KMSInvalidStateException")
"""The key itself cannot be used, by any caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueKey:
    """The customer's key that encrypts a queue, as an ARN, and the queue's own ARN."""

    arn: str
    queue_arn: str

    @property
    def region(self) -> str:
        """The key's region."""
        return self.arn.split(":")[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Why the key may not be usable; `is_clear` if SQS would be refused as well."""

    reason: str
    is_clear: bool


def queue_key(queue_arn: str, key: str) -> QueueKey | None:
    """The customer's key that the queue's attributes name; None if it is AWS's own."""
    if key == MANAGED_ALIAS or key.endswith(f":{MANAGED_ALIAS}"):
        return None
    if not key.startswith("arn:"):
        _, partition, _, region, account, _ = queue_arn.split(":", 5)
        rest = key if key.startswith("alias/") else f"key/{key}"
        key = f"arn:{partition}:kms:{region}:{account}:{rest}"
    return QueueKey(arn=key, queue_arn=queue_arn)


def client(region: str) -> Any:
    """A client with short timeouts: the subnets of many workers reach SQS and not KMS."""
    return boto3.client(
        "kms",
        region_name=region,
        config=Config(
            connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 1}
        ),
    )


def doubt(kms: Any, key: QueueKey, actions: Sequence[str]) -> Doubt | None:
    """The first doubt about one of the actions, or None; TransientError if KMS is out of reach."""
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
    """A dry run: always ends in an error that says whether the call would succeed, encrypts nothing."""
    # The encryption context is the one that SQS passes: a policy may require it.
    request = {"KeyId": key.arn, "EncryptionContext": {"aws:sqs:arn": key.queue_arn}, "DryRun": True}
    if action == "kms:Decrypt":
        kms.decrypt(**request, DryRunModifiers=["IGNORE_CIPHERTEXT"])
    else:
        kms.generate_data_key(**request, KeySpec="AES_256")


def _judged(action: str, key: QueueKey, code: str, message: str) -> Doubt | None:
    if code == PERMITTED:
        return None
    # KMS gives the same message where a policy allows the action to SQS alone; --no-check-keys is for that
    # case.
    lacking = code == "AccessDeniedException" and f"no identity-based policy allows the {action}" in message
    return Doubt(
        reason=f"{action} on {key.arn}: KMS answered {code}: {message}", is_clear=lacking or code in USELESS
    )
