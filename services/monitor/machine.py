"""What machine this is, in its maker's words, and which kind of machine that makes it."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import psutil

from schemas.device import Accelerator
from services.monitor.command import Runner, run_command

Kind = Literal[
    "pi-zero-2", "pi-3", "pi-4", "pi-5", "jetson-nano", "jetson-orin-nano", "jetson", "arm-board", "laptop", "desktop",
    "virtual", "other",
]  # fmt: skip

_BY_MODEL: Final[tuple[tuple[str, Kind], ...]] = (
    (r"Raspberry Pi Zero 2", "pi-zero-2"),
    (r"Raspberry Pi (Compute Module )?3", "pi-3"),
    (r"Raspberry Pi (4|400|Compute Module 4)", "pi-4"),
    (r"Raspberry Pi (5|500|Compute Module 5)", "pi-5"),
    (r"Jetson Orin Nano|Orin Nano Developer Kit", "jetson-orin-nano"),
    (r"Jetson Nano", "jetson-nano"),
    (r"Jetson|Tegra", "jetson"),
)
_PORTABLE_CHASSIS: Final = frozenset({"8", "9", "10", "11", "14", "30", "31", "32"})
"""DMI chassis types (SMBIOS 3.x, 7.4.1) of notebooks, tablets and convertibles."""
_VIRTUAL_VENDORS: Final = ("QEMU", "VMware", "VirtualBox", "innotek", "Xen", "Amazon EC2", "Google", "Bochs", "KVM")

_NONE: Final = Accelerator()


@dataclass(frozen=True, slots=True)
class Machine:
    """The maker's name for it, and our coarse kind, by which power is modelled where it cannot be measured."""

    model: str
    kind: Kind
    accelerator: Accelerator = _NONE


async def examine(*, root: Path = Path("/"), run: Runner = run_command) -> Machine:
    """Find out once, at the start; never fails, at worst the kind is `other`."""
    machine = identify(platform.machine(), root=root)
    return replace(machine, accelerator=await find_accelerator(machine, root=root, run=run))


def identify(architecture: str, *, root: Path = Path("/")) -> Machine:
    """Model and kind, from the device tree (boards) or DMI and cpuinfo (PCs)."""
    board = _first_line(root / "proc/device-tree/model")
    if board:
        kinds = [kind for pattern, kind in _BY_MODEL if re.search(pattern, board)]
        return Machine(board, kinds[0] if kinds else "arm-board")
    processor = re.search(r"^model name\s*:\s*(.+)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    dmi = root / "sys/class/dmi/id"
    maker = f"{_first_line(dmi / 'sys_vendor')} {_first_line(dmi / 'product_name')}".strip()
    model = ", ".join(part for part in (maker, processor[1].strip() if processor else "") if part) or architecture
    if re.search(r"^flags\s*:.*\bhypervisor\b", _text(root / "proc/cpuinfo"), re.MULTILINE) or any(
        vendor in maker for vendor in _VIRTUAL_VENDORS
    ):
        return Machine(model, "virtual")
    if _first_line(dmi / "chassis_type") in _PORTABLE_CHASSIS:
        return Machine(model, "laptop")
    if architecture in ("x86_64", "AMD64", "i686"):
        return Machine(model, "desktop")
    return Machine(model, "arm-board" if architecture.startswith(("arm", "aarch64")) else "other")


async def find_accelerator(machine: Machine, *, root: Path = Path("/"), run: Runner = run_command) -> Accelerator:
    """The GPU beside the CPU, if there is one. A Jetson's shares its memory with the CPU."""
    if machine.kind in ("jetson-nano", "jetson-orin-nano", "jetson"):
        return Accelerator(
            kind="cuda", name=f"{machine.model} (integrated)", memory_bytes=psutil.virtual_memory().total
        )
    if not (root / "proc/driver/nvidia").exists():
        return _NONE
    query = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
    return parse_nvidia_smi(await run(query) or "")


def parse_nvidia_smi(text: str) -> Accelerator:
    """The first GPU of `nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits` (MiB)."""
    name, _, mebibytes = (text.splitlines() or [""])[0].rpartition(",")
    if not name or not mebibytes.strip().isdigit():
        return _NONE
    return Accelerator(kind="cuda", name=name.strip(), memory_bytes=int(mebibytes) << 20)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _first_line(path: Path) -> str:
    return _text(path).split("\n", 1)[0].strip(" \t\r\0")
