"""On what and with what was measured: without it a figure cannot be compared with anything."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import psutil

PACKAGES: Final = (
    "stageline", "onnxruntime", "torch", "torchvision", "numpy", "paho-mqtt", "aiomqtt", "msgpack", "zstandard", "ray",
)  # fmt: skip
_CPUINFO: Final = Path("/proc/cpuinfo")


def machine() -> str:
    """One line: processor, cores, memory, kernel."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory_gb = psutil.virtual_memory().total / 1e9
    return f"{_processor()}, {cores} cores, {memory_gb:.1f} GB, {platform.system()} {platform.release()}"


def versions() -> dict[str, str]:
    """Of Python, of mosquitto, and of the packages that are installed of those that matter here."""
    found = {"python": platform.python_version(), "mosquitto": _mosquitto()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit that is measured, with a plus sign when files differ from it; "unknown" outside a repository."""
    here = Path(__file__).parent
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*"],
            cwd=here, capture_output=True, text=True, check=True, timeout=30,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _processor() -> str:
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in {"model name", "Model"}:
                return value.strip()
    return platform.processor() or platform.machine()


def _mosquitto() -> str:
    try:
        # Its help, which is where old ones tell their version, ends with exit code 3.
        said = subprocess.run(["mosquitto", "-h"], capture_output=True, text=True, check=False, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return "not found"
    first = said.partition("\n")[0]
    return first.removeprefix("mosquitto version ").strip() or "unknown"
