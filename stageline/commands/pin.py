"""`stageline pin`: keep blocks of a running deployment on a device, or no longer."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from stageline.commands import options
from stageline.commands.changing import change
from stageline.wish_changes import pinning, unpinning


def pin(
    deployment: Annotated[str, typer.Argument(help="Which one (`stageline plan` lists them).")],
    pins: Annotated[
        list[str],
        typer.Argument(metavar="DEVICE=A:B...", help="Blocks A up to B stay on this device. With --undo also DEVICE."),
    ],
    undo: Annotated[
        bool, typer.Option("--undo", help="Take these pins back; DEVICE alone means all of its pins.")
    ] = False,
    wait: options.Wait = True,
    timeout_s: options.ServedWithin = 180.0,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Keep blocks of a deployment on a device; all else that was asked for stays, and it goes on being served.

    stageline pin cats camera=0:3          (raw pixels never leave the camera)

    stageline pin cats camera=0:3 --undo

    stageline pin cats camera --undo       (all pins of camera)

    Exit codes: 0 served like that (or it was already); 1 there is no plan with it (if the plan before it goes on
    serving, the pins stay as they were); 2 to mend: no such deployment, device, block or pin, pins that contradict one
    another, no broker, no planner.
    """
    edit = unpinning if undo else pinning
    change(
        deployment, partial(edit, pins=pins), name="pin", wait=wait, timeout_s=timeout_s, broker=broker, root=root,
        json=json,
    )  # fmt: skip
