"""The numbers of the consumer guide, reproduced; where it is wrong, the test says so."""

from __future__ import annotations

import pytest

from sluice.core.drain import Work
from sluice_operator.core.engine_choice import messages_per_instance
from sluice_operator.core.monthly_cost import instances_month, lambda_gb_s
from sluice_operator.core.planning import plan
from sluice_operator.core.prices import Item
from sluice_operator.price_files import shipped
from tests.operator.core.builders import DAY_S, demand, per_day

BACKLOG, A_DAY = 2_800_000, 600_000
PER_WORKER_A_DAY = 43_200
GUIDES_HOURS_A_MONTH = 720


def test_two_seconds_a_message_are_43_200_a_day_for_a_worker() -> None:
    assert demand().work.messages_per_s_per_instance * DAY_S == PER_WORKER_A_DAY


def test_two_weeks_of_arrivals_and_the_backlog_are_800_000_a_day_for_which_18_5_workers_are_19() -> None:
    assert BACKLOG + 14 * A_DAY == 11_200_000
    assert 11_200_000 / 14 == 800_000
    assert pytest.approx(18.5, abs=0.05) == 800_000 / PER_WORKER_A_DAY
    drained = plan(demand(backlog=BACKLOG, drain_within_s=14 * DAY_S))
    assert (drained.draining, drained.maximum) == (19, 19)


def test_one_week_is_a_million_a_day_for_24_workers() -> None:
    assert BACKLOG + 7 * A_DAY == 7_000_000
    drained = plan(demand(backlog=BACKLOG, drain_within_s=7 * DAY_S))
    assert (drained.draining, drained.maximum) == (24, 24)


def test_the_guides_38_workers_for_one_week_take_two_weeks_of_arrivals_which_is_its_error() -> None:
    of_two_weeks = BACKLOG + 14 * A_DAY
    assert of_two_weeks / 7 == 1_600_000
    guides = Work(backlog=of_two_weeks, arrivals_per_s=0, processing_s=2.0, concurrency_per_instance=1)
    load = guides.backlog / (7 * DAY_S * guides.messages_per_s_per_instance)
    assert load == pytest.approx(37.04, abs=0.01), "which the guide makes 38; the week takes 24"


def test_ten_messages_every_five_seconds_are_172_800_a_day() -> None:
    polled = Work(backlog=0, arrivals_per_s=0, processing_s=5.0, concurrency_per_instance=10)
    assert polled.messages_per_s_per_instance * DAY_S == 172_800


def test_two_requests_for_each_of_800_000_messages_cost_64_cents_a_day() -> None:
    assert 1_600_000 * shipped().of(Item.SQS_REQUEST) == pytest.approx(0.64)


def test_15_fargate_tasks_at_5_cents_an_hour_cost_540_dollars_a_month_of_30_days() -> None:
    assert instances_month(15, 0.05, GUIDES_HOURS_A_MONTH) == pytest.approx(540)
    assert instances_month(15, 0.05) == pytest.approx(547.5), "by AWS's 730 hours"


def test_lambda_costs_40_dollars_a_day_which_the_guide_takes_for_a_month() -> None:
    gb_s = lambda_gb_s(A_DAY, processing_s=2.0, memory_gb=2.0)
    assert gb_s == 2_400_000
    a_day = gb_s * shipped().of(Item.LAMBDA_X86_64_GB_S)
    assert a_day == pytest.approx(40, abs=0.01)
    assert 30 * a_day == pytest.approx(1200, abs=1)


def test_a_group_with_8_messages_per_instance_and_at_most_5_starts_5_for_40_messages() -> None:
    """The guide's group: a minute a message, of which eight may wait for each instance."""
    group = demand(
        arrivals=per_day(0), backlog=100, processing_s=60.0, longest_s=60.0, promise_s=720.0, maximum=5
    )
    assert messages_per_instance(480.0, 1, 60.0) == 8
    assert plan(group).target == 8, "720 s, less a minute until the bootstrap and a boot of three"
    assert plan(group).bootstrap == 5


@pytest.mark.parametrize(("waiting", "instances"), [(15, 5), (16, 6)])
def test_the_compiler_with_15_messages_on_2_instances_at_target_3_wants_5(
    waiting: int, instances: int
) -> None:
    compiler = demand(
        arrivals=per_day(0), backlog=waiting, processing_s=60.0, longest_s=60.0, promise_s=420.0, maximum=6
    )
    assert plan(compiler).target == 3
    assert plan(compiler).bootstrap == instances


def test_a_dynamic_target_is_the_maximum_delay_by_the_processing_time() -> None:
    assert messages_per_instance(600.0, 1, 2.0) == 300
    assert messages_per_instance(60.0, 1, 2.0) == 30
    assert messages_per_instance(60.0, 4, 6.0) == 40
    assert plan(demand()).target_of_promise == 300
