"""What an operator can do about a failure, by our own sentences."""

from __future__ import annotations

import pytest

from sluice_operator.core.ways_out import with_way_out


@pytest.mark.parametrize(
    ("failure", "way_out"),
    [
        ("no answer from AWS to GetX: Error loading SSO Token: Token for x does not exist", "aws sso login"),
        ("no answer from AWS to GetX: Could not connect to the endpoint URL", "check the network"),
        ("GetX: AWS answered AccessDenied: no", "docs/policies/status.json"),
        ("the profile p: Unable to locate credentials", "set AWS_PROFILE, give --profile"),
    ],
)
def test_a_failure_of_a_known_kind_says_what_to_do(failure: str, way_out: str) -> None:
    said = with_way_out(failure, "status")
    assert said.startswith(f"{failure}; ")
    assert way_out in said.removeprefix(failure)


def test_a_failure_of_no_known_kind_is_left_as_it_is() -> None:
    assert with_way_out("the queue is purple", "status") == "the queue is purple"
