"""Which histories suggest a schedule, and which floor: pure, on generated arrivals."""

from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from sluice.document.schedule_lines import written
from sluice_sim.study.weekly import (
    LOW_QUANTILE,
    MIN_BUSY_DAYS,
    WEEK,
    classes_of,
    floors,
    held_out_error,
    local_days,
)
from sluice_sim.workloads import generators, traces
from sluice_sim.workloads.traces import DAY_S, Trace

WORK_WEEK = (frozenset(range(5)), frozenset({5, 6}))
MONDAY_S = generators.START_S


def generated(shape="weekly", *, days=14, per_day=10_000, seed=0) -> Trace:
    return generators.generate(shape, days=days, per_day=per_day, interval_s=60, seed=seed)


def by_hours(hourly, *, start_s=MONDAY_S) -> Trace:
    """A trace of so many messages in each hour."""
    return Trace(interval_s=3600.0, arrivals=np.array(hourly, np.int64).ravel(), start_s=start_s)


def days_of(*, busy_hours, per_hour=3600, weekdays=frozenset(range(7)), days=14):
    """(days, 24): messages of each hour; nothing outside of the busy ones."""
    day = np.isin(np.arange(24), list(busy_hours)) * per_hour
    return np.array([day if place % 7 in weekdays else 0 * day for place in range(days)])


def shuffled(trace: Trace, seed: int) -> Trace:
    """The same days in another order."""
    days = trace.arrivals.reshape(-1, round(DAY_S / trace.interval_s))
    return replace(trace, arrivals=np.random.default_rng(seed).permutation(days).ravel())


def lines(trace: Trace, *, time_zone="UTC", instance_s=30.0, boot_s=180.0):
    found = floors(trace, time_zone=time_zone, instance_s=instance_s, boot_s=boot_s)
    return [(written(each.busy), written(each.quiet)) for each in found]


class TestWhichHistories:
    def test_work_weeks_suggest_a_floor_on_weekdays_that_starts_before_the_ramp(self):
        found = lines(generated())
        assert found[0] == ("busy,MON-FRI,7:30,UTC,10,9999", "quiet,MON-FRI,18:00,UTC,0,9999")

    @pytest.mark.parametrize("seed", range(20))
    def test_the_same_days_in_another_order_suggest_none(self, seed):
        """Of 1000 orders 31 do: their first half is nearly all busy days, or looks like weeks."""
        whole = generated(days=28, per_day=1000)
        assert lines(traces.part(whole, 0, 14 * DAY_S))
        assert lines(traces.part(shuffled(whole, seed), 0, 14 * DAY_S)) == []

    @pytest.mark.parametrize("seed", range(10))
    def test_days_that_are_alike_in_their_quiet_hours_only_suggest_none(self, seed):
        """Many messages make the few of every night alike too; a floor for them is no help."""
        whole = shuffled(generated(days=28, per_day=20_000), seed)
        assert lines(traces.part(whole, 0, 14 * DAY_S), instance_s=10.0) == []

    @pytest.mark.parametrize("shape", ["steady", "bursty", "spiky", "idle-then-dump"])
    @pytest.mark.parametrize("seed", range(3))
    def test_noise_without_hours_suggests_none(self, shape, seed):
        assert lines(generated(shape, seed=seed)) == []

    @pytest.mark.parametrize("days", range(1, 7))
    def test_less_than_a_week_suggests_none(self, days):
        assert lines(generated(days=days)) == []

    def test_one_week_has_two_days_of_each_class(self):
        assert lines(generated(days=7))[0][0] == "busy,MON-FRI,7:30,UTC,11,9999"

    def test_a_single_free_day_is_no_class_and_does_not_hide_the_daily_hours(self):
        """Sunday alone is free: the week of six days has one Sunday in a week, and two in the next."""
        week = days_of(busy_hours=range(8, 18), weekdays=range(6), days=7)
        assert classes_of(local_days(by_hours(week), ZoneInfo("UTC"))) == [WEEK]
        both = classes_of(local_days(by_hours(np.concatenate([week, week])), ZoneInfo("UTC")))
        assert both == (frozenset(range(6)), frozenset({6}))

    def test_days_that_are_all_alike_suggest_a_floor_on_each(self):
        assert lines(by_hours(days_of(busy_hours=range(8, 18)))) == [
            ("busy,SUN-SAT,7:30,UTC,30,9999", "quiet,SUN-SAT,18:00,UTC,0,9999")
        ]

    def test_a_constant_rate_has_no_hours(self):
        assert lines(by_hours(np.full((14, 24), 100))) == []
        assert lines(by_hours(np.zeros((14, 24)))) == []

    def test_two_busy_saturdays_and_sundays_are_too_few_to_predict_the_next(self):
        found = days_of(busy_hours=range(8, 18), weekdays={5, 6})
        assert classes_of(local_days(by_hours(found), ZoneInfo("UTC"))) == WORK_WEEK
        assert MIN_BUSY_DAYS > 4
        assert lines(by_hours(found)) == []

    def test_each_day_is_predicted_without_itself(self):
        """A day that nothing else predicts has an error, although a mean that includes it would be it."""
        days = local_days(generated("bursty"), ZoneInfo("UTC"))
        pairs = [days.rates[days.weekdays == day] for day in WEEK]
        own = sum(float(((pair - pair.mean(axis=0)) ** 2).sum()) for pair in pairs)
        assert held_out_error(days, [frozenset({day}) for day in WEEK]) == pytest.approx(4 * own)
        assert held_out_error(days, [WEEK], by_hour=False) < held_out_error(days, [WEEK])


