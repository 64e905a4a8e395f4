import json
import math
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.deadline.arrivals import still_waiting
from sluice.core.deadline.decision import decide_scale
from sluice.core.deadline.encoding import (
    MAX_DECODED_BYTES,
    MAX_NUMBER,
    VERSION,
    decoded,
    decoded_learned,
    encoded,
    encoded_learned,
)
from sluice.core.deadline.floor import CLASSES
from sluice.core.deadline.learning import Learned
from sluice.core.deadline.memory import Tick
from sluice.core.deadline.plan import Processing
from sluice.core.deadline.state import Arrivals, BootSamples, EngineState, Groups, Launch, Safety
from sluice.core.model import Bounds
from tests.support.builders import (
    backlog,
    capacity,
    deadline,
    deadline_workload,
    engine_state,
    observation,
)

NOW_S = 1_768_478_430.5
MIB = 1024 * 1024


# --- round trip -------------------------------------------------------------------------------------------

TENTHS = st.integers(0, 10_000_000).map(lambda tenths: tenths / 10)
COUNT = st.integers(0, 2_000_000)
OPTIONAL = st.none() | TENTHS


@st.composite
def intervals(draw: st.DrawFn, read_s: float) -> tuple[Arrivals, ...]:
    """Intervals without a gap, the last of which ends at the reading."""
    agos = sorted(draw(st.lists(st.integers(0, 20_000), min_size=0, max_size=12)), reverse=True)
    moments = [read_s - ago / 10 for ago in agos] + [read_s]
    return tuple(
        Arrivals(until_s=until_s, elapsed_s=until_s - since_s, messages=draw(TENTHS))
        for since_s, until_s in pairwise(moments)
    )


SAMPLES = st.lists(st.builds(BootSamples, boot_s=TENTHS, weight=TENTHS), max_size=8).map(tuple)


def safety(read_s: float) -> st.SearchStrategy[Safety]:
    """Measured for some time: what was never measured is not stored."""
    messages = st.lists(st.integers(0, 50).map(float), max_size=20).map(tuple)
    return st.just(Safety()) | st.builds(
        Safety,
        seconds=st.integers(1, 864_000).map(lambda tenths: tenths / 10),
        newest_s=TENTHS.map(lambda ago: read_s - ago),
        loaded=messages,
        idle=messages,
    )


@st.composite
def states(draw: st.DrawFn) -> EngineState:
    read_s = draw(st.integers(17_000_000_000, 18_000_000_000)) / 10

    def ago(value: float | None) -> float | None:
        return None if value is None else read_s - value

    launches = sorted(draw(st.lists(st.tuples(TENTHS, COUNT), max_size=8)), reverse=True)
    groups = st.builds(
        Groups,
        in_flight=st.floats(0, 1e6),
        was_idle=st.booleans(),
        limited_until_s=TENTHS.map(lambda left: read_s + left),
    )
    return EngineState(
        tick_s=read_s - draw(TENTHS),
        read_s=read_s,
        backlog=backlog(draw(COUNT), draw(COUNT), draw(COUNT)),
        desired=draw(COUNT),
        floor=draw(COUNT),
        running=draw(COUNT),
        warm=draw(COUNT),
        deficit=-draw(TENTHS),
        recent=draw(intervals(read_s)),
        waiting=draw(intervals(read_s)),
        safety=draw(safety(read_s)),
        launches=tuple(Launch(at_s=read_s - since, instances=count) for since, count in launches),
        ready=draw(SAMPLES),
        ready_since_s=ago(draw(OPTIONAL)),
        boots=draw(SAMPLES),
        groups=draw(st.none() | groups),
        surplus_since_s=ago(draw(OPTIONAL)),
        out_of_reach_logged_s=ago(draw(OPTIONAL)),
    )


def numbers_of(state: EngineState) -> list[Any]:
    """Every value of a state in one order, nested ones too."""

    def flat(value: Any) -> list[Any]:
        if isinstance(value, tuple):
            return [len(value), *(number for one in value for number in flat(one))]
        if hasattr(value, "__dataclass_fields__"):
            return [number for name in value.__dataclass_fields__ for number in flat(getattr(value, name))]
        return [value]

    return flat(state)


def assert_same(found: EngineState, expected: EngineState) -> None:
    """The same to a twentieth: what is stored is rounded to tenths."""
    for one, other in zip(numbers_of(found), numbers_of(expected), strict=True):
        if isinstance(other, float):
            assert one == pytest.approx(other, rel=0, abs=0.1001)
        else:
            assert (one, type(one)) == (other, type(other))


