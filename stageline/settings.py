"""What the command line can be told by the environment (`STAGELINE_...`); flags win."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from services.settings import ServiceSettings


class CommandSettings(ServiceSettings):
    """Settings that commands share."""

    connect_timeout_s: Annotated[float, Field(gt=0)] | None = 5.0
    """A person waits: give up soon, and say what to do."""
    library: Path | None = None
    """The model library; `library` under the state directory unless said otherwise, as for the planner."""
    hub_dir: Path | None = None
    """The hub's users and broker configuration; `hub` under the state directory unless said otherwise."""

    @property
    def library_dir(self) -> Path:
        """The model library's directory."""
        return self.library or self.state_dir / "library"

    @property
    def hub_files_dir(self) -> Path:
        """The hub's own directory."""
        return self.hub_dir or self.state_dir / "hub"
