import itertools
import os

import onnx
import pytest
from end_to_end.small_line import stack_of_convolutions

from bench.alone import Alone, LoopEndedError, loop_rps
from models.importer import import_model
from models.library import Library
from stageline.emulation.cgroups import MOUNT


@pytest.fixture
def tiny_library(tmp_path):
    onnx.save(stack_of_convolutions(), tmp_path / "stack.onnx")
    library = Library(tmp_path / "library")
    import_model(str(tmp_path / "stack.onnx"), library)
    return library


def groups():
    name = f"stageline-{os.getpid()}-alone-*"
    return [folder for parent in (MOUNT, MOUNT / "cpu", MOUNT / "memory") for folder in parent.glob(name)]


def test_only_whole_runs_count_and_the_last_one_counts_to_its_end():
    clock = itertools.count(0, 3)  # each look at the clock is three seconds after the one before
    assert loop_rps(lambda: None, 10.0, lambda: float(next(clock))) == pytest.approx(1 / 3)


def test_a_loop_that_ended_is_told_with_what_it_wrote():
    assert "MissingBlobError: gone" in str(LoopEndedError("stack", "Traceback\nMissingBlobError: gone\n"))


def test_a_device_alone_has_a_rate_and_leaves_nothing_behind(tiny_library):
    card = tiny_library.card("stack")
    with Alone(card, tiny_library, 0.5) as loop:
        assert loop.rps(0.5, 0.1) > 0
    assert not groups()


def test_a_model_that_cannot_be_loaded_says_why(tiny_library):
    card = tiny_library.card("stack")
    tiny_library.remove(card.name)
    with pytest.raises(LoopEndedError, match="no model 'stack'"), Alone(card, tiny_library, 0.5):
        pytest.fail("there is nothing to measure")
    assert not groups()
