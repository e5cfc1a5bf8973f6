"""A fleet file becomes what the planner would know of its devices: one core measured here, and scaled."""

from __future__ import annotations

import pytest

from models.profiling import ProfiledBlocks
from schemas.deployment import Deployment
from schemas.device import LinkMeasure
from services.planner.cost import problem_from
from services.planner.facts import DeviceFacts, HubFacts
from services.planner.policies import find_policy
from services.worker.frame_cost import FrameCost
from stageline.benches.planner import made_up_card
from stageline.emulation.fleet_file import FleetFile
from stageline.paper_fleet import ASSUMED_POWER, SERVICES_BYTES, OneCore, on_paper

CARD = made_up_card(1)
LOOPBACK = LinkMeasure(rtt_ms=0.5, up_mbps=6000, down_mbps=7.0, probe_bytes=1, age_s=0.0)
# Runs took twice their processor time: this machine had other work, which the emulated devices have not.
MEASURED = OneCore(ProfiledBlocks((20.0, 40.0), 2.0, 5, 0.9, 2.0), FrameCost(1.0, 0.5), LOOPBACK, 1_000_000)


def fleet_of(*devices: dict[str, object], scale: float = 1.0) -> FleetFile:
    return FleetFile.model_validate({"name": "f", "scale": scale, "device": devices})


def only(fleet: FleetFile) -> DeviceFacts:
    [facts] = on_paper(CARD, fleet, MEASURED)
    return facts


def test_a_part_of_a_core_takes_longer_in_proportion_and_other_work_here_does_not_count() -> None:
    facts = only(fleet_of({"name": "pi", "cores": 1.0}, scale=0.25))
    assert facts.profile.block_ms == (40.0, 80.0)
    assert (facts.profile.stage_overhead_ms, facts.stage_overhead_ms) == (4.0, 4.0)
    assert (facts.profile.frame_ms, facts.profile.frame_ms_per_mb) == (4.0, 2.0)
    assert (facts.info.capacity_cores, facts.profile.capacity_cores, facts.info.quota_period_ms) == (0.25, 0.25, 10.0)


def test_whole_cores_share_the_work_but_one_thread_handles_frames() -> None:
    facts = only(fleet_of({"name": "big", "cores": 2.5}))
    assert facts.profile.block_ms == (5.0, 10.0)
    assert facts.profile.threads == 2
    assert facts.profile.frame_ms == 1.0


def test_what_the_file_says_counts() -> None:
    facts = only(
        fleet_of(
            {
                "name": "pi", "cores": 1.0, "memory_mb": 512, "power": {"idle_w": 1.5, "busy_w": 4.5},
                "link": {"up_mbps": 5.0, "down_mbps": 8.0, "delay_ms": 10.0},
            }
        )
    )  # fmt: skip
    # 8 Mbit/s down would be more than this machine passes on.
    assert (facts.link.up_mbps, facts.link.down_mbps) == (5.0, 7.0)
    assert facts.link.rtt_ms == pytest.approx(20.5)
    assert (facts.info.power.idle_w, facts.info.power.busy_w, facts.info.power.method) == (1.5, 4.5, "modelled")
    assert facts.info.memory_bytes == 512 << 20
    assert facts.memory_budget_bytes == int(0.45 * ((512 << 20) - SERVICES_BYTES))
    assert facts.max_packet_bytes == 1_000_000


def test_what_it_does_not_say_is_assumed_and_the_watts_say_so() -> None:
    facts = only(fleet_of({"name": "pi", "cores": 1.0}))
    assert facts.link == LOOPBACK
    assert (facts.info.power.idle_w, facts.info.power.busy_w) == (ASSUMED_POWER.idle_w, ASSUMED_POWER.busy_w)
    assert "assumed" in facts.info.power.source
    assert facts.memory_budget_bytes > 0


def test_too_little_memory_for_the_services_leaves_none_for_stages() -> None:
    assert only(fleet_of({"name": "mote", "cores": 1.0, "memory_mb": 64})).memory_budget_bytes == 0


def test_devices_keep_their_order_and_can_be_planned_for() -> None:
    fleet = fleet_of({"name": "z", "cores": 0.5}, {"name": "a", "cores": 1.0})
    devices = on_paper(CARD, fleet, MEASURED)
    assert [one.name for one in devices] == ["z", "a"]
    wish = Deployment(deployment="d", model=CARD.name)
    choice = find_policy("best-single").plan(problem_from(CARD, wish, devices, HubFacts()))
    assert choice.routes[0].devices == ("a",)
