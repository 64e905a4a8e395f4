import botocore.session
import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from sluice.aws.errors import calling
from sluice.errors import CapacityError, ConfigError, SluiceError, TransientError


def refused(code: str, status: int = 400) -> ClientError:
    answer = {
        "Error": {"Code": code, "Message": "said AWS"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(answer, "AnyCall")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("ConcurrentUpdateException", 400, TransientError),
        ("InternalError", 500, TransientError),
        ("InternalFailure", 500, TransientError),
        ("RequestLimitExceeded", 503, TransientError),
        ("RequestThrottled", 400, TransientError),
        ("ResourceContention", 500, TransientError),
        ("ScalingActivityInProgress", 400, TransientError),
        ("ServerException", 500, TransientError),
        ("ServiceUnavailable", 503, TransientError),
        ("Throttling", 400, TransientError),
        ("ThrottlingException", 400, TransientError),
        ("TooManyRequestsException", 400, TransientError),
        ("NeverHeardOf", 429, TransientError),
        ("InternalServiceException", 500, TransientError),
        ("InsufficientInstanceCapacity", 400, CapacityError),
        ("InstanceLimitExceeded", 400, CapacityError),
        ("LimitExceeded", 400, CapacityError),
        ("VcpuLimitExceeded", 400, CapacityError),
        ("AccessDenied", 403, ConfigError),
        ("AccessDeniedException", 400, ConfigError),
        ("AWS.SimpleQueueService.NonExistentQueue", 400, ConfigError),
        ("ClusterNotFoundException", 400, ConfigError),
        ("ParameterNotFound", 400, ConfigError),
        ("ServiceNotFoundException", 400, ConfigError),
        ("ValidationError", 400, ConfigError),
        ("NeverHeardOf", 400, ConfigError),
    ],
)
def test_a_code_says_what_the_caller_does_about_it(code: str, status: int, kind: type[SluiceError]) -> None:
    with pytest.raises(kind) as raised, calling("AnyCall of x"):
        raise refused(code, status)
    assert str(raised.value) == f"AnyCall of x: AWS answered {code}: said AWS"
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    "unreachable",
    [
        EndpointConnectionError(endpoint_url="https://sqs"),
        ConnectTimeoutError(endpoint_url="https://sqs"),
        ReadTimeoutError(endpoint_url="https://sqs"),
        BotoCoreError(),
    ],
)
def test_no_answer_at_all_is_transient(unreachable: BotoCoreError) -> None:
    with pytest.raises(TransientError, match="AnyCall of x: no answer from AWS: "), calling("AnyCall of x"):
        raise unreachable


@pytest.mark.parametrize(
    "wrong",
    [NoCredentialsError(), NoRegionError(), ParamValidationError(report="unknown parameter")],
)
def test_what_only_a_person_can_change_is_no_transient(wrong: BotoCoreError) -> None:
    with pytest.raises(ConfigError, match="AnyCall of x: "), calling("AnyCall of x"):
        raise wrong


@pytest.mark.parametrize("malformed", [KeyError("Attributes"), TypeError("None"), ValueError("12a")])
def test_an_answer_that_cannot_be_read_is_one_aws_did_not_give(malformed: Exception) -> None:
    with pytest.raises(TransientError, match="AWS's answer cannot be read: "), calling("AnyCall of x"):
        raise malformed


def test_an_answer_without_any_code_is_still_told() -> None:
    with pytest.raises(ConfigError, match=r"AWS answered \?"), calling("AnyCall of x"):
        raise ClientError({}, "AnyCall")


def test_a_defect_of_ours_is_no_answer_of_awss_and_passes_through() -> None:
    with pytest.raises(RuntimeError), calling("AnyCall of x"):
        raise RuntimeError("ours")


def test_what_goes_well_goes_through() -> None:
    with calling("AnyCall of x"):
        answer = 1
    assert answer == 1


@pytest.mark.parametrize("unreadable", [ResponseParserError("no XML"), AttributeError("get"), KeyError("x")])
def test_an_answer_that_cannot_be_read_is_no_answer(unreadable: Exception) -> None:
    with pytest.raises(TransientError, match="AWS's answer cannot be read"), calling("AnyCall"):
        raise unreadable


KMS_NEEDS_A_PERSON = [
    (("KmsAccessDenied", "KMS.AccessDeniedException"), "kms:Decrypt on the queue's key to receive"),
    (("KmsDisabled", "KMS.DisabledException"), "enable the queue's key"),
    (("KmsInvalidKeyUsage", "KMS.InvalidKeyUsageException"), "symmetric encryption key"),
    (("KmsInvalidState", "KMS.InvalidStateException"), "pending deletion"),
    (("KmsNotFound", "KMS.NotFoundException"), "KmsMasterKeyId"),
    (("KmsOptInRequired", "KMS.OptInRequired"), "sign up for AWS KMS"),
]
"""The name in SQS's JSON model, and the code that SQS answers to clients of the query protocol, boto3 too."""


@pytest.mark.parametrize(
    ("code", "way_out"), [(code, way_out) for codes, way_out in KMS_NEEDS_A_PERSON for code in codes]
)
def test_a_queues_key_that_cannot_be_used_is_told_with_what_a_person_has_to_do(
    code: str, way_out: str
) -> None:
    with pytest.raises(ConfigError) as raised, calling("receiving from uploads"):
        raise refused(code)
    assert str(raised.value).startswith(f"receiving from uploads: AWS answered {code}: said AWS; ")
    assert way_out in str(raised.value)


def test_a_missing_permission_on_a_queues_key_is_told_for_receiving_and_for_sending() -> None:
    with pytest.raises(ConfigError) as raised, calling("receiving from uploads"):
        raise refused("KMS.AccessDeniedException")
    assert "kms:Decrypt on the queue's key to receive" in str(raised.value)
    assert "kms:GenerateDataKey and kms:Decrypt to send" in str(raised.value)


@pytest.mark.parametrize("code", ["KmsThrottled", "KMS.ThrottlingException"])
def test_a_throttled_key_passes_by_itself(code: str) -> None:
    with pytest.raises(TransientError), calling("receiving from uploads"):
        raise refused(code)


def test_no_kms_error_of_sqs_is_left_out() -> None:
    """The names come from botocore's own model of what SQS answers to a receive and to a send."""
    model = botocore.session.get_session().get_service_model("sqs")
    operations = ("ReceiveMessage", "SendMessage", "SendMessageBatch")
    modelled = {error.name for name in operations for error in model.operation_model(name).error_shapes}
    told = {codes[0] for codes, _ in KMS_NEEDS_A_PERSON} | {"KmsThrottled"}
    assert {name for name in modelled if name.startswith("Kms")} == told
