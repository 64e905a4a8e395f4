"""CloudWatch metric math, as far as this project's templates use it.

Owns: numbers, metric ids, `+ - * /`, comparisons, `AND`, `OR`, `IF(condition, then, else)`, parentheses,
evaluated minute by minute. Refuses, by name, every other function and operator, and mixtures whose
precedence AWS leaves open.

A minute in which no referenced metric has a point yields no point. Arithmetic counts a missing operand as
0, and division by zero drops the point (both documented by AWS); a point dropped inside a larger expression
is a missing operand of it. What AWS does not document stands in `MissingOperand`, as an assumption that a
caller can change.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Series = Mapping[int, float]


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

_Values = Mapping[str, float | None]
_Node = Callable[[_Values, MissingOperand], float | None]

_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_KNOWN = "+ - * / == != < <= > >= AND OR IF(condition, then, else) and parentheses"
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<symbol>==|!=|<=|>=|&&|\|\||\S))"
)
_END = ("end", "the end")  # two words, so that no metric id is mistaken for it


class ExpressionError(ValueError):
    """An expression outside the part of metric math that is simulated, or with an unknown metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A parsed expression: its text and the metric ids it reads."""

    text: str
    ids: frozenset[str]
    root: _Node = field(compare=False, repr=False)

    def evaluate(self, series: Mapping[str, Series], missing: MissingOperand = ASSUMED) -> dict[int, float]:
        """One value per minute (epoch seconds) where a referenced metric has a point and a result exists."""
        unknown = sorted(self.ids - series.keys())
        if unknown:
            raise ExpressionError(
                f"{self.text!r} reads {', '.join(unknown)}, but the metrics given are "
                f"{', '.join(sorted(series)) or 'none'}; give every id a series, if need be an empty one"
            )
        result: dict[int, float] = {}
        for minute in sorted({minute for name in self.ids for minute in series[name]}):
            value = self.root({name: series[name].get(minute) for name in self.ids}, missing)
            if value is not None:
                result[minute] = value
        return result


def evaluate(
    expression: str, series: Mapping[str, Series], missing: MissingOperand = ASSUMED
) -> dict[int, float]:
    """Parse and evaluate at once; see `Expression.evaluate`."""
    return parse(expression).evaluate(series, missing)


def parse(text: str) -> Expression:
    """Parse an expression once; `ExpressionError` names what is not simulated."""
    parser = _Parser(text)
    root = parser.logic()
    parser.expect(_END[1])
    if not parser.ids:
        raise ExpressionError(f"{text!r} reads no metric; an alarm's expression must give a time series")
    return Expression(text=text, ids=frozenset(parser.ids), root=root)


def _tokens(text: str) -> list[tuple[str, str]]:
    found = [(str(match.lastgroup), match[match.lastgroup or 0]) for match in _TOKEN.finditer(text)]
    return [*found, _END]


class _Parser:
    """Recursive descent, lowest precedence first: logic, comparison, sum, product, sign, atom."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.ids: set[str] = set()
        self._tokens = _tokens(text)
        self._position = 0

    def logic(self) -> _Node:
        node, first = self._comparison(), self._token
        while self._token in (("name", "AND"), ("name", "OR")):
            if self._token != first:
                raise self._error("mixes AND with OR; put parentheses around one of them")
            word = self._take()
            node = _logic(word, node, self._comparison())
        return node

    def _comparison(self) -> _Node:
        left = self._sum()
        if self._token[1] not in _COMPARISONS:
            return left
        compare = _COMPARISONS[self._take()]
        node = _compared(compare, left, self._sum())
        if self._token[1] in _COMPARISONS:
            raise self._error("chains comparisons; join them with AND")
        return node

    def _sum(self) -> _Node:
        node = self._product()
        while self._token[1] in ("+", "-"):
            node = _arithmetic(_ARITHMETIC[self._take()], node, self._product())
        return node

    def _product(self) -> _Node:
        node = self._sign()
        while self._token[1] in ("*", "/"):
            node = _arithmetic(_ARITHMETIC[self._take()], node, self._sign())
        return node

    def _sign(self) -> _Node:
        if self._token[1] != "-":
            return self._atom()
        self._take()
        operand = self._sign()

        def negated(values: _Values, missing: MissingOperand) -> float | None:
            value = operand(values, missing)
            return None if value is None else -value

        return negated

    def _atom(self) -> _Node:
        kind, word = self._token
        if kind == "number":
            return self._number()
        if kind == "name":
            return self._name()
        if word == "(":
            self._take()
            node = self.logic()
            self.expect(")")
            return node
        raise self._unexpected()

    def _number(self) -> _Node:
        value = float(self._take())
        if not math.isfinite(value):
            raise self._error("holds a number that is too large")
        return lambda _values, _missing: value

    def _name(self) -> _Node:
        word = self._take()
        if self._token[1] == "(":
            if word != "IF":
                raise self._error(f"calls {word}, which is not simulated; known are {_KNOWN}")
            return self._if()
        if not word[0].islower():  # CloudWatch: an id starts with a lowercase letter
            raise self._error(f"holds {word!r}, neither a metric id (lowercase first) nor one of {_KNOWN}")
        self.ids.add(word)
        return lambda values, _missing: values[word]

    def _if(self) -> _Node:
        self.expect("(")
        condition = self.logic()
        self.expect(",")
        then = self.logic()
        self.expect(",")
        otherwise = self.logic()
        self.expect(")")

        def chosen(values: _Values, missing: MissingOperand) -> float | None:
            truth = _or_else(condition(values, missing), missing.condition)
            if truth is None:
                return None
            return _or_else((then if truth else otherwise)(values, missing), missing.branch)

        return chosen

    def expect(self, wanted: str) -> None:
        """Step over one symbol, or the end."""
        if self._token[1] != wanted:
            raise self._unexpected(wanted)
        self._take()

    @property
    def _token(self) -> tuple[str, str]:
        return self._tokens[min(self._position, len(self._tokens) - 1)]

    def _take(self) -> str:
        word = self._token[1]
        self._position += 1
        return word

    def _unexpected(self, wanted: str | None = None) -> ExpressionError:
        kind, word = self._token
        known = {*_ARITHMETIC, *_COMPARISONS, "(", ")", ","}
        if kind == "symbol" and word not in known:
            return self._error(f"uses {word!r}, which is not simulated; known are {_KNOWN}")
        place = (
            f"where {wanted!r} should stand" if wanted else "where a number, a metric id or ( should stand"
        )
        return self._error(f"has {'nothing' if kind == 'end' else repr(word)} {place}")

    def _error(self, sentence: str) -> ExpressionError:
        return ExpressionError(f"the expression {self.text!r} {sentence}")


