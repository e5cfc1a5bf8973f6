"""Capacity read from recorded /proc and cgroup trees of both versions."""

from __future__ import annotations

import psutil
import pytest

from services.capacity import allowed_cpus, capacity, threads_for, usable_cores, usable_memory
from services.cgroup import (
    MemoryRoom,
    find_groups,
    members,
    parse_cfs,
    parse_cpu_max,
    parse_limit,
    parse_memberships,
    parse_mountinfo,
    parse_stat,
    spare_cache,
)

NO_LIMIT_V1 = "9223372036854771712\n"
MIB = 1 << 20

# Raspberry Pi OS 12, a unit with CPUQuota=50% and MemoryMax=512M, inside a slice limited to 2 cores.
PI_V2 = {
    "proc/self/cgroup": "0::/system.slice/stageline-worker.service\n",
    "proc/self/mountinfo": (
        "21 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw\n"
        "29 23 0:25 / /sys/fs/cgroup rw,nosuid,nodev,noexec shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
    ),
    "sys/fs/cgroup/cpu.stat": "usage_usec 99000000\n",
    "sys/fs/cgroup/system.slice/cpu.max": "200000 100000\n",
    "sys/fs/cgroup/system.slice/memory.max": "max\n",
    "sys/fs/cgroup/system.slice/stageline-worker.service/cpu.max": "50000 100000\n",
    "sys/fs/cgroup/system.slice/stageline-worker.service/cpu.stat": (
        "usage_usec 12500000\nuser_usec 11000000\nsystem_usec 1500000\n"
        "nr_periods 310\nnr_throttled 12\nthrottled_usec 98000\n"
    ),
    "sys/fs/cgroup/system.slice/stageline-worker.service/memory.max": f"{512 * MIB}\n",
    "sys/fs/cgroup/system.slice/stageline-worker.service/memory.current": f"{200 * MIB}\n",
    "sys/fs/cgroup/system.slice/stageline-worker.service/memory.stat": (
        f"anon {90 * MIB}\nfile {110 * MIB}\ninactive_anon 0\ninactive_file {60 * MIB}\nactive_file {50 * MIB}\n"
    ),
    "sys/fs/cgroup/system.slice/stageline-worker.service/cgroup.procs": "812\n815\n",
}

# Ubuntu 18.04 on a Jetson Nano (version 1), cpu and cpuacct mounted together, quota on the parent.
JETSON_V1 = {
    "proc/self/cgroup": (
        "12:pids:/user.slice\n7:cpu,cpuacct:/stageline/nano\n5:memory:/stageline/nano\n"
        "1:name=systemd:/user.slice\n0::/user.slice\n"
    ),
    "proc/self/mountinfo": (
        "32 24 0:27 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755\n"
        "33 32 0:28 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime shared:10 - cgroup2 cgroup rw\n"
        "36 32 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec shared:15 - cgroup cgroup rw,cpu,cpuacct\n"
        "41 32 0:36 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:20 - cgroup cgroup rw,memory\n"
    ),
    "sys/fs/cgroup/unified/user.slice/cgroup.procs": "",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/stageline/cpu.cfs_quota_us": "4000\n",
    "sys/fs/cgroup/cpu,cpuacct/stageline/cpu.cfs_period_us": "10000\n",
    "sys/fs/cgroup/cpu,cpuacct/stageline/cpuacct.usage": "7250000000\n",
    "sys/fs/cgroup/cpu,cpuacct/stageline/cgroup.procs": "",
    "sys/fs/cgroup/cpu,cpuacct/stageline/nano/cpu.cfs_quota_us": "-1\n",
    "sys/fs/cgroup/cpu,cpuacct/stageline/nano/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/stageline/nano/cpuacct.usage": "1250000000\n",
    "sys/fs/cgroup/cpu,cpuacct/stageline/nano/cgroup.procs": "77\n78\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": NO_LIMIT_V1,
    "sys/fs/cgroup/memory/stageline/memory.limit_in_bytes": NO_LIMIT_V1,
    "sys/fs/cgroup/memory/stageline/nano/memory.limit_in_bytes": f"{300 * MIB}\n",
    "sys/fs/cgroup/memory/stageline/nano/memory.usage_in_bytes": f"{250 * MIB}\n",
    "sys/fs/cgroup/memory/stageline/nano/memory.stat": (
        f"cache {150 * MIB}\ninactive_file {1 * MIB}\ntotal_cache {150 * MIB}\ntotal_inactive_file {100 * MIB}\n"
    ),
}

# A docker container on a version 1 host: only our part of the hierarchy is mounted, under its host path.
DOCKER_V1 = {
    "proc/self/cgroup": "4:memory:/docker/4f2a\n3:cpu,cpuacct:/docker/4f2a\n",
    "proc/self/mountinfo": (
        "702 700 0:31 /docker/4f2a /sys/fs/cgroup/cpu,cpuacct ro,relatime master:15 - cgroup cgroup rw,cpu,cpuacct\n"
        "703 700 0:36 /docker/4f2a /sys/fs/cgroup/memory ro,relatime master:20 - cgroup cgroup rw,memory\n"
    ),
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "60000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpuacct.usage": "3000000000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{256 * MIB}\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{56 * MIB}\n",
    "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 0\n",
}

# A docker container on a version 2 host with a cgroup namespace: its own root carries the limits.
DOCKER_V2 = {
    "proc/self/cgroup": "0::/\n",
    "proc/self/mountinfo": "611 605 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec - cgroup2 cgroup rw\n",
    "sys/fs/cgroup/cpu.max": "25000 100000\n",
    "sys/fs/cgroup/memory.max": "max\n",
}


