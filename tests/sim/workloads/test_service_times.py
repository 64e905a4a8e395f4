"""How long messages take and instances boot: constant, drawn, measured, and what is refused."""

import numpy as np
import pytest

from sluice_sim.template.deployment import SettingError
from sluice_sim.workloads import service_times
from tests.sim.simulator.builders import trace_file


def draw(seed=0):
    return np.random.default_rng(seed)


def test_lognormal_times_have_the_given_mean_and_variation():
    times = service_times.lognormal(5.0, 0.8, 200_000, draw())
    assert times.mean() == pytest.approx(5.0, rel=0.02)
    assert times.std() / times.mean() == pytest.approx(0.8, rel=0.05)


def test_measured_durations_are_drawn_with_their_observed_frequency(tmp_path):
    path = trace_file(tmp_path, "2,a", "8,b", "8,c", "8,d", header="duration_s,worker")
    drawn = service_times.read(path).draw(10_000, draw())
    assert set(drawn) == {2.0, 8.0}
    assert (drawn == 8.0).mean() == pytest.approx(0.75, abs=0.02)
    assert drawn.tolist() == service_times.read(path).draw(10_000, draw()).tolist()


def test_a_row_may_describe_many_messages(tmp_path):
    path = trace_file(tmp_path, "2,900", "8,100", header="duration_s,messages")
    drawn = service_times.read(path).draw(10_000, draw())
    assert (drawn == 8.0).mean() == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "long", ""])
def test_an_invalid_duration_is_named_with_file_line_and_value(tmp_path, value):
    path = trace_file(tmp_path, "2,x", f"{value},x", header="duration_s,worker")
    with pytest.raises(SettingError) as refused:
        service_times.read(path)
    assert str(refused.value) == f"{path}, line 3: {value!r}: a duration is a number from 0.001 to 2,592,000"


def test_a_file_without_durations_is_refused(tmp_path):
    with pytest.raises(SettingError, match=r"line 1: 'seconds': the header has a column duration_s"):
        service_times.read(trace_file(tmp_path, "2", header="seconds"))
    with pytest.raises(SettingError, match="there is no duration in it"):
        service_times.read(trace_file(tmp_path, header="duration_s"))
    with pytest.raises(SettingError, match="No such file"):
        service_times.read(tmp_path / "none.csv")


def test_boot_times_are_constant_or_within_a_range():
    fixed, ranged = service_times.boot("180").drawn(draw()), service_times.boot("120-240").drawn(draw())
    assert {fixed() for _ in range(10)} == {180.0}
    times = [ranged() for _ in range(1000)]
    assert 120 <= min(times) < 130 < 230 < max(times) <= 240
    assert service_times.boot("120-240").mean_s == 180.0


@pytest.mark.parametrize("text", ["", "soon", "-5", "nan", "240-120", "1-2-3", "60-"])
def test_an_invalid_boot_time_is_refused_with_the_way_out(text):
    with pytest.raises(ValueError, match="boot time"):
        service_times.boot(text)
