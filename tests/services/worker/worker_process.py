"""A worker as people run it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

TIMEOUT_S = 60.0
"""To end, when it is told to."""


class WorkerProcess:
    """A worker as people run it: its own process."""

    def __init__(self, url: str, root: str, device: str, folder: Path, **settings: str) -> None:
        self.device = device
        self._log = folder / f"{device}.log"
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("STAGELINE_", "COVERAGE"))
        }
        environment |= {f"STAGELINE_{name.upper()}": value for name, value in settings.items()}
        environment |= {"STAGELINE_STATE_DIR": str(folder / device)}
        command = [sys.executable, "-m", "services.worker.main", "--broker", url, "--root", root, "--device", device]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        self.process.send_signal(how)
        return self.process.wait(TIMEOUT_S)

    async def ended(self) -> int:
        return await asyncio.wait_for(asyncio.to_thread(self.process.wait), TIMEOUT_S)
