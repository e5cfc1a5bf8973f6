"""How `pin` and `exclude` change a deployment that is asked for already: read the wish, change it, ask again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from broker.bus import Bus
from schemas.deployment import Deployment
from schemas.topics import DEPLOYMENT, MODEL_CARD
from services.planner.exit_rules import ExitWishError, check_names
from stageline.commands.conduct import DONE, MendError, Report, conduct, open_bus, settings_of
from stageline.commands.known_devices import check_known
from stageline.commands.roll_out import ROLL_OUT_ERRORS, roll_out
from stageline.deploying import is_served


def change(
    deployment: str,
    edit: Callable[[Deployment], Deployment],
    *,
    name: str,
    exits: Sequence[str] = (),
    wait: bool,
    timeout_s: float,
    broker: str | None,
    root: str | None,
    json: str | None,
) -> None:
    """Run a command that does this to a deployment, and exit with its code.

    Args:
        deployment: which one.
        edit: from the wish as it is to the one that is wanted.
        name: the command's.
        exits: those of the model that people named, even where the wish afterwards names them no more.
        wait: until it is served.
        timeout_s: for how long.
        broker: as everywhere.
        root: as everywhere.
        json: as everywhere.
    """

    async def work(report: Report) -> int:
        async with open_bus(settings_of(broker=broker, root=root), name) as bus:
            before = await _wish(bus, deployment)
            await _check_exits(bus, before.model, exits)
            after = edit(before)
            await check_known(bus, _named(after) - _named(before))
            if after == before and await is_served(bus, before):
                report.out.print(f"{deployment} is served like that already; nothing changes")
                report.write_json({"deployment": deployment, "changed": False})
                return DONE
            wish = after.model_copy(update={"requested": time.time()})
            code, document = await roll_out(report, bus, wish, wait=wait, timeout_s=timeout_s)
        report.write_json({**document, "changed": after != before and not document.get("taken_back")})
        return code

    conduct(json, work, known=ROLL_OUT_ERRORS)


def _named(wish: Deployment) -> set[str]:
    return {*wish.exclude, *(pin.device for pin in wish.pins)}


async def _check_exits(bus: Bus, model: str, names: Sequence[str]) -> None:
    for card in await bus.snapshot(MODEL_CARD, model=model) if names else ():
        try:
            check_names(card.message, names)
        except ExitWishError as error:
            raise MendError(str(error)) from None


async def _wish(bus: Bus, deployment: str) -> Deployment:
    there = {one.parameters["deployment"]: one.message for one in await bus.snapshot(DEPLOYMENT)}
    if deployment not in there:
        have = f"there are {', '.join(sorted(there))}" if there else "there is none"
        raise MendError(f"no deployment {deployment!r}: {have}. `stageline deploy MODEL` makes one")
    return there[deployment]