class TestWhichFloor:
    def test_one_quiet_holiday_in_ten_days_lowers_nothing_and_a_second_one_ends_the_floor(self):
        found = days_of(busy_hours=range(8, 18), days=21)
        found[2] = 0
        assert LOW_QUANTILE == 0.1
        assert lines(by_hours(found))[0][0] == "busy,SUN-SAT,7:30,UTC,30,9999"
        found[9] = found[16] = found[17] = 0
        assert lines(by_hours(found)) == []

    def test_the_minimum_is_the_least_of_what_nearly_all_days_take(self):
        found = days_of(busy_hours=range(8, 18))
        found[:, 12] = 2400
        assert lines(by_hours(found))[0] == (
            "busy,SUN-SAT,7:30,UTC,20,9999",
            "quiet,SUN-SAT,18:00,UTC,0,9999",
        )
        assert lines(by_hours(found))[1][1] == "quiet,SUN-SAT,18:00,UTC,0,9999", "the longer side of the dip"

    def test_a_longer_boot_starts_earlier(self):
        found = by_hours(days_of(busy_hours=range(8, 18)))
        times = [lines(found, boot_s=boot_s)[0][0].split(",")[2] for boot_s in (60, 1680, 1740, 3600)]
        assert times == ["7:30", "7:30", "7:00", "6:30"]

    def test_a_span_past_midnight_has_one_floor(self):
        assert lines(by_hours(days_of(busy_hours=[22, 23, 0, 1]))) == [
            ("busy,SUN-SAT,21:30,UTC,30,9999", "quiet,SUN-SAT,2:00,UTC,0,9999")
        ]

    def test_days_that_are_busy_around_the_clock_start_the_evening_before_and_end_once(self):
        found = lines(by_hours(days_of(busy_hours=range(24), weekdays=range(5))))
        assert found == [("busy,SUN,23:30,UTC,30,9999", "quiet,SAT,0:00,UTC,0,9999")]

    def test_times_are_those_of_the_zone_over_the_end_of_summer_time(self):
        """2026-10-19 is a Monday; on the 25th clocks go back in Berlin."""
        zone, start_s = ZoneInfo("Europe/Berlin"), MONDAY_S + 280 * DAY_S
        hours = days_of(busy_hours=range(8, 18), weekdays=range(5)).ravel()
        local = np.concatenate([hours[: 6 * 24 + 3], [0], hours[6 * 24 + 3 :]])
        trace = by_hours(local, start_s=start_s - 2 * 3600)
        assert local_days(trace, zone).rates.shape == (14, 48)
        assert lines(trace, time_zone="Europe/Berlin")[0] == (
            "busy,MON-FRI,7:30,Europe/Berlin,30,9999",
            "quiet,MON-FRI,18:00,Europe/Berlin,0,9999",
        )

    def test_a_zone_whose_days_begin_within_the_trace_leaves_its_short_days_out(self):
        days = local_days(generated(), ZoneInfo("Asia/Kathmandu"))
        assert (len(days.rates), days.weekdays[0]) == (14, 0)
        assert np.isnan(days.rates[0]).sum() == 12, "the first six hours are not in the trace"
