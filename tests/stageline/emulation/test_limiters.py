"""Devices on one machine are made unequal by the kernel where it lets us, and by stopping and continuing elsewhere."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from stageline.emulation.cgroups import MOUNT, ControlGroup, NoCgroupsError, make_group, sweep
from stageline.emulation.duty_cycle import DutyCycle
from stageline.emulation.limiter import enforced, limit


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield process
    process.kill()
    process.wait()


def eventually(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def permitted() -> bool:
    try:
        make_group("probe", 1.0).remove()
    except NoCgroupsError:
        return False
    return True


def test_the_best_limiter_that_is_permitted_is_taken() -> None:
    taken = limit("test", 0.5, 64 << 20)
    try:
        assert enforced(taken) == permitted()
        assert isinstance(taken, ControlGroup if permitted() else DutyCycle)
    finally:
        taken.release()


@pytest.mark.skipif(not permitted(), reason="making control groups is not permitted here")
def test_what_begins_in_a_group_is_under_its_limits_with_all_that_it_starts() -> None:
    group = make_group("test", 0.5, 64 << 20)
    program = "import subprocess, sys; print(len(bytes(8 << 20))); subprocess.Popen(['sleep', '600'], stdout=2)"
    subprocess.run([*group.entering(), sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
    (orphan,) = group.pids()
    assert "sleep" in psutil.Process(orphan).name()
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run([*group.entering(), sys.executable, "-c", "bytearray(b'1') * (256 << 20)"], check=True)
    group.release()
    assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE
    assert not any(folder.exists() for folder in group.folders.values())


@pytest.mark.skipif(not permitted(), reason="making control groups is not permitted here")
def test_a_process_in_a_group_is_really_throttled_by_the_kernel(busy: subprocess.Popen[bytes]) -> None:
    group = make_group("test", 0.2)
    try:
        group.add(busy.pid)
        assert group.pids() == [busy.pid]
        stat = group.folders["cpu"] / "cpu.stat"
        eventually(lambda: int(dict(line.split() for line in stat.read_text().splitlines())["nr_throttled"]) > 3)
    finally:
        busy.kill()
        busy.wait()
        group.remove()
    assert not group.folders["cpu"].exists()


@pytest.mark.skipif(not permitted(), reason="making control groups is not permitted here")
def test_groups_of_a_run_that_was_killed_are_swept_away() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    group = make_group("test", 0.5)
    for folder in set(group.folders.values()):
        folder.rename(folder.with_name(f"stageline-{dead.pid}-test"))
    sweep()  # whoever else sweeps in this moment may have been before us
    assert not list(MOUNT.glob(f"**/stageline-{dead.pid}-*"))


def test_what_is_swept_away_is_told_and_groups_of_the_living_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for owner in (dead.pid, os.getpid()):
        (tmp_path / "cpu" / f"stageline-{owner}-test").mkdir(parents=True)
    assert sweep(mount=tmp_path) == [f"stageline-{dead.pid}-test"]
    assert [folder.name for folder in (tmp_path / "cpu").iterdir()] == [f"stageline-{os.getpid()}-test"]


def test_version_2_is_told_in_its_own_files(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    group = make_group("pi4", 0.35, mount=tmp_path)
    group.set_memory(64 << 20)
    group.add(os.getpid())
    folder = tmp_path / f"stageline-{os.getpid()}-pi4"
    assert (folder / "cpu.max").read_text() == "3500 10000"
    assert (folder / "memory.max").read_text() == str(64 << 20)
    assert not (folder / "memory.swap.max").exists()
    assert (folder / "cgroup.procs").read_text() == str(os.getpid())
    assert "v2" in group.method
    group.set_cores(0.08)
    assert (folder / "cpu.max").read_text() == "1000 12500"
    (folder / "memory.swap.max").touch()
    group.set_memory(1 << 20)
    assert (folder / "memory.swap.max").read_text() == "0"
    group.set_memory(None)
    assert ((folder / "memory.max").read_text(), (folder / "memory.swap.max").read_text()) == ("max", "max")


def test_without_control_groups_the_reason_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoCgroupsError, match="no control group could be made"):
        make_group("pi4", 0.5, mount=tmp_path / "nowhere")


def test_the_duty_cycle_stops_and_continues_and_lets_go_at_the_end(busy: subprocess.Popen[bytes]) -> None:
    process = psutil.Process(busy.pid)
    cycle = DutyCycle("pi4", 0.5).start()
    cycle.add(busy.pid)
    eventually(lambda: process.status() == psutil.STATUS_STOPPED)
    eventually(lambda: process.status() == psutil.STATUS_RUNNING)
    cycle.release()
    assert process.status() != psutil.STATUS_STOPPED


def test_the_duty_cycle_forgets_a_process_that_ended(busy: subprocess.Popen[bytes]) -> None:
    cycle = DutyCycle("pi4", 0.5).start()
    cycle.add(busy.pid)
    busy.kill()
    busy.wait()
    cycle.release()
