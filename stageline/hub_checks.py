"""What `stageline doctor` looks at through the broker, and how to mend what it finds."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

from broker.bus import Bus, BusError
from schemas.frame import encode_frame
from schemas.frame_header import FrameHeader
from schemas.topics import ANSWER, DEPLOYMENT, DEVICE_TELEMETRY, HUB_STATUS, PLAN_DECISION, STAGE
from services.planner.device import Device
from services.planner.fleet import Fleet, read_fleet
from services.planner.hub_presence import is_alive
from stageline.checks import Check
from stageline.deploying import refusal, still_served

_NAME: Final = "doctor"
_HEADER_BYTES: Final = 16_384
_LISTEN_S: Final = 2.5
_SKEW_S: Final = 5.0


async def check_hub(bus: Bus) -> AsyncIterator[Check]:
    """Everything that needs the broker, which `bus` is connected to."""
    yield Check("broker", "ok", f"{bus.address}, MQTT 5")
    yield await _version(bus)
    for one in await _rights(bus):
        yield one
    fleet = await read_fleet(bus)
    yield _packets(bus.max_packet_bytes, fleet)
    yield await _planner(bus)
    for one in _devices(fleet):
        yield one
    yield await _clocks(bus, fleet)
    for one in await _deployments(bus):
        yield one


async def _version(bus: Bus) -> Check:
    """mosquitto tells its version on `$SYS`, which is no topic of ours: a bus with that root reads it."""
    with contextlib.suppress(BusError, TimeoutError):
        async with (
            asyncio.timeout(_LISTEN_S),
            Bus(bus.address, name=_NAME, root="$SYS") as system,
            system.subscribe_bytes("broker/version") as messages,
        ):
            message = await anext(messages)
            return Check("broker version", "ok", bytes(message.payload).decode(errors="replace"))
    return Check("broker version", "warn", "it does not say", "read rights on $SYS/# (operators have them) show it")


async def _rights(bus: Bus) -> list[Check]:
    """Whether this user may do what a submitter and an operator do; nothing is left behind."""
    header = FrameHeader(kind="work", request=_NAME, submitter=_NAME, deployment=_NAME, generation=0, budget_ms=1000)

    async def answers() -> None:
        async with bus.frames(ANSWER, submitter=bus.name):
            pass

    async def submit() -> None:
        await bus.send_frame(
            STAGE, encode_frame(header), expiry_s=1, correlation=_NAME, deployment=_NAME, generation=0, device=_NAME,
            stage="r0s0",
        )  # fmt: skip

    async def deploy() -> None:
        await bus.clear(DEPLOYMENT, deployment=_NAME)

    checks = []
    for what, attempt in (("receive answers", answers), ("submit", submit), ("deploy", deploy)):
        try:
            await attempt()
        except BusError as error:
            mend = "connect as an operator: `stageline invite --operator NAME` on the hub prints the address"
            checks.append(Check(f"may {what}", "FAIL", str(error), mend))
        else:
            checks.append(Check(f"may {what}", "ok", "yes"))
    return checks


def _packets(limit_bytes: int, fleet: Fleet) -> Check:
    """Whether the largest tensors of the library's models pass the broker, codecs off."""
    name = "largest packet"
    cuts = [(cut.nbytes, model) for model, card in fleet.cards.items() for cut in card.cuts]
    if not cuts:
        return Check(name, "ok", f"{limit_bytes / 1e6:.1f} MB pass")
    largest, model = max(cuts)
    detail = f"{limit_bytes / 1e6:.1f} MB pass; the largest cut of {model} is {largest / 1e6:.1f} MB"
    if largest + _HEADER_BYTES <= limit_bytes:
        return Check(name, "ok", detail)
    size = max(64 << 20, 2 * largest)
    mend = f"set `max_packet_size {size}` in mosquitto.conf and restart it; until then plans avoid such cuts"
    return Check(name, "FAIL" if _input_bytes(fleet, model) > limit_bytes else "warn", detail, mend)


def _input_bytes(fleet: Fleet, model: str) -> int:
    return fleet.cards[model].cuts[0].nbytes + _HEADER_BYTES


async def _planner(bus: Bus) -> Check:
    states = [delivery.message for delivery in await bus.snapshot(HUB_STATUS)]
    if any(state.online for state in states):
        if await is_alive(bus):
            return Check("planner", "ok", f"online {states[0].version}".strip())
        mend = "start it again on the hub: systemctl restart stageline-planner, or `stageline hub`"
        return Check("planner", "FAIL", "does not answer, though the broker has it as online", mend)
    return Check(
        "planner", "FAIL", "not there", "start it on the hub: `stageline hub`, or systemctl start stageline-planner"
    )


def _devices(fleet: Fleet) -> list[Check]:
    checks = [
        Check(
            f"device {name}",
            "ok" if device.usable and not device.stale else "warn",
            _device_text(fleet, name),
            "" if device.usable and not device.stale else _device_mend(device),
        )
        for name, device in sorted(fleet.devices.items())
    ]
    if not fleet.usable:
        drained = [name for name, device in sorted(fleet.devices.items()) if device.draining and not device.gone]
        mend = (
            " and ".join(f"`stageline drain {name} --undo`" for name in drained)
            or "on each device: `stageline join mqtt://HUB --name NAME`"
        )
        checks.append(Check("devices", "FAIL", "none can compute", mend))
    return checks


def _device_mend(device: Device) -> str:
    if device.draining and not device.gone:
        return f"nothing, if you want it to be spared; `stageline drain {device.name} --undo` uses it again"
    return "on that device: `stageline join`, or systemctl status stageline-worker"


def _device_text(fleet: Fleet, name: str) -> str:
    device = fleet.devices[name]
    if not device.usable:
        if device.draining and not device.gone:
            return f"it is being drained{f' ({device.duty.reason})' if device.duty and device.duty.reason else ''}"
        return device.absence
    if device.stale:
        return "its monitor is offline: load, heat and link are its last words"
    return f"{device.capacity_cores:.2g} cores, {len(device.worker.stages) if device.worker else 0} stages"


async def _clocks(bus: Bus, fleet: Fleet) -> Check:
    """For people who compare logs: nothing here depends on clocks that agree."""
    awaited = {name for name, device in fleet.devices.items() if not device.stale}
    apart: dict[str, float] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LISTEN_S), bus.subscribe(DEVICE_TELEMETRY) as messages:
            while awaited - apart.keys():
                delivery = await anext(messages)
                if not delivery.retained:
                    apart[delivery.message.device] = delivery.message.unix_time - time.time()
    if not apart:
        return Check("clocks", "ok", "no device to compare with")
    name, seconds = max(apart.items(), key=lambda item: abs(item[1]))
    detail = f"{name} differs most, by {seconds:+.1f} s"
    if abs(seconds) <= _SKEW_S:
        return Check("clocks", "ok", detail)
    return Check(
        "clocks", "warn", detail, "answers do not suffer, logs are hard to compare: run an NTP client (timedatectl)"
    )


async def _deployments(bus: Bus) -> list[Check]:
    checks = []
    for delivery in await bus.snapshot(PLAN_DECISION):
        decision = delivery.message
        if decision.state == "failed":
            served = await still_served(bus, decision.deployment)
            detail = refusal(decision.error, served) if served else decision.error
            checks.append(Check(f"deployment {decision.deployment}", "warn", detail, "`stageline plan` says more"))
        elif decision.state != "removed":
            checks.append(Check(f"deployment {decision.deployment}", "ok", decision.state))
    return checks