def test_a_unit_with_a_quota_has_that_many_cores_and_that_much_memory(tree):
    size = capacity(root=tree(PI_V2))
    assert size.capacity_cores == 0.5
    assert size.memory_bytes == 512 * MIB
    # 200 MiB are charged, of which 60 MiB are cache that the kernel takes back before anybody is refused
    assert size.memory_free_bytes == (512 - 200 + 60) * MIB


UNIT = "sys/fs/cgroup/system.slice/stageline-worker.service"
NANO = "sys/fs/cgroup/memory/stageline/nano"


@pytest.mark.parametrize(
    ("recorded", "group", "names"),
    [
        (PI_V2, UNIT, ("inactive_file", "active_file", "file_mapped")),
        (JETSON_V1, NANO, ("total_inactive_file", "total_active_file", "total_mapped_file")),
    ],
)
def test_what_was_read_twice_and_nobody_has_mapped_is_free_too(tree, recorded, group, names):
    def free_bytes(*figures: int) -> int:
        stat = "".join(f"{name} {figure * MIB}\n" for name, figure in zip(names, figures, strict=False))
        return capacity(root=tree(recorded | {f"{group}/memory.stat": stat})).memory_free_bytes

    assert free_bytes(60, 50, 20) - free_bytes(60) == (50 - 20) * MIB


def test_of_cache_nothing_is_free_that_a_stage_has_mapped():
    assert spare_cache(60, 50, 80) == 60
    assert spare_cache(60, 50, None) == spare_cache(60, None, 20) == 60


def test_a_quota_on_a_parent_binds_its_children(tree):
    size = capacity(root=tree(JETSON_V1))
    assert size.capacity_cores == pytest.approx(0.4)
    assert size.memory_bytes == 300 * MIB
    assert size.memory_free_bytes == (300 - 250 + 100) * MIB


@pytest.mark.parametrize(("recorded", "cores"), [(DOCKER_V1, 0.6), (DOCKER_V2, 0.25)])
def test_a_container_reads_its_own_limits(tree, recorded, cores):
    assert capacity(root=tree(recorded)).capacity_cores == pytest.approx(cores)


def test_a_machine_without_cgroups_is_its_affinity_and_its_memory(tmp_path):
    size = capacity(root=tmp_path)
    assert size.capacity_cores == len(allowed_cpus())
    assert size.memory_bytes == psutil.virtual_memory().total


def test_the_owner_may_lend_less(tree):
    assert capacity(0.125, root=tree(PI_V2)).capacity_cores == 0.125
    assert capacity(64.0, root=tree(PI_V2)).capacity_cores == 0.5


def test_cpu_use_is_read_where_the_quota_is_set(tree):
    groups = find_groups(tree(PI_V2))
    assert groups.used_cpu_s(groups.quota()) == 12.5


def test_cpu_use_of_version_1_is_that_of_the_limited_parent(tree):
    groups = find_groups(tree(JETSON_V1))
    assert groups.used_cpu_s(groups.quota()) == 7.25


def test_cpu_use_is_not_taken_from_another_accounting_group(tree):
    recorded = JETSON_V1 | {
        "proc/self/cgroup": "7:cpu:/stageline/nano\n6:cpuacct:/\n5:memory:/stageline/nano\n",
        "proc/self/mountinfo": (
            "36 32 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu\n"
            "37 32 0:32 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n"
        ),
        "sys/fs/cgroup/cpuacct/cpuacct.usage": "99000000000\n",
    }
    groups = find_groups(tree(recorded))
    quota = groups.quota()
    assert quota.cores == pytest.approx(0.4)
    assert groups.used_cpu_s(quota) is None
    assert members(quota) == [77, 78]


def test_the_real_machine_can_be_read():
    size = capacity()
    assert 0 < size.capacity_cores <= size.cores
    assert 0 < size.memory_free_bytes <= size.memory_bytes


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000\n", None), ("50000 100000\n", 0.5), ("", None), ("100000 0", None), ("x y", None)]
)
def test_cpu_max_reads(text, cores):
    limit = parse_cpu_max(text)
    assert (limit.cores if limit else None) == cores


@pytest.mark.parametrize(("quota", "period", "cores"), [("-1\n", "100000\n", None), ("4000\n", "10000\n", 0.4)])
def test_cfs_quota_reads(quota, period, cores):
    limit = parse_cfs(quota, period)
    assert (limit.cores if limit else None) == cores


@pytest.mark.parametrize(("text", "limit"), [("max\n", None), (NO_LIMIT_V1, None), ("1048576\n", 1048576), ("", None)])
def test_memory_limits_read(text, limit):
    assert parse_limit(text) == limit


def test_broken_lines_are_passed_over():
    assert parse_stat("inactive_file 7\nnonsense\nmore of it\n\n") == {"inactive_file": 7}
    assert parse_mountinfo("short\n21 1 179:2 / / rw - ext4 /dev/root rw\n") == []
    assert parse_memberships("0::/a\nnonsense\n3:cpu,cpuacct:/b:c\n") == {"": "/a", "cpu": "/b:c", "cpuacct": "/b:c"}


def test_the_least_limit_wins():
    assert usable_cores(4, 4, None, None) == 4
    assert usable_cores(4, 2, 3.0, None) == 2
    assert usable_cores(4, 4, 1.5, 0.5) == 0.5
    assert usable_memory(100, 60, [MemoryRoom(80, 70), MemoryRoom(90, 10)]) == (80, 10)


@pytest.mark.parametrize(("cores", "threads"), [(0.3, 1), (1.0, 1), (1.9, 1), (2.0, 2), (3.7, 3), (4.0, 4)])
def test_threads_are_the_whole_cores_and_at_least_one(cores, threads):
    assert threads_for(cores) == threads
