"""What is said of a model that the hub's library does not have."""

from __future__ import annotations

import pytest

from stageline.deploying import NoSuchModelError


@pytest.mark.parametrize(
    ("model", "says"),
    [("cifar10-exits", "`stageline import cifar10-exits`"), ("digits", "`stageline import MODEL --name digits`")],
)
def test_the_command_that_is_named_can_import_it(model: str, says: str) -> None:
    assert str(NoSuchModelError(model, ["net"])).startswith(f"no model '{model}' in the hub's library (it has net).")
    assert says in str(NoSuchModelError(model, []))
