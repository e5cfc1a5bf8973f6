"""Training: what is learned, what stays as it is, and that a seed decides everything that is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_classifier import easy_pictures, write_factories

from models.exits.augmentation import to_input, varied
from models.exits.backbone import WrongClassesError, load_backbone, with_classes
from models.exits.losses import weighted_loss
from models.exits.multi_exit import MultiExit, Tap
from models.exits.recipe import Recipe
from models.exits.training import DivergedError, measure, train
from models.exits.weights_file import BadWeightsError, load_weights, save_weights, weights_sha256
from models.torch_source import TorchModel

DATA = easy_pictures(300)
ROWS = np.arange(240)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> TorchModel:
    path = write_factories(tmp_path_factory.mktemp("nets"))
    return load_backbone(f"{path}:tiny", weights="random", seed=0)


def fresh(made: TorchModel, seed: int = 0) -> MultiExit:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in made.module.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]
        return MultiExit(made.module, [Tap("early", "0"), Tap("late", "1")], made.example[0], width=16)


def learned(made: TorchModel, recipe: Recipe) -> MultiExit:
    model = fresh(made, recipe.seed)
    train(model, DATA, ROWS, recipe, picture=made.picture)
    return model


def test_exits_and_the_end_learn_together_and_the_course_is_told(made: TorchModel) -> None:
    said: list[float] = []
    model = fresh(made)
    course = train(
        model, DATA, ROWS, Recipe(epochs=12, batch=20, mirror=False), picture=made.picture,
        progress=lambda _what, share: said.append(share),
    )  # fmt: skip
    assert len(course) == 12
    assert course[-1].loss < course[0].loss / 2
    assert said == sorted(said)
    assert said[-1] == 1.0
    seen = measure(model, DATA, np.arange(240, 300), picture=made.picture)
    assert min(seen.accuracy) > 0.4
    assert seen.accuracy[-1] > 0.8
    assert seen.confidence.shape == (60, 3)
    assert seen.confidence.max() < 1


def test_the_same_seed_gives_the_same_weights_and_another_one_others(made: TorchModel) -> None:
    recipe = Recipe(epochs=2, batch=60, shift=1)
    first = weights_sha256(learned(made, recipe))
    assert first == weights_sha256(learned(made, recipe))
    assert first != weights_sha256(learned(made, Recipe(epochs=2, batch=60, shift=1, seed=1)))


def test_heads_alone_leave_the_backbone_as_it_was_and_learn_what_it_says(made: TorchModel) -> None:
    model = fresh(made)
    before = weights_sha256(model.backbone)
    wanted = measure(model, DATA, ROWS, picture=made.picture)
    train(model, DATA, ROWS, Recipe(epochs=3, batch=40, frozen=True, distil=1.0), picture=made.picture)
    assert weights_sha256(model.backbone) == before
    assert np.array_equal(measure(model, DATA, ROWS, picture=made.picture).correct[:, -1], wanted.correct[:, -1])


def test_training_leaves_the_caller_s_random_numbers_alone(made: TorchModel) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    learned(made, Recipe(epochs=1, batch=120))
    assert torch.equal(torch.rand(3), wanted)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_rate_that_is_far_too_large_is_told(made: TorchModel) -> None:
    with pytest.raises(DivergedError, match="learning rate below"):
        learned(made, Recipe(epochs=2, batch=40, learning_rate=1e30))


def test_weights_come_back_from_their_file_and_other_files_are_refused(made: TorchModel, tmp_path: Path) -> None:
    model = learned(made, Recipe(epochs=1, batch=120))
    sha = save_weights(model, tmp_path / "w.npz")
    other = fresh(made, 3)
    assert weights_sha256(other) != sha
    load_weights(other, tmp_path / "w.npz")
    assert weights_sha256(other) == sha
    np.savez(tmp_path / "odd.npz", a=np.zeros(3))
    for name in ("odd.npz", "missing.npz"):
        with pytest.raises(BadWeightsError, match="train it again"):
            load_weights(other, tmp_path / name)


def test_weights_that_unpack_to_more_than_the_network_holds_are_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "large.npz", weight=np.zeros(1 << 20, np.float32))
    with pytest.raises(BadWeightsError, match="unpacks to more than"):
        load_weights(torch.nn.Linear(2, 2), tmp_path / "large.npz")


def test_losses_are_the_weighted_mean_of_cross_entropies() -> None:
    logits = list(torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0)))
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    each = [float(torch.nn.functional.cross_entropy(one, labels)) for one in logits]
    found = float(weighted_loss(logits, labels, (0.5, 0.0, 1.0)))
    assert found == pytest.approx((0.5 * each[0] + each[2]) / 1.5, rel=1e-5)


def test_an_exit_that_learns_from_the_end_does_not_pull_at_it() -> None:
    draw = torch.Generator().manual_seed(0)
    early, final = (torch.randn(6, 4, generator=draw, requires_grad=True) for _ in range(2))
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    weighted_loss([early, final], labels, (1.0, 0.0), distil=1.0, temperature=2.0).backward()  # type: ignore[no-untyped-call]
    assert early.grad is not None
    assert float(early.grad.abs().sum()) > 0
    assert final.grad is None or not float(final.grad.abs().sum())
    alike = weighted_loss([final.detach(), final], labels, (1.0, 0.0), distil=1.0, temperature=2.0)
    assert float(alike) == pytest.approx(0, abs=1e-6)


def test_pictures_are_normalised_moved_and_mirrored(made: TorchModel) -> None:
    cpu = torch.device("cpu")
    inputs = to_input(DATA.batch(np.arange(64)), made.picture, cpu)
    assert inputs.shape == (64, 3, 8, 8)
    assert inputs[0, 1, 2, 3] == pytest.approx((float(DATA.inputs[0, 2, 3, 1]) / 255 - 0.5) / 0.25)
    same = varied(inputs, torch.Generator().manual_seed(0), mirror=False, shift=0)
    assert torch.equal(same, inputs)
    mirrored = varied(inputs, torch.Generator().manual_seed(0), mirror=True, shift=0)
    turned = [bool(torch.equal(after, before.flip(2))) for before, after in zip(inputs, mirrored, strict=True)]
    assert 10 < sum(turned) < 54
    moved = varied(inputs, torch.Generator().manual_seed(0), mirror=False, shift=1)
    centre = inputs[:, :, 2:-2, 2:-2]
    places = [(y, x) for y in range(3) for x in range(3)]
    for before, after in zip(inputs, moved, strict=True):
        assert any(torch.equal(after[:, 2:-2, 2:-2], before[:, 1 + y : 5 + y, 1 + x : 5 + x]) for y, x in places)
    assert centre.shape == (64, 3, 4, 4)


def test_a_last_layer_for_other_classes_is_new_and_the_rest_stays(made: TorchModel) -> None:
    changed, numbers, remark = with_classes(made, ("x", "y", "z"), (), frozen=False, seed=0)
    assert numbers == (0, 1, 2)
    assert "3 classes instead of 10" in remark
    assert changed.labels == ("x", "y", "z")
    assert changed.module(changed.example[0]).shape == (1, 3)
    assert made.module(made.example[0]).shape == (1, 10)
    assert torch.equal(changed.module.get_submodule("0.0").weight, made.module.get_submodule("0.0").weight)  # type: ignore[arg-type]


def test_classes_are_found_among_the_network_s_own_by_name(made: TorchModel) -> None:
    labels = tuple("abcdefghij")
    _, numbers, _ = with_classes(made, ("c", "j", "a"), labels, frozen=True, seed=0)
    assert numbers == (2, 9, 0)


def test_heads_alone_cannot_learn_classes_that_the_network_does_not_know(made: TorchModel) -> None:
    with pytest.raises(WrongClassesError, match="without --heads-only"):
        with_classes(made, ("x", "y", "z"), tuple("abcdefghij"), frozen=True, seed=0)
