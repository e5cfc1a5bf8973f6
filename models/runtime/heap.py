"""Freed memory, given back to the system."""

from __future__ import annotations

import ctypes


def return_freed_memory() -> None:
    """Shrink the heap where the C library can: glibc keeps what was freed below anything still in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
