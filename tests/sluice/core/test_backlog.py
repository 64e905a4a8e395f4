"""What target tracking compares with its target: the backlog, and the load that keeps arriving."""

import math
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.backlog import (
    MAX_MESSAGES,
    backlog_per_instance,
    demanded_capacity,
    effective_backlog_per_instance,
    measured_processing_s,
    to_publish,
)
from sluice.core.minutes import MINUTE
from sluice.core.model import Demand, OfferedLoad, Published, Unknown
from sluice.core.sustained_arrivals import (
    has_gaps,
    sustained_arrivals_per_s,
    with_zeros,
)
from tests.support.builders import (
    MINUTE_NOW,
    backlog,
    capacity,
    demand,
    durations,
    effective,
    minutes_ago,
    workload,
)

MARGIN = 0.3
ABSURD = (math.nan, math.inf, -math.inf, -1, 1.1e9, 1e300)

amounts = st.floats(0, 1e6)
positive = st.floats(1e-3, 1e4)
counts = st.integers(0, 5000)


def busy(instances: float) -> Demand:
    """A load that keeps so many instances busy."""
    return demand(arrivals_per_s=instances)


def sent(*per_minute: float, ago: int = 1) -> dict[datetime, float]:
    """Messages of successive minutes, the newest first; the newest is this many minutes ago."""
    return {minutes_ago(ago + back): count for back, count in enumerate(per_minute)}


def tracked_size(running: int, metric: float, target: float) -> int:
    """Instances that target tracking moves a fleet to."""
    return math.ceil(running * metric / target - 1e-9)


class TestEffectiveBacklog:
    @given(amounts, counts, amounts, positive, positive, positive, st.floats(0, 3))
    def test_it_is_never_below_the_plain_metric_and_a_number(
        self,
        plain: float,
        running: int,
        arrivals_per_s: float,
        processing_s: float,
        concurrency: float,
        target: float,
        margin: float,
    ) -> None:
        load = demand(arrivals_per_s, processing_s, concurrency, target=target)
        value = effective_backlog_per_instance(plain, running, load, margin=margin)
        assert plain <= value < math.inf

    @given(amounts, counts, positive, st.floats(0, 3))
    def test_it_is_the_plain_metric_where_nothing_keeps_arriving(
        self, plain: float, running: int, target: float, margin: float
    ) -> None:
        nothing = demand(0, 60, target=target)
        assert effective_backlog_per_instance(plain, running, nothing, margin=margin) == plain

    @given(st.integers(1, 5000), positive, st.floats(0, 3))
    def test_an_empty_queue_on_just_the_busy_instances_is_over_target_by_the_margin(
        self, rho: int, target: float, margin: float
    ) -> None:
        value = effective_backlog_per_instance(0, rho, demand(rho, target=target), margin=margin)
        assert value == pytest.approx(target * (1 + margin / math.sqrt(rho)))

    @given(st.integers(0, 5000), st.floats(0, 1000), positive)
    def test_target_tracking_asks_for_the_busy_instances_and_for_those_that_the_backlog_needs(
        self, messages: int, rho: float, target: float
    ) -> None:
        """It holds for any running count: the metric divides by it, and AWS multiplies with it."""
        for running in (1, 7):
            value = effective_backlog_per_instance(
                messages / running, running, demand(rho, target=target), margin=0
            )
            assert running * value / target == pytest.approx(messages / target + rho)

    @pytest.mark.parametrize(
        ("changed", "more"),
        [
            ("plain", True),
            ("running", False),
            ("arrivals_per_s", True),
            ("processing_s", True),
            ("concurrency", False),
            ("target", True),
            ("margin", True),
        ],
    )
    @given(data=st.data())
    def test_it_is_monotone_in_each_argument(self, changed: str, *, more: bool, data: st.DataObject) -> None:
        draws: dict[str, st.SearchStrategy[float]] = {
            "plain": amounts,
            "running": counts,
            "arrivals_per_s": amounts,
            "processing_s": positive,
            "concurrency": positive,
            "target": positive,
            "margin": st.floats(0, 3),
        }
        arguments = {name: data.draw(draw, name) for name, draw in draws.items()}
        low, high = sorted((arguments[changed], data.draw(draws[changed], f"other {changed}")))

        def value(argument: float) -> float:
            logged = arguments | {changed: argument}
            load = demand(
                logged["arrivals_per_s"],
                logged["processing_s"],
                logged["concurrency"],
                target=logged["target"],
            )
            return effective_backlog_per_instance(
                logged["plain"], int(logged["running"]), load, margin=logged["margin"]
            )

        lower, higher = (value(low), value(high)) if more else (value(high), value(low))
        assert lower <= higher * (1 + 1e-12)

    def test_one_busy_instance_with_beta_0_3_asks_for_1_3_times_the_target(self) -> None:
        load = demand(arrivals_per_s=0.5, processing_s=4, concurrency=2, target=60)
        assert load.load.instances == 1
        assert effective_backlog_per_instance(5, 1, load, margin=0.3) == 5 + 60 * 1.3

    @pytest.mark.parametrize("running", [0, 1])
    def test_with_nothing_running_the_metric_is_that_of_one_instance(self, running: int) -> None:
        assert effective_backlog_per_instance(24, running, busy(4), margin=0) == 24 + 8 * 4


