"""Every policy can be asked for on the bus, and what it plans is served."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from schemas.topics import DEPLOYMENT
from services.planner.policies import policy_names

if TYPE_CHECKING:
    from tests.services.planner.house import House

TRAINED = {"ppo"}
"""Must be trained first, and are refused where nothing was."""
SPLITTING = {"neurosurgeon", "dads", "pipe-edge", "heft"}


@pytest.mark.parametrize("objective", ["latency", "throughput"])
async def test_whatever_policy_is_asked_for_its_plan_is_served(house: House, objective: str) -> None:
    house.import_model()
    await house.device("fast")
    await house.device("slow", block_ms=5.0)
    async with house.planner():
        for name in sorted({*policy_names()} - TRAINED):
            await house.want(name, policy=name, objective=objective)
            plan = await house.serving(name)
            assert plan.policy == name
            assert set(plan.devices) <= {"fast", "slow"}
            # Some refuse devices that others keep busy.
            await house.bus.clear(DEPLOYMENT, deployment=name)
            await house.decision("removed", name)


async def test_where_no_device_has_room_the_policies_that_split_do(house: House) -> None:
    house.import_model(weight_bytes=20_000_000)
    room = dict.fromkeys(("one", "other"), 70_000_000)
    await house.device("one")
    await house.device("other")
    async with house.planner():
        for name in sorted(SPLITTING):
            await house.want(name, policy=name, memory_limit_bytes=room)
            plan = await house.serving(name)
            assert [len(route.stages) for route in plan.routes] == [2], str(plan)
        await house.want("whole", policy="best-single", memory_limit_bytes=room)
        told = await house.decision("failed", "whole")
        assert "no single device" in told.error
