"""Wildcards in ARNs, as IAM reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_sim.aws_rules.iam_patterns import matches, overlap

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:transcription"
GROUP = "arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:1b2c:autoScalingGroupName/transcription"

texts = st.text(alphabet="ab/-", max_size=6)
arns = st.tuples(texts, texts, texts, texts, st.text(alphabet="ab/:", max_size=8)).map(
    lambda parts: "arn:" + ":".join(parts)
)


@pytest.mark.parametrize(
    ("pattern", "resource", "covered"),
    [
        (QUEUE, QUEUE, True),
        ("*", QUEUE, True),
        ("*", "*", True),
        (QUEUE, "*", False),
        (QUEUE[:-1], QUEUE, False),
        (f"{QUEUE}x", QUEUE, False),
        ("arn:aws:sqs:eu-west-1:123456789012:*", QUEUE, True),
        ("arn:aws:sqs:eu-west-1:123456789012:tran*ion", QUEUE, True),
        ("arn:aws:sqs:eu-west-1:123456789012:transcriptio?", QUEUE, True),
        ("arn:aws:sqs:eu-west-1:123456789012:transcription?", QUEUE, False),
        ("arn:aws:sqs:eu-west-1:123456789012:Transcription", QUEUE, False),
        ("arn:aws:sqs:eu-west-1:123456789012:[t]ranscription", QUEUE, False),
        ("arn:aws:sqs:eu-west-2:123456789012:*", QUEUE, False),
        ("arn:aws:sqs:*:*:transcription", QUEUE, True),
        ("arn:aws:sqs:*:transcription", QUEUE, False),  # a wildcard stays within its part
        ("arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/*", GROUP, True),
        ("arn:aws:autoscaling:*:*:autoScalingGroup:*", GROUP, True),  # the sixth part is all the rest
        ("arn:aws:autoscaling:*:*:autoScalingGroup:*/other", GROUP, False),
    ],
)
def test_a_pattern_covers_what_iam_says_it_covers(pattern: str, resource: str, *, covered: bool) -> None:
    assert matches(pattern, resource) is covered


@given(arns)
def test_an_arn_covers_itself(arn: str) -> None:
    assert matches(arn, arn)


@given(arns, st.data())
def test_a_wildcard_within_an_arn_part_still_covers(arn: str, data: st.DataObject) -> None:
    parts = arn.split(":", 5)
    index = data.draw(st.integers(0, 5))
    start = data.draw(st.integers(0, len(parts[index])))
    end = data.draw(st.integers(start, len(parts[index])))
    widened = [*parts[:index], parts[index][:start] + "*" + parts[index][end:], *parts[index + 1 :]]
    assert matches(":".join(widened), arn)


@given(arns, st.integers(0, 4), texts.filter(bool))
def test_an_arn_of_another_account_is_never_covered(arn: str, index: int, more: str) -> None:
    parts = arn.split(":", 5)
    elsewhere = [*parts[:index], parts[index] + more, *parts[index + 1 :]]
    assert not matches(":".join([*parts[:5], "*"]), ":".join(elsewhere))


patterns = arns.flatmap(
    lambda arn: st.lists(st.sampled_from("*?"), max_size=3).map(lambda wild: arn + "".join(wild))
)


@given(patterns, patterns, arns)
def test_two_patterns_that_cover_one_arn_overlap(one: str, other: str, arn: str) -> None:
    if matches(one, arn) and matches(other, arn):
        assert overlap(one, other)


@given(patterns, arns)
def test_a_pattern_overlaps_an_arn_only_if_it_covers_it(pattern: str, arn: str) -> None:
    assert overlap(pattern, arn) == overlap(arn, pattern) == matches(pattern, arn)
