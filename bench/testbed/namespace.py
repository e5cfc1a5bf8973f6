"""Network namespaces without names: the kernel removes them, and every link in them, with the last process inside.

So nothing is left behind, however we end: the program goes into a network of its own first, and each emulated device
gets another, which lives as long as our open file of it does.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from pyroute2 import IPRoute

_MARK: Final = "STAGELINE_PRIVATE_NETWORK"
_NEW_NETWORK: Final = 0x40000000
"""CLONE_NEWNET of <sched.h>."""
LOOPBACK_INDEX: Final = 1
"""Of the loopback interface, in every network."""

T = TypeVar("T")


def why_no_network() -> str | None:
    """Why no network of our own can be made here, for people; None when it can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "making network namespaces takes root"
    missing = [name for name in ("unshare", "nsenter") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} of util-linux is missing: apt-get install util-linux"
    return None


def enter_private_network() -> bool:
    """Put this whole program into a network of its own, by starting it anew inside; call it first of all.

    The new program has the same process id, arguments and environment. It has loopback and nothing else: no other
    machine is reached from it, and none reaches it. Returns whether we are in one; where none can be made
    (`why_no_network`), nothing happens.
    """
    if not in_private_network():
        if why_no_network() is not None:
            return False
        _start_anew()
    with_netlink(lambda netlink: netlink.link("set", index=LOOPBACK_INDEX, state="up"))
    return True


def _start_anew() -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    # Which network is left, so that the program can tell, once started anew, that it is in another.
    os.environ[_MARK] = os.readlink("/proc/self/ns/net")
    os.execvp("unshare", ["unshare", "--net", "--", sys.executable, *sys.orig_argv[1:]])  # noqa: S606  no shell wanted


def in_private_network() -> bool:
    """Whether `enter_private_network` did its work: this is not the network that the program was started in."""
    left = os.environ.get(_MARK)
    return left is not None and left != os.readlink("/proc/self/ns/net")


class Namespace:
    """A network of its own, empty but for loopback; `close` lets go of it."""

    def __init__(self) -> None:
        # The network is there for certain once the program inside it answers.
        maker = subprocess.Popen(["unshare", "--net", "--", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with maker:
            if maker.stdin is None or maker.stdout is None:
                raise RuntimeError("pipes were asked for and not given")
            maker.stdin.write(b"\n")
            maker.stdin.flush()
            maker.stdout.readline()
            self.fd = os.open(f"/proc/{maker.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            maker.stdin.close()

    def entering(self) -> list[str]:
        """A command prefix: what follows runs in this network."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.fd}", "--"]

    def run(self, work: Callable[[IPRoute], T]) -> T:
        """Do something to the network's links."""
        return with_netlink(work, self.fd)

    def close(self) -> None:
        """Let go: the network vanishes with the last process in it."""
        os.close(self.fd)


def with_netlink(work: Callable[[IPRoute], T], namespace: int | None = None) -> T:
    """Call `work` with a netlink socket of a namespace (None: ours), and return what it returns.

    In a thread of its own: a thread can change its network without the others', and the sockets of pyroute2 want an
    event loop of their own, which a thread that already runs one could not give.
    """
    results: list[T] = []
    problems: list[BaseException] = []

    def inside() -> None:
        try:
            if namespace is not None:
                _enter(namespace)
            with IPRoute() as netlink:
                results.append(work(netlink))
        except BaseException as problem:  # Raised again in the thread that asked.
            problems.append(problem)

    thread = threading.Thread(target=inside, name="netlink")
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return results[0]


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _NEW_NETWORK) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
