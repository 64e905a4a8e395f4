"""What must happen in time, checked against the true state of AWS: the liveness rules.

After a healthy tick no fleet stays at zero while messages wait, and a fleet with an empty queue is set to its
minimum, which its shutdown alarm does as well. An invocation is not checked where the workload was unhealthy
meanwhile, or where anything changed that the rule depends on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sluice.core.model import Bounds, Mode, Workload
from sluice.ports import Series, SeriesQuery
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
    sleeping: dict[str, Condition] = field(default_factory=dict)
    idling: dict[str, Condition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for served in self.cloud.workloads:
            self.sleeping[served.name], self.idling[served.name] = Condition(), Condition()

    def snapshot(self) -> None:
        """Update the state: something may have changed."""
        self.moment += 1
        for served in self.cloud.workloads:
            backlog, capacity = self.cloud.backlog(served), self.cloud.capacity(served)
            asleep = capacity.desired == 0 and backlog.visible > 0
            idle = capacity.desired > 0 and backlog.total == 0
            room = self._room(served) if asleep or idle else None
            self._stand(self.sleeping[served.name], self._may_wake(served, room) if asleep else None)
            self._stand(self.idling[served.name], self._may_go_home(served, room) if idle else None)

    def _stand(self, unbroken: Condition, facts: Facts | None) -> None:
        if facts != unbroken.facts:
            unbroken.facts, unbroken.since, unbroken.minutes = facts, self.moment, 0

    def _may_wake(self, served: Workload, room: Bounds | None) -> Facts | None:
        if room is None or room.max == 0 or self.cloud.capacity(served).scale_out_held_by:
            return None
        return room, self.cloud.document(served)

    def _may_go_home(self, served: Workload, room: Bounds | None) -> Facts | None:
        capacity = self.cloud.capacity(served)
        if room is None or capacity.desired <= room.min or capacity.scale_in_held_by:
            return None
        own = metric_key(self.cloud.account.backlog_metric(served))
        if self.cloud.account.metrics.refusing or own in self.cloud.unreadable:
            return None
        return room, self.cloud.document(served)

    def _room(self, served: Workload) -> Bounds | None:
        """The common bounds, where nothing prevents Sluice from acting on the workload."""
        account, document = self.cloud.account, self.cloud.document(served)
        broken = (
            account.registry.failing
            or account.registry.bad.get(served.name)
            or account.queues.failing.get(served.queue_url)
            or account.fleets.failing.get(served.fleet)
            or self.cloud.refused_actions.get(served.fleet)
            or self.cloud.capacity(served).counted_by
            or any(self.cloud.document(each).fleet != each.fleet for each in self.cloud.workloads)
        )
        bounds = common(document, self.cloud.capacity(served))
        return None if broken or document.mode is not Mode.ACTIVE else bounds

    def proofs(self, event: Event) -> dict[str, datetime]:
        """Workload -> the minute with which the proof of its emptiness ends, where CloudWatch shows it now.

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
        """Whether this is a tick to which the point before its own is published and cannot be read yet."""
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
            document, idle = self.cloud.document(served), self.idling[served.name]
            own = alarm.is_alarm and alarm.arn == document.shutdown_alarm_arn
            stood = idle.facts is not None and idle.since <= began and run.remaining > 0
            # While the handler ran, a later minute may have begun, or a later point become readable.
            same = (clock - run.began_at) < MINUTE and clock.minute == run.began_at.minute
            proven = proofs.get(served.name)
            if own and stood and same and proven and self.proofs(run.event).get(served.name) == proven:
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
            asleep, idle = self.sleeping[served.name], self.idling[served.name]
            if asleep.facts is not None and asleep.since <= began:
                undone.append(f"a healthy tick left {served.name} asleep over {self.cloud.backlog(served)}")
            if idle.facts is not None and idle.since <= began:
                self._count(idle, tick.event.tick)
                if served.name in proofs:
                    undone.append(
                        f"{served.name} is above its minimum after a tick over points that prove it empty"
                    )
            allowed = self.cloud.document(served).idle_minutes + 2 + self.cloud.delays.unreadable_in_a_row
            if idle.minutes >= allowed:
                undone.append(
                    f"{served.name} is above its minimum after {allowed} healthy ticks over nothing"
                )
        return undone

    def _count(self, idle: Condition, tick: datetime) -> None:
        on_time = tick <= self.cloud.account.clock() < tick + MINUTE
        if idle.minutes and (not on_time or idle.last_tick not in (tick, tick - MINUTE)):
            idle.minutes = 0
        if on_time and (not idle.minutes or idle.last_tick != tick):
            idle.minutes, idle.last_tick = idle.minutes + 1, tick
