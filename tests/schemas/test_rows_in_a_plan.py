"""A route whose first blocks are shared, row by row, prints, parses back, and knows all its devices."""

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_plans import made_up_plan

from schemas.parts import parts_of, plan_parts
from schemas.plan import ROUTE_STAGES, Band, CodecName, Route, SideBySide, Stage, StagePrediction
from schemas.plan_text import PlanTextError, parse_route

CODECS: list[CodecName] = ["fp32", "fp16", "u8", "fp32+zstd", "fp16+zstd", "u8+zstd"]
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,12}", fullmatch=True)
TEXT = "(high rows 0:9 from 0:23 + low-1 rows 9:14 from 13:32)[0:20) -u8-> high[20:30)"


@st.composite
def shared_routes(draw: st.DrawFn) -> Route:
    bands, end = [], 0
    for _ in range(draw(st.integers(2, 5))):
        last = end + draw(st.integers(1, 50))
        first_taken = draw(st.integers(0, 500))
        takes = (first_taken, first_taken + draw(st.integers(1, 300)))
        bands.append(Band(device=draw(NAMES), takes=takes, gives=(end, last)))
        end = last
    position = draw(st.integers(1, 20))
    shared = SideBySide(last=position, bands=tuple(bands), codec=draw(st.sampled_from(CODECS)))
    stages = []
    count = draw(st.integers(1, 3))
    for index in range(count):
        last = position + draw(st.integers(1, 30))
        codec = draw(st.sampled_from(CODECS)) if index < count - 1 else "fp32"
        stages.append(Stage(device=draw(NAMES), first=position, last=last, codec=codec))
        position = last
    return Route(side_by_side=shared, stages=tuple(stages))


@given(shared_routes())
def test_a_printed_route_with_bands_parses_back(route: Route) -> None:
    assert parse_route(str(route)) == route
    assert parse_route(f"r3: {route}") == route
    assert Route.model_validate_json(route.model_dump_json()) == route


def test_bands_read_as_rows_from_rows() -> None:
    route = parse_route(f"r0: {TEXT}")
    assert str(route) == TEXT
    assert route.side_by_side is not None
    assert route.side_by_side.bands[1] == Band(device="low-1", gives=(9, 14), takes=(13, 32))
    assert route.side_by_side.codec == "u8"


def test_devices_with_a_band_are_devices_of_the_route_and_the_plan() -> None:
    route = parse_route(TEXT)
    assert route.devices == ("high", "low-1")
    plan = made_up_plan((route,))
    assert plan.devices == ("high", "low-1")
    assert [tuple(part)[1:] for part in plan_parts(plan)] == [
        ("r0b0", "high", 0, 20), ("r0b1", "low-1", 0, 20), ("r0s0", "high", 20, 30),
    ]  # fmt: skip
    assert parts_of(parse_route("a[0:2) -> b[2:3)"), 4) == ((4, "r4s0", "a", 0, 2), (4, "r4s1", "b", 2, 3))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("(", "'device rows first:last from first:last' at character 1"),
        ("(a rows 0:9)[0:2) -> b[2:3)", "at character 1"),
        ("(a rows 0:9 from 0:9 + b rows 9:12 from 5:16) -> b[2:3)", "'[0:last)'"),
        ("(a rows 0:9 from 0:9 + b rows 9:12 from 5:16)[1:2) -> b[2:3)", "'[0:last)'"),
        ("(a rows 0:9 from 0:9 + b rows 9:12 from 5:16)[0:2)", "'->'"),
        ("(a rows 0:9 from 0:9 + b rows 9:12 from 5:16)[0:2) -u7-> b[2:3)", "no codec 'u7'"),
    ],
)
def test_bands_that_cannot_be_read_are_refused_with_the_place(text: str, says: str) -> None:
    with pytest.raises(PlanTextError) as caught:
        parse_route(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "(a rows 0:9 from 0:9 + b rows 10:12 from 5:16)[0:2) -> b[2:3)",  # a row is nobody's
        "(a rows 0:9 from 0:9 + b rows 8:12 from 5:16)[0:2) -> b[2:3)",  # a row is given twice
        "(a rows 0:9 from 0:9)[0:2) -> b[2:3)",  # one band shares with nobody
        "(a rows 0:9 from 9:9 + b rows 9:12 from 5:16)[0:2) -> b[2:3)",  # made from nothing
        "(a rows 0:9 from 0:9 + b rows 9:12 from 5:16)[0:2) -> b[3:4)",  # block 2 is nobody's
        "(a rows 0:9 from 0:9 + b rows 9:12 from 5:16)[0:2) -> b[0:4)",
    ],
)
def test_bands_that_do_not_fit_together_are_refused(text: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        parse_route(text)


def test_a_frame_has_room_for_the_traces_of_all_bands_and_stages() -> None:
    bands = tuple(Band(device="a", takes=(0, 1), gives=(i, i + 1)) for i in range(32))
    stages = tuple(Stage(device="a", first=i + 1, last=i + 2) for i in range(ROUTE_STAGES - 32))
    assert Route(side_by_side=SideBySide(last=1, bands=bands), stages=stages).devices == ("a",)
    more = (*stages, Stage(device="a", first=len(stages) + 1, last=len(stages) + 2))
    with pytest.raises(pydantic.ValidationError, match="more than 64"):
        Route(side_by_side=SideBySide(last=1, bands=bands), stages=more)


def test_bands_have_a_prediction_each_or_none_has() -> None:
    one = StagePrediction(down_ms=1.0, compute_ms=2.0, up_ms=3.0)
    bands = parse_route(TEXT).side_by_side
    assert bands is not None
    assert SideBySide(last=20, bands=bands.bands, predictions=(one, one)).predictions[0].compute_ms == 2.0
    with pytest.raises(pydantic.ValidationError, match="one prediction per band"):
        SideBySide(last=20, bands=bands.bands, predictions=(one,))
