"""What happens while nothing works through it does not pile up, and loses nothing that matters."""

from __future__ import annotations

from schemas.stages import StagesHeld
from services.planner.events import Held, Lost, Tick
from services.planner.happenings import Happenings


def report(device: str, budget: int) -> Held:
    return Held(StagesHeld(device=device, boot_id="b1", online=True, memory_budget_bytes=budget))


async def test_of_many_reports_of_a_device_the_latest_waits_in_the_place_of_the_first() -> None:
    happened = Happenings()
    happened.put("cats", Lost("nano"))
    for number in range(1000):
        happened.put(None, report("pi", number))
        happened.put(None, report("nano", number))
        happened.put(None, Tick())
    assert len(happened) == 4
    taken = [await happened.take() for _ in range(4)]
    assert taken == [("cats", Lost("nano")), (None, report("pi", 999)), (None, report("nano", 999)), (None, Tick())]


async def test_what_was_taken_may_come_again() -> None:
    happened = Happenings()
    for _ in range(2):
        happened.put(None, Tick())
        happened.put(None, report("pi", 1))
        assert [await happened.take() for _ in range(2)] == [(None, Tick()), (None, report("pi", 1))]
