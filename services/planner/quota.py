"""How long work takes under a CPU quota, when nothing else has used the quota up: bursts pass at full speed.

A quota of `cores` is enforced per period: `cores * period` of CPU time, then a stop until the next period begins. Work
that is shorter than that is not slowed down at all; longer work is stopped again and again. At sustained load every
period is used up, and the same work takes `cpu / cores`.

The kernel looks at the clock once per tick, so work overruns its quota by up to a tick and pays for it afterwards: at
sustained load that evens out, but work that ends in its overrun leaves the debt to the rest that follows.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_PHASES: Final = 16
_OVERRUNS: Final = 4
TICK_MS: Final = 4.0
"""Of kernels that tick 250 times a second, as Debian's and Raspberry Pi OS's do."""


def idle_wall_ms(cpu_ms: Floats, cores: float, period_ms: float) -> Floats:
    """Expected wall time of single-threaded work on an otherwise idle device, ms; same shape as `cpu_ms`.

    Args:
        cpu_ms: CPU time the work needs, ms; `inf` stays `inf`.
        cores: the quota; from one core on, a single thread is never stopped.
        period_ms: the quota's period; 0 when there is none and work is simply `1 / cores` times slower.
    """
    if cores >= 1.0:
        return cpu_ms.copy()
    if period_ms <= 0:
        return cpu_ms / cores
    quota_ms = cores * period_ms
    work = np.where(np.isfinite(cpu_ms), cpu_ms, 0.0)
    total = np.zeros_like(work)
    for phase in range(_PHASES):
        # Work may begin anywhere in a period; it then has the rest of that period, or the quota if that is less.
        rest = period_ms * (phase + 0.5) / _PHASES
        first = min(quota_ms, rest)
        left = work - first
        for step in range(_OVERRUNS):
            overrun = TICK_MS * (step + 0.5) / _OVERRUNS
            stops = np.ceil((left - overrun) / quota_ms) - 1
            stopped = rest + stops * period_ms + (left - stops * quota_ms)
            total += np.where(left <= overrun, work, np.maximum(stopped, work))
    return np.where(np.isfinite(cpu_ms), total / (_PHASES * _OVERRUNS), np.inf)
