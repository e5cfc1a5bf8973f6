"""The same wish once more, so that the planner makes its plan anew: who is chosen now, and under which number?"""

from __future__ import annotations

import time

from bench.chaos.scene import Scene
from schemas.deployment import Decision
from stageline.deploying import deploy


async def asked_again(scene: Scene, *, within_s: float = 60.0) -> Decision:
    """Ask for the scenario's deployment again; returns once it is served and its plan has been seen.

    Raises:
        stageline.deploying.DeployFailedError: the planner refuses, or it takes too long.
        bench.chaos.scene.NotInTimeError: what it decided is not current.
    """
    wish = scene.scenario.wish(scene.card, scene.bed.fleet).model_copy(update={"requested": time.time()})
    decision = await deploy(scene.bus, wish, timeout_s=within_s)
    await scene.replanned(beyond=decision.generation - 1, within_s=within_s)
    return decision