class TestWorkedExamples:
    """Of the documents; a dump alone leaves them as they are."""

    @pytest.mark.parametrize(
        ("waiting", "running", "target", "instances"),
        [(24, 1, 8, 3), (15, 2, 3, 5), (24, 3, 8, 3), (24, 6, 8, 3)],
    )
    @pytest.mark.parametrize("dumped", [(0,) * 10, (24,) + (0,) * 9, (0, 15, 24, 9) + (0,) * 6])
    def test_target_tracking_asks_for_the_expected_instances(
        self, waiting: int, running: int, target: float, instances: int, dumped: tuple[float, ...]
    ) -> None:
        arrivals_per_s = sustained_arrivals_per_s(sent(*dumped), MINUTE_NOW)
        assert arrivals_per_s == 0
        plain = backlog_per_instance(backlog(waiting), capacity(running), count_in_flight=True)
        value = effective_backlog_per_instance(plain, running, demand(0, 60, target=target), margin=MARGIN)
        assert value == plain
        assert tracked_size(running, value, target) == instances

    @pytest.mark.parametrize(("running", "value"), [(1, 24), (3, 8), (6, 4)])
    def test_24_waiting_against_8_scale_one_out_hold_three_and_scale_six_in(
        self, running: int, value: float
    ) -> None:
        plain = backlog_per_instance(backlog(24), capacity(running), count_in_flight=True)
        assert effective_backlog_per_instance(plain, running, demand(0, target=8), margin=MARGIN) == value


