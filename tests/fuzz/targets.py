"""One function for each reader of what others wrote: bytes -> the reader -> what must hold afterwards.

A reader may refuse an input by its documented error alone. A target's input is text, so that people can read
the corpus; what is no text on the way (the engine's item, a message's binary attribute) is built from it.
"""

from __future__ import annotations

import io
import json
import logging
import math
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from aws_lambda_powertools import Logger

from sluice import events
from sluice.aws import engine_states
from sluice.core.deadline.encoding import MAX_NUMBER, decoded, encoded
from sluice.core.model import Color
from sluice.document import active_color, parsing
from sluice.errors import ConfigError, DocumentError, failure_message
from sluice.ports import StoredState
from sluice_sim.aws_rules import metric_math
from sluice_sim.template import TemplateError, load, resolve
from sluice_sim.template.deployment import SettingError
from sluice_sim.workloads import service_times, traces
from sluice_worker.aws import sqs
from sluice_worker.core.model import Queue
from sluice_worker.runtime.log_entries import EntryFormatter
from tests.fuzz.limits import MAX_GROWTH_MIB
from tests.fuzz.mutation import as_text

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
SECRET = "AKIAIOSFODNN7EXAMPLE/wJalrXUtnFEMI"  # AWS's own example
FOLDER = Path(tempfile.gettempdir())
VALIDATOR = jsonschema.Draft202012Validator(parsing.json_schema())
BEYOND_A_SCHEMA = (
    "must be at least ", "must be at most ", "must be below ", "bytes at most", "schedule", "keep one",
    "written by", "valid integer", "not valid JSON", "same fleet", "different kinds", "of its own",
    "idle color", "the active color", "of each color", "unicode string",
)  # fmt: skip
"""What a JSON Schema cannot say; see `parsing.BEYOND_SCHEMA`."""


MAX_TEMPLATE_BYTES = 51_200  # CloudFormation's limit
MAX_BRACKETS = 500  # the time of PyYAML's scanner grows with the square of the depth, in the user's own file


class NoInputError(Exception):
    """The input is none of this target's: there is nothing to read."""


def _json(data: bytes) -> Any:
    try:
        return json.loads(as_text(data))
    except (ValueError, RecursionError):
        raise NoInputError from None


# ---- the control plane -------------------------------------------------------------------------------------


