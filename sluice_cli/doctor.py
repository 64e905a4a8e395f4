"""`sluice doctor`: why a workload does not scale, and what to do about it."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sluice_cli.aws_account import COMPLETE, AccountOptions, account_options, opened
from sluice_cli.progress import ProgressBar
from sluice_cli.terminal import Console
from sluice_operator.core.checks.finding import Finding, Outcome
from sluice_operator.core.ways_out import with_way_out
from sluice_operator.doctor.plane import examine_plane
from sluice_operator.doctor.workloads import WorkloadFindings, examine

READ_LIMIT_S = 120.0
WIDTH = 200
"""Of the output where there is no terminal."""
FINDING = 1
STYLES = {
    Outcome.PASS: "green",
    Outcome.WARN: "yellow",
    Outcome.FAIL: "bold red",
    Outcome.UNKNOWN: "yellow",
}


@click.command()
@click.argument("workloads", metavar="[WORKLOAD]...", nargs=-1, shell_complete=COMPLETE)
@click.option("--all", "lists_passes", is_flag=True, help="List the checks that pass, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (docs/schemas/doctor.json).")
@account_options
def doctor(workloads: tuple[str, ...], account: AccountOptions, *, lists_passes: bool, as_json: bool) -> None:
    """Check what keeps a workload from scaling, and say what to do about it.

    WORKLOAD is the name of a registered workload; without one, all are checked. docs/operations.md explains
    each check. Takes read permissions alone (docs/policies/doctor.json). Exits with 1 if a check does not
    pass.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    with ProgressBar(Console(stderr=True)) as bar, opened(account, "doctor", bar) as chosen:
        end_s = time.monotonic() + READ_LIMIT_S
        found = examine(chosen.account, workloads, lambda: end_s - time.monotonic(), bar.step)
        bar.step("reading the control plane")
        plane = examine_plane(chosen.account, lambda: end_s - time.monotonic())
        at, stack = chosen.account.ports.now(), chosen.account.plane.stack
    if as_json:
        click.echo(json.dumps(_document(plane, found, stack, at)))
    else:
        console.print(_shown(plane, found, lists_passes=lists_passes))
    sys.exit(0 if _ok(plane) and all(each.ok for each in found) else FINDING)


def _ok(findings: Sequence[Finding]) -> bool:
    return all(finding.outcome is Outcome.PASS for finding in findings)


def _shown(plane: Sequence[Finding], found: Sequence[WorkloadFindings], *, lists_passes: bool) -> Group:
    """The findings of the control plane and of each workload, and how many checks do not pass."""
    sections = [("control plane", plane), *((each.name, each.findings) for each in found)]
    parts: list[Any] = []
    for name, findings in sections:
        passed = sum(finding.outcome is Outcome.PASS for finding in findings)
        every = f"every one of {passed} checks passes" if passed == len(findings) else f"{passed} checks pass"
        parts.append(Text.assemble((name, "bold"), f": {every}"))
        shown = [each for each in findings if lists_passes or each.outcome is not Outcome.PASS]
        if shown:
            parts.append(Padding(_table(shown), (0, 0, 1, 2), expand=False))
    if not found:
        parts.append(Text("No workload is registered: deploy one with workload.yaml (README.md)."))
    outcomes = Counter(finding.outcome for _, findings in sections for finding in findings)
    parts.append(Text(", ".join(f"{outcomes[outcome]} {outcome}" for outcome in Outcome)))
    return Group(*parts)


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        message = finding.message
        if finding.outcome is Outcome.UNKNOWN:
            message = with_way_out(message, "doctor")
        fix = f"\n→ {finding.fix}" if finding.fix else ""
        table.add_row(
            Text(finding.outcome, style=STYLES[finding.outcome]), Text(f"{finding.check}: {message}{fix}")
        )
    return table


def _document(
    plane: Sequence[Finding], found: Sequence[WorkloadFindings], stack: str, at: datetime
) -> dict[str, Any]:
    """What docs/schemas/doctor.json describes."""
    return {
        "at": at.astimezone(UTC).isoformat(timespec="seconds"),
        "stack": stack,
        "ok": _ok(plane) and all(each.ok for each in found),
        "plane": _findings(plane),
        "workloads": [
            {"name": each.name, "ok": each.ok, "findings": _findings(each.findings)} for each in found
        ],
    }


def _findings(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    return [
        {
            "check": finding.check.value,
            "outcome": finding.outcome.value,
            "message": finding.message,
            "fix": finding.fix,
        }
        for finding in findings
    ]
