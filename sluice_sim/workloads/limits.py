"""The ranges of the simulator's inputs, so that every run ends and no number overflows.

Where AWS has a limit, it is that one; the others are far beyond any real use.
"""

from __future__ import annotations

MIN_S = 0.001
"""Shortest processing time, promise and interval."""
MAX_S = 30 * 86_400.0
"""Longest processing time, boot and promise."""
MIN_TICK_S = 1.0
"""SQS counts are approximate, and no scheduler is faster than this."""
MAX_TICK_S = 86_400.0
MAX_VARIATION = 100.0
"""Coefficient of variation of processing times."""
MAX_VISIBILITY_TIMEOUT_S = 43_200.0
"""SQS limit: twelve hours."""
MAX_DELAY_S = 900.0
"""SQS limit: fifteen minutes."""
MAX_COUNT_LAG_S = 3600.0
"""SQS documents one minute until its counts are consistent."""
MAX_INTERRUPTIONS_PER_HOUR = 60.0
MAX_GROUPS = 100_000_000
MAX_INSTANCES = 100_000
"""Instances of a fleet; each is a Python object."""
MAX_DOWNSTREAM_CAPACITY = 100_000_000
"""All instances with all their slots."""
MAX_FAILED_TIME_RATIO = 100.0

MAX_MESSAGES = 100_000_000
"""More do not fit into the memory of common machines."""
MAX_INTERVALS = 10_000_000
MAX_DAYS = 1100
"""Length of a trace: three years."""
MAX_TICKS = 5_000_000
"""Ticks of a run; each takes a few ten thousandths of a second."""
MILLISECONDS_FROM = 1e11
"""In seconds this is the year 5138: a larger timestamp must be in milliseconds or less."""