def _or_else(value: float | None, stand_in: float | None) -> float | None:
    return stand_in if value is None else value


def _operands(a: float | None, b: float | None, stand_in: float | None) -> tuple[float, float] | None:
    if a is None and b is None:
        return None
    a, b = _or_else(a, stand_in), _or_else(b, stand_in)
    return None if a is None or b is None else (a, b)


def _arithmetic(apply: Callable[[float, float], float], left: _Node, right: _Node) -> _Node:
    def node(values: _Values, missing: MissingOperand) -> float | None:
        operands = _operands(left(values, missing), right(values, missing), 0.0)
        if operands is None or (apply is operator.truediv and operands[1] == 0):
            return None
        result = apply(*operands)
        return result if math.isfinite(result) else None  # CloudWatch holds no infinity

    return node


def _compared(compare: Callable[[float, float], bool], left: _Node, right: _Node) -> _Node:
    def node(values: _Values, missing: MissingOperand) -> float | None:
        operands = _operands(left(values, missing), right(values, missing), missing.comparison)
        return None if operands is None else float(compare(*operands))

    return node


def _logic(word: str, left: _Node, right: _Node) -> _Node:
    def node(values: _Values, missing: MissingOperand) -> float | None:
        operands = _operands(left(values, missing), right(values, missing), missing.logic)
        if operands is None:
            return None
        truths = (operands[0] != 0, operands[1] != 0)
        return float(all(truths) if word == "AND" else any(truths))

    return node
