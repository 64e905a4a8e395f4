"""What each operator of metric math makes of its operands, missing ones included.

Owns the nodes of a parsed expression: functions of one minute's values, pure. Arithmetic counts a missing
operand as 0, and division by zero drops the point (both documented by AWS); what AWS does not document
stands in `MissingOperand`, as an assumption that a caller can change. Refuses nothing: the grammar does.
"""

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingOperand:
    """What a missing operand stands for where AWS does not say (assumptions); None: the result is missing.

    An operator none of whose operands has a value (a constant always has one) gives a missing result whatever
    stands here.
    """

    comparison: float | None = 0.0
    """As in arithmetic: a missing `desired` makes `desired == 0` true and `desired > 0` false."""
    logic: float | None = 0.0
    """A missing operand of AND, OR is false."""
    condition: float | None = 0.0
    """A missing condition of IF is false: the third argument."""
    branch: float | None = None
    """IF hands on what the chosen branch has: no point in it, no point in the result."""


ASSUMED = MissingOperand()

Values = Mapping[str, float | None]
"""One minute: a value, or none, by metric id."""
Node = Callable[[Values, MissingOperand], float | None]

ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
LOGIC: Mapping[str, Callable[[float, float], bool]] = {
    "AND": lambda a, b: a != 0 and b != 0,
    "OR": lambda a, b: a != 0 or b != 0,
}


def negated(operand: Node) -> Node:
    """The operand with the other sign; missing stays missing."""

    def node(values: Values, missing: MissingOperand) -> float | None:
        value = operand(values, missing)
        return None if value is None else -value

    return node


def arithmetic(symbol: str, left: Node, right: Node) -> Node:
    """One of `ARITHMETIC`; division by zero and a result beyond every number drop the point."""
    apply = ARITHMETIC[symbol]

    def node(values: Values, missing: MissingOperand) -> float | None:
        operands = _operands(left(values, missing), right(values, missing), 0.0)
        if operands is None or (symbol == "/" and operands[1] == 0):
            return None
        result = apply(*operands)
        return result if math.isfinite(result) else None  # CloudWatch holds no infinity

    return node


def comparison(symbol: str, left: Node, right: Node) -> Node:
    """One of `COMPARISONS`, as 1 or 0."""
    holds = COMPARISONS[symbol]

    def node(values: Values, missing: MissingOperand) -> float | None:
        operands = _operands(left(values, missing), right(values, missing), missing.comparison)
        return None if operands is None else float(holds(*operands))

    return node


def logic(word: str, left: Node, right: Node) -> Node:
    """One of `LOGIC`, as 1 or 0; every number but 0 is true."""
    holds = LOGIC[word]

    def node(values: Values, missing: MissingOperand) -> float | None:
        operands = _operands(left(values, missing), right(values, missing), missing.logic)
        return None if operands is None else float(holds(*operands))

    return node


def choice(condition: Node, then: Node, otherwise: Node) -> Node:
    """IF: what the chosen branch has; the other one plays no part."""

    def node(values: Values, missing: MissingOperand) -> float | None:
        truth = _or_else(condition(values, missing), missing.condition)
        if truth is None:
            return None
        return _or_else((then if truth else otherwise)(values, missing), missing.branch)

    return node


def _or_else(value: float | None, stand_in: float | None) -> float | None:
    return stand_in if value is None else value


def _operands(a: float | None, b: float | None, stand_in: float | None) -> tuple[float, float] | None:
    if a is None and b is None:
        return None
    a, b = _or_else(a, stand_in), _or_else(b, stand_in)
    return None if a is None or b is None else (a, b)
