"""What the simulator plays: ranges of its inputs, so that every run ends and no number overflows.

Most are far beyond what AWS allows or anybody runs; where AWS has a limit of its own, it is that one.
"""

from __future__ import annotations

MIN_S = 0.001
"""A shorter time (a message's processing, a promise, an interval) is none."""
MAX_S = 30 * 86_400.0
"""Of one message's processing, of a boot, of a promise."""
MIN_TICK_S = 1.0
"""SQS counts are approximate, and no scheduler is faster."""
MAX_TICK_S = 86_400.0
MAX_VARIATION = 100.0
"""Coefficient of variation of processing times."""
MAX_VISIBILITY_TIMEOUT_S = 43_200.0
"""SQS: twelve hours."""
MAX_DELAY_S = 900.0
"""SQS: a quarter of an hour."""
MAX_COUNT_LAG_S = 3600.0
"""SQS documents a minute until its counts are consistent."""
MAX_INTERRUPTIONS_PER_HOUR = 60.0
MAX_GROUPS = 100_000_000
MAX_INSTANCES = 100_000
"""Of one fleet: each is an object."""

MAX_MESSAGES = 100_000_000
"""More do not fit into the memory of the machines this runs on."""
MAX_INTERVALS = 10_000_000
MAX_DAYS = 1100
"""Of a trace: three years."""
MAX_TICKS = 5_000_000
"""Of a run; each takes some ten thousandths of a second."""
MILLISECONDS_FROM = 1e11
"""As seconds this is the year 5138: a larger timestamp counts milliseconds or less."""