@given(states())
def test_a_state_comes_back_as_it_was_stored(state: EngineState) -> None:
    found = decoded(encoded(state))
    assert_same(found, state)
    assert encoded(found) == encoded(state)


@given(st.lists(st.tuples(st.floats(0.5, 30), st.integers(0, 3000), st.integers(0, 4000)), max_size=60))
def test_what_ticks_remember_comes_back(ticks: list[tuple[float, int, int]]) -> None:
    """States of the engine itself, each decided from what was stored by the tick before."""
    now_s, state = NOW_S, None
    fleet = capacity(3, 1, booting=2, bounds=Bounds(min=0, max=1000))
    for elapsed_s, in_flight, visible in ticks:
        now_s += elapsed_s
        tick = Tick(scheduled_s=now_s, now_s=now_s, processing=Processing(mean_s=5))
        scaling = decide_scale(deadline_workload(), observation(visible, in_flight, fleet=fleet), state, tick)
        assert scaling.state is not None
        state = decoded(encoded(scaling.state))
        assert_same(state, scaling.state)


def test_a_launch_of_the_stored_tick_is_still_recognised_as_its_own() -> None:
    """Refused launches can only be those of the tick before: its moment and theirs are compared."""
    read_s = NOW_S + 0.0437
    found = decoded(encoded(engine_state(read_s, launches=(Launch(at_s=read_s, instances=3),))))
    assert found.launches[0].at_s == found.read_s


# --- size -------------------------------------------------------------------------------------------------


