"""Traces: valid files, errors with their line, and arrival times."""

import numpy as np
import pytest

from sluice_sim.template.deployment import SettingError
from sluice_sim.workloads import (
    generators,
    traces,
)
from tests.sim.simulator.builders import trace_file


def draw(seed=0):
    return np.random.default_rng(seed)


def test_seconds_offsets_begin_at_a_zero_of_their_own(tmp_path):
    trace = traces.read(trace_file(tmp_path, "0,3", "60,0", "120,2"))
    assert (trace.interval_s, trace.arrivals.tolist(), trace.start_s) == (60.0, [3, 0, 2], None)
    assert (trace.total, trace.horizon_s) == (5, 180.0)


@pytest.mark.parametrize(
    "first", ["2026-01-15T12:04:00Z", "2026-01-15T13:04:00+01:00", "2026-01-15 12:04:00"]
)
def test_iso_8601_says_when_the_trace_begins(tmp_path, first):
    later = first.replace(":04:", ":09:")
    trace = traces.read(trace_file(tmp_path, f"{first},1", f"{later},2"))
    assert (trace.interval_s, trace.start_s) == (300.0, 1_768_478_640.0)


def test_a_byte_order_mark_blank_lines_windows_line_ends_and_whole_floats_are_accepted(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"\xef\xbb\xbftimestamp, arrivals\r\n0, 3.0\r\n\r\n0.5, 2\r\n1.0,1\r\n")
    trace = traces.read(path)
    assert (trace.interval_s, trace.arrivals.tolist()) == (0.5, [3, 2, 1])


@pytest.mark.parametrize(
    ("rows", "line", "value"),
    [
        (["0,1", "60,-4"], 3, "-4"),
        (["0,1", "60,nan"], 3, "nan"),
        (["0,1", "60,inf"], 3, "inf"),
        (["0,1", "60,1.5"], 3, "1.5"),
        (["0,1", "60,many"], 3, "many"),
        (["0,1", "60,"], 3, ""),
        (["0,1", "60"], 3, "60"),
        (["0,1", "60,1,1"], 3, "60,1,1"),
        (["0,1", "nan,1"], 3, "nan"),
        (["0,1", "noon,1"], 3, "noon"),
        (["0,1", "60,1", "30,1"], 4, "30"),
        (["0,1", "0,1"], 3, "0"),
        (["0,1", "60,1", "60,1"], 4, "60"),
        (["0,1", "60,1", "180,1"], 4, "180"),
        (["0,1", "2026-01-15T12:00:00Z,1"], 3, "2026-01-15T12:00:00Z"),
        (["0,1", "60,99999999999"], 3, "99999999999"),
    ],
)
def test_a_bad_row_is_named_with_file_line_and_value(tmp_path, rows, line, value):
    path = trace_file(tmp_path, *rows)
    with pytest.raises(SettingError) as refused:
        traces.read(path)
    assert str(refused.value).startswith(f"{path}, line {line}: {value!r}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (b"timestamp,arrivals\n", "0 rows"),
        (b"timestamp,arrivals\n0,1\n", "1 rows"),
        (b"time,count\n0,1\n", "line 1: 'time,count'"),
        (b"0,1\n60,1\n", "line 1: '0,1'"),
        (b"timestamp,arrivals\n0,\xff\n", "is not a CSV file"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_in_one_line(tmp_path, content, expected):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(SettingError) as refused:
        traces.read(path)
    assert str(refused.value).startswith(str(path))
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(SettingError, match="No such file"):
        traces.read(tmp_path / "none.csv")
    with pytest.raises(SettingError, match="Is a directory"):
        traces.read(tmp_path)


def test_messages_come_in_order_each_within_its_interval(tmp_path):
    trace = traces.read(trace_file(tmp_path, "0,300", "60,0", "120,500"))
    moments = traces.moments(trace, draw())
    assert (np.diff(moments) >= 0).all()
    assert np.histogram(moments, [0, 60, 120, 180])[0].tolist() == [300, 0, 500]
    within = np.histogram(moments[300:], 5, (120, 180))[0]
    assert within.min() > 60, "uniform: about a hundred in each fifth"


def test_the_same_seed_draws_the_same_moments_and_another_one_others(tmp_path):
    trace = traces.read(trace_file(tmp_path, "0,30", "60,5"))
    assert traces.moments(trace, draw(1)).tolist() == traces.moments(trace, draw(1)).tolist()
    assert traces.moments(trace, draw(1)).tolist() != traces.moments(trace, draw(2)).tolist()


def test_a_trace_that_begins_within_a_minute_keeps_its_place_in_it(tmp_path):
    rows = ("2026-01-15T12:00:40Z,5", "2026-01-15T12:01:40Z,5")
    trace = traces.read(trace_file(tmp_path, *rows))
    moments = traces.moments(trace, draw())
    assert 40 <= moments.min() <= moments.max() < 160
    assert trace.horizon_s == 160.0


@pytest.mark.parametrize("shape", generators.SHAPES)
def test_a_generated_trace_has_as_many_messages_as_asked_for_and_survives_its_file(tmp_path, shape):
    made = generators.generate(shape, days=2, per_day=10_000, interval_s=60, seed=3)
    again = generators.generate(shape, days=2, per_day=10_000, interval_s=60, seed=3)
    other = generators.generate(shape, days=2, per_day=10_000, interval_s=60, seed=4)
    assert made.total == 20_000
    assert made.arrivals.tolist() == again.arrivals.tolist() != other.arrivals.tolist()
    traces.write(made, tmp_path / "t.csv")
    read = traces.read(tmp_path / "t.csv")
    assert (read.interval_s, read.arrivals.tolist()) == (60.0, made.arrivals.tolist())


def peak_to_mean(shape):
    counts = generators.generate(shape, days=2, per_day=100_000, interval_s=60, seed=0).arrivals
    return counts.max() / counts.mean()


def test_each_shape_is_what_its_name_says():
    assert peak_to_mean("steady") < 1.7
    assert 1.7 < peak_to_mean("diurnal") < 3
    assert peak_to_mean("bursty") > 8
    assert peak_to_mean("spiky") > 4
    dump = generators.generate("idle-then-dump", days=2, per_day=100_000, interval_s=60, seed=0).arrivals
    assert np.count_nonzero(dump) == 20, "ten minutes a day"
    night, noon = (
        generators.generate("diurnal", days=1, per_day=100_000, interval_s=3600, seed=0).arrivals[hour]
        for hour in (2, 14)
    )
    assert noon > 8 * night


def test_an_unknown_shape_lists_the_known_ones():
    with pytest.raises(
        SettingError, match=r"zigzag: no such shape .* steady, diurnal, bursty, idle-then-dump"
    ):
        generators.generate("zigzag", days=1, per_day=1, interval_s=60, seed=0)


def test_a_trace_written_with_its_beginning_is_read_with_it(tmp_path):
    trace = traces.Trace(interval_s=300.0, arrivals=np.array([1, 2]), start_s=1_768_478_400.0)
    traces.write(trace, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "2026-01-15T12:00:00Z,1"
    assert traces.read(tmp_path / "t.csv").start_s == trace.start_s
