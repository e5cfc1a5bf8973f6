"""Who may use a hub that others can reach: a password each, and rights by name (mosquitto's own files).

A hub's directory holds `passwords`, `acl` and `mosquitto.conf`. Nothing is open to a network without them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from schemas.base import check_name
from schemas.topics import ROOT
from stageline.hub_files import BROKER_USER, HubFiles, conf_text
from stageline.hub_rights import PLANNER, acl_text, operator_rights, without_user

Role = Literal["device", "operator"]
_SBIN: Final = "/usr/sbin:/usr/local/sbin"


class CredentialsError(Exception):
    """The hub's users could not be read or changed; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """One user's way in; `str()` is the broker address with the password in it."""

    user: str
    password: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"mqtt://{self.user}:{quote(self.password, safe='')}@{self.host}:{self.port}"


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
            shutil.chown(path, group=BROKER_USER)
            readable = 0o050 if path.is_dir() else 0o040
            path.chmod(stat.S_IMODE(path.stat().st_mode) | readable)  # Whatever the umask.
    except LookupError:
        return  # No such group: mosquitto is not installed system-wide, and runs as whoever starts it.