def traffic(
    seed: int,
    *,
    per_s: float,
    most: int,
    promise_s: float = 300,
    tick_s: int = 10,
    sigma: float = 0.7,
    pool: int = 0,
) -> tuple[int, int]:
    """(bytes, cohorts) of the largest state in an hour of bursty traffic, on `most` instances at most.

    Arrivals of a tick are log-normal around `per_s`, with this standard deviation of their logarithm.
    Instances boot for 60 to 540 s, and ticks read the queue up to a second early or late. A warm pool of
    `pool` instances, ready in 20 to 180 s, takes up one for each that a tick ends.
    """
    chance = random.Random(seed)
    settings = deadline(promise_s=promise_s, boot_s=300, tick_s=tick_s)
    workload, bounds = deadline_workload(max_instances=most, settings=settings), Bounds(min=0, max=most)
    state, now_s, waiting, running, warm = None, NOW_S, 0.0, 0, pool
    boots_end_s: list[float] = []
    largest = (0, 0)
    for _ in range(3600 // tick_s):
        elapsed_s = tick_s + chance.uniform(-0.9, 0.9)
        now_s += elapsed_s
        running += sum(end_s <= now_s for end_s in boots_end_s)
        boots_end_s = [end_s for end_s in boots_end_s if end_s > now_s]
        waiting += chance.lognormvariate(0, sigma) * per_s * elapsed_s
        in_flight = int(min(running, waiting))
        waiting -= min(waiting, in_flight * elapsed_s / 5)
        booting = len(boots_end_s)
        fleet = capacity(running + booting, running, booting=booting, bounds=bounds, warm=warm)
        tick = Tick(scheduled_s=now_s - chance.random(), now_s=now_s, processing=Processing(mean_s=5))
        observed = observation(int(waiting), in_flight, fleet=fleet)
        scaling = decide_scale(workload, observed, state, tick)
        assert scaling.state is not None
        data = encoded(scaling.state)
        largest = max(largest, (len(data), len(scaling.state.waiting)))
        state = decoded(data)
        if (desired := scaling.decision.desired) is not None:
            launched = max(0, desired - running - booting)
            from_pool = min(launched, warm)
            boots_end_s += [now_s + chance.uniform(20, 180) for _ in range(from_pool)]
            boots_end_s += [now_s + chance.uniform(60, 540) for _ in range(launched - from_pool)]
            warm = min(pool, warm - from_pool + max(0, running - desired))
            running = min(running, desired)
    return largest


@pytest.mark.parametrize(
    ("per_s", "most"),
    [(0.5, 1000), (50, 1000), (2000, 30_000)],
    ids=["one in two seconds", "fifty a second", "thousands a second"],
)
def test_a_state_for_a_promise_and_a_boot_of_300_s_takes_at_most_a_kilobyte(per_s: float, most: int) -> None:
    """One kilobyte is one write unit of DynamoDB."""
    size, _ = traffic(1, per_s=per_s, most=most)
    assert size <= 1000


@pytest.mark.parametrize(("per_s", "most"), [(5, 8), (3000, 3000)])
def test_a_state_takes_at_most_a_kilobyte_in_a_lasting_overload(per_s: float, most: int) -> None:
    """Arrivals are remembered by tick for the promise, and by the minute for ten minutes more."""
    size, cohorts = traffic(1, per_s=per_s, most=most)
    assert cohorts >= 38
    assert size <= 1000


@pytest.mark.parametrize("tick_s", [5, 10])
@pytest.mark.parametrize("most", [8, 30_000])
def test_a_state_takes_at_most_a_kilobyte_whatever_the_magnitude_of_arrivals(most: int, tick_s: int) -> None:
    size, _ = traffic(1, per_s=100, most=most, tick_s=tick_s, sigma=4)
    assert size <= 1024


@pytest.mark.parametrize(("per_s", "most", "pool"), [(0.5, 1000, 3), (50, 1000, 100), (2000, 30_000, 2000)])
def test_a_state_takes_at_most_a_kilobyte_beside_a_warm_pool(per_s: float, most: int, pool: int) -> None:
    """Launches and boot times of both kinds."""
    size, _ = traffic(1, per_s=per_s, most=most, pool=pool)
    assert size <= 1024


def test_a_state_takes_at_most_a_kilobyte_while_both_kinds_of_start_boot() -> None:
    """A launch of each kind every 20 s for 5 minutes, cold boots of 60 to 215 s, warm ones of 20 to 95 s."""
    chance = random.Random(1)
    launches = tuple(
        Launch(at_s=NOW_S - ago_s, instances=chance.randint(1, 300), warm=warm)
        for ago_s in range(300, 0, -20)
        for warm in (True, False)
    )
    boots = tuple(
        BootSamples(boot_s=boot_s, weight=chance.randint(1, 300) / 10, warm=warm)
        for warm, times_s in ((False, range(60, 220, 5)), (True, range(20, 100, 5)))
        for boot_s in times_s
    )
    waiting = tuple(
        Arrivals(until_s=NOW_S - ago_s, elapsed_s=10, messages=chance.randint(1, 30_000) / 10)
        for ago_s in range(290, -10, -10)
    )
    state = engine_state(
        NOW_S,
        warm=300,
        launches=launches,
        boots=boots,
        ready=boots[::2],
        waiting=waiting,
        recent=waiting[-15:],
    )
    assert decoded(encoded(state)).launches == launches
    assert len(encoded(state)) <= 1024


# --- damage -----------------------------------------------------------------------------------------------


@cache
def stored() -> bytes:
    recent_intervals = still_waiting((), Arrivals(until_s=NOW_S, elapsed_s=10, messages=50), 120, 300)
    return encoded(
        engine_state(
            NOW_S,
            visible=120,
            waiting=recent_intervals,
            recent=recent_intervals,
            launches=(Launch(at_s=NOW_S - 30, instances=4),),
            ready=(BootSamples(boot_s=60, weight=2),),
            ready_since_s=NOW_S - 20,
            boots=(BootSamples(boot_s=180, weight=12),),
            groups=Groups(in_flight=3.0, was_idle=True, limited_until_s=NOW_S + 900),
            surplus_since_s=NOW_S - 5,
            out_of_reach_logged_s=NOW_S - 100,
        )
    )


def packed(text: str | bytes) -> bytes:
    return zlib.compress(text.encode() if isinstance(text, str) else text)


def changed(**fields: Any) -> bytes:
    return packed(json.dumps(json.loads(zlib.decompress(stored())) | fields))


def rejected(data: bytes) -> str:
    with pytest.raises(ValueError) as found:
        decoded(data)
    return str(found.value)


def outcome(data: bytes) -> EngineState | None:
    """The state, None if it is refused; any other error fails the test."""
    try:
        return decoded(data)
    except ValueError:
        return None


@given(st.data())
def test_a_flipped_bit_is_refused(data: st.DataObject) -> None:
    """The checksum of the compression covers every byte of the text."""
    raw = bytearray(stored())
    at = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[at // 8] ^= 1 << at % 8
    found = outcome(bytes(raw))
    assert found is None or found == decoded(stored())  # a bit of the header alone may say nothing


def test_every_truncation_is_refused() -> None:
    for length in range(len(stored())):
        assert outcome(stored()[:length]) is None


def test_bytes_after_the_end_are_refused() -> None:
    rejected(stored() + b"\0")
    rejected(stored() + stored())


@given(st.binary(max_size=300))
def test_any_bytes_are_a_state_or_refused(data: bytes) -> None:
    outcome(data)
    outcome(packed(data))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(json.loads(zlib.decompress(stored())))), JSON)
