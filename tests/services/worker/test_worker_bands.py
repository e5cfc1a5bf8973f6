"""What a worker makes of a plan with bands, and of frames that are not the band that they should be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up_plans import made_up_plan

from schemas.frame import encode_frame, open_frame
from schemas.frame_header import FrameHeader, StageTrace
from schemas.model import Blob, Block, Cut, ModelCard, TensorSpec
from schemas.plan import Plan
from services.worker.assignments import Assignment, Rows, Slice, assignments
from services.worker.lane import Lane, check
from services.worker.refused import RefusedError

TEXT = "(pi4 rows 0:5 from 0:11 + nano rows 5:8 from 9:16 + pi4 rows 8:9 from 15:18)[0:1) -u8-> pi4[1:2) -> orin[2:3)"


class Nothing:
    def run(self, tensors):
        return dict(tensors)


def plan(text: str = TEXT) -> Plan:
    return made_up_plan(text, generation=3, weight=2.0)


def card() -> ModelCard:
    """Three blocks: `x` [1,3,18,18] -> `h` [1,8,9,9] -> `g` [1,8] -> `y`."""

    def spec(name: str, *shape: int) -> TensorSpec:
        return TensorSpec(name=name, dtype="float32", shape=shape)

    tensors = [spec("x", 1, 3, 18, 18), spec("h", 1, 8, 9, 9), spec("g", 1, 8), spec("y", 1, 2)]
    return ModelCard(
        name="net",
        source="test",
        graph=Blob(sha256="0" * 64, nbytes=1),
        blobs=(),
        blocks=tuple(
            Block(label=f"b{i}", first_node=i, last_node=i + 1, macs=1, weight_bytes=0, peak_activation_bytes=0)
            for i in range(3)
        ),
        cuts=tuple(Cut(tensors=(tensor,)) for tensor in tensors),
        inputs=(tensors[0],),
        outputs=(tensors[3],),
    )


def lane(device: str, stage: str, text: str = TEXT) -> Lane:
    (mine,) = [one for one in assignments(plan(text), device) if one.key.stage == stage]
    return Lane.of(device, mine, card(), Nothing())


def header(**changes: object) -> FrameHeader:
    base = FrameHeader(kind="work", request="r1", submitter="laptop", deployment="cats", generation=3, budget_ms=1e3)
    return base.model_copy(update=changes)


def frame(name: str, shape: tuple[int, ...], **changes: object) -> FrameHeader:
    """The header of a frame with one tensor."""
    return open_frame(encode_frame(header(**changes), {name: np.zeros(shape, np.float32)})).header


def trace(device: str) -> StageTrace:
    return StageTrace(device=device, first=0, last=1, wait_ms=0, compute_ms=1, codec_ms=0, bytes_in=1, bytes_out=1)


def test_a_device_gets_its_bands_and_its_stages_and_all_bands_go_to_the_first_stage() -> None:
    mine = assignments(plan(), "pi4")
    assert [one.key.stage for one in mine] == ["r0b0", "r0b2", "r0s0"]
    first, last, stage = mine
    assert first.slice == Slice("a" * 64, 0, 1, Rows((0, 11), (0, 5)))
    assert (first.next_device, first.next_stage, first.codec, first.weight) == ("pi4", "r0s0", "u8", 2.0)
    assert [(one.band, one.bands) for one in mine] == [(0, 3), (2, 3), (0, 0)]
    assert first.slice != last.slice  # other rows are another runner
    assert stage.joins == ((0, 5), (5, 8), (8, 9))
    # As the planner is told: what differs in rows or exits has its own memory.
    with_exits = [replace(stage.slice, exits=names) for names in (("e1",), ("e2",), ("e1", "e2"))]
    assert len({first.slice.variant, last.slice.variant, "", *(one.variant for one in with_exits)}) == 6
    assert stage.slice.variant == ""
    assert assignments(plan().model_copy(update={"generation": 4}), "pi4")[0].slice.variant == first.slice.variant
    assert stage.slice == Slice("a" * 64, 1, 2)
    (second,) = assignments(plan(), "orin")
    assert (second.joins, second.next_device) == ((), None)


def test_slices_with_and_without_rows_can_be_told_apart_and_sorted() -> None:
    whole, band = Slice("a" * 64, 0, 1), Slice("a" * 64, 0, 1, Rows((0, 11), (0, 5)))
    assert len({whole, band}) == 2
    assert sorted([band, whole]) == [whole, band]


def test_a_band_takes_and_gives_just_its_rows() -> None:
    band = lane("nano", "r0b1")
    assert [spec.shape for spec in band.takes] == [(1, 3, 7, 18)]
    assert [spec.shape for spec in band.gives] == [(1, 8, 3, 9)]
    check(band, frame("x", (1, 3, 7, 18), band=1, bands=3))


def test_the_stage_behind_takes_each_bands_rows() -> None:
    stage = lane("pi4", "r0s0")
    for number, rows in enumerate((5, 3, 1)):
        check(stage, frame("h", (1, 8, rows, 9), band=number, bands=3, trace=(trace("d"),)))


@pytest.mark.parametrize(
    ("sent", "code", "says"),
    [
        (frame("x", (1, 3, 11, 18), band=0, bands=3), "bad-frame", "band 0 of 3 came to cats/3/r0b1, which takes b"),
        (frame("x", (1, 3, 7, 18), band=1, bands=2), "bad-frame", "band 1 of 2 came"),
        (frame("x", (1, 3, 18, 18)), "bad-frame", "a whole frame came"),
        (frame("x", (1, 3, 8, 18), band=1, bands=3), "bad-input", "takes x float32[1x3x7x18]; given: x float32[1x3x8"),
        (frame("x", (1, 3, 7, 18), band=1, bands=3, route=1), "bad-frame", "of route 1"),
        (frame("x", (1, 3, 7, 18), band=1, bands=3, generation=2), "wrong-generation", "submit it again"),
    ],
    ids=["another band", "of other bands", "no band", "wrong rows", "other route", "other generation"],
)  # fmt: skip
def test_a_band_refuses_what_is_not_its_own(sent: FrameHeader, code: str, says: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check(lane("nano", "r0b1"), sent)
    assert refused.value.code == code
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (frame("h", (1, 8, 1, 9), band=3, bands=3), "band 3 of 3 came to cats/3/r0s0, which joins 3 bands"),
        (frame("h", (1, 8, 5, 9), band=0, bands=2), "which joins 3 bands"),
        (frame("h", (1, 8, 9, 9)), "a whole frame came to cats/3/r0s0, which joins 3 bands"),
        (frame("h", (1, 8, 3, 9), band=0, bands=3), "takes h float32[1x8x5x9]; given: h float32[1x8x3x9]"),
        (frame("x", (1, 8, 5, 9), band=0, bands=3), "takes h float32[1x8x5x9]; given: x"),
        (frame("h", (1, 8, 5, 9), band=0, bands=3, trace=(trace("a"), trace("b"))), "after 2 stages, not one band"),
    ],
    ids=["no such band", "of other bands", "no band", "another band's rows", "another tensor", "too many traces"],
)
def test_the_stage_behind_refuses_what_is_none_of_its_bands(sent: FrameHeader, says: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check(lane("pi4", "r0s0"), sent)
    assert refused.value.code == "bad-frame"
    assert says in str(refused.value)


def test_a_plain_stage_takes_no_bands() -> None:
    plain = lane("nano", "r0s0", "nano[0:3)")
    check(plain, frame("x", (1, 3, 18, 18)))
    with pytest.raises(RefusedError, match="which takes whole frames"):
        check(plain, frame("x", (1, 3, 18, 18), band=0, bands=2))


def test_assignments_of_equal_plans_are_equal_so_that_nothing_is_loaded_twice() -> None:
    one, same = assignments(plan(), "pi4"), assignments(plan(), "pi4")
    assert one == same
    assert all(isinstance(each, Assignment) and hash(each.slice) for each in one)
    assert replace(one[0], band=1) != one[0]
