"""The fleet is followed on a real broker, where anybody can speak in anybody's name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from unittest.mock import Mock

from schemas.stages import StagesHeld
from schemas.topics import DEVICE_STAGES
from services.planner.watch import FleetWatch

if TYPE_CHECKING:
    from tests.services.planner.house import House

WITHIN_S = 60.0


async def test_a_worker_in_whose_name_somebody_lied_once_is_asked_and_believed_again(house: House) -> None:
    device = await house.device("pi")
    watch = FleetWatch(house.bus, boot_id="planner", answer_within_s=WITHIN_S)
    observer = Mock()
    async with watch.follow(observer):
        lie = StagesHeld(device="pi", boot_id="0", online=True)
        await house.bus.publish(DEVICE_STAGES, lie, device="pi", remember=False)
        for boot in ("0", device.boot):
            async with asyncio.timeout(WITHIN_S):
                await watch.until(lambda fleet, boot=boot: fleet.devices["pi"].boot == boot)
        assert watch.fleet.devices["pi"].usable
    assert {call.args for call in observer.lost.call_args_list} == {("pi", "it started again")}
