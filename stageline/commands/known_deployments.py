"""Which deployment a command means."""

from __future__ import annotations

from broker.bus import Bus
from schemas.topics import DEPLOYMENT, PLAN_CURRENT
from stageline.commands.conduct import MendError


async def existing(bus: Bus, deployment: str) -> str:
    """`deployment`, which is served, or was asked for and may be served soon.

    Raises:
        MendError: nobody asked for it.
    """
    wanted = {one.parameters["deployment"] for one in await bus.snapshot(DEPLOYMENT)}
    wanted |= {one.parameters["deployment"] for one in await bus.snapshot(PLAN_CURRENT)}
    if deployment not in wanted:
        have = f"there are {', '.join(sorted(wanted))}" if wanted else "there is no deployment"
        raise MendError(f"nothing is deployed as {deployment!r}: {have}. Deploy a model first: stageline deploy MODEL")
    return deployment


async def the_only_deployment(bus: Bus) -> str:
    """The one deployment that is served.

    Raises:
        MendError: there is none, or there are several.
    """
    names = sorted(one.parameters["deployment"] for one in await bus.snapshot(PLAN_CURRENT))
    if not names:
        raise MendError("nothing is deployed. Deploy a model first: stageline deploy MODEL")
    if len(names) > 1:
        raise MendError(f"there are several deployments: say which with --deployment ({', '.join(names)})")
    return names[0]
