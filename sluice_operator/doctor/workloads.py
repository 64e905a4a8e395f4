"""Examines workloads with the checks of `sluice doctor`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sluice.ports import RemainingS
from sluice_operator.account import Account
from sluice_operator.core.checks import findings
from sluice_operator.core.checks.finding import Finding, Outcome
from sluice_operator.core.checks.registration import refused
from sluice_operator.doctor.facts import read_facts
from sluice_operator.status import chosen_workloads


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadFindings:
    """What every check has found of one workload."""

    name: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passes."""
        return all(finding.outcome is Outcome.PASS for finding in self.findings)


def examine(
    account: Account,
    names: Sequence[str],
    remaining_s: RemainingS,
    on_step: Callable[[str], None] = lambda _: None,
) -> list[WorkloadFindings]:
    """These workloads, or all without names; raises ConfigError for a name that is not registered."""
    on_step("reading the registry")
    chosen = chosen_workloads(account.ports.registry, names, remaining_s)
    served = chosen.served
    on_step(f"reading the queues, policies and metrics of {len(served)} workloads")
    facts = read_facts(account, list(served.values()), remaining_s)
    return [
        WorkloadFindings(
            name=name,
            findings=tuple(findings(facts[name])) if name in served else (refused(chosen.refused[name]),),
        )
        for name in chosen.names
    ]
