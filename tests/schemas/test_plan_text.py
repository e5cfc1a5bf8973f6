"""A plan prints the way people write it, and what was printed parses back."""

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.parts import stage_id
from schemas.plan import ROUTE_STAGES, Plan, Route, Stage
from schemas.plan_text import PlanTextError, parse_route, stage_places

CODECS = ["fp32", "fp16", "u8", "fp32+zstd", "fp16+zstd", "u8+zstd"]


@st.composite
def routes(draw: st.DrawFn) -> Route:
    position = 0
    stages = []
    count = draw(st.integers(1, 6))
    for index in range(count):
        last = position + draw(st.integers(1, 30))
        device = draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,12}", fullmatch=True))
        stages.append(
            Stage(
                device=device,
                first=position,
                last=last,
                codec=draw(st.sampled_from(CODECS)) if index < count - 1 else "fp32",
            )
        )
        position = last
    return Route(stages=tuple(stages))


@given(routes())
def test_a_printed_route_parses_back(route: Route) -> None:
    assert parse_route(str(route)) == route
    assert parse_route(f"r12: {route}") == route


def test_a_route_reads_like_the_literature_writes_it() -> None:
    route = parse_route("r0: pi4[0:12) -u8-> nano[12:19)")
    assert route.devices == ("pi4", "nano")
    assert route.stages[0].codec == "u8"
    assert str(route) == "pi4[0:12) -u8-> nano[12:19)"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "character 0"),
        ("pi4", "character 0"),
        ("pi4[0:12) nano[12:19)", "expected '->' at character 9"),
        ("pi4[0:12) ->", "character 12"),
        ("pi4[0:12) -u7-> nano[12:19)", "no codec 'u7'"),
        ("r0: pi4[0:12) + nano", "character 13"),
    ],
)
def test_a_text_that_is_no_route_is_refused_with_the_place(text: str, says: str) -> None:
    with pytest.raises(PlanTextError) as caught:
        parse_route(text)
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["a[1:3)", "a[0:3) -> b[4:5)", "a[0:0)", "a[0:3) -> b[3:2)"])
def test_stages_that_do_not_follow_one_another_are_refused(text: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        parse_route(text)


def test_an_answer_goes_as_it_is() -> None:
    with pytest.raises(pydantic.ValidationError, match="codec fp32"):
        Route(stages=(Stage(device="pi4", first=0, last=3, codec="u8"),))


def test_a_plan_names_each_device_once_and_prints_its_routes() -> None:
    plan = Plan(
        deployment="cats",
        generation=4,
        model="mobilenet_v2",
        card_sha="0" * 64,
        objective="throughput",
        policy="exact",
        routes=(parse_route("a[0:3) -> b[3:5)"), parse_route("c[0:5)")),
    )
    assert plan.devices == ("a", "b", "c")
    assert str(plan) == "r0: a[0:3) -> b[3:5) | r1: c[0:5)"
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_stage_ids_parse_back() -> None:
    assert stage_places(stage_id(3, 11)) == (3, 11)
    with pytest.raises(PlanTextError, match="r0s2"):
        stage_places("r0s")


def test_a_route_has_no_more_stages_than_a_frame_has_room_for_traces() -> None:
    stages = tuple(Stage(device="pi4", first=block, last=block + 1) for block in range(ROUTE_STAGES + 1))
    assert len(Route(stages=stages[:-1]).stages) == 64
    with pytest.raises(pydantic.ValidationError, match="at most 64"):
        Route(stages=stages)
