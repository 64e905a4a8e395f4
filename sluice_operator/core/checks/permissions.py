"""Whether the workers' role may do what they ask of the queue, of its key and of CloudWatch."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from shlex import quote
from typing import Any

from sluice.core.model import AutoScalingGroup
from sluice_operator.core.checks.facts import Facts, Permission
from sluice_operator.core.checks.finding import Check, Finding, failed, passed, unknown, warned
from sluice_operator.core.checks.judging import UnreadError, judges, known
from sluice_operator.core.checks.queue import settings

NEEDED = ("sqs:ReceiveMessage", "sqs:DeleteMessage")
"""What every worker asks of its queue."""
OURS = ("sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes")
"""What `sluice_worker` asks of it beyond that (docs/worker.md)."""
PUT_METRICS = "cloudwatch:PutMetricData"
DECRYPT = "kms:Decrypt"
ELSEWHERE = (
    "remove the statement that denies it, or let the organization's service control policy or the role's "
    "permissions boundary allow it"
)


@judges(Check.WORKER_PERMISSIONS)
def worker(check: Check, facts: Facts) -> Finding:
    """The workers' role may receive and delete, and do what our worker asks for beyond that."""
    role, queue, namespace = (
        known(facts.worker_role),
        settings(facts),
        facts.workload.duration_metric.namespace,
    )
    if role is None:
        profile = "the launch template an instance profile"
        place = (
            profile
            if isinstance(facts.workload.fleet, AutoScalingGroup)
            else "the task definition a task role"
        )
        return warned(
            check,
            f"{facts.workload.fleet} starts its workers without a role: they need credentials of their own",
            f"give {place} that may {' and '.join(NEEDED)} on {queue.arn}",
        )
    # Workers that publish may do so, by this role or by another way (--metrics-sink emf).
    published = isinstance(facts.longest_processing_s, float)
    denied = _denied(facts, (*NEEDED, *OURS, *(() if published else (PUT_METRICS,))))
    certain = {
        action: permission
        for action, permission in denied.items()
        if not permission.missing_keys
        and not (queue.has_policy and action != PUT_METRICS and permission.is_only_lacking)
    }
    found, fix = _sentence(role, certain), _fix(role, certain, queue.arn, namespace)
    if certain.keys() & set(NEEDED):
        return failed(check, found, fix)
    if denied.keys() & set(NEEDED) or (denied and not certain):
        own = ", unless the queue's policy does: it is not looked at" if queue.has_policy else ""
        return unknown(check, f"{_sentence(role, denied)}{own}")
    if certain:
        return warned(check, f"{found}, which sluice_worker asks for", fix)
    return passed(check, f"the policies of {role} allow what a worker asks for")


@judges(Check.KEY_PERMISSIONS)
def key(check: Check, facts: Facts) -> Finding:
    """The workers' role may decrypt with the queue's key.

    IAM simulates no resource policy for a role (documented). The key's policy is read beside it: it may allow
    the role by itself, and the role's own policies count only if it delegates to the account. Grants are not
    looked at.
    """
    if settings(facts).own_key_id is None:
        return passed(check, "the queue has no key of yours, for which its workers would need a permission")
    kms_key, policy, role = known(facts.queue_key), known(facts.queue_key_policy), known(facts.worker_role)
    if kms_key is None or policy is None:
        raise UnreadError("KMS finds no such key: see queue-key")
    if role is None:
        raise UnreadError("the workers have no role: see worker-permissions")
    denied = _denied(facts, (DECRYPT,))
    permission = denied.get(DECRYPT)
    if permission and not permission.is_only_lacking and not permission.missing_keys:
        return failed(check, f"{_sentence(role, denied)} with the queue's key {kms_key.arn}", ELSEWHERE)
    if policy.denies(DECRYPT, role):
        return unknown(check, f"a statement of the policy of {kms_key.arn} may deny {DECRYPT} to {role}")
    named, delegated = policy.names(DECRYPT, role), policy.delegates(DECRYPT, role)
    if permission and permission.missing_keys:
        return unknown(check, f"{_sentence(role, denied)} with the queue's key {kms_key.arn}")
    if named or (delegated and not permission):
        by = "the policy of the key" if named else f"the policies of {role}, which the key's lets decide,"
        return passed(check, f"{by} allows {DECRYPT}" if named else f"{by} allow {DECRYPT}")
    if named is None or (delegated is None and not permission):
        return unknown(
            check,
            f"the policy of {kms_key.arn} allows {DECRYPT} only under conditions, which are not looked at",
        )
    to_key = f"allow {DECRYPT} to {role} in the policy of {kms_key.arn}: aws kms put-key-policy"
    if permission:
        found = f"{_sentence(role, denied)} with the queue's key {kms_key.arn}, and the key's does not either"
        return failed(check, found, _fix(role, denied, kms_key.arn) if delegated else to_key)
    return failed(
        check,
        f"the policies of {role} allow {DECRYPT}, and do not count: the policy of {kms_key.arn}, the queue's "
        "key, names neither the role nor the account",
        to_key,
    )


def _denied(facts: Facts, actions: Collection[str]) -> Mapping[str, Permission]:
    """Those of the actions that are not allowed, as far as the simulation can say."""
    simulated = known(facts.worker_permissions)
    permissions = {action: known(simulated[action]) for action in actions}
    return {action: each for action, each in permissions.items() if not each.is_allowed}


def _sentence(role: str, denied: Mapping[str, Permission]) -> str:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for action, permission in denied.items():
        by_reason[_reason(role, permission)].append(action)
    return "; ".join(reason.format(" and ".join(actions)) for reason, actions in by_reason.items())


def _reason(role: str, permission: Permission) -> str:
    if not permission.by_organization:
        return "the organization's service control policies do not allow {}"
    if not permission.by_boundary:
        return f"the permissions boundary of {role} does not allow {{}}"
    under = permission.missing_keys
    unless = f", unless conditions hold that only a request shows: {', '.join(under)}" if under else ""
    return (
        f"a policy of {role} denies {{}}{unless}"
        if permission.is_denied
        else f"no policy of {role} allows {{}}{unless}"
    )


def _fix(role: str, denied: Mapping[str, Permission], resource: str, namespace: str = "") -> str:
    """The command that allows what no policy of the role allows yet, in a policy of its own."""
    lacking = [action for action, permission in denied.items() if permission.is_only_lacking]
    if not lacking:
        return ELSEWHERE
    statements = [_allow([action for action in lacking if action != PUT_METRICS], resource)]
    if PUT_METRICS in lacking:
        namespaces = {"StringEquals": {"cloudwatch:namespace": namespace}}
        statements.append(_allow([PUT_METRICS], "*") | {"Condition": namespaces})
    document = {"Version": "2012-10-17", "Statement": [each for each in statements if each["Action"]]}
    name = role.rsplit("/", 1)[-1]
    command = (
        f"aws iam put-role-policy --role-name {quote(name)} --policy-name sluice-{lacking[0].split(':')[0]} "
        f"--policy-document {quote(json.dumps(document))}"
    )
    return command if len(lacking) == len(denied) else f"{command}; {ELSEWHERE}"


def _allow(actions: Sequence[str], resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": actions, "Resource": resource}
