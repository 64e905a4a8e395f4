"""The evaluator: what it decides, and what it refuses to decide."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_sim.aws_rules.iam_policies import (
    Condition,
    NotEvaluatedError,
    Request,
    Statement,
    decide,
    parse,
    without,
)

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:transcription"
TAG = "aws:ResourceTag/sluice"
READ = Request(action="sqs:GetQueueAttributes", resource=QUEUE, context={TAG: "managed"})


def document(**changes: Any) -> dict[str, Any]:
    """A policy of one statement that allows READ; `changes` are elements of the statement."""
    statement = {
        "Effect": "Allow",
        "Action": "sqs:GetQueueAttributes",
        "Resource": QUEUE,
        "Condition": {"StringEquals": {TAG: "managed"}},
    }
    statement |= changes
    fields = {key: value for key, value in statement.items() if value is not None}
    return {"Version": "2012-10-17", "Statement": [fields]}


def allowed(request: Request = READ, **changes: Any) -> bool:
    return decide(parse(document(**changes)), request).allowed


def test_a_matching_action_resource_and_condition_allow() -> None:
    [statement] = parse(document())
    assert decide([statement], READ).by is statement


def test_nothing_is_allowed_by_no_statement() -> None:
    assert not decide([], READ).allowed


@pytest.mark.parametrize(
    "changes",
    [
        {"Action": "sqs:SendMessage"},
        {"Action": ["sqs:SendMessage", "sqs:ReceiveMessage"]},
        {"Resource": f"{QUEUE}-other"},
        {"Resource": [f"{QUEUE}-other", "arn:aws:sqs:eu-west-2:123456789012:*"]},
        {"Condition": {"StringEquals": {TAG: "Managed"}}},
        {"Condition": {"StringEquals": {TAG: "manage*"}}},  # no wildcards in StringEquals
        {"Condition": {"StringEquals": {"aws:ResourceTag/other": "managed"}}},
        {"Condition": {"StringEquals": {TAG: "managed", "aws:ResourceTag/other": "x"}}},
        {"Condition": {"StringEquals": {TAG: "managed"}, "StringLike": {"aws:PrincipalArn": "*"}}},
        {"Condition": {"StringNotEquals": {TAG: "managed"}}},
        {"Condition": {"StringNotEquals": {TAG: ["other", "managed"]}}},
    ],
)
def test_one_mismatch_denies(changes: dict[str, Any]) -> None:
    assert not allowed(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"Action": ["sqs:SendMessage", "sqs:GetQueueAttributes"]},
        {"Action": "SQS:getqueueattributes"},
        {"Resource": [f"{QUEUE}-other", "arn:aws:sqs:eu-west-1:123456789012:*"]},
        {"Resource": "*"},
        {"Condition": None},
        {"Condition": {"StringEquals": {TAG: ["other", "managed"]}}},
        {"Condition": {"StringNotEquals": {TAG: "other"}}},
        {"Condition": {"StringNotEquals": {"aws:ResourceTag/other": "managed"}}},  # the request lacks the key
        {"Condition": {"StringLike": {TAG: "man?g*"}}},
        {"Condition": {"StringEquals": {"aws:resourcetag/sluice": "managed"}}},
        {"Sid": "Named"},
    ],
)
def test_another_matching_statement_also_allows(changes: dict[str, Any]) -> None:
    assert allowed(**changes)


def test_a_key_that_the_request_lacks_meets_no_condition() -> None:
    assert not allowed(replace(READ, context={}))


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        (document(Effect="deny"), "Effect 'deny': only Allow and Deny are evaluated"),
        (document(NotAction="sqs:*"), "NotAction in a statement is not evaluated"),
        (document(NotResource="*"), "NotResource in a statement is not evaluated"),
        (document(Principal="*"), "Principal in a statement is not evaluated"),
        (document(Action="*"), "Action '*': only one action by its name is evaluated"),
        (document(Action="sqs:Get*"), "Action 'sqs:Get*': only one action by its name"),
        (document(Action=["sqs:SendMessage", "sqs:?et"]), "Action 'sqs:?et': only one action by its name"),
        (document(Action=[]), r"[]: only a text or a list of texts is evaluated"),
        (document(Resource=7), "7: only a text or a list of texts is evaluated"),
        (document(Resource=[["a"]]), "[['a']]: only a text or a list of texts is evaluated"),
        (document(Resource="arn:aws:sqs:::${aws:username}"), "policy variables are not evaluated"),
        (
            document(Condition={"StringEquals": {TAG: "${aws:PrincipalTag/team}"}}),
            "policy variables are not evaluated",
        ),
        (
            document(Condition={"StringNotLike": {TAG: "x"}}),
            f"condition StringNotLike on {TAG}: only StringEquals and StringLike and StringNotEquals are",
        ),
        (
            document(Condition={"StringEqualsIfExists": {TAG: "x"}}),
            "condition StringEqualsIfExists on",
        ),
        (
            document(Condition={"ForAllValues:StringEquals": {TAG: "x"}}),
            "condition ForAllValues:StringEquals on",
        ),
        (document() | {"Version": "2024-01-01"}, "policy version '2024-01-01'"),
        (document() | {"Id": "x"}, "Id in a policy document is not evaluated"),
    ],
)
def test_unsupported_policy_elements_are_refused_with_a_sentence(
    policy: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(NotEvaluatedError) as refused:
        parse(policy)
    assert sentence in str(refused.value)


def test_taking_a_grant_away_leaves_the_others() -> None:
    both = Statement(actions=("sqs:SendMessage", "sqs:GetQueueAttributes"), resources=(QUEUE,))
    other = Statement(actions=("sqs:GetQueueAttributes",), resources=("arn:aws:sqs:eu-west-1:1:other",))
    less = without([both, other], "sqs:GetQueueAttributes", both)
    assert less == (replace(both, actions=("sqs:SendMessage",)), other)
    assert not decide(less, READ).allowed
    assert decide(less, replace(READ, action="sqs:SendMessage")).allowed


names = st.sampled_from(["one", "two", "three", "*", "t*", "?ne"])
keys = st.sampled_from(["k1", "k2"])
conditions = st.builds(
    Condition,
    operator=st.sampled_from(["StringEquals", "StringLike"]),
    key=keys,
    values=st.lists(names, min_size=1, max_size=2).map(tuple),
)
statements = st.builds(
    Statement,
    actions=st.lists(st.sampled_from(["s:A", "s:B"]), max_size=2, unique=True).map(tuple),
    resources=st.lists(names.map("arn:aws:s:r:1:{}".format), min_size=1, max_size=2).map(tuple),
    conditions=st.lists(conditions, max_size=2).map(tuple),
)
requests = st.builds(
    Request,
    action=st.sampled_from(["s:A", "s:B", "s:C"]),
    resource=st.sampled_from(["one", "two", "four"]).map("arn:aws:s:r:1:{}".format),
    context=st.dictionaries(keys, st.sampled_from(["one", "two", "four"])),
)


@given(st.lists(statements, max_size=4), statements, requests)
def test_a_further_statement_removes_no_permission(
    some: list[Statement], further: Statement, request: Request
) -> None:
    if decide(some, request).allowed:
        assert decide([further, *some], request).allowed


@given(st.lists(statements, max_size=4), statements, requests)
def test_a_statement_that_denies_overrides_whatever_others_allow(
    some: list[Statement], denying: Statement, request: Request
) -> None:
    decision = decide([*some, replace(denying, denies=True)], request)
    assert decision.allowed == (decide(some, request).allowed and not denying.covers(request))


@given(st.lists(statements, max_size=4), requests, st.randoms())
def test_the_order_of_statements_has_no_meaning(some: list[Statement], request: Request, random: Any) -> None:
    shuffled = random.sample(some, len(some))
    assert decide(some, request).allowed == decide(shuffled, request).allowed


@given(statements, requests)
def test_removing_a_condition_never_denies_what_it_allowed(statement: Statement, request: Request) -> None:
    if statement.covers(request):
        assert replace(statement, conditions=statement.conditions[1:]).covers(request)


@given(statements, requests)
def test_a_condition_key_that_no_condition_names_changes_nothing(
    statement: Statement, request: Request
) -> None:
    extended = replace(request, context={**request.context, "k3": "one"})
    assert statement.covers(extended) == statement.covers(request)


@given(st.lists(statements, max_size=4), requests)
def test_removing_an_action_from_every_statement_denies_it(some: list[Statement], request: Request) -> None:
    less = tuple(some)
    for statement in some:
        if statement.covers(request):
            less = without(less, request.action, statement)
    assert not decide(less, request).allowed
