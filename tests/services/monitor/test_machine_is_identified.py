"""Which machine this is, from recorded device trees, DMI and cpuinfo; and which GPU sits in it."""

from __future__ import annotations

import pytest

from services.monitor.info import installed_versions
from services.monitor.machine import examine, find_accelerator, identify, parse_nvidia_smi


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("Raspberry Pi 4 Model B Rev 1.4\0", "pi-4"),
        ("Raspberry Pi 400 Rev 1.0\0", "pi-4"),
        ("Raspberry Pi Compute Module 4 Rev 1.1\0", "pi-4"),
        ("Raspberry Pi 5 Model B Rev 1.0\0", "pi-5"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3\0", "pi-3"),
        ("Raspberry Pi Zero 2 W Rev 1.0\0", "pi-zero-2"),
        ("NVIDIA Jetson Nano Developer Kit\0", "jetson-nano"),
        ("NVIDIA Jetson Orin Nano Developer Kit\0", "jetson-orin-nano"),
        ("NVIDIA Jetson AGX Orin Developer Kit\0", "jetson"),
        ("Radxa ROCK 5B\0", "arm-board"),
    ],
)
def test_boards_name_themselves(tree, model, kind):
    machine = identify("aarch64", root=tree({"proc/device-tree/model": model}))
    assert machine.kind == kind
    assert machine.model == model.rstrip("\0")


CPUINFO = "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i5-6200U CPU @ 2.30GHz\nflags\t\t: fpu vme de pse\n"


@pytest.mark.parametrize(
    ("chassis", "kind"), [("10\n", "laptop"), ("9\n", "laptop"), ("3\n", "desktop"), ("", "desktop")]
)
def test_pcs_are_laptops_or_desktops_by_their_chassis(tree, chassis, kind):
    root = tree(
        {
            "proc/cpuinfo": CPUINFO,
            "sys/class/dmi/id/chassis_type": chassis,
            "sys/class/dmi/id/sys_vendor": "LENOVO\n",
            "sys/class/dmi/id/product_name": "20F6\n",
        }
    )
    machine = identify("x86_64", root=root)
    assert machine.kind == kind
    assert machine.model == "LENOVO 20F6, Intel(R) Core(TM) i5-6200U CPU @ 2.30GHz"


def test_a_virtual_machine_says_so_by_its_cpu_flags_or_its_vendor(tree):
    assert identify("x86_64", root=tree({"proc/cpuinfo": "flags\t\t: fpu hypervisor lahf_lm\n"})).kind == "virtual"
    assert (
        identify("aarch64", root=tree({"proc/cpuinfo": "", "sys/class/dmi/id/sys_vendor": "QEMU\n"})).kind == "virtual"
    )


def test_a_machine_that_says_nothing_still_has_a_name_and_a_kind(tmp_path):
    assert identify("riscv64", root=tmp_path).kind == "other"
    assert identify("riscv64", root=tmp_path).model == "riscv64"
    assert identify("aarch64", root=tmp_path).kind == "arm-board"


@pytest.mark.parametrize(
    ("text", "kind", "name", "gibibytes"),
    [
        ("NVIDIA GeForce RTX 3060, 12288\n", "cuda", "NVIDIA GeForce RTX 3060", 12),
        ("NVIDIA H100 80GB HBM3, 81559\nNVIDIA H100 80GB HBM3, 81559\n", "cuda", "NVIDIA H100 80GB HBM3", 81559 / 1024),
        ("", "none", "", 0),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", "none", "", 0),
        ("Some GPU, [N/A]\n", "none", "", 0),
    ],
)
def test_nvidia_smi_reads(text, kind, name, gibibytes):
    gpu = parse_nvidia_smi(text)
    assert (gpu.kind, gpu.name, gpu.memory_bytes / (1 << 30)) == (kind, name, gibibytes)


async def test_a_machine_without_the_driver_is_not_asked_for_its_gpu(tmp_path, commands):
    run = commands()
    assert (await find_accelerator(identify("x86_64", root=tmp_path), root=tmp_path, run=run)).kind == "none"
    assert run.asked == []


async def test_a_jetsons_gpu_is_known_without_asking(tree, commands):
    machine = await examine(root=tree({"proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0"}), run=commands())
    assert machine.accelerator.kind == "cuda"


async def test_a_pcs_gpu_is_asked_for(tree, commands):
    run = commands({"nvidia-smi --query-gpu=name,memory.total --format=csv,noheader,nounits": "A100, 40960\n"})
    machine = await examine(root=tree({"proc/driver/nvidia/version": "NVRM\n"}), run=run)
    assert machine.accelerator.name == "A100"


def test_versions_are_known_without_importing_a_runtime():
    versions = installed_versions()
    assert {"python", "kernel", "stageline", "onnxruntime"} <= versions.keys()