class TestSustainedArrivals:
    @pytest.mark.parametrize(
        ("per_minute", "per_s"),
        [
            ((60,) * 10, 1),
            ((60,) * 13, 1),
            ((0,) * 10, 0),
            ((9000,) + (0,) * 9, 0),  # a dump
            ((9000,) * 4 + (0,) * 6, 0),
            ((9000,) * 4 + (60,) * 6, 1),  # a dump over a load
            ((600,) * 5 + (0,) * 5, 5),  # for half of the window: half of it
            ((600,) * 6 + (0,) * 4, 10),
            ((60, 120, 180, 240, 300), 3),  # five minutes are enough
            ((120, 60, 300, 240, 180, 0), 2.5),
            ((60,) * 10 + (9000,) * 3, 1),  # what is read beyond the window does not count
        ],
    )
    def test_they_are_the_median_of_the_last_ten_minutes(
        self, per_minute: tuple[float, ...], per_s: float
    ) -> None:
        assert sustained_arrivals_per_s(sent(*per_minute), MINUTE_NOW) == per_s

    @pytest.mark.parametrize("ago", [1, 2, 3, 4])
    def test_the_newest_minute_may_be_three_minutes_old(self, ago: int) -> None:
        assert sustained_arrivals_per_s(sent(*[60] * 10, ago=ago), MINUTE_NOW) == 1

    def test_beyond_that_cloudwatch_is_late_and_that_is_not_zero(self) -> None:
        assert sustained_arrivals_per_s(sent(*[60] * 10, ago=5), MINUTE_NOW) == Unknown(
            reason="the newest NumberOfMessagesSent is that of 11:55"
        )

    def test_minutes_that_are_missing_are_not_zero(self) -> None:
        known = sent(*[60] * 10)
        for back in (2, 4, 6, 8, 10):
            del known[minutes_ago(back)]
        assert sustained_arrivals_per_s(known, MINUTE_NOW) == 1

    def test_four_minutes_are_too_few(self) -> None:
        """Before its first messages the queue was silent: the first minutes do not predict later ones."""
        assert sustained_arrivals_per_s(sent(*[60] * 4), MINUTE_NOW) == Unknown(
            reason="NumberOfMessagesSent of 4 minutes, and 5 are needed"
        )

    def test_minutes_before_the_window_do_not_replace_missing_ones(self) -> None:
        known = sent(*[60] * 4) | sent(60, 60, 60, ago=11)
        assert isinstance(sustained_arrivals_per_s(known, MINUTE_NOW), Unknown)

    def test_a_silent_queue_is_unknown(self) -> None:
        """Six hours without use, and SQS reports nothing any more."""
        assert sustained_arrivals_per_s({}, MINUTE_NOW) == Unknown(
            reason="no NumberOfMessagesSent of the last 13 minutes"
        )

    @pytest.mark.parametrize("ahead", [0, 1, 600])
    def test_a_minute_that_is_not_over_does_not_count(self, ahead: int) -> None:
        current = {MINUTE_NOW + MINUTE * ahead: 60.0}
        assert isinstance(sustained_arrivals_per_s(sent(*[60] * 4) | current, MINUTE_NOW), Unknown)
        assert isinstance(sustained_arrivals_per_s(sent(*[60] * 10, ago=5) | current, MINUTE_NOW), Unknown)

    @pytest.mark.parametrize("absurd", ABSURD)
    def test_an_absurd_count_is_not_a_count(self, absurd: float) -> None:
        some = sent(*[absurd] * 5, *[60] * 5)
        assert isinstance(sustained_arrivals_per_s(some, MINUTE_NOW), Unknown)  # the newest is five behind
        assert sustained_arrivals_per_s(sent(60, absurd, 60, absurd, 60, 60, 60), MINUTE_NOW) == 1
        assert isinstance(sustained_arrivals_per_s(sent(*[absurd] * 10), MINUTE_NOW), Unknown)

    @given(
        st.dictionaries(
            st.integers(-5, 30).map(minutes_ago), st.floats() | st.sampled_from(ABSURD), max_size=30
        )
    )
    def test_estimated_arrivals_are_within_what_was_sent_or_unknown(
        self, known: dict[datetime, float]
    ) -> None:
        value = sustained_arrivals_per_s(known, MINUTE_NOW)
        if not isinstance(value, Unknown):
            sane = [count / 60 for count in known.values() if 0 <= count <= 1e9]
            assert min(sane) <= value <= max(sane)


class TestProcessingTime:
    def test_it_is_the_measured_mean_where_enough_was_measured(self) -> None:
        assert measured_processing_s(durations(4.2, samples=30), 30) == 4.2

    def test_too_few_samples_are_reported_with_the_remedy(self) -> None:
        assert measured_processing_s(durations(4.2, samples=29), 30) == Unknown(
            reason="29 MsgProcessingDuration in the last day, and 30 are needed; set ProcessingSeconds"
        )

    @pytest.mark.parametrize("samples", [math.nan, -math.inf])
    def test_samples_that_are_no_number_are_too_few(self, samples: float) -> None:
        assert isinstance(measured_processing_s(durations(4.2, samples=samples), 30), Unknown)

    @pytest.mark.parametrize("seconds", [0, -4.2, math.nan, math.inf, 43_201, 1e300])
    def test_an_impossible_mean_is_not_a_reading(self, seconds: float) -> None:
        assert measured_processing_s(durations(seconds), 30) == Unknown(
            reason=f"a mean MsgProcessingDuration of {seconds:g} s is implausible"
        )

    def test_twelve_hours_are_as_long_as_sqs_hides_a_message(self) -> None:
        assert measured_processing_s(durations(43_200), 30) == 43_200


