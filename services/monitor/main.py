"""`stageline-monitor`: one process per device that says what the device is and how it is doing."""

from __future__ import annotations

import asyncio
import logging
import socket
from functools import partial
from typing import Annotated, Any, Final

import typer

from broker.bus import Bus
from broker.delivery import Will
from schemas.device import DeviceStatus
from schemas.topics import DEVICE_INFO, DEVICE_STATUS, Topic
from services.capacity import capacity
from services.guarding import Guard
from services.lifecycle import launch
from services.monitor.info import InfoTeller
from services.monitor.machine import examine
from services.monitor.power.listener import listen_to_plug
from services.monitor.power.meter import PowerMeter, choose_sensor
from services.monitor.power.model import power_model
from services.monitor.power.plug import Plug
from services.monitor.probe import LinkProbe
from services.monitor.settings import MonitorSettings
from services.monitor.telemetry import Observer, keep_publishing
from services.presence import Presence, new_boot_id, take_name
from services.settings import load
from services.supervision import ExecutorPulse, supervised

logger = logging.getLogger("services.monitor")

OURS: Final[tuple[Topic[Any], ...]] = (DEVICE_STATUS, DEVICE_INFO)
"""Topics of a device on which nobody but its monitor has anything to say, and that are not said anew all the time."""


async def serve(settings: MonitorSettings) -> None:
    """Connect, hold the name, look at the machine; then named loops until cancelled."""
    device, boot_id = settings.device, new_boot_id()
    status = partial(DeviceStatus, device=device, boot_id=boot_id)
    will = Will(DEVICE_STATUS, status(online=False, reason="connection lost"), {"device": device})
    name = f"monitor-{device}"[:64]
    bus = Bus(settings.broker, name=name, root=settings.root, will=will, connect_timeout_s=settings.connect_timeout_s)
    async with supervised(ExecutorPulse(), partial(summary, bus, device)) as ready, bus:
        presence = Presence(
            bus, DEVICE_STATUS, device=device, boot_id=boot_id, role="monitor", current=partial(status, online=True)
        )
        await take_name(bus, device=device, boot_id=boot_id, role="monitor", hostname=socket.gethostname())
        machine = await examine()
        size = partial(capacity, settings.capacity_cores)
        typical = partial(power_model, machine.kind, idle_w=settings.idle_w, busy_w=settings.busy_w)
        plug = Plug(settings.plug_topic) if settings.plug_topic else None
        power = PowerMeter(await choose_sensor(machine, plug=plug), typical)
        link = LinkProbe(bus, device=device, period_s=settings.link_period_s)
        observer = Observer(device=device, boot_id=boot_id, size=size, power=power, link=link)
        info = InfoTeller(device=device, boot_id=boot_id, machine=machine, size=size, power=power.model)
        logger.info("watching %s as %s", machine.model, device, extra={"broker": bus.address, "power": power.source})
        async with (
            presence.farewell(lambda reason: status(online=False, reason=reason)),
            asyncio.TaskGroup() as loops,
        ):
            loops.create_task(presence.guard(), name="presence")
            loops.create_task(info.keep_telling(bus), name="info")
            loops.create_task(Guard(bus, {topic: {"device": device} for topic in OURS}).follow(), name="guard")
            loops.create_task(link.keep_measuring(), name="link")
            loops.create_task(link.follow_commands(), name="commands")
            loops.create_task(keep_publishing(bus, observer, link, settings.telemetry_period_s), name="telemetry")
            loops.create_task(presence.when_known(ready), name="ready")
            if plug:
                loops.create_task(listen_to_plug(bus.address, plug, name=name, rejected=bus.rejected), name="plug")


def summary(bus: Bus, device: str) -> str:
    """What it does now, in a line for people."""
    return f"watches this machine as {device}" if bus.connected else f"{device} looks for the broker at {bus.address}"


app = typer.Typer(add_completion=False)


@app.command()
def monitor(
    *,
    broker: Annotated[str | None, typer.Option(help="Address, e.g. mqtt://user:password@hub:1883.")] = None,
    device: Annotated[str | None, typer.Option(help="This device's name; the host name unless given.")] = None,
    root: Annotated[str | None, typer.Option(help="Topic root, for a second house on the same broker.")] = None,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = None,
    connect_timeout_s: Annotated[
        float | None, typer.Option(help="Give up after so long without a broker; unless given, keep trying.")
    ] = None,
    capacity_cores: Annotated[float | None, typer.Option(help="Lend at most so many cores.")] = None,
    telemetry_period_s: Annotated[float | None, typer.Option(help="Between telemetry messages, s.")] = None,
    link_period_s: Annotated[float | None, typer.Option(help="Between link probes, s.")] = None,
    plug_topic: Annotated[
        str | None, typer.Option(help="Topic of this device's smart plug, e.g. tele/plug7/SENSOR (Tasmota).")
    ] = None,
    idle_w: Annotated[float | None, typer.Option(help="Watts of this device idle, if you know them.")] = None,
    busy_w: Annotated[float | None, typer.Option(help="Watts of this device fully busy, if you know them.")] = None,
) -> None:
    """Watch this device and tell the hub: what it is, how busy, how hot, how many watts, how far from the broker.

    Every flag can be given as STAGELINE_<NAME> in the environment instead; flags win. Watch it with:

    mosquitto_sub -h HUB -v -t 'stageline/v1/device/+/telemetry'

    Exit codes: 0 asked to stop, 1 crashed, 2 something to mend (a setting, a name that is taken, no broker).
    """
    flags = locals()
    raise typer.Exit(launch(partial(load, MonitorSettings, **flags), serve))


def main() -> None:
    """Entry point of `stageline-monitor`."""
    app()


if __name__ == "__main__":
    main()
