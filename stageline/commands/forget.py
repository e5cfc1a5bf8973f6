"""`stageline forget`: remove what the broker still keeps of a device that is gone for good."""

from __future__ import annotations

from typing import Annotated

import typer

from broker.bus import Bus
from schemas.base import check_name
from schemas.topics import DEPLOYMENT
from services.planner.device import Device
from services.planner.fleet import read_fleet
from stageline.commands import options
from stageline.commands.conduct import DONE, MendError, Report, conduct, open_bus, settings_of


def forget(
    device: Annotated[str, typer.Argument(help="Which one (`stageline top` lists them).")],
    force: Annotated[
        bool, typer.Option("--force", help="Even if it is online; if it lives, it says so again.")
    ] = False,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Clear everything that the broker keeps of a device: what it is, how fast it is, what it held, its duty.

    Devices that are switched off stay known, since they usually come back; one that was sold or renamed does not.
    Its name is free then. Plans that it was part of are made anew without it.

    stageline forget old-pi

    Exit codes: 0 forgotten; 2 to mend: it is online, nobody has heard of it, no broker.
    """

    async def work(report: Report) -> int:
        check_name("device", device)
        async with open_bus(settings_of(broker=broker, root=root), "forget") as bus:
            known = (await read_fleet(bus)).devices
            if device in known and not force and (living := _living(known[device])):
                raise MendError(
                    f"{device} is online (its {living}): stop it there first, or `stageline drain {device}` to keep it "
                    "and use it no more. If you know that it is gone, --force"
                )
            cleared = await bus.clear_below(f"device/{device}/#")
            if not cleared:
                have = f"devices there are: {', '.join(sorted(known))}" if known else "it knows no device"
                raise MendError(f"the broker keeps nothing of a device {device!r}: {have}")
            for name, what in await _named_in(bus, device):
                report.err.print(
                    f"warning: {name} still {what} {device}: `stageline {_UNDO[what]} {name} {device} --undo`",
                    markup=False,
                )
        report.out.print(f"{device} is forgotten ({len(cleared)} topics cleared)")
        report.write_json({"device": device, "cleared": cleared})
        return DONE

    conduct(json, work)


_UNDO = {"pins blocks to": "pin", "excludes": "exclude"}


def _living(device: Device) -> str:
    """Which of its services say that they are there, for people; empty when none does."""
    monitor = "monitor" if device.status is not None and device.status.online else ""
    worker = "worker" if device.worker is not None and device.worker.online else ""
    return " and ".join(filter(None, (monitor, worker)))


async def _named_in(bus: Bus, device: str) -> list[tuple[str, str]]:
    """Deployments that name the device, and as what."""
    found = []
    for wish in (one.message for one in await bus.snapshot(DEPLOYMENT)):
        if any(pin.device == device for pin in wish.pins):
            found.append((wish.deployment, "pins blocks to"))
        if device in wish.exclude:
            found.append((wish.deployment, "excludes"))
    return found
