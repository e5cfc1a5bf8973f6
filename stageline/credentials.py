"""Who may use a hub that others can reach: a password each, and rights by name (mosquitto's own files).

A hub's directory holds `passwords`, `acl` and `mosquitto.conf`. Nothing is open to a network without them.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from broker.embedded import configure
from schemas.base import check_name
from schemas.topics import ROOT
from stageline.settings import HUB_DIR_OF_ROOT

PLANNER: Final = "hub"
Role = Literal["device", "operator"]

_BROKER_USER: Final = "mosquitto"

_SBIN: Final = "/usr/sbin:/usr/local/sbin"

_OPERATOR_WRITES: Final = (
    "deployment/+",
    "stage/#",
    "seen/+/+",
    "gateway/+/+",
    "device/+/command",
    "device/+/duty",
    # To forget a device is to clear what it left behind: mosquitto knows no right to clear alone.
    "device/+/claim",
    "device/+/status",
    "device/+/info",
    "device/+/telemetry",
    "device/+/stages",
    "device/+/profile/+",
)
"""Below the root."""


class CredentialsError(Exception):
    """The hub's users could not be read or changed; the message says what to do."""


class ClosedFolderError(CredentialsError):
    """mosquitto could not reach the hub's files."""

    def __init__(self, closed: Path) -> None:
        super().__init__(
            f"run by root, mosquitto becomes the user {_BROKER_USER!r}, who cannot enter {closed} and so could not "
            f"read the hub's files. Keep them elsewhere: --hub-dir {HUB_DIR_OF_ROOT} (for hub --init, invite and hub)"
        )


@dataclass(frozen=True, slots=True)
class Invitation:
    """One user's way in; `str()` is the broker address with the password in it."""

    user: str
    password: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"mqtt://{self.user}:{quote(self.password, safe='')}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HubFiles:
    """The files of one hub that asks for passwords."""

    directory: Path

    @property
    def passwords(self) -> Path:
        """mosquitto's password file: names and salted hashes."""
        return self.directory / "passwords"

    @property
    def acl(self) -> Path:
        """Rights by user name."""
        return self.directory / "acl"

    @property
    def conf(self) -> Path:
        """What mosquitto reads."""
        return self.directory / "mosquitto.conf"

    @property
    def data(self) -> Path:
        """Where mosquitto keeps what is retained."""
        return self.directory / "data"

    @property
    def planner_address(self) -> Path:
        """The planner's own address, password included; readable by its owner only."""
        return self.directory / "planner.address"

    @property
    def broker_pid(self) -> Path:
        """The process id of its mosquitto while `stageline hub` runs."""
        return self.directory / "mosquitto.pid"

    def exist(self) -> bool:
        """Whether this hub was initialised."""
        return self.passwords.exists() and self.acl.exists()


def init_hub(hub: HubFiles, *, bind: str = "0.0.0.0", port: int = 1883, root: str = ROOT) -> Invitation:  # noqa: S104
    """Write a hub's files with one user, the planner. Asking for passwords is what lets it listen beyond loopback.

    Raises:
        CredentialsError: it was initialised before, or mosquitto's tools are missing.
    """
    if hub.exist():
        raise CredentialsError(
            f"{hub.directory} already has users. `stageline invite DEVICE` adds one; to start over, remove that folder"
        )
    hub.directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    _write(hub.acl, acl_text(root))
    _write(hub.passwords, "")
    planner = _add_password(hub, PLANNER, host="127.0.0.1", port=port)
    _write(hub.planner_address, f"{planner}\n")
    hub.data.mkdir(exist_ok=True)
    hub.data.chmod(0o770)  # Whatever the umask: the broker must be able to write there.
    _write(hub.conf, conf_text(hub, bind=bind, port=port, persistence=hub.data))
    _give_to_mosquitto(hub.directory, hub.data, hub.acl, hub.passwords, hub.conf)
    return planner


def check_reachable(folder: Path) -> None:
    """Whether mosquitto, run by us, can enter a folder that its files lie in.

    Raises:
        ClosedFolderError: we are root, whose rights mosquitto gives up, and it cannot.
    """
    if os.geteuid() != 0:
        return
    try:
        user = pwd.getpwnam(_BROKER_USER)
    except KeyError:
        return  # No such user: mosquitto is not installed system-wide, and runs as whoever starts it.
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    if (closed := first_closed(folder, user.pw_uid, groups)) is not None:
        raise ClosedFolderError(closed)


def first_closed(folder: Path, uid: int, gids: Collection[int]) -> Path | None:
    """The outermost folder on the way into that one, itself included, which a user may not enter; None: all are open.

    What does not exist yet counts as open.
    """
    inside = folder.resolve()
    for step in (*reversed(inside.parents), inside):
        if not step.exists():
            return None
        status = step.stat()
        others = stat.S_IXGRP if status.st_gid in gids else stat.S_IXOTH
        if not status.st_mode & (stat.S_IXUSR if status.st_uid == uid else others):
            return step
    return None


