"""How glibc keeps memory in a process that moves frames. Giving it back is `models.runtime.heap`."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Mapping
from functools import cache
from typing import Final

_LOG = logging.getLogger(__name__)
# From glibc's malloc.h.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_KEPT_BYTES: Final = 16 << 20


@cache
def keep_freed_memory() -> bool:
    """Let glibc keep up to 16 MiB of freed memory at hand, for this whole process; False where there is no glibc.

    By default it gives buffers of a frame's size back to the kernel as soon as they are free, and the next frame pays
    for fresh, zeroed pages: two thirds of the time of an 800 KB hop (`stageline bench hop`).
    """
    done = _tune({_TRIM_THRESHOLD: _KEPT_BYTES, _MMAP_THRESHOLD: _KEPT_BYTES})
    _LOG.debug("freed memory is kept for the next frame: %s", done)
    return done


def use_two_heaps() -> bool:
    """Ask glibc for two heaps rather than one per thread: each would keep what it once needed."""
    return _tune({_ARENA_MAX: 2})


def _tune(parameters: Mapping[int, int]) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return all(mallopt(parameter, value) == 1 for parameter, value in parameters.items())
