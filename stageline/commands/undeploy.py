"""`stageline undeploy`: stop serving."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from schemas.topics import DEPLOYMENT, PLAN_DECISION
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, MendError, Report, conduct, open_bus, settings_of


def undeploy(
    deployment: Annotated[str, typer.Argument(help="Which one (`stageline plan` lists them).")],
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds to wait until it is gone.")] = 10.0,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Stop serving a deployment: devices drop its stages; what is still on the way fails at its deadline.

    Exit codes: 0 removed; 1 the planner did not confirm it in time; 2 to mend: no such deployment, no broker.
    """

    async def work(report: Report) -> int:
        async with open_bus(settings_of(broker=broker, root=root), "undeploy") as bus:
            there = {one.parameters["deployment"] for one in await bus.snapshot(DEPLOYMENT)}
            if deployment not in there:
                have = f"there are {', '.join(sorted(there))}" if there else "there is none"
                raise MendError(f"no deployment {deployment!r}: {have}")
            async with bus.subscribe(PLAN_DECISION, deployment=deployment) as decisions:
                await bus.clear(DEPLOYMENT, deployment=deployment)
                try:
                    async with asyncio.timeout(timeout_s):
                        async for delivery in decisions:
                            if delivery.message.state == "removed" and not delivery.retained:
                                break
                except TimeoutError:
                    report.err.print("Taken back, but no planner confirms it. Is one running? `stageline doctor`")
                    report.write_json({"deployment": deployment, "removed": False})
                    return SOME_FAILED
        report.out.print(f"{deployment} is no longer served")
        report.write_json({"deployment": deployment, "removed": True})
        return DONE

    conduct(json, work)
