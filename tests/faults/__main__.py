"""`python -m tests.faults`: the size of the matrix, and what it leaves out by rule."""

import sys
from collections import Counter
from collections.abc import Iterator

from tests.faults import switch_matrix
from tests.faults.matrix import calls_left_out, cells, kinds_left_out


def lines() -> Iterator[str]:
    """The table use case x kind of fault, then what there is no cell for."""
    kinds = sorted({cell.kind for cell in cells()})
    counts = Counter((cell.case.name, cell.kind) for cell in cells())
    calls = Counter(name for name, _ in {(cell.case.name, cell.call) for cell in cells()})
    yield _row("Use case", "calls", *kinds, "cells")
    yield _row(*["---"] * (len(kinds) + 3))
    for name in sorted(calls):
        of_kind = [counts[name, kind] for kind in kinds]
        yield _row(name, calls[name], *of_kind, sum(of_kind))
    of_kind = [sum(cell.kind == kind for cell in cells()) for kind in kinds]
    yield _row("together", calls.total(), *of_kind, len(cells()))
    of_steps = Counter((cell.of.scenario.name, cell.of.moment.step) for cell in switch_matrix.cells())
    yield f"\nCells of a switch: {of_steps.total()}"
    yield from (f"- {scenario}: {step} ({n})" for (scenario, step), n in sorted(of_steps.items()))
    yield f"\nCalls left to the use case that is about them: {len(calls_left_out())}"
    yield from (f"- {call}" for call in calls_left_out())
    yield f"\nNothing in the answer to spoil: {kinds_left_out().total()}"
    yield from (f"- {operation}: {kind} ({n})" for (operation, kind), n in sorted(kinds_left_out().items()))


def _row(*fields: object) -> str:
    return "| " + " | ".join(str(field) for field in fields) + " |"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in lines())
