"""`stageline doctor`: look at everything, say how to mend what is wrong."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from rich.markup import escape

from broker.errors import BusError
from stageline.checks import Check, check_machine
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, Report, conduct, open_bus, settings_of
from stageline.hub_checks import check_hub

_STYLES = {"ok": "green", "warn": "yellow", "FAIL": "bold red"}


def doctor(
    broker: options.Broker = None,
    root: options.Root = None,
    library: options.Library = None,
    json: options.Json = None,
) -> None:
    """Check this machine, the broker (version, packet limit, your rights), the planner, devices and deployments.

    Each line is ok, warn or FAIL, and says how to mend what is not ok.

    Exit codes: 0 nothing FAILs; 1 something does; 2 to mend: an address or setting that cannot be understood.
    """

    async def work(report: Report) -> int:
        settings = settings_of(broker=broker, root=root, library=library)
        checks: list[Check] = []

        def note(check: Check) -> None:
            checks.append(check)
            style = _STYLES[check.status]
            report.out.print(f"[{style}]{check.status:>4}[/{style}]  {escape(check.name)}: {escape(check.detail)}")
            if check.mend and check.status != "ok":
                report.out.print(f"      mend: {escape(check.mend)}")

        for check in await asyncio.to_thread(check_machine, settings.library_dir):
            note(check)
        try:
            async with open_bus(settings, "doctor") as bus:
                async for check in check_hub(bus):
                    note(check)
        except BusError as error:
            note(Check("broker", "FAIL", str(error), "is --broker (or STAGELINE_BROKER) right, and is the hub on?"))
        worst = SOME_FAILED if any(check.status == "FAIL" for check in checks) else DONE
        report.write_json({"ok": worst == DONE, "checks": [asdict(check) for check in checks]})
        return worst

    conduct(json, work)