def test_any_value_of_any_field_is_a_usable_state_or_refused(field: str, value: Any) -> None:
    state = outcome(changed(**{field: value}))
    if state is None:
        return
    tick = Tick(scheduled_s=NOW_S + 10, now_s=max(NOW_S, state.read_s) + 10, processing=Processing(mean_s=5))
    for observed in (observation(50, 4, desired=2), observation(0, 0, desired=2)):
        scaling = decide_scale(deadline_workload(), observed, state, tick)
        assert scaling.state is not None
        decoded(encoded(scaling.state))


@pytest.mark.parametrize("version", [0, VERSION + 1, "1", None, True, 1.5])
def test_another_version_is_refused_and_named(version: object) -> None:
    assert rejected(changed(v=version)) == f"version {version!r}, and this release reads {VERSION}"


@pytest.mark.parametrize("field", ["tick", "read", "deficit", "surplus_since", "logged"])
@pytest.mark.parametrize(
    "number", [-1, -0.5, float("nan"), float("inf"), float("-inf"), 10**400, "5", [], True]
)
def test_a_number_that_is_not_finite_or_is_negative_is_refused(field: str, number: object) -> None:
    rejected(changed(**{field: number}))


@pytest.mark.parametrize(
    "number", ["1e999", "-1e999", "NaN", "Infinity", "-Infinity", "9" * 4000, "9" * 5000]
)
def test_a_number_that_no_float_holds_is_refused(number: str) -> None:
    text = zlib.decompress(stored()).decode().replace('"deficit":0', f'"deficit":{number}')
    assert number in text
    rejected(packed(text))


@pytest.mark.parametrize("field", ["queue", "recent", "waiting", "launches", "ready", "boots", "groups"])
@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "abc",
        {},
        {"a": 1},
        [1],
        [1, -1],
        [1, float("nan")],
        [[1], [2]],
        [True, True, True],
        [10**400] * 2,
    ],
)
def test_a_list_that_is_none_of_a_state_is_refused(field: str, value: object) -> None:
    rejected(changed(**{field: value}))


def test_counts_are_whole_and_hold_no_more_than_a_queue_can() -> None:
    rejected(changed(queue=[1.5, 0, 0]))
    rejected(changed(queue=[10**400, 0, 0]))
    rejected(changed(desired=10**400))
    rejected(changed(launches=[10, 10**400]))


@pytest.mark.parametrize("field", sorted({*json.loads(zlib.decompress(stored()))} - {"groups"}))
def test_a_field_that_is_missing_is_refused(field: str) -> None:
    fields = json.loads(zlib.decompress(stored()))
    del fields[field]
    rejected(packed(json.dumps(fields)))


def test_arrivals_that_are_not_in_the_order_of_time_are_refused() -> None:
    rejected(changed(waiting=[100, 5, 200, 5]))


@pytest.mark.parametrize("text", ["", "null", "[]", "5", '"text"', "{", "\xff\xfe", "{}", "{'v': 1}"])
def test_what_is_no_object_of_json_is_refused(text: str) -> None:
    rejected(packed(text))


def bomb() -> bytes:
    """A gibibyte of zeros, compressed to about a megabyte: the same compressed mebibyte again and again."""
    packer = zlib.compressobj(9)
    header = packer.flush(zlib.Z_FULL_FLUSH)
    mebibyte = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return header + mebibyte * 1024


