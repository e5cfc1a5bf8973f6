"""`stageline exclude`: serve a running deployment without some devices, or with them again."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from stageline.commands import options
from stageline.commands.changing import change
from stageline.wish_changes import excluding, including


def exclude(
    deployment: Annotated[str, typer.Argument(help="Which one (`stageline plan` lists them).")],
    devices: Annotated[list[str], typer.Argument(metavar="DEVICE...", help="Devices it must not use.")],
    undo: Annotated[bool, typer.Option("--undo", help="It may use them again.")] = False,
    wait: options.Wait = True,
    timeout_s: options.ServedWithin = 180.0,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Serve a deployment without these devices; all else that was asked for stays, and it goes on being served.

    stageline exclude cats pi4

    stageline exclude cats pi4 --undo

    To move the work of every deployment off a device, `stageline drain DEVICE`.

    Exit codes: 0 served like that (or it was already); 1 there is no plan without them (if the plan before it goes on
    serving, they stay in use); 2 to mend: no such deployment or device, a device that is not excluded, no broker, no
    planner.
    """
    edit = including if undo else excluding
    change(
        deployment, partial(edit, devices=devices), name="exclude", wait=wait, timeout_s=timeout_s, broker=broker,
        root=root, json=json,
    )  # fmt: skip
