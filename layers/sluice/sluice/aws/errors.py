"""Maps AWS's error codes to error classes by what the caller has to do; the only file that knows the codes.

Owns the mapping. Refuses to guess: an unknown code becomes a ConfigError that shows it, so that an operator
sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
)
from botocore.parsers import ResponseParserError

from sluice.aws.responses import MalformedResponse
from sluice.errors import CapacityError, ConfigError, SluiceError, TransientError

TRANSIENT_CODES = frozenset(
    {
        "ConcurrentUpdateException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServiceError",
        "InternalServiceFault",
        "KMS.ThrottlingException",
        "KmsThrottled",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ResourceContention",
        "ScalingActivityInProgress",
        "ServerException",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
CAPACITY_CODES = frozenset(
    {"InsufficientInstanceCapacity", "InstanceLimitExceeded", "LimitExceeded", "VcpuLimitExceeded"}
)

NO_ACCESS = (
    "the caller's role needs kms:Decrypt on the queue's key to receive, kms:GenerateDataKey and kms:Decrypt "
    "to send; its own policy or the key's may grant them"
)
DISABLED = "enable the queue's key, or give the queue another one"
WRONG_USE = "give the queue a symmetric encryption key: SQS can use no other"
WRONG_STATE = (
    "the queue's key is pending deletion or unavailable: cancel the deletion, or give the queue another one"
)
NO_KEY = "set the queue's KmsMasterKeyId to a key that exists in the queue's region"
NO_OPT_IN = "sign up for AWS KMS in the account of the queue's key, and check that key's policy"
TIME_TAKEN = (
    "an action of the group was scheduled for this time meanwhile, perhaps by somebody else's surge: look at "
    "it, and give the command again if it is still wanted"
)
WAYS_OUT = {
    "AlreadyExists": TIME_TAKEN,
    "KMS.AccessDeniedException": NO_ACCESS,
    "KMS.DisabledException": DISABLED,
    "KMS.InvalidKeyUsageException": WRONG_USE,
    "KMS.InvalidStateException": WRONG_STATE,
    "KMS.NotFoundException": NO_KEY,
    "KMS.OptInRequired": NO_OPT_IN,
    "KmsAccessDenied": NO_ACCESS,
    "KmsDisabled": DISABLED,
    "KmsInvalidKeyUsage": WRONG_USE,
    "KmsInvalidState": WRONG_STATE,
    "KmsNotFound": NO_KEY,
    "KmsOptInRequired": NO_OPT_IN,
}
"""Code -> what to do. Those of KMS are passed on by SQS, under the code of the query protocol, which boto3
shows, and under the name in the JSON model; for a disabled key, SQS says the request was throttled."""

CONDITION_FAILED = "ConditionalCheckFailedException"
"""DynamoDB's answer to a write whose condition does not hold: an outcome, not a failure."""

GONE = {"ObjectNotFoundException": "", "ValidationError": "not found"}
"""Code for a scheduled action that is not there -> what its message has: EC2 has one for any bad request."""

PARSERS = ("botocore", "aws_lambda_powertools")
"""Packages that parse AWS's responses for us."""
SERIALIZER = "botocore.serialize"


@contextmanager
def aws_errors(what: str) -> Iterator[None]:
    """Turn every exception of a call to AWS into a SluiceError whose message begins with `what`.

    A malformed response counts as transient, like a missing one. Any other
    exception while a response is read is a defect of Sluice's own code, and passes through.
    """
    try:
        yield
    except ClientError as refused:
        raise _classified(refused, what) from refused
    except (NoCredentialsError, NoRegionError, ParamValidationError) as wrong:
        raise ConfigError(f"{what}: {wrong}") from wrong
    except BotoCoreError as unreachable:
        raise TransientError(f"{what}: no answer from AWS: {unreachable}") from unreachable
    except (MalformedResponse, ResponseParserError) as malformed:
        raise TransientError(f"{what}: AWS's answer cannot be read: {malformed}") from malformed
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as broken:
        if not _is_from_parser(broken):
            raise
        raise TransientError(f"{what}: AWS's answer cannot be read: {broken!r}") from broken


@contextmanager
def refused_by_condition() -> Iterator[Callable[[], Mapping[str, Any] | None]]:
    """Tell which item made DynamoDB refuse the write in the block, whose condition did not hold.

    None if the write succeeded; empty if DynamoDB does not say, because there is no item.
    """
    refused: Mapping[str, Any] | None = None
    try:
        yield lambda: refused
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != CONDITION_FAILED:
            raise
        answer: Mapping[str, Any] = error.response
        refused = answer.get("Item") or {}


@contextmanager
def gone_is_done() -> Iterator[None]:
    """Within it, deleting a scheduled action that is not there any more is no failure."""
    try:
        yield
    except ClientError as refused:
        error = refused.response.get("Error", {})
        told = GONE.get(error.get("Code", ""))
        if told is None or told not in error.get("Message", ""):
            raise


def _is_from_parser(error: BaseException) -> bool:
    """Whether botocore or Powertools raised it: both assume a well-formed response."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__)]
    # A request that botocore cannot serialise is a defect of Sluice: it was never sent, so AWS never
    # answered.
    return SERIALIZER not in modules and any(module.partition(".")[0] in PARSERS for module in modules)


def _classified(refused: ClientError, what: str) -> SluiceError:
    error = refused.response.get("Error", {})
    code, message = error.get("Code", "?"), error.get("Message", "")
    status = refused.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = f"{what}: AWS answered {code}: {message}"
    if code in WAYS_OUT:
        return ConfigError(f"{text}; {WAYS_OUT[code]}")
    if code in CAPACITY_CODES:
        return CapacityError(text)
    if code in TRANSIENT_CODES or status == 429 or status >= 500:
        return TransientError(text)
    return ConfigError(text)
