"""What the command line can be told by the environment (`STAGELINE_...`); flags win."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from services.settings import HubSettings

HUB_DIR_OF_ROOT: Final = Path("/var/lib/stageline-hub")
"""Not in root's home, where mosquitto (which becomes a user of its own) may not look; not in /var/lib/stageline, which
systemd gives to the services alone."""


class CommandSettings(HubSettings):
    """Settings that commands share."""

    connect_timeout_s: Annotated[float, Field(gt=0)] | None = 5.0
    """A person waits: give up soon, and say what to do."""
    hub_dir: Path | None = None
    """The hub's users and broker configuration; `hub` under the state directory unless said otherwise, except
    that root, whose home is closed to mosquitto, has it in `HUB_DIR_OF_ROOT`."""

    @property
    def hub_files_dir(self) -> Path:
        """The hub's own directory."""
        if self.hub_dir is None and os.geteuid() == 0 and "state_dir" not in self.model_fields_set:
            return HUB_DIR_OF_ROOT
        return self.hub_dir or self.state_dir / "hub"
