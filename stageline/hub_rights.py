"""Rights by name on a hub that others can reach, as mosquitto's access file has them. Pure but for its template."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

PLANNER: Final = "hub"
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
