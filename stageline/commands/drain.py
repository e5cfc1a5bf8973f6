"""`stageline drain`: move a device's work away, so that it may be switched off."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from broker.bus import Bus
from schemas.device import Duty
from schemas.topics import DEVICE_DUTY, HUB_STATUS
from stageline.commands import options
from stageline.commands.conduct import DONE, SOME_FAILED, Report, conduct, open_bus, settings_of
from stageline.commands.known_devices import check_known
from stageline.deploying import NoPlannerError, SilentPlannerError
from stageline.draining import Draining
from stageline.draining import drain as drain_and_wait


def drain(
    device: Annotated[str, typer.Argument(help="Which one (`stageline top` lists them).")],
    undo: Annotated[bool, typer.Option("--undo", help="Plans may use it again.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Shown wherever the device is left out.")] = "",
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait until it is free.")] = 120.0,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Move a device's work to the others while everything goes on being served, and say when it may be switched off.

    Plans that use it are replaced, make before break; no new plan uses it until it is taken back. That is kept by the
    broker: it also holds after the device, or this command, was started again.

    stageline drain pi4 --reason "new power supply"

    stageline drain pi4 --undo

    Exit codes: 0 it may be switched off (with --undo: plans may use it again); 1 it is still needed (which deployment
    has no plan without it, or what it still holds, is shown; nothing was taken from service); 2 to mend: no such
    device, no broker, no planner or one that does not answer.
    """

    async def work(report: Report) -> int:
        async with open_bus(settings_of(broker=broker, root=root), "drain") as bus:
            await check_known(bus, [device])
            if undo:
                return await _undo(report, bus, device)
            if not any(status.message.online for status in await bus.snapshot(HUB_STATUS)):
                raise NoPlannerError
            duty = Duty(device=device, duty="drain", since=time.time(), reason=reason)
            with _Progress(report.err, device) as progress:
                outcome = await drain_and_wait(bus, duty, timeout_s=timeout_s, tell=progress.show)
        return _tell(report, outcome, timeout_s)

    conduct(json, work, known=(NoPlannerError, SilentPlannerError))


async def _undo(report: Report, bus: Bus, device: str) -> int:
    duties = [one.message for one in await bus.snapshot(DEVICE_DUTY, device=device)]
    was = any(duty.duty == "drain" for duty in duties)
    await bus.clear(DEVICE_DUTY, device=device)
    report.out.print(f"Plans may use {device} again" if was else f"{device} was not being drained: plans may use it")
    report.write_json({"device": device, "drained": False, "undone": was})
    return DONE


def _tell(report: Report, outcome: Draining, timeout_s: float) -> int:
    device = outcome.device
    taken_back = f"`stageline drain {device} --undo` takes this back"
    report.write_json({
        "device": device, "drained": outcome.done, "deployments": list(outcome.deployments),
        "stages": list(outcome.stages), "refused": dict(outcome.stuck),
    })  # fmt: skip
    if outcome.done:
        report.out.print(f"{device} may be switched off: no plan uses it and it holds nothing. {taken_back}")
        return DONE
    if outcome.stuck:
        for name, why in outcome.stuck.items():
            report.err.print(f"{name} has no plan without {device} and goes on being served by it: {why}", markup=False)
        report.err.print(
            f"{device} must stay on. It is let go as soon as another device can take over; {taken_back}", markup=False
        )
    else:
        report.err.print(f"not within {timeout_s:g} s: {outcome}. It goes on; {taken_back}", markup=False)
    return SOME_FAILED


class _Progress:
    """One line that says what the device is still needed for."""

    def __init__(self, console: Console, device: str) -> None:
        self._status = console.status(f"{device}: asking the planner")

    def __enter__(self) -> _Progress:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def show(self, draining: Draining) -> None:
        """Say how far it is."""
        self._status.update(escape(str(draining)))
