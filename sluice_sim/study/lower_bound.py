"""The lower bound on cost: a linear program that knows every arrival in advance.

Computes the fewest billed instance-hours with which the promise can be kept, and the plan that achieves them.
Every simplification gives the plan more freedom than a fleet has: fractions of instances, work in any portion
and order, arrivals of a slot from the slot's beginning. No policy that keeps the promise can therefore cost
less.

The program, by slots t of a window, with work in instance-slots (seconds / slot / concurrency); capital
letters are sums up to the end of slot t:

    minimise  sum(x) + boot * sum(u)      x mean ready instances, u launches, boot in slots
    u_t >= x_t - x_(t-1)                  a launch is billed from its boot on
    minimum <= x_t <= maximum             the minimum is launched at the start and never has to be again
    w_t + l_t <= x_t                      w work done in time, l work done too late
    W_t + M_t >= D_t                      D work due: arrival + promise + service time; M work given up
    W_t + M_t <= A_t                      A work arrived
    0 <= m_t <= due_t
    M <= the largest service times of as many messages as may be late

Late work is done whenever capacity is free, or after the end at the cost of its service time. A long trace is
cut into windows whose minima are added up. Each window has only the work that arrives and is due inside it,
and leaves its late work to others. What windows share has a price (a Lagrange multiplier): the allowance of
late work, and the instances that are ready where two windows meet, which the later window buys and the
earlier one sells. For any prices (an instance costs between 0 and a boot, because the later window may launch
its own), the minima minus the value of the allowance are a bound; good prices make it high.

Longer than 300 lines: the derivation above and the steps of the one program are read together.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog  # type: ignore[import-untyped]
from scipy.sparse import (  # type: ignore[import-untyped]
    csr_array,
    diags_array,
    eye_array,
    hstack,
    vstack,
)

from sluice_sim.simulator.queue_kernel import Floats
from sluice_sim.simulator.run import Load

WINDOW_SLOTS = 1440
SLOTS_PER_PROMISE = 4
"""Arrivals and deadlines within a slot are not distinguished, so it must be short against the promise."""
PROMISES_PER_WINDOW = 100
"""Work that arrives in one window and is due in the next counts in neither: at most 1 in this many."""
MAX_SLOTS = 60_000
"""Limit on the size of the program; beyond it, slots become longer."""
SAMPLED_WINDOWS = 6
"""Number of windows on which the price of late work is searched; any price gives a bound."""
CLOSE_ENOUGH = 0.005
"""The search ends once the bound cannot rise by more than this share."""
MAX_PRICES = 6
CARRY_PASSES = 1
"""Passes that improve the prices of instances between windows; the first brings most of the effect."""
FIRST_PRICE = 1.2
"""First price of late work; below 1, the cost of doing it at any time, all of it would be late."""
INFEASIBLE = 2
"""Status of `linprog` if there is no feasible plan."""
_NONE = np.zeros(0)

OnProgress = Callable[[float], None]
"""Called with the share that is done, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The lower bound and its plan."""

    instance_hours: float
    """Billed instance-hours, from launch to termination."""
    slot_s: float
    demand: Floats
    """Mean ready instances per slot, from the start of the trace on."""
    attainable: bool
    """False if `maximum` instances cannot keep the promise; the bound is then for an unlimited fleet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fleet:
    """Boot cost and limits of the fleet, in slots and instances."""

    boot: float
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """The work of some consecutive slots, in instance-slots."""

    arrived: Floats
    due: Floats
    traced: int
    """Its slots within the trace; after it a run may end at any time, so the minimum no longer applies."""
    first: bool
    """Whether only the minimum is ready before it; elsewhere ready instances have a price."""
    last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The minimum of one or more windows: cost (with priced late work), late work, and instances per slot."""

    cost: float
    late: float
    instances: Floats


class _NoPlanError(Exception):
    """The largest allowed fleet cannot keep the promise."""


def lower_bound(
    load: Load,
    *,
    concurrency: int,
    promise_s: float,
    minimum: int,
    maximum: int,
    boot_s: float,
    late_ratio: float,
    slot_s: float | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Bound:
    """The fewest instance-hours with which all but `late_ratio` of the messages start within `promise_s`.

    `boot_s` is the shortest boot, for which each launch is billed. If launches can fail, not even the minimum
    is sure to run: pass 0 then.
    """
    slot = slot_s or chosen_slot_s(load, promise_s)
    unit_s = slot * concurrency
    windows = _windows(load, promise_s, slot, unit_s)
    late = math.floor(late_ratio * load.service_s.size + 1e-9)
    allowance = float(np.sort(load.service_s)[load.service_s.size - late :].sum()) / unit_s
    attainable = True
    fleet = _Fleet(boot=boot_s / slot, minimum=float(minimum), maximum=float(maximum))
    try:
        plan = _highest_bound(windows, fleet, allowance, on_progress)
    except _NoPlanError:
        attainable = False
        unlimited = _Fleet(boot=fleet.boot, minimum=fleet.minimum, maximum=math.inf)
        plan = _highest_bound(windows, unlimited, allowance, on_progress)
    on_progress(1.0)
    work_alone = float(load.service_s.sum()) / unit_s
    return Bound(
        instance_hours=max(plan.cost, work_alone) * slot / 3600,
        slot_s=slot,
        demand=plan.instances,
        attainable=attainable,
    )


def chosen_slot_s(load: Load, promise_s: float) -> float:
    """The slot length: one window if its slots are short against the promise, else as the limits require."""
    end_s = _end_s(load, promise_s)
    one_window_s = math.ceil(end_s / WINDOW_SLOTS)
    if one_window_s * SLOTS_PER_PROMISE <= max(promise_s, SLOTS_PER_PROMISE):
        return float(max(1, one_window_s))
    crossing_s = promise_s + (float(load.service_s.mean()) if load.service_s.size else 0.0)
    return float(
        max(
            promise_s // SLOTS_PER_PROMISE,
            math.ceil(PROMISES_PER_WINDOW * crossing_s / WINDOW_SLOTS),
            math.ceil(end_s / MAX_SLOTS),
        )
    )


def _end_s(load: Load, promise_s: float) -> float:
    if not load.arrival_s.size:
        return load.horizon_s
    return max(load.horizon_s, float((load.arrival_s + load.service_s).max()) + promise_s)


def _windows(load: Load, promise_s: float, slot_s: float, unit_s: float) -> list[_Window]:
    """Cut the trace into windows; work that arrives in one and is due in another is dropped."""
    slots = max(1, math.ceil(_end_s(load, promise_s) / slot_s))
    # Work can be done from its slot of arrival on; it is due by the end of the slot that holds its due time.
    arrived = np.minimum((load.arrival_s / slot_s).astype(np.int64), slots - 1)
    due_s = load.arrival_s + promise_s + load.service_s
    due = np.clip(np.ceil(due_s / slot_s).astype(np.int64) - 1, arrived, slots - 1)
    count = math.ceil(slots / WINDOW_SLOTS)
    windows = []
    for number in range(count):
        first, last = number * slots // count, (number + 1) * slots // count
        begin, end = np.searchsorted(arrived, (first, last))
        inside = due[begin:end] < last
        work = load.service_s[begin:end][inside] / unit_s
        windows.append(
            _Window(
                arrived=np.bincount(arrived[begin:end][inside] - first, work, last - first),
                due=np.bincount(due[begin:end][inside] - first, work, last - first),
                traced=min(max(0, int(load.horizon_s // slot_s) - first), last - first),
                first=number == 0,
                last=number == count - 1,
            )
        )
    return windows


def _highest_bound(
    windows: Sequence[_Window], fleet: _Fleet, allowance: float, on_progress: OnProgress
) -> _Plan:
    """The highest bound that the search finds, and its plan."""
    if _overdue_at_full_strength(windows, fleet.maximum) > allowance:
        raise _NoPlanError
    if len(windows) == 1:
        return _solve(windows[0], fleet, allowance=allowance)
    if not allowance:
        return _carrying_over(windows, fleet, 0.0, 0.0, on_progress)
    by_work = sorted(windows, key=lambda window: float(window.due.sum()))
    sampled = by_work[len(windows) // SAMPLED_WINDOWS // 2 :: max(1, len(windows) // SAMPLED_WINDOWS)]
    work, all_work = (sum(float(one.due.sum()) for one in some) for some in (sampled, windows))
    if not work:
        return _carrying_over(windows, fleet, allowance, FIRST_PRICE, on_progress)
    price = _best_price(sampled, fleet, allowance * work / all_work)
    return _carrying_over(windows, fleet, allowance, price, on_progress)


def _carrying_over(
    windows: Sequence[_Window], fleet: _Fleet, allowance: float, price: float, on_progress: OnProgress
) -> _Plan:
    """The highest of several bounds, each with better prices of the instances between windows.

    The bound is concave in these prices. If a window opens with more instances than the one before it ended
    with, the price was too low, otherwise too high.
    """
    best = _bound_at(windows, fleet, allowance, price)
    low, high = np.zeros(len(windows) - 1), np.full(len(windows) - 1, fleet.boot)
    ends = np.cumsum([window.due.size for window in windows])[:-1]
    for number in range(CARRY_PASSES if fleet.boot else 0):
        carried = (low + high) / 2
        plan = _bound_at(windows, fleet, allowance, price, carried)
        best = max(best, plan, key=lambda found: found.cost)
        opens, left = plan.instances[ends], plan.instances[ends - 1]
        low, high = np.where(opens > left, carried, low), np.where(opens < left, carried, high)
        low, high = np.where(opens == left, carried, low), np.where(opens == left, carried, high)
        on_progress((number + 1) / CARRY_PASSES)
    return best


def _overdue_at_full_strength(windows: Sequence[_Window], maximum: float) -> float:
    """Work that is late even if the largest fleet runs at full capacity from the first slot on."""
    if math.isinf(maximum):
        return 0.0
    done = arrived = due = overdue = 0.0
    for window in windows:
        for arriving, falling_due in zip(window.arrived, window.due, strict=True):
            arrived, due = arrived + float(arriving), due + float(falling_due)
            done = min(arrived, done + maximum)
            overdue = max(overdue, due - done)
    return overdue


def _best_price(windows: Sequence[_Window], fleet: _Fleet, allowance: float) -> float:
    """Search the price of late work with the highest bound.

    The bound is concave in the price: two tangents enclose the best one, and the next candidate is where they
    cross.
    """
    low, high, price = 0.0, math.inf, FIRST_PRICE
    low_plan = high_plan = _Plan(cost=0.0, late=sum(float(one.due.sum()) for one in windows), instances=_NONE)
    best = (0.0, price)
    for _ in range(MAX_PRICES):
        here = _bound_at(windows, fleet, allowance, price)
        best = max(best, (here.cost, price))
        if here.late > allowance:
            low, low_plan = price, here
        else:
            high, high_plan = price, here
        if math.isinf(high):
            price *= 3
            continue
        rise, fall = low_plan.late - allowance, allowance - high_plan.late
        crossing = (high_plan.cost - low_plan.cost + rise * low + fall * high) / (rise + fall)
        if low_plan.cost + rise * (crossing - low) <= best[0] * (1 + CLOSE_ENOUGH):
            break
        price = crossing
    return best[1]


def _bound_at(
    windows: Sequence[_Window],
    fleet: _Fleet,
    allowance: float,
    price: float,
    carried: Floats | None = None,
) -> _Plan:
    """The sum of all windows' minima at one price of late work, minus the value of the allowance.

    `carried` is the price of a ready instance at each boundary between two windows.
    """
    prices = np.concatenate([[0.0], np.zeros(len(windows) - 1) if carried is None else carried, [0.0]])

    def solve(window: _Window, buys: float, sells: float) -> _Plan:
        if price:
            return _solve(window, fleet, price=price, buys=buys, sells=sells)
        return _solve(window, fleet, allowance=0.0, buys=buys, sells=sells)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        plans = list(pool.map(solve, windows, prices[:-1], prices[1:]))
    return _Plan(
        cost=sum(plan.cost for plan in plans) - price * allowance,
        late=sum(plan.late for plan in plans),
        instances=np.concatenate([plan.instances for plan in plans]),
    )


def _solve(
    window: _Window,
    fleet: _Fleet,
    *,
    price: float = 0.0,
    allowance: float = math.inf,
    buys: float = 0.0,
    sells: float = 0.0,
) -> _Plan:
    """One window's minimum, by HiGHS; `buys` and `sells` price an instance ready at its beginning and end.

    Columns, each by slot: instances x, launches u, work in time w, work given up m, late work done l, and the
    running surpluses W + M - D and A - W - M, which may not be negative. The function is long because it lays
    out one matrix: its blocks are read against these columns.
    """
    slots = window.due.size
    one, none = eye_array(slots), csr_array((slots, slots))
    step = diags_array([np.ones(slots), -np.ones(slots - 1)], offsets=[0, -1])
    every, nothing = csr_array(np.ones((1, slots))), csr_array((1, slots))
    launches = hstack([step, -one, none, none, none, none, none], format="csr")
    at_most = [
        launches if window.first else launches[1:],
        hstack([-one, none, one, none, one, none, none]),
        hstack([nothing, nothing, nothing, -every, every, nothing, nothing]),
    ]
    capped = 0 < allowance < math.inf
    if capped:
        at_most.append(hstack([nothing, nothing, nothing, every, nothing, nothing, nothing]))
    limits = np.zeros(sum(block.shape[0] for block in at_most))
    if window.first:
        limits[0] = fleet.minimum
    if capped:
        limits[-1] = allowance
    kept = vstack(
        [hstack([none, none, -one, -one, none, step, none]), hstack([none, none, one, one, none, none, step])]
    )
    low, high, cost = np.zeros((7, slots)), np.full((7, slots), math.inf), np.zeros((7, slots))
    low[0, : window.traced] = fleet.minimum
    high[0] = fleet.maximum
    high[3] = window.due if allowance else 0.0
    high[4] = math.inf if window.last else 0.0
    cost[0], cost[1], cost[3] = 1.0, fleet.boot, price
    cost[0, 0] += buys
    cost[0, -1] -= sells
    if window.last:  # late work that is not done by the end costs its service time
        cost[3] += 1.0
        cost[4] = -1.0
    solved = linprog(
        cost.ravel(),
        A_ub=vstack(at_most, format="csr"),
        b_ub=limits,
        A_eq=kept,
        b_eq=np.concatenate([-window.due, window.arrived]),
        bounds=np.column_stack([low.ravel(), high.ravel()]),
        method="highs-ipm" if capped else "highs-ds",  # the faster ones, measured
        options={} if capped else {"simplex_dual_edge_weight_strategy": "devex"},
    )
    if solved.status == INFEASIBLE:
        raise _NoPlanError
    assert solved.status == 0, solved.message
    columns = solved.x.reshape(7, slots)
    return _Plan(cost=float(solved.fun), late=float(columns[3].sum()), instances=columns[0].copy())
