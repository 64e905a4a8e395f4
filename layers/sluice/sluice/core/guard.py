"""The downstream guard: while what the messages need fails, more workers only make it worse.

Owns when the guard engages, how long it holds and when it releases, with the sentences of each. An unknown
signal neither engages nor releases it; the clock alone always ends a hold. A hold that has ended by the clock
is remembered, so that the same failure does not engage the guard again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sluice.core.minutes import MINUTE, minute_of
from sluice.core.model import GuardDecision, GuardSettings, Reason, Trigger, Unknown
from sluice.core.pause import ENABLED, HELD, OUT, OUT_SUSPENDED

WINDOW_MINUTES = 5
"""Full minutes over which the failed share and the growth are taken."""
MIN_ENDED_MESSAGES = 10
"""Messages that a share of failed ones needs: of fewer, one more failure moves it by more than a tenth."""
RELEASE_RATIO = 0.5
"""A signal counts as well below this share of its threshold. Between the two nothing changes."""
CALM_MINUTES = 5
"""Minutes in which every signal was known and well, before a hold is released."""
EPISODE_ENDS_AFTER = timedelta(hours=1)
"""A failure that has not been seen for this long is over, also if no signal was known meanwhile."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Messages whose handler ended within the window, and those of them that failed or timed out."""

    messages: float
    failed: float

    @property
    def failed_percent(self) -> float:
        """The share of the failed ones; of at least one message."""
        return 100 * self.failed / self.messages

    @property
    def is_enough(self) -> bool:
        """Whether a share of so few messages means something."""
        return self.messages >= MIN_ENDED_MESSAGES


class AlarmState(StrEnum):
    """The states of a CloudWatch alarm."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardReadings:
    """The signals of a downstream; what is not watched is None, what could not be read Unknown."""

    ended: Ended | Unknown | None = None
    dead_letters_per_minute: float | Unknown | None = None
    alarm: AlarmState | Unknown | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A hold of the guard, as it is stored; it has ended once `until` has come."""

    at: datetime
    until: datetime
    why: str
    """The signals that engaged it, with their numbers."""
    seen_at: datetime
    """When a signal was last known and not well."""
    calm_minutes: int = 0
    """Minutes in which every signal was known and well, since one was not."""
    calm_at: datetime | None = None
    """The newest of them."""
    is_held_by_aws: bool = False
    """Whether AWS was asked to hold its own policy, and did."""
    is_put_back: bool = False
    """Whether AWS's own policy is as it was before the hold."""
    before: Mapping[str, bool] = field(default_factory=dict)
    """AWS's fields that hold its own policy, as they were before the hold and as they are put back."""
    text: str = field(default="", compare=False)
    """The stored form that was read, on which a write is conditional."""

    def in_force(self, now: datetime) -> bool:
        """Whether it holds anything now: it ends by the clock alone, whoever deletes it."""
        return now < self.until

    @property
    def held(self) -> Mapping[str, bool]:
        """Of AWS's fields that the fleet has, those that the guard sets: as a pause of scale-out does."""
        return {name: value for name, value in HELD[OUT].items() if name in self.before}

    @property
    def held_in_policy(self) -> Mapping[str, bool]:
        """Of these, the field of a group's policy, which every put of the policy sets too."""
        return {name: value for name, value in self.held.items() if name == ENABLED}

    @property
    def suspends_scale_out(self) -> bool:
        """Whether AWS names this hold, and nobody else's, as what blocks scale-out of a service."""
        return self.before.get(OUT_SUSPENDED) is False

    def __str__(self) -> str:
        return f"guarded since {_minute(self.at)} until {_minute(self.until)} at the latest: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarding:
    """A decision of the guard, and what it leaves behind."""

    decision: GuardDecision
    guard: Guard | None
    """What to remember; None for nothing."""


