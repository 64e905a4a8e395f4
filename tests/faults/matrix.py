"""The matrix: use case x call x fault, generated from one healthy run of each use case.

A call that concerns only a neighbour of a case's workload is left to the case that concerns all; a field that
nothing reads cannot matter.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tests.faults.account import Account, Outcome, deployed_account
from tests.faults.assertions import affected, assert_invariants, recovers_later
from tests.faults.calls import Call, Fault
from tests.faults.cases import CASES, Case
from tests.faults.faults import NO_ANSWER, WrongAnswer, no_answer
from tests.faults.responses import WRONG_ANSWERS, corruptions
from tests.faults.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One fault in one call of one use case."""

    case: Case
    call: Call
    fault: str | WrongAnswer

    def __str__(self) -> str:
        return f"{self.case}: {self.call}: {self.fault}"

    @property
    def kind(self) -> str:
        return self.fault if isinstance(self.fault, str) else self.fault.kind

    def of(self, timeline: Timeline) -> Fault:
        return no_answer(self.fault, timeline) if isinstance(self.fault, str) else self.fault


@cache
def healthy_runs() -> dict[str, Outcome]:
    """One run of each case without any fault."""
    with deployed_account() as built:
        return {case.name: case.invoke(built) for case in CASES}


@cache
def cells() -> tuple[Cell, ...]:
    """Every cell, always in the same order."""
    return tuple(sorted((cell for case in CASES for cell in _of(case)), key=str))


def share() -> tuple[Cell, ...]:
    """A share in which each kind of fault occurs once in each use case, and once at each operation."""
    first: dict[tuple[str, str], Cell] = {}
    for cell in cells():
        first.setdefault((cell.case.use_case, cell.kind), cell)
        first.setdefault((cell.call.operation, cell.kind), cell)
    return tuple({str(cell): cell for cell in first.values()}.values())


def run_cell(cell: Cell, account: Account) -> None:
    """Run the cell and check its outcome."""
    healthy, fault = healthy_runs()[cell.case.name], cell.of(account.timeline)
    outcome = cell.case.invoke(account, (cell.call, fault))
    assert outcome.made.attempts[cell.call], f"{cell.call} was never made"
    assert_invariants(cell.case, healthy, cell.call, fault, outcome)
    recovers_later(cell.case, account, healthy, outcome)


def calls_left_out() -> list[str]:
    """Calls that concern only a neighbour, by case."""
    return [
        f"{case}: {call}"
        for case in CASES
        for call in healthy_runs()[case.name].made.calls
        if not _concerns(case, call)
    ]


def kinds_left_out() -> Counter[tuple[str, str]]:
    """(operation, kind) of which there is nothing to spoil -> in how many calls."""
    made = {(cell.case.name, cell.call) for cell in cells()}
    spoilt = {(cell.case.name, cell.call, cell.kind) for cell in cells()}
    return Counter(
        (call.operation, kind)
        for name, call in made
        for kind in WRONG_ANSWERS
        if (name, call, kind) not in spoilt
    )


def _of(case: Case) -> Iterator[Cell]:
    made = healthy_runs()[case.name].made
    for call in made.calls:
        if not _concerns(case, call):
            continue
        for kind in NO_ANSWER:
            yield Cell(case=case, call=call, fault=kind)
        for spoiling in corruptions(made.responses[call], made.read[call]):
            yield Cell(case=case, call=call, fault=WrongAnswer(spoiling=spoiling))


def _concerns(case: Case, call: Call) -> bool:
    if case.only:
        return call.operation in case.only
    return case.about is None or case.about in affected(call)
