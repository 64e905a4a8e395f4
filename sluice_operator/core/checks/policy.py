"""Whether target tracking can act on the fleet."""

from __future__ import annotations

from sluice_operator.core.checks.facts import Facts
from sluice_operator.core.checks.finding import Check, Finding, failed, passed
from sluice_operator.core.checks.judging import judges, known


@judges(Check.POLICY_ENABLED)
def enabled(check: Check, facts: Facts) -> Finding:
    """The policy that the document names exists, and is enabled."""
    fleet = facts.workload.fleet
    if facts.workload.policy_arn is None:
        return passed(check, "the workload's settings ask for no policy")
    policy = known(facts.policy)
    if policy is None:
        return failed(
            check,
            f"{fleet} has no scaling policy {facts.workload.policy_arn}",
            "update the workload's stack with any change: CloudFormation creates a policy that was deleted "
            "by hand only with a change",
        )
    if not policy.enabled:
        return failed(
            check,
            f"the scaling policy {policy.name} of {fleet} is disabled",
            "enable it: put the policy again with Enabled true",
        )
    return passed(check, f"the scaling policy {policy.name} is enabled")
