"""A fleet file's devices are really there: seen on the bus with what they were given, changed live, accounted for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.testbed import NotShapedError, testbed
from bench.testbed.namespace import why_no_network
from stageline.emulation.fleet_file import FleetLink, load_fleet

pytestmark = pytest.mark.timeout(180)

LIVE = """
import asyncio, json, sys
from pathlib import Path
from bench.testbed import enter_private_network, testbed
from broker.bus import Bus
from services.planner.fleet import read_fleet
from stageline.emulation.fleet_file import FleetLink, load_fleet

async def until(bed, condition):
    async with Bus(bed.url, name="test") as bus, asyncio.timeout(60):
        while not condition(fleet := await read_fleet(bus)):
            bed.check()
            await asyncio.sleep(0.1)
        return fleet

async def told(bed):
    fleet = await until(bed, lambda fleet: len(fleet.usable) == len(bed.devices))
    fast = fleet.usable["fast"]
    result = {"cores": fast.capacity_cores, "memory": fast.info.memory_bytes, "busy_w": fast.info.power.busy_w}
    result["delayed"] = bed.links is None or bed.set_link("fast", FleetLink(up_mbps=1, down_mbps=1))
    bed.set_cores("fast", 0.25)
    if bed.device("fast").enforced:
        fleet = await until(bed, lambda fleet: fleet.usable["fast"].capacity_cores < 1)
    result["cores_then"] = fleet.usable["fast"].capacity_cores
    before = bed.cpu_s()
    bed.device("slow").kill("monitor")
    bed.device("slow").start()
    after = bed.cpu_s()
    result["cpu"] = after
    result["lost_cpu"] = [name for name in before if after[name] < before[name]]
    result["resident"] = bed.resident_bytes()
    return result

enter_private_network()
with testbed(load_fleet(Path(sys.argv[1])), library=Path(sys.argv[2])) as bed:
    result = asyncio.run(told(bed)) | {"unshaped": bed.unshaped, "enforced": bed.device("fast").enforced}
print(json.dumps(result), flush=True)
"""


def test_devices_have_what_the_file_states_and_are_changed_while_they_run(
    started: Callable[..., Any], fleet_path: Path, tmp_path: Path
) -> None:
    with started(LIVE, str(fleet_path), str(tmp_path / "library")) as (_, said):
        pass
    assert said["cores"] == pytest.approx(1.0)
    assert said["busy_w"] == 5
    if said["enforced"]:
        assert said["memory"] == 512 << 20
        assert said["cores_then"] == pytest.approx(0.25)
    assert said["delayed"] is True
    assert said["lost_cpu"] == []
    for used in (said["cpu"], said["resident"]):
        assert {"broker", "planner", "monitors", "workers", "worker:fast", "monitor:slow"} <= used.keys()
        assert used["workers"] == pytest.approx(used["worker:fast"] + used["worker:slow"])
        assert min(used["planner"], used["worker:fast"], used["monitor:fast"]) > 0
    # The slow device's delay is there or said not to be.
    assert all("netem" in clause for clause in said["unshaped"]) or why_no_network() or not said["enforced"]


def test_without_a_network_of_its_own_it_runs_on_loopback_and_says_so(fleet_path: Path, tmp_path: Path) -> None:
    with testbed(load_fleet(fleet_path), library=tmp_path / "library", folder=tmp_path / "bed") as bed:
        bed.check()
        assert bed.url.startswith("mqtt://127.0.0.1:")
        assert any("loopback" in clause for clause in bed.unshaped)
        with pytest.raises(NotShapedError, match=r"loopback.*(enter_private_network|root|Linux)"):
            bed.set_link("fast", FleetLink(up_mbps=1, down_mbps=1))
        with pytest.raises(NotShapedError):
            bed.cut("fast")
        with pytest.raises(NotShapedError):
            bed.mend("fast")
        assert bed.links is None
        assert (tmp_path / "bed" / "fast" / "worker.log").exists()
