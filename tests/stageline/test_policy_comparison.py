"""Every policy's figures on one problem, checked by hand; and how they are printed."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

import pytest
from rich.console import Console

from models.profiling import ProfiledBlocks
from schemas.deployment import Deployment
from schemas.device import LinkMeasure
from schemas.model import Blob, Block, Cut, ModelCard, TensorSpec
from schemas.plan import Objective, Route, Stage
from services.planner.complete import choose
from services.planner.cost import Problem, problem_from
from services.planner.errors import InfeasibleError
from services.planner.facts import HubFacts
from services.planner.line_cost import Line, Placement
from services.planner.policies import POLICIES, find_policy
from services.planner.policy import Choice
from services.worker.frame_cost import FrameCost
from stageline.comparison_table import comparison_document, show_comparison
from stageline.emulation.fleet_file import FleetFile
from stageline.paper_fleet import OneCore, on_paper
from stageline.policy_comparison import BETTER, best_of, compare, short_plan

CUT_BYTES = (4000, 400, 800, 40)
LINK = LinkMeasure(rtt_ms=0.0, up_mbps=1e6, down_mbps=1e6, probe_bytes=1, age_s=0.0)
NEED_BYTES = (10, 30, 20)


def problem(objective: Objective = "latency") -> Problem:
    """Two devices, the second half as fast; three blocks that need 10, 30 and 20 bytes."""
    card = ModelCard(
        name="made-up", source="test", graph=Blob(sha256="0" * 64, nbytes=1), blobs=(),
        blocks=tuple(
            Block(label=f"b{i}", first_node=i, last_node=i + 1, macs=10, weight_bytes=need, peak_activation_bytes=0)
            for i, need in enumerate(NEED_BYTES)
        ),
        cuts=tuple(
            Cut(tensors=(TensorSpec(name=f"t{i}", dtype="float32", shape=(1, size // 4)),))
            for i, size in enumerate(CUT_BYTES)
        ),
        inputs=(TensorSpec(name="t0", dtype="float32", shape=(1, 1000)),),
        outputs=(TensorSpec(name="t3", dtype="float32", shape=(1, 10)),),
    )  # fmt: skip
    fleet = FleetFile.model_validate(
        {"name": "f", "device": [{"name": "fast", "cores": 1.0}, {"name": "slow", "cores": 0.5}]}
    )
    devices = on_paper(card, fleet, OneCore(ProfiledBlocks((10.0, 10.0, 10.0), 0.0, 1), FrameCost(0.0, 0.0), LINK, 0))
    wish = Deployment(deployment="d", model="made-up", objective=objective)

    def need(model: ModelCard, first: int, last: int) -> int:
        return sum(block.weight_bytes for block in model.blocks[first:last])

    return problem_from(card, wish, devices, HubFacts(), need=need)


class Fixed:
    """A policy that always says the same."""

    citation = "test"

    def __init__(self, name: str, lines: Sequence[Line]) -> None:
        self.name = name
        self.lines = lines

    def plan(self, given: Problem) -> Choice:
        if not self.lines:
            raise InfeasibleError("nothing [red]fits[/red]")
        return choose(given, self.lines, self.name)


SPLIT = Fixed("split", [(Placement(0, 0, 2), Placement(1, 2, 3))])
COPIES = Fixed("copies", [(Placement(0, 0, 3),), (Placement(1, 0, 3),)])
NOTHING = Fixed("nothing", [])


def test_bytes_and_memory_of_a_plan_add_up_by_hand() -> None:
    split, copies = (row.figures for row in compare(problem(), [SPLIT, COPIES]))
    assert split is not None
    assert copies is not None
    assert split.moved_bytes == pytest.approx(4000 + 800 + 40)
    assert copies.moved_bytes == pytest.approx(4000 + 40)
    assert (split.largest_stage_bytes, split.memory_bytes) == (40, 60)
    assert (copies.largest_stage_bytes, copies.memory_bytes) == (60, 120)
    assert split.planning_ms >= 0


def test_blocks_that_two_routes_share_on_a_device_are_held_once() -> None:
    both = Fixed("both", [(Placement(0, 0, 1), Placement(1, 1, 3)), (Placement(0, 0, 3),), (Placement(0, 0, 3),)])
    [row] = compare(problem(), [both])
    assert row.figures is not None
    assert row.figures.memory_bytes == 10 + 50 + 60


def test_a_policy_without_a_plan_says_why_and_the_others_go_on() -> None:
    rows = compare(problem(), [NOTHING, SPLIT])
    assert [(row.policy, row.figures is None) for row in rows] == [("nothing", True), ("split", False)]
    assert rows[0].reason == "nothing [red]fits[/red]"
    assert "nothing" not in set().union(*best_of(rows).values())
    assert best_of(compare(problem(), [NOTHING])) == {}


def test_the_best_of_a_column_is_the_most_or_the_least_and_shared_when_equal() -> None:
    twin = Fixed("twin", COPIES.lines)
    lopsided = Fixed("lopsided", [(Placement(0, 0, 1), Placement(1, 1, 3))])
    best = best_of(compare(problem("throughput"), [lopsided, COPIES, twin]))
    assert set(best) == set(BETTER)
    assert best["throughput_rps"] == best["moved_bytes"] == {"copies", "twin"}
    assert best["largest_stage_bytes"] == best["memory_bytes"] == {"lopsided"}


@pytest.mark.parametrize("objective", ["latency", "throughput", "energy", "cost"])
def test_every_registered_policy_can_be_compared_and_none_beats_brute_force_at_its_objective(
    objective: Objective,
) -> None:
    rows = compare(problem(objective), POLICIES)
    assert [row.policy for row in rows] == [policy.name for policy in POLICIES]
    assert all((row.figures is None) == bool(row.reason) for row in rows)
    measure = {"latency": "latency_ms", "throughput": "throughput_rps", "energy": "energy_j"}.get(objective)
    if measure is not None:
        assert {"exact", "brute-force"} <= best_of(rows)[measure]


def printed(rows_of: Sequence[object], width: int) -> str:
    given = problem()
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show_comparison(console, given, compare(given, rows_of))  # type: ignore[arg-type]  # policies by their shape
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_marks_the_best_tags_energy_and_prints_reasons_as_they_are() -> None:
    text = printed([SPLIT, NOTHING], 160)
    assert "J modelled" in text
    assert "r0: fast[0:2) -> slow[2:3)" in text
    assert "no plan: nothing [red]fits[/red]" in text
    assert "made-up on 2 devices, planned for latency" in text
    assert text.count("*") == len(BETTER) + 1


def test_narrow_terminals_have_the_plans_below_and_lose_no_figure() -> None:
    text = printed([SPLIT, COPIES], 100)
    assert "..." not in text
    assert "…" not in text
    assert text.index("planned ms") < text.index("r0: fast[0:2) -> slow[2:3)")


def test_json_has_bare_numbers_and_null_where_there_is_no_plan() -> None:
    given = problem()
    document = json.loads(json.dumps(comparison_document(given, compare(given, [SPLIT, NOTHING])), allow_nan=False))
    split, nothing = document["policies"]
    assert split["plan"] == "r0: fast[0:2) -> slow[2:3)"
    assert (split["moved_bytes"], split["energy_method"]) == (4840.0, "modelled")
    assert (nothing["latency_ms"], nothing["reason"]) == (None, "nothing [red]fits[/red]")
    assert document["best"]["latency_ms"] == ["split"]
    assert [one["device"] for one in document["devices"]] == ["fast", "slow"]
    assert document["devices"][1]["whole_model_ms"] == pytest.approx(60)


def test_long_plans_keep_their_ends() -> None:
    def route(stages: int) -> Route:
        return Route(stages=tuple(Stage(device=f"d{i}", first=i, last=i + 1) for i in range(stages)))

    assert short_plan([route(1)] * 2) == "r0: d0[0:1)\nr1: d0[0:1)"
    assert short_plan([route(1)] * 9).splitlines() == [
        "r0: d0[0:1)", "r1: d0[0:1)", "r2: d0[0:1)", "... 5 more ...", "r8: d0[0:1)",
    ]  # fmt: skip
    assert short_plan([route(6)]) == "r0: d0[0:1) -> d1[1:2) -> d2[2:3) -> ... 2 more ... -> d5[5:6)"
    assert short_plan([route(4)]) == f"r0: {route(4)}"


def test_the_policy_that_was_asked_for_is_the_one_that_planned() -> None:
    [row] = compare(problem(), [find_policy("best-single")])
    assert (row.policy, str(row.choice), row.citation) == ("best-single", "r0: fast[0:3)", "baseline")
