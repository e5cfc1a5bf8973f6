"""`stageline invite`: a name and a password for a device or a person, and the line to run there."""

from __future__ import annotations

from typing import Annotated

import typer

from broker.address import BrokerAddress
from stageline.commands import options
from stageline.commands.conduct import DONE, Report, conduct, settings_of
from stageline.credentials import CredentialsError, reachable_host
from stageline.credentials import invite as invite_user
from stageline.hub_broker import reload_broker
from stageline.hub_files import HubFiles


def invite(
    name: Annotated[str, typer.Argument(help="The device's name on the bus, or a person's or program's.")],
    operator: Annotated[
        bool, typer.Option("--operator", help="Not a device: may deploy, submit and look at everything.")
    ] = False,
    host: Annotated[
        str | None, typer.Option("--host", help="How others reach this machine; else HOSTNAME.local.")
    ] = None,
    hub_dir: options.HubDir = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """Let somebody in; run it on the hub. Inviting a name again gives it a new password.

    stageline invite pi4

    stageline invite --operator ann

    A running `stageline hub` lets them in at once; a system-wide mosquitto must read its files again:
    `sudo systemctl reload mosquitto`.

    Exit codes: 0 invited; 2 to mend: there are no users yet (`stageline hub --init`), an illegal name.
    """

    async def work(report: Report) -> int:
        settings = settings_of(hub_dir=hub_dir, root=root)
        files = HubFiles(settings.hub_files_dir)
        port = 1883
        if files.planner_address.exists():
            port = BrokerAddress.parse(files.planner_address.read_text(encoding="utf-8").strip()).port
        invitation = invite_user(
            files,
            name,
            role="operator" if operator else "device",
            host=host or reachable_host(),
            port=port,
            root=settings.root,
        )
        line = f"export STAGELINE_BROKER='{invitation}'" if operator else f"stageline join '{invitation}' --name {name}"
        report.err.print(f"{name} may come in. There, run:")
        report.out.print(line, markup=False, soft_wrap=True)
        report.write_json(
            {"name": name, "role": "operator" if operator else "device", "address": str(invitation), "line": line},
            secret=True,
        )
        if not reload_broker(files):
            report.err.print(
                "If mosquitto runs already, have it read the new password: sudo systemctl reload mosquitto"
            )
        return DONE

    conduct(json, work, known=(CredentialsError,))
