import math

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

from sluice.aws.errors import aws_errors
from sluice.aws.responses import MalformedResponse, count, field, list_field, optional_list_field, positive
from sluice.errors import CapacityError, ConfigError, SluiceError, TransientError
from tests.sluice.aws import account


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
def test_an_error_code_determines_what_the_caller_does(
    code: str, status: int, kind: type[SluiceError]
) -> None:
    with pytest.raises(kind) as raised, aws_errors("AnyCall of x"):
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
    with (
        pytest.raises(TransientError, match="AnyCall of x: no answer from AWS: "),
        aws_errors("AnyCall of x"),
    ):
        raise unreachable


@pytest.mark.parametrize(
    "wrong",
    [NoCredentialsError(), NoRegionError(), ParamValidationError(report="unknown parameter")],
)
def test_an_error_that_only_a_person_can_fix_is_not_transient(wrong: BotoCoreError) -> None:
    with pytest.raises(ConfigError, match="AnyCall of x: "), aws_errors("AnyCall of x"):
        raise wrong


@pytest.mark.parametrize(
    "malformed", [MalformedResponse("Attributes is missing"), ResponseParserError("no XML")]
)
def test_a_malformed_answer_counts_as_no_answer_from_aws(malformed: Exception) -> None:
    with pytest.raises(TransientError) as raised, aws_errors("AnyCall of x"):
        raise malformed
    assert str(raised.value) == f"AnyCall of x: AWS's answer cannot be read: {malformed}"


def test_a_response_without_any_code_is_still_mapped() -> None:
    with pytest.raises(ConfigError, match=r"AWS answered \?"), aws_errors("AnyCall of x"):
        raise ClientError({}, "AnyCall")


DEFECTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_in_our_code_is_not_mapped_to_an_aws_error(defect: type[Exception]) -> None:
    with pytest.raises(defect, match="ours"), aws_errors("AnyCall of x"):
        raise defect("ours")


def test_a_successful_result_passes_through() -> None:
    with aws_errors("AnyCall of x"):
        answer = 1
    assert answer == 1


@pytest.mark.parametrize("answer", ["[]", "7", '{"Attributes": 3}', '{"Attributes": [1]}', '"text"'])
def test_a_response_that_botocore_cannot_parse_is_no_answer(answer: str) -> None:
    """They expect a well-formed response, and raise arbitrary errors otherwise."""
    client = account.session().client("sqs")
    parsers = client._endpoint._response_parser_factory
    parser = parsers.create_parser("json")
    shape = client.meta.service_model.operation_model("GetQueueAttributes").output_shape
    response = {"status_code": 200, "headers": {}, "body": answer.encode()}
    with pytest.raises(TransientError, match="AWS's answer cannot be read"), aws_errors("AnyCall"):
        field(parser.parse(response, shape), "Attributes")


class TestReadingAnAnswer:
    @pytest.mark.parametrize("answer", [{}, {"Other": 1}, None, 7, "Attributes"])
    def test_a_missing_field_is_named(self, answer: object) -> None:
        with pytest.raises(MalformedResponse, match="Attributes is missing"):
            field(answer, "Attributes")

    def test_a_field_may_hold_a_false_value(self) -> None:
        assert [field({"a": value}, "a") for value in (0, "", None, False)] == [0, "", None, False]

    @pytest.mark.parametrize("found", [None, 7, "text", {"a": 1}])
    def test_a_list_parameter_is_a_list(self, found: object) -> None:
        assert (
            list_field({"Groups": [found]}, "Groups")
            == optional_list_field({"Groups": [found]}, "Groups")
            == [found]
        )
        for read in (list_field, optional_list_field):
            with pytest.raises(MalformedResponse, match="Groups is not a list but "):
                read({"Groups": found}, "Groups")

    def test_a_list_may_be_left_out_only_where_it_is_optional(self) -> None:
        assert optional_list_field({}, "Failed") == []
        with pytest.raises(MalformedResponse, match="Groups is missing"):
            list_field({}, "Groups")

    @pytest.mark.parametrize(("sent", "read"), [("0", 0), ("12", 12), (7, 7), (2**31 - 1, 2**31 - 1)])
    def test_a_count_is_a_whole_number(self, sent: object, read: int) -> None:
        assert count(sent) == read

    @pytest.mark.parametrize("sent", ["-1", "1.5", "", None, -1, 1.0, 2**31, "NaN", [], "\u0663"])
    def test_anything_else_is_no_count(self, sent: object) -> None:
        with pytest.raises(MalformedResponse, match="is not a count"):
            count(sent)

    @pytest.mark.parametrize("sent", [0, -1.0, math.nan, math.inf, "8", None])
    def test_a_value_that_is_not_positive_is_malformed(self, sent: object) -> None:
        with pytest.raises(MalformedResponse, match="is not a positive number"):
            positive(sent)

    def test_a_positive_number_is_read_as_it_is(self) -> None:
        assert (positive(8), positive(0.25)) == (8.0, 0.25)