def decide_guard(
    workload: str,
    settings: GuardSettings,
    readings: GuardReadings,
    guard: Guard | None,
    now: datetime,
    trigger: Trigger = Trigger.TICK,
) -> Guarding:
    """Whether to hold scale-out, once a minute.

    `guard` is what the previous decision returned, None for nothing. A decision to release is repeated until
    the caller has put AWS's own policy back: then it forgets a failure that is over, and sets `is_put_back`
    of one that the clock has ended.
    """
    signals = [*_signals(settings, readings)]
    numbers = "; ".join(signal.text for signal in signals)

    def decided(
        reason: Reason, after: Guard | None, *, engages: bool | None = None, more: str = ""
    ) -> Guarding:
        ended = readings.ended
        growth = readings.dead_letters_per_minute
        known = after or guard
        return Guarding(
            decision=GuardDecision(
                workload=workload,
                trigger=trigger,
                reason=reason,
                engages=engages,
                until=known.until if known else None,
                failed_percent=ended.failed_percent if isinstance(ended, Ended) and ended.is_enough else None,
                ended_messages=ended.messages if isinstance(ended, Ended) else None,
                dead_letters_per_minute=growth if isinstance(growth, int | float) else None,
                alarm=readings.alarm if isinstance(readings.alarm, AlarmState) else None,
                detail="; ".join(part for part in (numbers, more) if part),
            ),
            guard=after,
        )

    failing = [signal.text for signal in signals if signal.level is Level.FAILING]
    if guard is None:
        if not failing:
            is_known = all(signal.level is not Level.UNKNOWN for signal in signals)
            return decided(Reason.DOWNSTREAM_WELL if is_known else Reason.UNKNOWN_READING, None)
        until = now + timedelta(minutes=settings.minutes)
        engaged = Guard(at=now, until=until, why="; ".join(failing), seen_at=now)
        return decided(
            Reason.DOWNSTREAM_FAILS, engaged, engages=True, more=f"held until {_minute(until)} at the latest"
        )
    if not guard.is_put_back and not guard.in_force(now):
        is_well = guard.calm_minutes >= CALM_MINUTES
        reason = Reason.DOWNSTREAM_RECOVERED if is_well else Reason.GUARD_OVER
        return decided(reason, guard, engages=False, more=_held_for(guard))
    after = _observed(guard, signals, now)
    if guard.is_put_back:
        if after.calm_minutes or now - guard.seen_at >= EPISODE_ENDS_AFTER:
            return decided(Reason.DOWNSTREAM_WELL, None)
        return decided(Reason.GUARD_SPENT, after, more=_held_for(guard))
    if after.calm_minutes >= CALM_MINUTES:
        released = replace(after, until=now)
        return decided(Reason.DOWNSTREAM_RECOVERED, released, engages=False, more=_held_for(released))
    return decided(Reason.GUARDED, after, more=f"{after.calm_minutes} of {CALM_MINUTES} minutes well")


def dead_letters_per_minute(depths: Mapping[datetime, float], now: datetime) -> float | Unknown:
    """Growth of a queue by its depths at the starts of minutes, over the newest five of them.

    SQS publishes a depth one to two minutes late, so the newest may be as old as the window.
    """
    newest = max(depths, default=None)
    if newest is None or now - newest > (WINDOW_MINUTES + 1) * MINUTE:
        return Unknown(reason="SQS has published no depth of the dead-letter queue in the last minutes")
    oldest = min(moment for moment in depths if newest - moment <= WINDOW_MINUTES * MINUTE)
    if oldest == newest:
        return Unknown(reason="SQS has published one depth of the dead-letter queue: growth needs two")
    return (depths[newest] - depths[oldest]) / ((newest - oldest) / MINUTE)


def encoded(guard: Guard) -> str:
    """The stored form, a JSON object; a person may read it in DynamoDB's console."""
    return json.dumps(
        {
            "at": guard.at.isoformat(),
            "until": guard.until.isoformat(),
            "why": guard.why,
            "seen_at": guard.seen_at.isoformat(),
            "calm_minutes": guard.calm_minutes,
            "calm_at": None if guard.calm_at is None else guard.calm_at.isoformat(),
            "is_held_by_aws": guard.is_held_by_aws,
            "is_put_back": guard.is_put_back,
            "before": dict(guard.before),
        },
        sort_keys=True,
    )


def as_stored(guard: Guard) -> Guard:
    """The hold as it will be read back."""
    return replace(guard, text=encoded(guard))