def one_json_line(failure: BaseException) -> None:
    """The log line of a failure, as the functions write it, is one line of JSON."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")  # as stdout: no lone surrogates
    logger = Logger(service="fuzz", stream=out)
    logger.registered_handler.stream = out  # Powertools keeps the handler of the first
    logger.error(failure_message(failure))
    out.flush()
    lines = out.buffer.getvalue().decode().removesuffix("\n").split("\n")
    assert len(lines) == 1, f"{len(lines)} lines of a log for one failure"
    assert json.loads(lines[0])["message"] == failure_message(failure)


PARSERS: tuple[Callable[[Any], object], ...] = (
    lambda event: events.parse_scheduled_time(event, now=NOW),
    events.parse_alarm,
    events.parse_retune,
    events.parse_test_load,
    events.parse_surge,
    events.parse_switch,
    events.required_deliveries,
)


def alarms_and_events(data: bytes) -> None:
    """Every parser of an event gives what it promises, or ConfigError, whose log line is one."""
    event = _json(data)
    for parser in PARSERS:
        try:
            parser(event)
        except ConfigError as refused:
            one_json_line(refused)


def shards(data: bytes) -> None:
    """A shard that is read is the same once it is sent again."""
    try:
        shard = events.parse_shard(as_text(data))
    except ConfigError as refused:
        one_json_line(refused)
        return
    assert events.parse_shard(events.shard_message(shard)) == shard


def documents(data: bytes) -> None:
    """The code and the schema accept the same documents; a refusal shows place and value."""
    text = as_text(data)
    is_accepted, problems = True, ()
    try:
        workload = parsing.parse(text, active=Color.BLUE)
    except DocumentError as refused:
        is_accepted, problems = False, refused.problems
        one_json_line(refused)
        for problem in problems:
            _, value, way_out = problem.path, str(problem)[len(problem.path) + 2 :], problem.way_out
            assert problem.path
            assert way_out
            assert len(value) <= 80 + 2 + len(way_out)
    else:
        assert 0 <= workload.bounds.min <= workload.bounds.max
    _as_the_schema(text, is_accepted, [problem.way_out for problem in problems])
    if active_color.is_blue_green(text):
        active_color.with_colors(text, Color.GREEN, None)


def _as_the_schema(text: str, is_accepted: bool, ways_out: list[str]) -> None:
    try:
        document = json.loads(text)
        json.dumps(document, allow_nan=False)  # NaN, Infinity and 1e400 are numbers for Python alone
    except (ValueError, RecursionError):
        assert not is_accepted, "the code accepts what is no JSON"
        return
    try:
        accepts = VALIDATOR.is_valid(document)
    except (RecursionError, OverflowError):  # jsonschema's own limits
        return
    if is_accepted:
        assert accepts, "the code accepts what the schema refuses"
    elif accepts:
        assert all(any(one in way_out for one in BEYOND_A_SCHEMA) for way_out in ways_out), ways_out


def engine_items(data: bytes) -> None:
    """Whatever the table holds is a state, or damaged; a state that is read can be written again."""
    given = _json(data)
    if not isinstance(given, dict):
        raise NoInputError
    item: dict[str, Any] = {}
    for name in ("pause", "guard", "switch"):
        if name in given:
            written = given[name]
            item[name] = {"S": written if isinstance(written, str) else json.dumps(written)}
    if "tick" in given:
        item["tick"] = {"N": str(given["tick"])} if not isinstance(given["tick"], int) else {"N": "17683"}
    for name in ("state", "learned"):
        if name in given:
            item[name] = {"B": _bytes(given[name], is_compressed=name == "state")}
    stored = engine_states._stored(item)
    assert isinstance(stored, StoredState)
    for held in (stored.pause, stored.guard, stored.switch):
        str(held)
    if "state" in item:
        _survives(item["state"]["B"])


def _bytes(given: object, *, is_compressed: bool) -> bytes:
    match given:
        case {"hex": str(text)}:
            try:
                return bytes.fromhex(text)
            except ValueError:
                return text.encode("utf-8", "surrogatepass")
        case {"bomb": _}:
            return _bomb()
        case str():
            plain = given.encode("utf-8", "surrogatepass")
        case _:
            plain = json.dumps(given).encode()
    return zlib.compress(plain, 1) if is_compressed else plain


@cache
def _bomb() -> bytes:
    """An item that becomes twice as large as an input may make the process."""
    packed = zlib.compressobj(1)
    return b"".join(packed.compress(b"0" * 2**20) for _ in range(2 * MAX_GROWTH_MIB)) + packed.flush()


def _survives(data: bytes) -> None:
    try:
        state = decoded(data)
    except ValueError:
        return
    assert 0 <= state.read_s <= MAX_NUMBER
    assert all(math.isfinite(one.messages) for one in (*state.recent, *state.waiting))
    encoded(state)


# ---- the simulator and the command -------------------------------------------------------------------------


@contextmanager
def _file(data: bytes, name: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        yield path


def arrival_files(data: bytes) -> None:
    """A trace that is read is the same once it is written; a refusal is one line that names the file."""
    with _file(data, "trace.csv") as path:
        try:
            trace = traces.read(path)
        except SettingError as refused:
            _one_line(refused, path)
        else:
            assert (trace.arrivals >= 0).all()
            assert trace.interval_s > 0
            again = Path(path.parent) / "again.csv"
            if trace.arrivals.size < 1000:
                traces.write(trace, again)
                assert (traces.read(again).arrivals == trace.arrivals).all()
        try:
            service_times.read(path)
        except SettingError as refused:
            _one_line(refused, path)


def _one_line(refused: Exception, path: Path) -> None:
    assert str(refused).startswith(str(path))
    assert str(refused).isprintable() or all(letter not in str(refused) for letter in "\n\r\x1b"), refused


def expressions(data: bytes) -> None:
    """An expression gives finite numbers at minutes of its metrics, or is refused by name."""
    text = as_text(data)
    try:
        expression = metric_math.parse(text)
        series = {name: {60: 0.0, 120: 3.0, 180: 1e308} for name in expression.ids}
        result = expression.evaluate(series, minutes=(60, 120, 180, 240))
    except metric_math.ExpressionError:
        return
    assert set(result) <= {60, 120, 180, 240}
    assert all(math.isfinite(value) for value in result.values()), result


def templates(data: bytes) -> None:
    """A template is resolved, or refused."""
    if len(data) > MAX_TEMPLATE_BYTES or data.count(b"[") + data.count(b"{") > MAX_BRACKETS:
        raise NoInputError
    with _file(data, "template.yaml") as path:
        try:
            resolve(
                load(path), {}, identity=lambda name, *_: name, imports={}, account_id="123456789012",
                region="eu-west-1", stack_name="fuzz",
            )  # fmt: skip
        except TemplateError:
            return


# ---- the worker --------------------------------------------------------------------------------------------


def messages(data: bytes) -> None:
    """Each message of an answer is read, or held as unreadable; neither reason nor log shows what it says."""
    answered = _json(data)
    if not isinstance(answered, list) or not all(isinstance(one, dict) for one in answered):
        raise NoInputError
    for one in answered:
        one["Body"] = SECRET if isinstance(one.get("Body"), str) else one.get("Body")
        attributes = one.get("MessageAttributes")
        for value in attributes.values() if isinstance(attributes, dict) else ():
            if isinstance(value, dict):
                value |= {key: f"{text}{SECRET}" for key, text in value.items() if key.endswith("Value")}
    for name in ("work", "work.fifo"):
        queue = Queue(url=f"https://sqs.eu-west-1.amazonaws.com/123456789012/{name}")
        with worker_log() as written:
            read = list(sqs._messages(queue, answered, 0.0, 30.0))
            for one in read:
                if one.unreadable is not None:
                    logging.getLogger("sluice_worker").error("%s: %s", one.message_id, one.unreadable)
                    assert one.body == ""
        assert len(read) == len(answered) or queue.is_fifo
        assert SECRET not in written.getvalue(), "a secret in a log"
        _entries(written.getvalue())


def handler_failures(data: bytes) -> None:
    """What a handler raises, with what the sender wrote in it, is one entry of the worker's log."""
    text = as_text(data)
    with worker_log() as written:
        try:
            raise ValueError(text)  # noqa: TRY301
        except ValueError:
            logging.getLogger("sluice_worker").exception("%s failed", text)
    assert _entries(written.getvalue()) == 1