def invite(
    hub: HubFiles, name: str, *, role: Role = "device", host: str, port: int = 1883, root: str = ROOT
) -> Invitation:
    """Add a user, or give one a new password. A device may speak only as itself; an operator deploys and submits.

    Raises:
        CredentialsError: the hub was not initialised, the name is the planner's, or mosquitto's tools are missing.
        schemas.base.InvalidNameError: a name that no topic can hold.
    """
    check_name("device" if role == "device" else "user", name)
    if not hub.exist():
        raise CredentialsError(f"{hub.directory} has no users yet. Run `stageline hub --init` first")
    if name == PLANNER:
        raise CredentialsError(f"{PLANNER!r} is the planner's own name; choose another")
    invitation = _add_password(hub, name, host=host, port=port)
    text = without_user(hub.acl.read_text(encoding="utf-8"), name)
    if role == "operator":
        text += operator_rights(name, root)
    _write(hub.acl, text)
    _give_to_mosquitto(hub.acl, hub.passwords)
    return invitation


def acl_text(root: str) -> str:
    """The rights of devices and the planner."""
    template = (files("deploy") / "mosquitto" / "hub.acl").read_text(encoding="utf-8")
    return template.replace("@ROOT@", root).replace("@PLANNER@", PLANNER)


def operator_rights(name: str, root: str) -> str:
    """Rights of somebody who may deploy, submit, drain and forget devices, and look at everything."""
    writes = "".join(f"topic write {root}/{address}\n" for address in _OPERATOR_WRITES)
    return f"\n# --- operator {name}\nuser {name}\ntopic read {root}/#\n{writes}topic read $SYS/#\n# --- end {name}\n"


def without_user(acl: str, name: str) -> str:
    """An ACL without that operator's section."""
    start, end = f"\n# --- operator {name}\n", f"# --- end {name}\n"
    before, found, rest = acl.partition(start)
    return before + rest.partition(end)[2] if found else acl


def conf_text(hub: HubFiles, *, bind: str, port: int, persistence: Path | None = None) -> str:
    """A mosquitto configuration that asks for names and passwords, with this project's limits.

    Args:
        hub: where its password and access files lie.
        bind: address to listen on.
        port: TCP port.
        persistence: folder for what is retained; None where the system's own mosquitto.conf already names one.
    """
    access = (files("deploy") / "mosquitto" / "hub.conf").read_text(encoding="utf-8")
    for key, value in {"PORT": port, "BIND": bind, "PASSWORDS": hub.passwords, "ACL": hub.acl}.items():
        access = access.replace(f"@{key}@", str(value))
    elsewhere: dict[str, str | None] = dict.fromkeys(
        ("listener", "allow_anonymous", "persistence", "persistence_location", "autosave_interval")
    )
    if persistence is not None:
        elsewhere |= {"persistence": "true", "persistence_location": f"{persistence}/", "autosave_interval": "60"}
    limits = configure((files("broker") / "mosquitto.conf").read_text(encoding="utf-8"), elsewhere)
    if persistence is None:
        return access + limits
    # `stageline hub` runs it on somebody's terminal: who comes and goes is no news there.
    return access + configure(limits, {"connection_messages": "false"}).replace("log_type notice\n", "")


def reachable_host() -> str:
    """This machine's name as others in the house usually reach it."""
    name = socket.gethostname()
    return name if "." in name else f"{name}.local"


def _add_password(hub: HubFiles, name: str, *, host: str, port: int) -> Invitation:
    tool = shutil.which("mosquitto_passwd", path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
    if tool is None:
        raise CredentialsError("mosquitto_passwd is missing. Install it: apt-get install mosquitto")
    password = secrets.token_urlsafe(18)
    # `-U` hashes a file of plain lines: unlike `-b`, the password never shows in the list of processes.
    draft = hub.directory / ".invited"
    _write(draft, f"{name}:{password}\n")
    try:
        done = subprocess.run([tool, "-U", str(draft)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CredentialsError(f"mosquitto_passwd failed: {done.stderr.strip()}")
        hashed = draft.read_text(encoding="utf-8").strip()
    finally:
        draft.unlink(missing_ok=True)
    others = [line for line in hub.passwords.read_text(encoding="utf-8").splitlines() if line.split(":")[0] != name]
    _write(hub.passwords, "\n".join([*others, hashed]) + "\n")
    return Invitation(name, password, host, port)


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others even for a moment."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def _give_to_mosquitto(*paths: Path) -> None:
    """Where root sets up a system broker, its own user must be able to read these."""
    if os.geteuid() != 0:
        return
    try:
        for path in paths:
            shutil.chown(path, group=_BROKER_USER)
            readable = 0o050 if path.is_dir() else 0o040
            path.chmod(stat.S_IMODE(path.stat().st_mode) | readable)  # Whatever the umask.
    except LookupError:
        return  # No such group: mosquitto is not installed system-wide, and runs as whoever starts it.