def decoded(text: object) -> Guard:
    """The hold of a stored form. What cannot be read has ended: no hold may last without a known end."""
    try:
        stored = json.loads(str(text))
        return Guard(
            at=_moment(stored["at"]),
            until=_moment(stored["until"]),
            why=str(stored["why"]),
            seen_at=_moment(stored["seen_at"]),
            calm_minutes=int(stored["calm_minutes"]),
            calm_at=None if stored["calm_at"] is None else _moment(stored["calm_at"]),
            is_held_by_aws=stored["is_held_by_aws"] is True,
            is_put_back=stored["is_put_back"] is True,
            before={str(name): value is True for name, value in stored["before"].items()},
            text=str(text),
        )
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as wrong:
        why = f"what is stored of it cannot be read ({wrong})"
        return Guard(at=EPOCH, until=EPOCH, why=why, seen_at=EPOCH, is_put_back=True, text=str(text))


class Level(StrEnum):
    """What one signal says."""

    UNKNOWN = "unknown"
    FAILING = "failing"
    BETWEEN = "between"
    WELL = "well"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One signal that is watched, with its numbers."""

    level: Level
    text: str


def _signals(settings: GuardSettings, readings: GuardReadings) -> Iterator[Signal]:
    if settings.failed_percent is not None:
        yield _failed_share(settings.failed_percent, readings.ended)
    if settings.dead_letters_per_minute is not None:
        yield _growth(settings.dead_letters_per_minute, readings.dead_letters_per_minute)
    if settings.alarm_name is not None:
        yield _alarm(settings.alarm_name, readings.alarm)


def _failed_share(threshold: float, ended: Ended | Unknown | None) -> Signal:
    if not isinstance(ended, Ended):
        return _unknown("the share of failed messages", ended)
    if not ended.is_enough:
        text = f"{ended.messages:.0f} messages ended in {WINDOW_MINUTES} minutes"
        return Signal(level=Level.UNKNOWN, text=f"{text}: a share needs {MIN_ENDED_MESSAGES}")
    share = ended.failed_percent
    text = f"{share:.3g} % of {ended.messages:.0f} messages failed in {WINDOW_MINUTES} minutes"
    return Signal(level=_level(share, threshold), text=f"{text} (threshold {threshold:g} %)")


def _growth(threshold: float, per_minute: float | Unknown | None) -> Signal:
    if per_minute is None or isinstance(per_minute, Unknown):
        return _unknown("the growth of the dead-letter queue", per_minute)
    text = f"the dead-letter queue grew by {per_minute:.3g} messages a minute (threshold {threshold:g})"
    return Signal(level=_level(per_minute, threshold), text=text)


def _alarm(name: str, state: AlarmState | Unknown | None) -> Signal:
    if state is None or isinstance(state, Unknown):
        return _unknown(f"the alarm {name}", state)
    levels = {AlarmState.ALARM: Level.FAILING, AlarmState.OK: Level.WELL}
    return Signal(level=levels.get(state, Level.UNKNOWN), text=f"the alarm {name} is in {state}")


def _unknown(what: str, reading: Unknown | None) -> Signal:
    reason = reading.reason if reading else "it was not read"
    return Signal(level=Level.UNKNOWN, text=f"{what} is unknown: {reason}")


def _level(value: float, threshold: float) -> Level:
    if value > threshold:
        return Level.FAILING
    return Level.WELL if value < RELEASE_RATIO * threshold else Level.BETWEEN


def _observed(guard: Guard, signals: Collection[Signal], now: datetime) -> Guard:
    """The hold after these signals; two readings of one minute count once."""
    levels = {signal.level for signal in signals}
    if levels & {Level.FAILING, Level.BETWEEN}:
        return replace(guard, seen_at=now, calm_minutes=0, calm_at=None)
    if Level.UNKNOWN in levels:
        return guard
    minute = minute_of(now)
    if guard.calm_at is not None and minute <= guard.calm_at:
        return guard
    return replace(guard, calm_minutes=guard.calm_minutes + 1, calm_at=minute)


def _held_for(guard: Guard) -> str:
    minutes = (guard.until - guard.at) / MINUTE
    return f"held for {minutes:.0f} minutes, since {_minute(guard.at)}, because {guard.why}"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
