"""Time and memory of a device that several deployments share, as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.stages import HeldStage, StagesHeld, StageState
from services.planner.sharing import Use, held_bytes, memory_bytes, over_share, time_share

CATS, DOGS = Use("cats", 1.0, frozenset({"pi", "nano"})), Use("dogs", 3.0, frozenset({"pi"}))


def held(
    deployment: str, nbytes: int, *, first: int = 0, state: StageState = "ready", model: str = "", variant: str = ""
) -> HeldStage:
    model = model or deployment
    return HeldStage(
        deployment=deployment, generation=1, stage="r0s0", model=model, card_sha=f"{ord(model[0]):064x}",
        first=first, last=first + 2, variant=variant, state=state, memory_bytes=nbytes,
    )  # fmt: skip


def worker(*stages: HeldStage, device: str = "pi") -> StagesHeld:
    return StagesHeld(device=device, boot_id="b", online=True, memory_budget_bytes=1000, stages=stages)


def test_a_device_of_ones_own_is_all_ones_own() -> None:
    assert time_share("nano", "cats", 1.0, [CATS, DOGS]) == 1.0
    assert time_share("tx2", "cats", 1.0, [CATS, DOGS]) == 1.0


def test_a_shared_device_is_shared_by_weight_also_with_one_who_is_not_there_yet() -> None:
    assert time_share("pi", "cats", 1.0, [CATS, DOGS]) == 0.25
    assert time_share("pi", "dogs", 3.0, [CATS, DOGS]) == 0.75
    assert time_share("pi", "birds", 4.0, [CATS, DOGS]) == 0.5


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=5))
def test_shares_add_up_to_the_device(weights: list[float]) -> None:
    uses = [Use(f"d{number}", weight, frozenset({"pi"})) for number, weight in enumerate(weights)]
    assert sum(time_share("pi", use.deployment, use.weight, uses) for use in uses) == pytest.approx(1.0)


def test_what_others_hold_is_theirs_while_everything_fits() -> None:
    holds = worker(held("cats", 200), held("dogs", 700), held("dogs", 50, first=4, state="draining"))
    assert memory_bytes(holds, "cats", 1.0, [CATS, DOGS], contested=False) == 300
    assert memory_bytes(holds, "birds", 1.0, [CATS, DOGS], contested=False) == 100


def test_the_same_blocks_count_once_only_where_they_are_the_same_rows_with_the_same_exits() -> None:
    whole = held("cats", 200, model="net"), held("dogs", 200, model="net")
    assert sum(held_bytes(whole, "birds").values()) == 200
    several = (
        *whole,
        held("cats", 220, model="net", variant="an exit"),
        held("dogs", 210, model="net", variant="a band"),
    )
    assert sum(held_bytes(several, "birds").values()) == 630
    assert memory_bytes(worker(*several), "birds", 1.0, [CATS, DOGS], contested=False) == 370


def test_where_it_does_not_fit_others_keep_their_weighted_share_and_no_more() -> None:
    holds = worker(held("cats", 600), held("dogs", 400))
    assert memory_bytes(holds, "dogs", 3.0, [CATS, DOGS], contested=True) == 750
    assert memory_bytes(holds, "cats", 1.0, [CATS, DOGS], contested=True) == 600
    assert over_share(holds, "dogs", 3.0, [CATS, DOGS]) == ("cats",)
    assert over_share(holds, "birds", 1.0, [CATS, DOGS]) == ("cats",)


def test_a_claim_limits_those_who_are_there_to_their_share() -> None:
    holds = worker(held("cats", 600))
    waiting = Use("dogs", 3.0, frozenset({"pi"}), claims=frozenset({"pi"}))
    assert memory_bytes(holds, "cats", 1.0, [CATS, waiting], contested=False) == 250
    assert memory_bytes(holds, "dogs", 3.0, [CATS, waiting], contested=False) == 400
