"""What a worker can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from services.settings import DeviceSettings


class WorkerSettings(DeviceSettings):
    """Settings of the worker; each is `STAGELINE_<NAME>` in the environment and a flag of `stageline-worker`."""

    backend: Literal["onnxruntime", "torch"] = "onnxruntime"
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Compute threads; unset: as many as this device has whole cores for us."""
    memory_budget_mb: Annotated[float, Field(gt=0)] | None = None
    """What stages may take in all; unset: a share of what is free at the start (`services.worker.memory`)."""
    cache_mb: Annotated[float, Field(gt=0)] = 4000.0
    """Weights kept on disk, those in use included."""
    cache_dir: Path | None = None
    """Where; unset: below the state directory, a folder per device."""
    drain_s: Annotated[float, Field(ge=0, le=3600)] = 5.0
    """How long a replaced stage must be quiet before it is dropped."""
    drain_most_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    """After that it is dropped even if frames still come."""
    receive_maximum: Annotated[int, Field(ge=1, le=64)] = 8
    """Frames here at once, of each stage; the rest waits at the broker."""
    timing_period_s: Annotated[float, Field(ge=0.1, le=60)] = 1.0
    profile_budget_s: Annotated[float, Field(ge=0.1, le=600)] = 3.5
    """Time to measure one model's blocks."""

    @property
    def blobs_dir(self) -> Path:
        """Where weights are cached."""
        return self.cache_dir or self.state_dir / "worker" / self.device / "blobs"
