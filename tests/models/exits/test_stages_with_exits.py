"""Stages that hold exits: who leaves, where, with what, and that it does not depend on how the model is cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from multi_exit_graphs import SIZE, multi_exit_model

from models.exits.confidence import confidence
from models.exits.declared import ExitError, read_declared
from models.exits.opened import Segment, exits_within, segments
from models.importer import import_model
from models.library import Library
from models.runtime import Backend, Passed, StageRunner, load_stage, stage_memory_bytes
from models.runtime.checks import BackendError, WrongInputError
from models.stage import BadGraphError, cut_stage
from schemas.codec import Array
from schemas.model import ModelCard

NEAR = 1e-3
"""A confidence this close to a threshold may fall on either side of it: sessions round differently."""


def imported(model: onnx.ModelProto, library: Library, name: str = "exits") -> ModelCard:
    path = library.root / f"{name}.onnx"
    onnx.save(model, path)
    return import_model(str(path), library, name=name)


def picture(seed: int = 0, size: int = SIZE) -> dict[str, Array]:
    return {"image": np.random.default_rng(seed).standard_normal((1, 3, size, size)).astype(np.float32)}


def through(
    card: ModelCard,
    library: Library,
    edges: Sequence[int],
    inputs: Mapping[str, Array],
    thresholds: Mapping[str, float],
    *,
    backend: Backend,
) -> Passed:
    """What comes out of stages between these edges, each loaded with all exits that have a threshold."""
    tensors: Mapping[str, Array] = inputs
    met: tuple[str, ...] = ()
    for first, last in pairwise(edges):
        stage = load_stage(card, library.blobs, first, last, exits=thresholds.keys(), backend=backend)
        passed = stage.run_until(tensors, thresholds)
        stage.close()
        met += passed.met
        if passed.exit is not None:
            return Passed(passed.outputs, passed.exit, met)
        tensors = passed.outputs
    return Passed(dict(tensors), None, met)


def told_by_the_file(
    model: onnx.ModelProto, inputs: Mapping[str, Array], thresholds: Mapping[str, float]
) -> tuple[Passed, list[float]]:
    """The same from the model that never was imported, and how sure each open head is."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = dict(zip([value.name for value in model.graph.output], session.run(None, dict(inputs)), strict=True))
    met: list[str] = []
    sure: list[float] = []
    for one in read_declared(model).exits:
        if one.name in thresholds:
            met.append(one.name)
            sure.append(confidence(given[one.output]))
            if sure[-1] >= thresholds[one.name]:
                return Passed({"logits": given[one.output]}, one.name, tuple(met)), sure
    return Passed({"logits": given["logits"]}, None, tuple(met)), sure