class TestDemand:
    @pytest.mark.parametrize(
        ("load", "target"),
        [
            (OfferedLoad(arrivals_per_s=1e7, processing_s=4e4, concurrency_per_instance=1), 10),
            (OfferedLoad(arrivals_per_s=1, processing_s=1, concurrency_per_instance=1e-320), 8),
            (OfferedLoad(arrivals_per_s=1, processing_s=1, concurrency_per_instance=1), 1e308),
            (OfferedLoad(arrivals_per_s=math.nan, processing_s=1, concurrency_per_instance=1), 8),
        ],
    )
    def test_an_impossible_load_is_not_a_reading(self, load: OfferedLoad, target: float) -> None:
        """CloudWatch would refuse its value, and with it the points of every workload in the call."""
        logged = demanded_capacity(load, target, ())
        assert isinstance(logged, Unknown)
        assert logged.reason.endswith(" are implausible")

    def test_the_largest_load_is_a_value_that_cloudwatch_takes(self) -> None:
        load = OfferedLoad(arrivals_per_s=MAX_MESSAGES, processing_s=1, concurrency_per_instance=1)
        largest = demanded_capacity(load, 1, ())
        assert isinstance(largest, Demand)
        assert effective_backlog_per_instance(2**31, 1, largest, margin=3) < 2**360


class TestToPublish:
    def test_both_metrics_are_published_with_what_they_are_computed_from(self) -> None:
        served = effective(workload(), arrival_margin=0)
        load = demand(arrivals_per_s=0.5, processing_s=4)
        assert to_publish(served, 5, capacity(2), load) == Published(
            backlog_per_instance=5, effective_per_instance=5 + 8 * 2 / 2, demand=load
        )

    def test_the_margin_is_the_documents(self) -> None:
        served = effective(workload(), arrival_margin=2)
        assert to_publish(served, 0, capacity(4), busy(4)).effective_per_instance == 8 * (4 + 2 * 2) / 4

    def test_without_a_demand_both_are_the_plain_one_and_the_reason_goes_with_them(self) -> None:
        reason = Unknown(reason="arrivals: throttled")
        assert to_publish(effective(workload()), 5, capacity(2), reason) == Published(
            backlog_per_instance=5, effective_per_instance=5, demand=reason
        )

    def test_arrivals_alone_do_not_bootstrap_a_fleet_at_zero(self) -> None:
        """Only the bootstrap starts it: otherwise the last arrivals would undo a shutdown."""
        published = to_publish(effective(workload()), 0, capacity(0), busy(4))
        assert published.effective_per_instance == 0
        assert isinstance(published.demand, Unknown)

    def test_arrivals_are_counted_while_a_fleet_boots(self) -> None:
        booting = capacity(1, running=0)
        assert to_publish(effective(workload(), arrival_margin=0), 3, booting, busy(4)) == Published(
            backlog_per_instance=3, effective_per_instance=3 + 8 * 4, demand=busy(4)
        )


class TestMinutesWithoutAValue:
    """SQS may publish NumberOfMessagesSent only for minutes with sent messages."""

    SETTLED = tuple(minutes_ago(back, MINUTE_NOW) for back in range(4, 14))
    LATE = tuple(minutes_ago(back, MINUTE_NOW) for back in range(1, 4))

    @pytest.mark.parametrize("missing", SETTLED)
    def test_a_settled_minute_that_is_missing_is_a_gap(self, missing: datetime) -> None:
        known = dict.fromkeys(self.SETTLED, 1.0)
        assert not has_gaps(known, MINUTE_NOW)
        del known[missing]
        assert has_gaps(known | dict.fromkeys(self.LATE, 1.0), MINUTE_NOW)

    def test_it_is_zero_where_sqs_reported_of_the_queue_all_the_same(self) -> None:
        busy_at, idle_at, silent_at = self.SETTLED[0], self.SETTLED[1], self.SETTLED[2]
        filled = with_zeros({busy_at: 7.0}, {busy_at, idle_at, *self.LATE}, MINUTE_NOW)
        assert filled == {busy_at: 7.0, idle_at: 0.0}
        assert silent_at not in filled

    def test_a_message_every_third_minute_is_not_sustained(self) -> None:
        every_third = {at: 30.0 for at in self.SETTLED if at.minute % 3 == 0}
        filled = with_zeros(every_third, self.SETTLED, MINUTE_NOW)
        assert sustained_arrivals_per_s(filled, MINUTE_NOW) == 0
