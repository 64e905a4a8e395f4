"""CloudWatch Logs Insights: the part of its query language that Sluice's own commands use.

Pure. `fields`, `filter` (=, !=, <, <=, >, >=, in, like, ispresent, and, or, not), `sort`, `limit` and
`stats` with count(*), count, sum, avg, min, max, latest and earliest, with +, * and / between them, by fields
and bin(period). Anything else is a QueryError that names it, so that a query cannot rely on what is not
played here.

Assumptions: a field that a line lacks differs from every value, a time that `stats` computed is shown in
milliseconds since 1970, and a division by 0 has no result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

MAX_RESULTS = 10_000
"""Rows that a query returns if neither it nor StartQuery limits them (documented)."""

Value = str | float | bool | None
Row = dict[str, Value]
Condition = Callable[[Row], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<quoted>`[^`]+`)
    |(?P<number>-?\d+(?:\.\d+)?(?![\w.]))|(?P<period>\d+[smhd](?!\w))|(?P<name>@?[A-Za-z_][\w.]*)
    |(?P<sign>!=|<=|>=|[=<>|,()\[\]*+/]))""",
    re.VERBOSE,
)
_REGEX = re.compile(r"\s*(?P<regex>/(?:[^/\\]|\\.)+/)")
"""After `like` alone: elsewhere a slash divides."""
_UNIT_S: Mapping[str, int] = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
_FUNCTIONS: Mapping[str, Callable[[list[Value]], Value]] = {
    "count": lambda values: float(len(values)),
    "sum": lambda values: sum(_numbers(values)),
    "avg": lambda values: sum(_numbers(values)) / len(_numbers(values)) if _numbers(values) else None,
    "min": lambda values: min(_numbers(values), default=None),
    "max": lambda values: max(_numbers(values), default=None),
    "earliest": lambda values: values[0] if values else None,
    "latest": lambda values: values[-1] if values else None,
}


class QueryError(ValueError):
    """A query that Logs Insights would reject, or that is not played here; says which part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """One line of a log group; `at` is in epoch seconds, `pointer` names the line."""

    at: float
    message: str
    group: str
    stream: str
    pointer: str


_Rows = Sequence[Row]
_Expression = Callable[[_Rows, Row], Value]
"""A value of a group's rows, and of the columns before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column of `stats`."""

    name: str
    value: _Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class _Key:
    """What `stats` groups by: a field, or the beginning of the period that a line falls into."""

    name: str
    period_s: int | None = None

    def of(self, row: Row) -> Value:
        if self.period_s is None:
            return row.get(self.name)
        at_s = _number(row["@timestamp"]) / 1000
        return _moment(at_s - at_s % self.period_s)