def check_any_partition(data: st.DataObject, library: Library, backend: Backend) -> None:
    layers = data.draw(st.integers(1, 5), "layers")
    where = data.draw(st.lists(st.integers(1, layers), unique=True, min_size=1, max_size=4).map(sorted), "where")
    exits = {f"e{layer}": layer for layer in where}
    model = multi_exit_model(
        exits,
        layers=layers,
        skips=data.draw(st.sets(st.integers(2, 5)), "skips"),
        pools=data.draw(st.sets(st.integers(1, 5), max_size=2), "pools"),
        deep_heads=data.draw(st.sets(st.sampled_from(sorted(exits))), "deep"),
        heads_last=data.draw(st.booleans(), "heads last"),
        seed=data.draw(st.integers(0, 5), "weights"),
    )
    card = imported(model, library)
    open_exits = data.draw(st.sets(st.sampled_from(sorted(exits))), "open")
    thresholds = {name: data.draw(st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]), name) for name in sorted(open_exits)}
    inputs = picture(data.draw(st.integers(0, 20), "picture"))
    right, sure = told_by_the_file(model, inputs, thresholds)
    assume(all(abs(one - thresholds[name]) > NEAR for one, name in zip(sure, right.met, strict=True)))
    blocks = len(card.blocks)
    for _ in range(2):
        inside = data.draw(st.sets(st.integers(1, blocks - 1)), "cuts")
        passed = through(card, library, [0, *sorted(inside), blocks], inputs, thresholds, backend=backend)
        assert (passed.exit, passed.met) == (right.exit, right.met)
        assert passed.outputs.keys() == {"logits"}
        np.testing.assert_allclose(passed.outputs["logits"], right.outputs["logits"], rtol=1e-4, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_however_a_model_is_cut_the_same_request_leaves_at_the_same_exit_with_the_same_answer(
    data: st.DataObject, library: Library
) -> None:
    check_any_partition(data, library, "onnxruntime")


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_the_torch_backend_decides_and_answers_alike(data: st.DataObject, library: Library) -> None:
    check_any_partition(data, library, "torch")


@pytest.fixture
def own(tmp_path: Path) -> Library:
    (tmp_path / "library").mkdir()
    return Library(tmp_path / "library")


@pytest.fixture
def card(own: Library) -> ModelCard:
    """Five layers with exits `early` behind the first and `late` behind the third."""
    return imported(multi_exit_model(), own)


Load = Callable[..., StageRunner]


@pytest.fixture
def load(own: Library, card: ModelCard) -> Load:
    def build(*exits: str, first: int = 0, last: int | None = None, backend: Backend = "onnxruntime") -> StageRunner:
        end = len(card.blocks) if last is None else last
        return load_stage(card, own.blobs, first, end, exits=exits, backend=backend)

    return build


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_with_all_exits_closed_the_answer_is_exactly_that_of_the_model_without_any(
    backend: Backend, own: Library, load: Load
) -> None:
    closed = load(backend=backend)
    bare = imported(backbone_of(multi_exit_model()), own, "bare")
    inputs = picture()
    expected = load_stage(bare, own.blobs, 0, len(bare.blocks), backend=backend).run(inputs)
    np.testing.assert_array_equal(closed.run(inputs)["logits"], expected["logits"])
    assert closed.run_until(inputs, {"early": 0.0}).exit is None


def backbone_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model, its heads cut off by hand."""
    del model.metadata_props[:]
    del model.graph.output[1:]
    kept = [node for node in model.graph.node if not node.name.startswith(("early/", "late/"))]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def test_with_threshold_zero_the_first_exit_answers_with_exactly_what_its_head_gives(
    own: Library, card: ModelCard, load: Load
) -> None:
    inputs = picture()
    passed = load("early", "late").run_until(inputs, {"early": 0.0, "late": 0.0})
    assert (passed.exit, passed.met) == ("early", ("early",))
    assert passed.outputs.keys() == {card.outputs[0].name}
    head_only = imported(up_to_its_first_head(multi_exit_model()), own, "head")
    expected = load_stage(head_only, own.blobs, 0, len(head_only.blocks)).run(inputs)
    np.testing.assert_array_equal(passed.outputs["logits"], expected["early_logits"])


def up_to_its_first_head(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model that ends with the first head, and gives what that reads, too."""
    del model.metadata_props[:]
    del model.graph.output[:]
    for name, shape in (("early_logits", [1, 5]), ("r1", [1, 4, SIZE, SIZE])):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    return model


def test_thresholds_change_from_one_request_to_the_next(load: Load) -> None:
    runner = load("early", "late")
    inputs = picture()
    wishes = ({"early": 0.0}, {"early": 1.0, "late": 0.0}, {"late": 0.0}, {"early": 1.0, "late": 1.0}, {})
    seen = [(passed.exit, passed.met) for passed in (runner.run_until(inputs, wish) for wish in wishes)]
    assert seen == [
        ("early", ("early",)),
        ("late", ("early", "late")),
        ("late", ("late",)),
        (None, ("early", "late")),
        (None, ()),
    ]


def test_run_takes_everybody_to_the_end(load: Load) -> None:
    inputs = picture()
    made = load("early", "late").run(inputs)
    assert made.keys() == {"logits"}
    np.testing.assert_allclose(made["logits"], load().run(inputs)["logits"], rtol=1e-5, atol=1e-6)


def test_an_exit_at_the_end_of_a_stage_is_the_stages_own(card: ModelCard, load: Load) -> None:
    early = card.exits[0].block
    inputs = picture()
    before = load("early", "late", last=early + 1)
    assert before.run_until(inputs, {"early": 0.0}).exit == "early"
    going_on = before.run_until(inputs, {"early": 1.0})
    assert going_on.met == ("early",)
    assert going_on.outputs.keys() == {spec.name for spec in card.cuts[early + 1].tensors}
    behind = load("early", "late", first=early + 1)
    assert behind.run_until(going_on.outputs, {"early": 0.0, "late": 1.0}).met == ("late",)


def test_what_lies_behind_an_exit_is_not_computed_for_those_who_leave(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[str] = []
    from models.runtime.onnx_backend import OnnxRunner

    plain = OnnxRunner.run

    def watched(self: OnnxRunner, tensors: Mapping[str, Array]) -> dict[str, Array]:
        runs.append(", ".join(spec.name for spec in self.inputs))
        return plain(self, tensors)

    monkeypatch.setattr(OnnxRunner, "run", watched)
    runner = load("early", "late")
    runner.run_until(picture(), {"early": 0.0})
    assert runs == ["image"]
    runner.run_until(picture(), {"early": 1.0, "late": 0.0})
    assert runs == ["image", "image", "r1"]


def test_heads_of_closed_exits_are_not_in_the_stage(own: Library, card: ModelCard) -> None:
    blob = own.blobs.read(card.graph.sha256)

    def nodes(*, late: bool) -> set[str]:
        piece = cut_stage(card, blob, 0, card.exits[1].block + 1, at_end=card.exits[1] if late else None)
        assert all(not tensor.name.startswith("early") for tensor in piece.model.graph.initializer)
        return {node.name for node in piece.model.graph.node}

    assert nodes(late=True) - nodes(late=False) == {"late/pool", "late/flatten", "late/linear"}
    assert not any(name.startswith("early") for name in nodes(late=True))


def test_wrong_inputs_and_closed_stages_are_refused_as_without_exits(load: Load) -> None:
    runner = load("early")
    with pytest.raises(WrongInputError, match="image is missing"):
        runner.run_until({}, {"early": 0.5})
    runner.close()
    with pytest.raises(BackendError, match="closed"):
        runner.run_until(picture(), {"early": 0.5})


def test_an_exit_that_the_model_does_not_have_is_named(card: ModelCard, load: Load) -> None:
    with pytest.raises(ExitError, match=r"exits has no exit 'erly'; its exits are: early, late"):
        load("erly")
    with pytest.raises(ExitError, match="no exit 'erly'"):
        stage_memory_bytes(card, 0, 1, ["erly"])


def test_exits_elsewhere_in_the_model_leave_a_stage_as_it_is(card: ModelCard, load: Load) -> None:
    behind = card.exits[1].block + 1
    stage = load("early", "late", first=behind)
    assert type(stage) is type(load(first=behind))
    tensors: dict[str, Array] = {spec.name: np.ones(spec.shape, np.float32) for spec in card.cuts[behind].tensors}
    assert stage.run_until(tensors, {"early": 0.0}).exit is None


def test_a_stage_is_divided_behind_each_open_exit(card: ModelCard) -> None:
    early, late = card.exits
    blocks = len(card.blocks)
    assert exits_within(card, 0, blocks, ["late", "early"]) == (early, late)
    assert exits_within(card, early.block + 1, late.block + 1, ["late", "early"]) == (late,)
    assert segments(0, blocks, (early, late)) == (
        Segment(0, early.block + 1, early),
        Segment(early.block + 1, late.block + 1, late),
        Segment(late.block + 1, blocks, None),
    )
    assert segments(0, late.block + 1, (late,)) == (Segment(0, late.block + 1, late),)
    assert segments(2, 4, ()) == (Segment(2, 4, None),)


def test_a_stage_with_exits_is_said_to_need_more_memory(card: ModelCard, load: Load) -> None:
    blocks = len(card.blocks)
    need = stage_memory_bytes(card, 0, blocks, ["early", "late"])
    assert need > stage_memory_bytes(card, 0, blocks)
    assert load("early", "late").memory_bytes == need
    behind = card.exits[1].block + 1
    assert stage_memory_bytes(card, behind, blocks, ["early"]) == stage_memory_bytes(card, behind, blocks)


def test_a_card_that_names_another_tensor_as_an_exits_output_is_refused(own: Library, card: ModelCard) -> None:
    blob = own.blobs.read(card.graph.sha256)
    early = card.exits[0]
    for other in (card.cuts[early.block + 1].tensors[0].name, "image", "nowhere"):
        wrong = early.model_copy(update={"output": early.output.model_copy(update={"name": other})})
        with pytest.raises(BadGraphError, match="does not fit its card"):
            cut_stage(card, blob, 0, early.block + 1, at_end=wrong)
    with pytest.raises(ValueError, match="exit early comes after block 0"):
        cut_stage(card, blob, 0, 2, at_end=early)