@pytest.mark.parametrize(
    "make",
    [
        bomb,
        lambda: packed(b"[" * MAX_DECODED_BYTES),
        lambda: packed(b"[" * (MAX_DECODED_BYTES // 2) + b"]" * (MAX_DECODED_BYTES // 2)),
        lambda: packed(b'{"v":' * (MAX_DECODED_BYTES // 6)),
        lambda: packed(b'{"v":"' + b"x" * (MAX_DECODED_BYTES - 20) + b'"}'),
        lambda: packed(zlib.decompress(stored()) + b" " * MIB),
    ],
    ids=["a gibibyte", "open lists", "nested lists", "nested objects", "a long version", "padding"],
)
def test_a_bomb_is_refused_in_little_memory_and_with_a_short_error(make: Callable[[], bytes]) -> None:
    data = make()
    tracemalloc.start()
    try:
        problem = rejected(data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The decompressor copies the input that it did not read.
    assert most < len(data) + 8 * MIB
    assert len(problem) < 300


def test_only_finite_states_are_stored() -> None:
    with pytest.raises(ValueError):
        encoded(replace(engine_state(NOW_S), launches=(Launch(at_s=math.nan, instances=1),)))


def test_estimates_beyond_every_bound_are_stored_as_the_largest_number() -> None:
    """Messages that take a microsecond, with 120,000 in flight over a promise of months: 10^18 arrivals."""
    many = (Arrivals(until_s=NOW_S, elapsed_s=10, messages=1e18),)
    found = decoded(encoded(engine_state(NOW_S, waiting=many, recent=many, deficit=-1e18)))
    assert found.waiting[0].messages == found.recent[0].messages == -found.deficit == 1e14
    needs = Safety(seconds=1, newest_s=NOW_S, loaded=(1e18,), idle=(1e18,))
    safety = decoded(encoded(engine_state(NOW_S, safety=needs))).safety
    assert safety.loaded == pytest.approx((1e15,), rel=0.1)


def test_a_state_keeps_which_starts_came_from_the_warm_pool() -> None:
    both = (
        Launch(at_s=NOW_S - 60, instances=4),
        Launch(at_s=NOW_S - 30, instances=1, warm=True),
        Launch(at_s=NOW_S - 30, instances=2),
    )
    boots = (BootSamples(boot_s=180, weight=3.5), BootSamples(boot_s=45, weight=9, warm=True))
    state = engine_state(NOW_S, warm=7, launches=both, boots=boots, ready=boots, ready_since_s=NOW_S - 5)
    assert decoded(encoded(state)) == state


def test_a_state_without_a_warm_pool_says_nothing_of_one() -> None:
    assert b"warm" not in zlib.decompress(encoded(engine_state(NOW_S)))


# --- what was learned -------------------------------------------------------------------------------------


@given(
    at_s=st.floats(0, 4e9),
    margin_s=st.floats(-30, 1e6),
    messages=st.floats(0, 1e300),
    mean_s=st.floats(1e-6, 1e300),
    spread=st.floats(0, 3),
)
def test_whatever_is_learned_can_be_read_back(
    at_s: float, margin_s: float, messages: float, mean_s: float, spread: float
) -> None:
    """Single precision, and no number beyond those that a state may have."""
    learned = Learned(
        at_s=at_s,
        margin_s=margin_s,
        messages=messages,
        processing=Processing(mean_s=mean_s, variation=spread),
    )
    data = encoded_learned(learned)
    assert len(data) == 25
    found = decoded_learned(data)
    assert found.at_s == at_s
    assert found.margin_s == pytest.approx(margin_s, rel=1e-6)
    assert found.messages == pytest.approx(min(messages, MAX_NUMBER), rel=1e-6)
    assert found.processing is not None
    assert found.processing.mean_s == pytest.approx(min(mean_s, MAX_NUMBER), rel=1e-6)
    assert found.processing.variation == pytest.approx(spread, rel=1e-6, abs=1e-30)


def test_what_was_not_measured_stays_unmeasured() -> None:
    learned = Learned(at_s=NOW_S, margin_s=15)
    assert decoded_learned(encoded_learned(learned)) == learned


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:-1],
        lambda data: data + b"0",
        lambda data: b"\x02" + data[1:],
        lambda data: data[:9] + struct.pack(">f", math.nan) + data[13:],
        lambda data: data[:9] + struct.pack(">f", math.inf) + data[13:],
        lambda data: data[:13] + struct.pack(">f", -1) + data[17:],
        lambda data: data[:17] + struct.pack(">f", 0) + data[21:],
        lambda data: data[:17] + struct.pack(">f", -4) + data[21:],
        lambda data: data[:21] + struct.pack(">f", math.nan),
    ],
)
def test_damaged_learning_is_refused(damage: Callable[[bytes], bytes]) -> None:
    whole = encoded_learned(Learned(at_s=NOW_S, margin_s=15, processing=Processing(mean_s=5, variation=0.5)))
    with pytest.raises(ValueError, match=r"."):
        decoded_learned(damage(whole))


def test_more_classes_of_safety_factors_than_there_are_are_refused() -> None:
    many = [600, 0, 0.1, CLASSES + 1, *(1 for _ in range(CLASSES + 1))]
    assert f"{CLASSES + 1} classes of safety factors" in rejected(changed(safety=many))
    assert decoded(changed(safety=[600, 0, 0.1, 2, 10, 20, 30])).safety == Safety(
        seconds=60, newest_s=NOW_S, loaded=(1, 2), idle=(3,)
    )
