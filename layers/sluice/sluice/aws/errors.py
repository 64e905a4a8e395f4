"""AWS's error codes, sorted into what the caller does about them; the only file that knows them.

Owns the mapping. Refuses to guess: a code it does not know is a ConfigError that shows the code, so that a
person sees it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
)
from botocore.parsers import ResponseParserError

from sluice.errors import CapacityError, ConfigError, SluiceError, TransientError

TRANSIENT_CODES = frozenset(
    {
        "ConcurrentUpdateException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServiceError",
        "InternalServiceFault",
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


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Turn whatever a call to AWS raises into a SluiceError that begins with `what`.

    An answer that lacks a field or holds something other than a number is one AWS did not give: transient.
    """
    try:
        yield
    except ClientError as refused:
        raise _sorted(refused, what) from refused
    except (NoCredentialsError, NoRegionError, ParamValidationError) as wrong:
        raise ConfigError(f"{what}: {wrong}") from wrong
    except BotoCoreError as unreachable:
        raise TransientError(f"{what}: no answer from AWS: {unreachable}") from unreachable
    except (
        ResponseParserError,
        ArithmeticError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as malformed:
        raise TransientError(f"{what}: AWS's answer cannot be read: {malformed!r}") from malformed


def _sorted(refused: ClientError, what: str) -> SluiceError:
    error = refused.response.get("Error", {})
    code, message = error.get("Code", "?"), error.get("Message", "")
    status = refused.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = f"{what}: AWS answered {code}: {message}"
    if code in CAPACITY_CODES:
        return CapacityError(said)
    if code in TRANSIENT_CODES or status == 429 or status >= 500:
        return TransientError(said)
    return ConfigError(said)
