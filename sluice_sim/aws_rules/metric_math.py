"""CloudWatch metric math, as far as this project's templates use it.

Parses numbers, metric ids, `+ - * /`, comparisons, `AND`, `OR`, `IF(condition, then, else)`, `FILL(metric,
number)`, `PERIOD(metric)`, `MAX([metric, metric])` and parentheses, and evaluates them minute by minute.
Every other function and operator, and a mixture whose precedence AWS does not document, is an
ExpressionError.

A minute in which no referenced metric has a datapoint yields none, unless FILL provides it. A datapoint
dropped inside a larger expression is a missing operand of it. `metric_nodes` defines how operators treat
missing operands.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sluice_sim.aws_rules import metric_nodes
from sluice_sim.aws_rules.metric_nodes import (
    ARITHMETIC,
    ASSUMED,
    COMPARISONS,
    LOGIC,
    MissingOperand,
    Node,
)

__all__ = ["ASSUMED", "Expression", "ExpressionError", "MissingOperand", "Series", "evaluate", "parse"]

Series = Mapping[int, float]

_KNOWN = (
    "+ - * / == != < <= > >= AND OR IF(condition, then, else) FILL(metric, number) PERIOD(metric) "
    "MAX([metric, metric]) and parentheses"
)
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<symbol>==|!=|<=|>=|&&|\|\||\S))"
)
_END = ("end", "the end")  # two words, so that no metric id is mistaken for it


class ExpressionError(ValueError):
    """An expression outside the simulated part of metric math, or with an unknown metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A parsed expression: its text, its metric ids, and whether it uses FILL."""

    text: str
    ids: frozenset[str]
    fills: bool
    root: Node = field(compare=False, repr=False)

    def evaluate(
        self,
        series: Mapping[str, Series],
        missing: MissingOperand = ASSUMED,
        *,
        minutes: Iterable[int] = (),
        period_s: int = 60,
    ) -> dict[int, float]:
        """One value per minute (epoch seconds) that has a result and a datapoint of a referenced metric.

        `minutes` are the requested ones: FILL provides a datapoint for each, even if no metric has one.
        PERIOD is `period_s`, that of all metrics.
        """
        if not self.ids <= series.keys():
            unknown = sorted(self.ids - series.keys())
            raise ExpressionError(
                f"{self.text!r} reads {', '.join(unknown)}, but the metrics given are "
                f"{', '.join(sorted(series)) or 'none'}; give every id a series, if need be an empty one"
            )
        result: dict[int, float] = {}
        requested = set(minutes) if self.fills else set()
        own = {name: series[name] for name in self.ids}
        for minute in sorted(requested.union(*own.values())):
            values = {name: of.get(minute) for name, of in own.items()}
            value = self.root({**values, metric_nodes.PERIOD: period_s}, missing)
            if value is not None:
                result[minute] = value
        return result


def evaluate(
    expression: str,
    series: Mapping[str, Series],
    missing: MissingOperand = ASSUMED,
    *,
    minutes: Iterable[int] = (),
) -> dict[int, float]:
    """Parse and evaluate in one call; see `Expression.evaluate`."""
    return parse(expression).evaluate(series, missing, minutes=minutes)


def parse(text: str) -> Expression:
    """Parse an expression once; `ExpressionError` names what is not simulated."""
    parser = _Parser(text)
    try:
        root = parser.logic()
    except RecursionError:
        raise ExpressionError(f"{text[:40]!r}... is nested too deeply to be simulated") from None
    parser.expect(_END[1])
    if not parser.ids:
        raise ExpressionError(f"{text!r} reads no metric; an alarm's expression must give a time series")
    return Expression(text=text, ids=frozenset(parser.ids), fills=parser.fills, root=root)


class _Parser:
    """Recursive descent, lowest precedence first: logic, comparison, sum, product, sign, atom."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.ids: set[str] = set()
        self.fills = False
        found = [(str(match.lastgroup), match[match.lastgroup or 0]) for match in _TOKEN.finditer(text)]
        self._rest = iter(found)
        self._token = next(self._rest, _END)

    def logic(self) -> Node:
        node, first = self._comparison(), self._token
        while self._token[1] in LOGIC:
            if self._token != first:
                raise self._error("mixes AND with OR; put parentheses around one of them")
            node = metric_nodes.logic(self._take(), node, self._comparison())
        return node

    def _comparison(self) -> Node:
        left = self._sum()
        if self._token[1] not in COMPARISONS:
            return left
        node = metric_nodes.comparison(self._take(), left, self._sum())
        if self._token[1] in COMPARISONS:
            raise self._error("chains comparisons; join them with AND")
        return node

    def _sum(self) -> Node:
        node = self._product()
        while self._token[1] in ("+", "-"):
            node = metric_nodes.arithmetic(self._take(), node, self._product())
        return node

    def _product(self) -> Node:
        node = self._sign()
        while self._token[1] in ("*", "/"):
            node = metric_nodes.arithmetic(self._take(), node, self._sign())
        return node

    def _sign(self) -> Node:
        if self._token[1] != "-":
            return self._atom()
        self._take()
        return metric_nodes.negated(self._sign())

    def _atom(self) -> Node:
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

    def _number(self) -> Node:
        value = self._finite()
        return lambda _values, _missing: value

    def _finite(self) -> float:
        value = float(self._take())
        if not math.isfinite(value):
            raise self._error("holds a number that is too large")
        return value

    def _name(self) -> Node:
        word = self._take()
        if self._token[1] == "(":
            functions = {
                "IF": self._if,
                "FILL": self._fill,
                "MAX": self._max,
                metric_nodes.PERIOD: self._period,
            }
            if word not in functions:
                raise self._error(f"calls {word}, which is not simulated; known are {_KNOWN}")
            return functions[word]()
        self._read(word)
        return lambda values, _missing: values[word]

    def _read(self, word: str) -> None:
        if not word[0].islower():  # CloudWatch: an id starts with a lowercase letter
            raise self._error(f"holds {word!r}, neither a metric id (lowercase first) nor one of {_KNOWN}")
        self.ids.add(word)

    def _period(self) -> Node:
        self.expect("(")
        if self._token[0] != "name":
            raise self._error(
                "asks for the period of something else than a metric; give PERIOD the id of one"
            )
        self._read(self._take())
        self.expect(")")
        return lambda values, _missing: values[metric_nodes.PERIOD]

    def _fill(self) -> Node:
        self.expect("(")
        if self._token[0] != "name":
            raise self._error("fills something else than a metric; give FILL the id of one")
        metric = self._take()
        self._read(metric)
        self.expect(",")
        sign = -1 if self._token[1] == "-" else 1
        if sign < 0:
            self._take()
        if self._token[0] != "number":
            raise self._error(
                f"fills {metric} with {self._token[1]}, which is not simulated; give FILL a number"
            )
        filler = sign * self._finite()
        self.expect(")")
        self.fills = True
        return metric_nodes.filled(metric, filler)

    def _max(self) -> Node:
        """The highest of several metrics; one without a datapoint does not count."""
        self.expect("(")
        self.expect("[")
        metrics = [self._metric("MAX")]
        while self._token[1] == ",":
            self._take()
            metrics.append(self._metric("MAX"))
        self.expect("]")
        self.expect(")")
        return metric_nodes.highest(metrics)

    def _metric(self, function: str) -> str:
        if self._token[0] != "name":
            raise self._error(f"gives {function} something else than metrics; give it ids in brackets")
        metric = self._take()
        self._read(metric)
        return metric

    def _if(self) -> Node:
        self.expect("(")
        condition = self.logic()
        self.expect(",")
        then = self.logic()
        self.expect(",")
        otherwise = self.logic()
        self.expect(")")
        return metric_nodes.choice(condition, then, otherwise)

    def expect(self, wanted: str) -> None:
        """Consume this symbol, or the end; ExpressionError if something else follows."""
        if self._token[1] != wanted:
            raise self._unexpected(wanted)
        self._take()

    def _take(self) -> str:
        word = self._token[1]
        self._token = next(self._rest, _END)
        return word

    def _unexpected(self, wanted: str | None = None) -> ExpressionError:
        kind, word = self._token
        known = {*ARITHMETIC, *COMPARISONS, "(", ")", ","}
        if kind == "symbol" and word not in known:
            return self._error(f"uses {word!r}, which is not simulated; known are {_KNOWN}")
        place = (
            f"where {wanted!r} should stand" if wanted else "where a number, a metric id or ( should stand"
        )
        return self._error(f"has {'nothing' if kind == 'end' else repr(word)} {place}")

    def _error(self, sentence: str) -> ExpressionError:
        return ExpressionError(f"the expression {self.text!r} {sentence}")
