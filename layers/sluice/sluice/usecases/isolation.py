"""Step: keep one workload's failure from the others.

Owns the isolation between workloads. Refuses to swallow a failure: what is caught is logged and counted, and
the caller learns of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from sluice.core.model import AnyDecision, Fleet, Unknown, Workload
from sluice.errors import DefectError, SluiceError, attempt, failure_message
from sluice.ports import Counter, Outcome, Report

EVERY_WORKLOAD = "every workload"
"""Stands in for a workload's name if a whole step of the tick failed."""
Reading = TypeVar("Reading")


@contextmanager
def report_if_refused(decision: AnyDecision, fleet: Fleet, report: Report) -> Iterator[None]:
    """Log a decision that AWS refuses like any other, then let the failure pass through."""
    try:
        yield
    except SluiceError:
        report.decided(decision, Outcome.FAILED, fleet)
        raise


def isolated(workload: str, counter: Counter, report: Report, step: Callable[[], None]) -> bool:
    """Run `step`; a failure is logged and counted, not raised. Returns whether the step succeeded."""
    outcome = attempt(step)
    if isinstance(outcome, SluiceError):
        report.failed(workload, counter, str(outcome))
    elif isinstance(outcome, Exception):
        report.failed(workload, counter, failure_message(outcome), defect=outcome)
    return not isinstance(outcome, Exception)


def read_isolated(read: Callable[[], Reading]) -> Reading | Unknown:
    """What `read` returns; Unknown if it fails, marked as a defect if Sluice's own code broke."""
    outcome = attempt(read)
    if not isinstance(outcome, Exception):
        return outcome
    return Unknown(
        reason=failure_message(outcome), defect=None if isinstance(outcome, SluiceError) else outcome
    )


def each_isolated(
    workloads: Mapping[str, Workload], counter: Counter, report: Report, step: Callable[[Workload], None]
) -> None:
    """Run `step` for each workload; the failure of one is logged, and the others go on."""
    for name, workload in workloads.items():
        isolated(name, counter, report, partial(step, workload))


@contextmanager
def raise_for_defects(report: Report) -> Iterator[None]:
    """Raise DefectError once every workload is served, if a defect was logged meanwhile."""
    before = report.defects
    yield
    if report.defects > before:
        raise DefectError(
            f"{report.defects - before} defects of Sluice's own code: see the log lines with a stack trace"
        )
