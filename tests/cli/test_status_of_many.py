"""`sluice status` over a thousand workloads, with every call that AWS would see."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest

from benchmarks.stub_aws import on_ecs, stub

pytestmark = pytest.mark.slow

WORKLOADS = 1000
SERVICES = sum(on_ecs(number) for number in range(WORKLOADS))


@pytest.mark.parametrize("scaling", ["target_tracking", "deadline"])
def test_a_thousand_workloads_take_as_few_calls_as_aws_allows(sluice, scaling):
    with stub(workloads=WORKLOADS, latency_s=0, scaling=scaling) as aws:
        answer = sluice("status", "--json", "--endpoint-url", aws.endpoint)
        calls = Counter(aws.counts().requests)
    found = json.loads(answer.stdout)["workloads"]
    assert len(found) == WORKLOADS
    assert found[0]["last_decision"]["message"] == "bootstrap 0 -> 2: work waits"
    one_each = {"DescribeStacks": 1, "StartQuery": 1, "GetQueryResults": 1}
    of_policies = {"DescribePolicies": 12, "DescribeScalingPolicies": 8}
    promised = WORKLOADS if scaling == "deadline" else 0
    assert calls == {
        **one_each,
        "GetParametersByPath": WORKLOADS / 10,
        "GetQueueAttributes": WORKLOADS,
        "DescribeAutoScalingGroups": math.ceil((WORKLOADS - SERVICES) / 100),
        "DescribeServices": math.ceil(SERVICES / 10),
        "DescribeScalableTargets": math.ceil(SERVICES / 50),
        "GetMetricData": math.ceil(4 * WORKLOADS / 500) + math.ceil(2 * promised / 500),
        "BatchGetItem": WORKLOADS / 100,  # states and pauses
        **({} if scaling == "deadline" else of_policies),
    }
