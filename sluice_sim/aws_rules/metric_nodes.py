"""The operators of metric math, including how each treats missing operands.

The nodes of a parsed expression are pure functions of one minute's values. `MissingOperand` holds the
treatment of missing operands, part of it documented by AWS and part assumed; a caller can change all of it.
"""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingOperand:
    """The value that replaces a missing operand; None makes the result missing.

    If no operand of an operator has a value (a constant always has one), its result is missing in any case.
    """

    arithmetic: float | None = 0.0
    """Documented: missing values in a time series are treated as 0."""
    comparison: float | None = 0.0
    """Documented between metrics, assumed beside a number: `desired == 0` is true of a missing `desired`."""
    logic: float | None = 0.0
    """A missing operand of AND, OR is false (assumption)."""
    condition: float | None = None
    """Documented: without a condition IF drops the point."""
    then: float | None = 0.0
    """Documented: IF makes 0 of a point that is missing in its second argument."""
    otherwise: float | None = None
    """Documented: IF drops a point that is missing in its third argument."""


ASSUMED = MissingOperand()

Values = Mapping[str, float | None]
"""One minute: a value, or none, by metric id; the seconds of the period by `PERIOD`, which is no id."""
PERIOD = "PERIOD"
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


def filled(name: str, filler: float) -> Node:
    """FILL(metric, number): replaces every missing value of the metric by the number."""

    def node(values: Values, _missing: MissingOperand) -> float | None:
        return _or_else(values[name], filler)

    return node


def highest(names: Sequence[str]) -> Node:
    """MAX of several metrics: the highest of those that have a value (assumption)."""

    def node(values: Values, _missing: MissingOperand) -> float | None:
        return max((value for name in names if (value := values[name]) is not None), default=None)

    return node


def negated(operand: Node) -> Node:
    """The negated operand; missing stays missing."""

    def node(values: Values, missing: MissingOperand) -> float | None:
        value = operand(values, missing)
        return None if value is None else -value

    return node


def arithmetic(symbol: str, left: Node, right: Node) -> Node:
    """One of `ARITHMETIC`; division by zero and an infinite result drop the datapoint."""
    apply = ARITHMETIC[symbol]

    def node(values: Values, missing: MissingOperand) -> float | None:
        operands = _operands(left(values, missing), right(values, missing), missing.arithmetic)
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
    """IF: the value of the chosen argument; the other one is not evaluated."""

    def node(values: Values, missing: MissingOperand) -> float | None:
        truth = _or_else(condition(values, missing), missing.condition)
        if truth is None:
            return None
        if truth:
            return _or_else(then(values, missing), missing.then)
        return _or_else(otherwise(values, missing), missing.otherwise)

    return node


def _or_else(value: float | None, stand_in: float | None) -> float | None:
    return stand_in if value is None else value


def _operands(a: float | None, b: float | None, stand_in: float | None) -> tuple[float, float] | None:
    if a is None and b is None:
        return None
    a, b = _or_else(a, stand_in), _or_else(b, stand_in)
    return None if a is None or b is None else (a, b)
