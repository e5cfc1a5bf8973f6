"""`deploy --file`: several wishes at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from schemas.topics import (
    DEPLOYMENT,
)

if TYPE_CHECKING:
    from tests.stageline.command_line.conftest import Background, House


def test_a_file_deploys_several_and_says_each_as_if_typed(house: House, background: Background, tmp_path: Path) -> None:
    path = tmp_path / "wishes.toml"
    path.write_text(
        '[[deployment]]\nmodel = "doubler"\nname = "cats"\nweight = 2\npin = ["pi4=0:1"]\nmemory_limit = ["pi4=20.5"]\n'
        '[[deployment]]\nmodel = "doubler"\nname = "dogs"\nexclude = ["nano"]\n'
    )
    documents = house.json("deploy", "--file", path)
    assert [one["decision"]["deployment"] for one in documents] == ["cats", "dogs"]
    cats, dogs = (
        background.run(house.line.bus.snapshot(DEPLOYMENT, deployment=one))[0].message for one in ("cats", "dogs")
    )
    assert (cats.weight, str(cats.pins[0].device), cats.memory_limit_bytes) == (2.0, "pi4", {"pi4": 20_500_000})
    assert (dogs.weight, dogs.exclude) == (1.0, ("nano",))


def test_a_file_with_one_refusal_deploys_the_rest_and_ends_with_1(house: House, tmp_path: Path) -> None:
    path = tmp_path / "wishes.toml"
    path.write_text('[[deployment]]\nmodel = "giant"\n[[deployment]]\nmodel = "doubler"\n')
    refused, served = house.json("deploy", "-f", path, code=1)
    assert "lacks 400 MB" in refused["error"]
    assert served["decision"]["state"] == "serving"


def test_a_file_with_an_unknown_model_deploys_nothing(house: House, tmp_path: Path) -> None:
    path = tmp_path / "wishes.toml"
    path.write_text('[[deployment]]\nmodel = "doubler"\n[[deployment]]\nmodel = "mobilnet"\n')
    result = house.invoke("deploy", "--file", path)
    assert result.exit_code == 2
    assert "doubler, giant" in result.stderr
    assert house.json("plan") == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["doubler", "--file", "{file}"], "MODEL and --file: write it into"),
        (["--file", "{file}", "-o", "throughput"], "--objective and --file"),
        (["--file", "none.toml"], "name an existing deployments file"),
        ([], "say which model"),
        (["doubler", "--weight", "0"], "--weight 0.0: Input should be greater"),
    ],
)
def test_deploy_says_what_to_do_when_it_is_told_too_much_or_too_little(
    house: House, tmp_path: Path, arguments: list[str], says: str
) -> None:
    path = tmp_path / "wishes.toml"
    path.write_text('[[deployment]]\nmodel = "doubler"\n')
    result = house.invoke("deploy", *(one.format(file=path) for one in arguments))
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())
