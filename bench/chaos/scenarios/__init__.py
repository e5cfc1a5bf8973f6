"""Every scenario, by name. A module with `SCENARIOS` is named in `_MODULES`."""

from __future__ import annotations

from typing import Final

from bench.chaos.scenario import Scenario
from bench.chaos.scenarios import flood, hostile, links, poison, services, several_lost, submitters, workers

_MODULES: Final = (workers, links, several_lost, services, submitters, flood, poison, hostile)
SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario for module in _MODULES for scenario in module.SCENARIOS
}