@dataclass(slots=True, kw_only=True)
class Query:
    """A parsed query."""

    fields: list[str] = field(default_factory=lambda: ["@timestamp", "@message"])
    conditions: list[Condition] = field(default_factory=list)
    columns: list[_Column] = field(default_factory=list)
    by: list[_Key] = field(default_factory=list)
    sort: tuple[str, bool] | None = None
    """The field to sort by, and whether descending."""
    limit: int | None = None

    @classmethod
    def parse(cls, text: str) -> Query:
        """The query of a text; QueryError names what is not understood."""
        return _Parser(text).query()

    def run(self, events: Iterable[LogEvent], limit: int = MAX_RESULTS) -> list[dict[str, str]]:
        """Its results over these events, as Logs Insights shows them; without `sort`, newest first."""
        rows = [row for row in map(_row, sorted(events, key=lambda event: event.at)) if self._accepts(row)]
        found = self._grouped(rows) if self.columns else rows[::-1]
        if self.sort:
            name, descending = self.sort
            found.sort(key=lambda row: _order(row.get(name)), reverse=descending)
        stats = [key.name for key in self.by] + [column.name for column in self.columns]
        shown = stats or [*self.fields, "@ptr"]
        most = min(limit, self.limit or limit)
        return [
            {name: _shown(name, row[name]) for name in shown if row.get(name) is not None}
            for row in found[:most]
        ]

    def _accepts(self, row: Row) -> bool:
        return all(condition(row) for condition in self.conditions)

    def _grouped(self, rows: _Rows) -> list[Row]:
        groups: dict[tuple[Value, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(key.of(row) for key in self.by), []).append(row)
        found = []
        for values, members in groups.items():
            row = dict(zip((key.name for key in self.by), values, strict=True))
            for column in self.columns:
                row[column.name] = column.value(members, row)
            found.append(row)
        return found


class _Parser:
    """Recursive descent over the tokens of one query."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at, end = 0, len(text.rstrip())
        while at < end:
            after_like = bool(self._tokens) and self._tokens[-1][1].lower() == "like"
            found = (_REGEX.match(text, at) if after_like else None) or _TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise QueryError(f"unexpected symbol found at position {at}: {text[at : at + 20].strip()!r}")
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self._next = 0

    def query(self) -> Query:
        query = Query()
        commands = {
            "fields": self._fields,
            "display": self._fields,
            "filter": lambda query: query.conditions.append(self._either()),
            "sort": self._sort,
            "limit": self._limit,
            "stats": self._stats,
        }
        while True:
            kind, command = self._take()
            if kind != "name" or command.lower() not in commands:
                raise QueryError(f"{command!r} is no command that is played here: {', '.join(commands)}")
            commands[command.lower()](query)
            if self._peek()[0] == "end":
                return query
            self._expect("|")

    def _fields(self, query: Query) -> None:
        query.fields = self._names()

    def _sort(self, query: Query) -> None:
        name, order = self._name(), self._peek()[1].lower()
        if order in ("asc", "desc"):
            self._take()
        query.sort = name, order != "asc"

    def _limit(self, query: Query) -> None:
        kind, number = self._take()
        if kind != "number" or not number.isdigit() or not 1 <= int(number) <= MAX_RESULTS:
            raise QueryError(f"limit {number}: give a whole number from 1 to {MAX_RESULTS}")
        query.limit = int(number)

    def _stats(self, query: Query) -> None:
        if query.columns:
            raise QueryError("a second stats command is not played here")
        self._column(query)
        while self._skip(","):
            self._column(query)
        if self._skip("by"):
            query.by = [self._key()]
            while self._skip(","):
                query.by.append(self._key())

    def _column(self, query: Query) -> None:
        named = [column.name for column in query.columns]
        first = self._next
        value = self._sum(named)
        plain = "".join(token for _, token in self._tokens[first : self._next])
        query.columns.append(_Column(name=self._name() if self._skip("as") else plain, value=value))

    def _key(self) -> _Key:
        name = self._name()
        if name != "bin" or not self._skip("("):
            return _Key(name=name)
        kind, period = self._take()
        if kind != "period":
            raise QueryError(f"bin({period}): give a whole number of s, m, h or d")
        self._expect(")")
        return _Key(name=f"bin({period})", period_s=int(period[:-1]) * _UNIT_S[period[-1]])

    def _sum(self, named: Sequence[str]) -> _Expression:
        terms = [self._product(named)]
        while self._skip("+"):
            terms.append(self._product(named))
        if len(terms) == 1:
            return terms[0]
        return lambda rows, before: sum(_number(term(rows, before)) for term in terms)

    def _product(self, named: Sequence[str]) -> _Expression:
        value = self._factor(named)
        while True:
            if self._skip("*"):
                value = _times(value, self._factor(named))
            elif self._skip("/"):
                value = _over(value, self._factor(named))
            else:
                return value

    def _factor(self, named: Sequence[str]) -> _Expression:
        kind, token = self._peek()
        if kind == "number":
            self._take()
            return lambda *_: float(token)
        if self._skip("("):
            inner = self._sum(named)
            self._expect(")")
            return inner
        name = self._name()
        if name in named:
            return lambda _, before: before[name]
        if name not in _FUNCTIONS:
            raise QueryError(f"stats {name}: only {', '.join(_FUNCTIONS)} are played here")
        self._expect("(")
        argument = None if name == "count" and self._skip("*") else self._name()
        self._expect(")")
        return lambda rows, _: _aggregated(name, argument, rows)

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._skip("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda row: any(part(row) for part in parts)

    def _both(self) -> Condition:
        parts = [self._condition()]
        while self._skip("and"):
            parts.append(self._condition())
        return parts[0] if len(parts) == 1 else lambda row: all(part(row) for part in parts)

    def _condition(self) -> Condition:
        if self._skip("not"):
            negated = self._condition()
            return lambda row: not negated(row)
        if self._skip("("):
            inner = self._either()
            self._expect(")")
            return inner
        name = self._name()
        if name.lower() == "ispresent":
            self._expect("(")
            present = self._name()
            self._expect(")")
            return lambda row: row.get(present) is not None
        if self._skip("not"):
            negated = self._comparison(name)
            return lambda row: not negated(row)
        return self._comparison(name)

    def _comparison(self, name: str) -> Condition:
        _, sign = self._take()
        if sign.lower() == "in":
            accepted = self._list()
            return lambda row: any(_equal(row.get(name), value) for value in accepted)
        if sign.lower() == "like":
            pattern = self._pattern()
            return lambda row: pattern.search(_text(row.get(name))) is not None
        if sign in ("=", "!="):
            wanted = self._value()
            return lambda row: _equal(row.get(name), wanted) is (sign == "=")
        if sign in _COMPARISONS:
            bound, compare = self._value(), _COMPARISONS[sign]
            return lambda row: _is_number(row.get(name)) and compare(_number(row.get(name)), _number(bound))
        raise QueryError(f"{name} {sign}: no comparison that is played here")

    def _list(self) -> list[Value]:
        self._expect("[")
        values = [self._value()]
        while self._skip(","):
            values.append(self._value())
        self._expect("]")
        return values

    def _pattern(self) -> re.Pattern[str]:
        kind, token = self._take()
        if kind == "regex":
            try:
                return re.compile(token[1:-1])
            except re.error as failure:
                raise QueryError(f"like {token}: {failure}") from None
        if kind == "text":
            return re.compile(re.escape(_unquoted(token)))
        raise QueryError(f"like {token}: give a text in quotes or a /regular expression/")

    def _value(self) -> Value:
        kind, token = self._take()
        if kind == "text":
            return _unquoted(token)
        if kind == "number":
            return float(token)
        booleans = {"true": True, "false": False}
        if token not in booleans:
            raise QueryError(f"{token!r} is no value; quote a text")
        return booleans[token]

    def _names(self) -> list[str]:
        names = [self._name()]
        while self._skip(","):
            names.append(self._name())
        return names

    def _name(self) -> str:
        kind, token = self._take()
        if kind not in ("name", "quoted"):
            raise QueryError(f"{token!r} stands where a field is expected")
        return token.strip("`")

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "the end of the query")

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        self._next += 1
        return token

    def _skip(self, word: str) -> bool:
        kind, token = self._peek()
        found = kind in ("name", "sign") and token.lower() == word
        self._next += found
        return found

    def _expect(self, sign: str) -> None:
        if not self._skip(sign):
            raise QueryError(f"{self._peek()[1]!r} stands where {sign!r} is expected")


def _row(event: LogEvent) -> Row:
    """The fields that Logs Insights discovers: its own, and those of a JSON message by dotted names."""
    row: Row = {
        "@timestamp": event.at * 1000,
        "@message": event.message,
        "@logStream": event.stream,
        "@log": event.group,
        "@ptr": event.pointer,
    }
    try:
        record = json.loads(event.message)
    except ValueError:
        return row
    if isinstance(record, dict):
        _flatten(record, "", row)
    return row


def _flatten(value: object, name: str, row: Row) -> None:
    if isinstance(value, dict):
        pairs: Iterable[tuple[object, object]] = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    else:
        if isinstance(value, (str, int, float)):
            row[name] = value
        return
    for key, inner in pairs:
        _flatten(inner, f"{name}.{key}" if name else str(key), row)


def _times(left: _Expression, right: _Expression) -> _Expression:
    return lambda rows, before: _number(left(rows, before)) * _number(right(rows, before))


def _over(left: _Expression, right: _Expression) -> _Expression:
    def divided(rows: _Rows, before: Row) -> Value:
        divisor = _number(right(rows, before))
        return _number(left(rows, before)) / divisor if divisor else None

    return divided


def _aggregated(function: str, argument: str | None, rows: _Rows) -> Value:
    values = [row.get(argument) for row in rows] if argument else [True for _ in rows]
    return _FUNCTIONS[function]([value for value in values if value is not None])


def _equal(found: Value, wanted: Value) -> bool:
    if found is None or wanted is None:
        return False
    if _is_number(found) and _is_number(wanted):
        return _number(found) == _number(wanted)
    return _text(found) == _text(wanted)


def _is_number(value: Value) -> bool:
    if value is None or isinstance(value, bool):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def _number(value: Value) -> float:
    return float(value or 0)


def _numbers(values: Sequence[Value]) -> list[float]:
    return [_number(value) for value in values if _is_number(value)]


def _order(value: Value) -> tuple[int, float, str]:
    """Missing values before numbers, numbers before texts."""
    if value is None:
        return 0, 0.0, ""
    return (1, _number(value), "") if _is_number(value) else (2, 0.0, _text(value))


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def _shown(name: str, value: Value) -> str:
    return _moment(_number(value) / 1000) if name == "@timestamp" else _text(value)


def _moment(at_s: float) -> str:
    moment = datetime.fromtimestamp(at_s, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}"


def _unquoted(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1])
