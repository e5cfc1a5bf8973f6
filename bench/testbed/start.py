"""From a fleet file to a fleet that runs: broker, planner, and each device with its quota, its memory and its cable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bench.testbed.bed import Testbed
from bench.testbed.namespace import in_private_network, why_no_network
from bench.testbed.network import network
from broker.embedded import FOLDER_PREFIX as BROKER_FOLDER_PREFIX
from broker.embedded import LOOPBACK, EmbeddedBroker
from broker.folders import sweep_folders, temporary_folder
from stageline.emulation.device import EmulatedDevice
from stageline.emulation.fleet_file import FleetDevice, FleetFile
from stageline.emulation.house import inhabited

FOLDER_PREFIX: Final = "stageline-testbed"


@contextmanager
def testbed(
    fleet: FleetFile,
    *,
    library: Path,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    planner_environment: Mapping[str, str] | None = None,
    shape: bool = True,
) -> Iterator[Testbed]:
    """Start a fleet; end all of it, whatever happens: also when we are killed.

    Links are emulated when the program called `enter_private_network` at its start and that returned true. What is
    not emulated is in the testbed's `unshaped`.

    Args:
        fleet: the devices.
        library: the planner's model library; models may be imported into it at any time.
        folder: for logs and the devices' blobs; None: a temporary one.
        environment: further `STAGELINE_...` settings of every device.
        planner_environment: the same of the planner.
        shape: False leaves every device on this machine's loopback.
    """
    with ExitStack() as stack:
        if folder is None:
            sweep_folders(FOLDER_PREFIX, BROKER_FOLDER_PREFIX)
            folder = Path(stack.enter_context(temporary_folder(FOLDER_PREFIX)))
        folder.mkdir(parents=True, exist_ok=True)
        why_not = why_not_shaped(wanted=shape)
        links = stack.enter_context(network()) if why_not is None else None
        entering = {
            device.name: [*links.attach(device.name).entering(), *called(device.name)] if links else []
            for device in fleet.devices
        }
        late = [
            device for device in fleet.devices if links and device.link and not links.set_link(device.name, device.link)
        ]
        broker = stack.enter_context(EmbeddedBroker(host=links.hub if links else LOOPBACK))
        devices = tuple(
            EmulatedDevice(
                device.name, fleet.cores_here(device), folder=folder / device.name, broker=broker.url,
                memory_bytes=device.memory_bytes, entering=entering[device.name],
                environment={**_power(device), **(environment or {})},
            )
            for device in fleet.devices
        )  # fmt: skip
        house = stack.enter_context(
            inhabited(broker, devices, folder=folder, library=library, planner_environment=planner_environment or {})
        )
        yield Testbed(fleet, house, links, tuple(_unshaped(why_not, late, devices)))


# Its name begins like a test's.
vars(testbed)["__test__"] = False


def called(name: str) -> list[str]:
    """A command prefix: what follows runs on a machine of that host name.

    The planner has devices of one host measure a model in turn, since they share its cores; emulated devices do not
    share theirs.
    """
    return ["unshare", "--uts", "--", "sh", "-c", 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"', name]


def why_not_shaped(*, wanted: bool = True) -> str | None:
    """Why links would not be emulated here, for people; None when they would."""
    if not wanted:
        return "nobody asked for it"
    if not in_private_network():
        return why_no_network() or "the program did not call enter_private_network at its start"
    return None


def _power(device: FleetDevice) -> dict[str, str]:
    if device.power is None:
        return {}
    return {"STAGELINE_IDLE_W": str(device.power.idle_w), "STAGELINE_BUSY_W": str(device.power.busy_w)}


def _unshaped(why_not: str | None, late: Sequence[FleetDevice], devices: Sequence[EmulatedDevice]) -> Iterator[str]:
    if why_not is not None:
        yield f"links are this machine's loopback, as fast as it is ({why_not})"
    if late:
        names = ", ".join(device.name for device in late)
        yield f"links have their rates and not their delays, of {names} (this kernel has no netem)"
    loose = [device for device in devices if not device.enforced]
    if loose:
        yield f"CPU is limited by {loose[0].method}, memory only by what workers are told (no control groups here)"
