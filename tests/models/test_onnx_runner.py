"""Stages in ONNX Runtime: what they take, what they refuse, and what they cost in memory."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from models.library import Library
from models.runtime import load_stage, stage_memory_bytes
from models.runtime.checks import BackendError, WrongInputError
from models.runtime.onnx_backend import OnnxRunner, providers
from models.stage import stage_model
from schemas.codec import Array
from schemas.model import Cut, ModelCard, TensorSpec

Inputs = Callable[[ModelCard], dict[str, Array]]


def test_a_stage_takes_read_only_and_oddly_laid_out_arrays(
    tiny_library: tuple[Library, ModelCard], example_inputs: Inputs
) -> None:
    library, card = tiny_library
    stage = load_stage(card, library.blobs, 0, len(card.blocks))
    plain = example_inputs(card)
    expected = stage.run(plain)
    image = plain["image"]
    strided = np.asfortranarray(image)
    frozen = np.frombuffer(image.tobytes(), image.dtype).reshape(image.shape)
    for other in (strided, frozen):
        for name, array in stage.run({**plain, "image": other}).items():
            np.testing.assert_array_equal(array, expected[name])


def test_a_tensor_that_passes_by_is_the_same_object(
    tiny_library: tuple[Library, ModelCard], example_inputs: Inputs
) -> None:
    library, card = tiny_library
    inputs = example_inputs(card)
    assert load_stage(card, library.blobs, 0, 1).run(inputs)["hint"] is inputs["hint"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image": np.zeros((1, 3, 13, 12), np.float32)},
            r"expected image float32\[1x3x12x12\], given float32\[1x3x13",
        ),
        ({"image": np.zeros((1, 3, 12, 12), np.float64)}, r"given float64\[1x3x12x12\]"),
        ({"image": np.zeros((1, 3, 12, 12), ">f4")}, r"given >f4\[1x3x12x12\]"),
        ({"extra": np.zeros(1, np.float32)}, "extra is not among them"),
        ({"image": None}, "image is missing"),
    ],
)
def test_a_wrong_input_is_told_what_was_expected_and_what_was_given(
    change: dict[str, Array | None],
    message: str,
    tiny_library: tuple[Library, ModelCard],
    example_inputs: Inputs,
) -> None:
    library, card = tiny_library
    stage = load_stage(card, library.blobs, 0, len(card.blocks))
    given = {name: array for name, array in {**example_inputs(card), **change}.items() if array is not None}
    with pytest.raises(WrongInputError, match=message):
        stage.run(given)


def test_a_closed_stage_says_so(tiny_library: tuple[Library, ModelCard], example_inputs: Inputs) -> None:
    library, card = tiny_library
    stage = load_stage(card, library.blobs, 0, 1)
    stage.close()
    with pytest.raises(BackendError, match="was closed"):
        stage.run(example_inputs(card))


def test_a_graph_the_runtime_does_not_know_gets_a_clear_error(tiny_library: tuple[Library, ModelCard]) -> None:
    library, card = tiny_library
    piece = stage_model(card, library.blobs, 0, 1)
    piece.model.graph.node[0].CopyFrom(helper.make_node("Teleport", ["image"], [piece.model.graph.node[0].output[0]]))
    with pytest.raises(BackendError, match="Teleport"):
        OnnxRunner(piece, library.blobs.root)


def test_several_threads_give_the_same_answers(
    library: Library, imported: Callable[[str], ModelCard], example_inputs: Inputs
) -> None:
    card = imported("squeezenet1_1")
    inputs = example_inputs(card)
    one, two = (load_stage(card, library.blobs, 0, len(card.blocks), threads=n).run(inputs) for n in (1, 2))
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, rtol=1e-4, atol=1e-5)


def test_cuda_is_used_where_it_is_and_tensorrt_only_when_asked_for() -> None:
    everything = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def chosen(available: list[str], *wanted: str) -> list[str]:
        picked = providers(available, *wanted, engines=Path("engines"))  # type: ignore[arg-type]
        return [name for name, _options in picked]

    assert chosen(everything, "auto") == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert chosen(everything, "cpu") == ["CPUExecutionProvider"]
    assert chosen(everything, "tensorrt") == everything
    assert chosen(["CPUExecutionProvider"], "cuda") == ["CPUExecutionProvider"]


def test_a_backend_that_is_not_installed_is_named(
    tiny_library: tuple[Library, ModelCard], monkeypatch: pytest.MonkeyPatch
) -> None:
    library, card = tiny_library
    monkeypatch.setitem(sys.modules, "models.runtime.torch_backend", None)
    with pytest.raises(BackendError, match=r"backend torch is not installed.*stageline\[torch\]"):
        load_stage(card, library.blobs, 0, 1, backend="torch")


def test_a_worker_needs_no_pytorch() -> None:
    script = "import sys, models.runtime, models.runtime.onnx_backend, models.library; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


def measured(library: Library, card: ModelCard, first: int, last: int) -> tuple[int, int]:
    """Resident bytes of a fresh process, and how much of them came with loading and running one stage."""
    script = """
        import json, sys
        from pathlib import Path
        import numpy as np
        from models.library import Library
        from models.runtime import load_stage
        import models.runtime.onnx_backend

        def resident():
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))

        root, name, first, last = sys.argv[1:]
        library = Library(Path(root))
        card = library.card(name)
        inputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in card.cuts[int(first)].tensors}
        before = resident()
        stage = load_stage(card, library.blobs, int(first), int(last))
        for _ in range(3):
            stage.run(inputs)
        print(json.dumps([resident(), resident() - before]))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(library.root), card.name, str(first), str(last)]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    whole, stage = json.loads(done.stdout)
    return whole, stage


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1", "resnet18"])
def test_the_memory_need_of_a_stage_is_not_underestimated(
    name: str, library: Library, imported: Callable[[str], ModelCard]
) -> None:
    card = imported(name)
    blocks = len(card.blocks)
    for first, last in ((0, blocks), (0, blocks // 3), (blocks // 2, blocks)):
        _, taken = measured(library, card, first, last)
        need = stage_memory_bytes(card, first, last)
        assert taken / 1.25 < need < 2 * taken, f"[{first}:{last}) took {taken / 1e6:.1f} MB, need {need / 1e6:.1f} MB"


def test_a_process_with_all_of_mobilenet_leaves_room_below_130_mb(
    library: Library, imported: Callable[[str], ModelCard]
) -> None:
    card = imported("mobilenet_v2")
    whole, _ = measured(library, card, 0, len(card.blocks))
    assert whole < 122e6, f"{whole / 1e6:.1f} MB without a bus"


def test_memory_need_of_blocks_that_do_not_exist_is_refused(tiny: ModelCard) -> None:
    with pytest.raises(ValueError, match="there is no stage"):
        stage_memory_bytes(tiny, 0, 99)


def test_the_whole_needs_at_least_what_any_part_needs(imported: Callable[[str], ModelCard]) -> None:
    card = imported("mobilenet_v2")
    whole = stage_memory_bytes(card, 0, len(card.blocks))
    assert all(stage_memory_bytes(card, i, i + 1) <= whole for i in range(len(card.blocks)))


def test_weights_are_mapped_from_the_store_and_survive_eviction(
    tmp_path: Path, library: Library, imported: Callable[[str], ModelCard], example_inputs: Inputs
) -> None:
    card = imported("squeezenet1_1")
    own = Library(tmp_path)
    for blob in (card.graph, *card.blobs):
        own.blobs.add(library.blobs.read(blob.sha256))
    stage = load_stage(card, own.blobs, 0, len(card.blocks))
    before = stage.run(example_inputs(card))
    for blob in card.blobs:
        own.blobs.remove(blob.sha256)
    for name, array in stage.run(example_inputs(card)).items():
        np.testing.assert_array_equal(array, before[name])


def test_a_card_cannot_hide_what_a_stage_takes_and_gives(tiny: ModelCard) -> None:
    wide = TensorSpec(name="wide", dtype="float32", shape=(1, 1_000_000))
    for cut in (0, 1):
        cuts = tuple(Cut(tensors=(wide,)) if place == cut else known for place, known in enumerate(tiny.cuts))
        assert stage_memory_bytes(tiny.model_copy(update={"cuts": cuts}), 0, 1) > wide.nbytes
