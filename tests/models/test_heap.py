"""What becomes of freed memory is asked for in one place, and wherever it runs."""

from __future__ import annotations

import ctypes

import pytest

from models.runtime import heap


def test_giving_memory_back_and_keeping_it_work_here() -> None:
    heap.return_freed_memory()
    heap.keep_activations()


def test_they_do_nothing_where_the_c_library_knows_no_such_thing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    heap.keep_activations.cache_clear()
    heap.return_freed_memory()
    heap.keep_activations()
