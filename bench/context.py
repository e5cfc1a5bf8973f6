"""What an experiment is given: how thorough to be, where models and raw figures are kept, whom to tell its progress."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from models.importer import import_model
from models.library import Library
from schemas.model import ModelCard
from stageline.emulation.fleet_file import FleetFile, load_fleet

FLEETS: Final = Path(__file__).with_name("fleets")
DEFAULT_LIBRARY: Final = Path("build/bench/library")
"""Of those benches that can be given another."""
SEED: Final = 0
"""Of all random weights: the same here, in every peer and on every machine."""


def _tell_nobody(_text: str, _share: float) -> None:
    pass


@dataclass(frozen=True)
class Context:
    """One run of the bench, as its experiments see it."""

    quick: bool
    """Whether fewer models and rounds must do: to see that everything works, and roughly how it compares."""
    folder: Path
    """Where results and raw figures go."""
    library: Library
    """Imported models; kept between runs."""
    pictures: Path | None = None
    """A folder of pictures to measure codecs with; None: the packaged ones."""
    report: Callable[[str, float], None] = _tell_nobody

    def card(self, model: str) -> ModelCard:
        """The model's card; imported now, with random weights, where the library has it not."""
        known = self.library.cards().get(model)
        return known or import_model(model, self.library, weights="random", seed=SEED)

    def fleet(self, name: str) -> FleetFile:
        """One of the bench's fleets by the stem of its file, e.g. "hml".

        Raises:
            stageline.emulation.fleet_file.BadFleetError: there is no such file, or it is wrong.
        """
        return load_fleet(FLEETS / f"{name}.toml")

    def progress(self, text: str, share: float) -> None:
        """Say what the experiment does now, and the share of it that is done, 0 to 1."""
        self.report(text, share)

    def raw(self, experiment: str, record: dict[str, Any]) -> None:
        """Keep one measurement as it came: a JSON line, with when it was taken and how busy the machine was."""
        path = self.folder / "raw" / f"{experiment}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        line = {"unix_s": round(time.time(), 3), "load_1min": os.getloadavg()[0], "quick": self.quick, **record}
        with path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
