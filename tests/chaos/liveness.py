"""What must happen in time, checked against the true state of AWS: the liveness rules.

After a healthy tick no fleet stays at zero while messages wait, and a fleet with an empty queue is set to its
minimum or its floor, which its shutdown alarm does as well. An invocation is not checked if the workload was
unhealthy meanwhile, or if anything changed that the rule depends on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sluice.core.model import Bounds, Mode, Workload
from sluice.ports import Series, SeriesQuery
from tests.chaos.actions import floor_of
from tests.chaos.cloud import Cloud, Event, common, metric_key
from tests.chaos.invocation import Invocation

MINUTE = timedelta(minutes=1)
STALE_AFTER = timedelta(seconds=110)
Facts = object
"""What a rule depends on while it applies; None while it does not."""


@dataclass
class Condition:
    """How long the facts that one rule depends on have been unchanged, for one workload."""

    facts: Facts | None = None
    since: int = 0
    """The first moment at which they were as they are."""
    last_tick: datetime | None = None
    minutes: int = 0
    """Consecutive minutes with a healthy tick since then."""


@dataclass
class Liveness:
    """Updated before and after every invocation and every step inside one; each update is a moment."""

    cloud: Cloud
    moment: int = 0
    at_zero_with_work: dict[str, Condition] = field(default_factory=dict)
    above_min_and_empty: dict[str, Condition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for served in self.cloud.workloads:
            self.at_zero_with_work[served.name], self.above_min_and_empty[served.name] = (
                Condition(),
                Condition(),
            )

    def snapshot(self) -> None:
        """Update the state: something may have changed."""
        self.moment += 1
        for served in self.cloud.workloads:
            backlog, capacity = self.cloud.backlog(served), self.cloud.capacity(served)
            at_zero = capacity.desired == 0 and backlog.visible > 0
            idle = capacity.desired > 0 and backlog.total == 0
            bounds = self._allowed_bounds(served) if at_zero or idle else None
            self._update(
                self.at_zero_with_work[served.name],
                self._bootstrap_facts(served, bounds) if at_zero else None,
            )
            self._update(
                self.above_min_and_empty[served.name], self._shutdown_facts(served, bounds) if idle else None
            )

    def _update(self, condition: Condition, facts: Facts | None) -> None:
        if facts != condition.facts:
            condition.facts, condition.since, condition.minutes = facts, self.moment, 0

    def _bootstrap_facts(self, served: Workload, bounds: Bounds | None) -> Facts | None:
        if bounds is None or bounds.max == 0 or self.cloud.capacity(served).scale_out_blocked_by:
            return None
        return bounds, self.cloud.document(served)

    def _shutdown_facts(self, served: Workload, bounds: Bounds | None) -> Facts | None:
        capacity = self.cloud.capacity(served)
        if bounds is None or capacity.desired <= bounds.min or capacity.scale_in_blocked_by:
            return None
        own = metric_key(self.cloud.account.backlog_metric(served))
        if self.cloud.account.metrics.refusing or own in self.cloud.unreadable:
            return None
        states, name = self.cloud.account.states, served.name
        if name in states.failing:
            return None
        document = self.cloud.document(served)
        floor = floor_of(document, states.stored.get(name), self.cloud.account.clock())
        if floor is None or capacity.desired <= floor:
            return None
        return bounds, document, floor

    def _allowed_bounds(self, served: Workload) -> Bounds | None:
        """The common bounds, or None if anything prevents Sluice from acting on the workload."""
        account, document = self.cloud.account, self.cloud.document(served)
        broken = (
            account.registry.failing
            or account.registry.bad.get(served.name)
            or account.queues.failing.get(served.queue_url)
            or account.fleets.failing.get(served.fleet)
            or self.cloud.refused_actions.get(served.fleet)
            or self.cloud.capacity(served).unsupported_units
            or any(self.cloud.document(each).fleet != each.fleet for each in self.cloud.workloads)
        )
        bounds = common(document, self.cloud.capacity(served))
        return None if broken or document.mode is not Mode.ACTIVE else bounds

    def proofs(self, event: Event) -> dict[str, datetime]:
        """Workload -> the minute with which the proof of its emptiness ends, if CloudWatch returns it now.

        A tick's proof ends one minute before its own, an alarm's at the newest published, at most two back.
        """
        current = (event.tick or self.cloud.account.clock()).replace(second=0, microsecond=0)
        ends = [current - MINUTE * back for back in ((1,) if event.tick else (0, 1, 2))]
        proven = {}
        for served in self.cloud.workloads:
            minutes = self.cloud.document(served).idle_minutes
            points = self._published(served, ends[-1] - MINUTE * minutes, ends[0] + MINUTE)
            last = next((end for end in ends if end in points), None)
            if last and all(points.get(last - MINUTE * back) == 0 for back in range(minutes)):
                proven[served.name] = last
        return proven

    def unreadable(self, served: Workload, event: Event) -> bool:
        """Whether this is a tick for which the previous point is published but cannot be read yet."""
        if event.tick is None:
            return False
        before = event.tick.replace(second=0, microsecond=0) - MINUTE
        known = self.cloud.account.metrics.is_published(self.cloud.account.backlog_metric(served), before)
        return known and before not in self._published(served, before, before + MINUTE)

    def _published(self, served: Workload, start: datetime, end: datetime) -> Series:
        own = self.cloud.account.backlog_metric(served)
        query = SeriesQuery(metric=own, statistic="Maximum", period_s=60)
        return self.cloud.account.metrics.value_of(query, start, end)

    def after_alarm(self, run: Invocation, began: int, proofs: dict[str, datetime]) -> list[str]:
        """What a shutdown alarm that came at moment `began`, with these proofs, failed to do."""
        alarm, clock = run.event.alarm, self.cloud.account.clock()
        assert alarm is not None
        for served in self.cloud.workloads:
            document, idle = self.cloud.document(served), self.above_min_and_empty[served.name]
            own = alarm.is_alarm and alarm.arn == document.shutdown_alarm_arn
            unchanged = idle.facts is not None and idle.since <= began and run.remaining > 0
            # While the handler ran, a later minute may have started, or a later point become readable.
            same = (clock - run.began_at) < MINUTE and clock.minute == run.began_at.minute
            proven = proofs.get(served.name)
            if own and unchanged and same and proven and self.proofs(run.event).get(served.name) == proven:
                return [f"{served.name} is above its minimum after an alarm over points that prove it empty"]
        return []

    def after_tick(self, tick: Invocation, began: int, proofs: dict[str, datetime]) -> list[str]:
        """What a tick that began at moment `began`, with these proofs, failed to do."""
        assert tick.event.tick is not None
        if abs(tick.began_at - tick.event.tick) > STALE_AFTER or tick.remaining <= 0:
            return []
        undone = []
        for served in self.cloud.workloads:
            # The cached registry may be five minutes old: a tick can only follow the documents that it has.
            if (tick.served or {}).get(served.name) != self.cloud.document(served):
                continue
            at_zero, idle = self.at_zero_with_work[served.name], self.above_min_and_empty[served.name]
            if at_zero.facts is not None and at_zero.since <= began:
                undone.append(f"a healthy tick left {served.name} at zero with {self.cloud.backlog(served)}")
            if idle.facts is not None and idle.since <= began:
                self._count(idle, tick.event.tick)
                if served.name in proofs:
                    undone.append(
                        f"{served.name} is above its minimum after a tick over points that prove it empty"
                    )
            allowed = self.cloud.document(served).idle_minutes + 2 + self.cloud.delays.unreadable_in_a_row
            if idle.minutes >= allowed:
                undone.append(
                    f"{served.name} is above its minimum after {allowed} healthy ticks with an empty queue"
                )
        return undone

    def _count(self, idle: Condition, tick: datetime) -> None:
        on_time = tick <= self.cloud.account.clock() < tick + MINUTE
        if idle.minutes and (not on_time or idle.last_tick not in (tick, tick - MINUTE)):
            idle.minutes = 0
        if on_time and (not idle.minutes or idle.last_tick != tick):
            idle.minutes, idle.last_tick = idle.minutes + 1, tick