@contextmanager
def worker_log() -> Iterator[io.StringIO]:
    """What the worker writes to stderr, in its own format."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(EntryFormatter())
    log = logging.getLogger("sluice_worker")
    log.propagate, before = False, log.propagate
    log.addHandler(handler)
    try:
        yield out
    finally:
        log.removeHandler(handler)
        log.propagate = before


def _entries(written: str) -> int:
    """How many entries a log has: a line that is not indented begins one."""
    lines = written.removesuffix("\n").split("\n") if written else []
    assert all(letter.isprintable() for letter in "".join(lines)), "a control character in a log"
    return sum(not line.startswith(" ") for line in lines)


TARGETS: dict[str, tuple[Callable[[bytes], None], str]] = {
    "alarms-and-events": (alarms_and_events, "sluice.events"),
    "shards": (shards, "sluice.events"),
    "documents": (documents, "sluice.document"),
    "engine-items": (engine_items, "sluice.core"),
    "arrival-files": (arrival_files, "sluice_sim.workloads"),
    "expressions": (expressions, "sluice_sim.aws_rules"),
    "templates": (templates, "sluice_sim.template"),
    "messages": (messages, "sluice_worker.aws"),
    "handler-failures": (handler_failures, "sluice_worker.runtime.log_entries"),
}
"""By name: what plays an input, and the package whose branches guide the choice of the next one."""
