"""glibc does what it is asked, and nothing breaks where there is none."""

from __future__ import annotations

import ctypes
import platform

import pytest

from broker import heap


@pytest.mark.parametrize("ask", [heap.keep_freed_memory.__wrapped__, heap.use_two_heaps])
def test_glibc_agrees(ask) -> None:
    assert ask() == (platform.libc_ver()[0] == "glibc")


@pytest.mark.parametrize("ask", [heap.keep_freed_memory.__wrapped__, heap.use_two_heaps])
def test_where_the_c_library_has_no_such_setting_nothing_is_done(ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert ask() is False
