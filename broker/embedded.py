"""A private mosquitto: a child process on a free port, gone when its owner is gone. For demo, tests and testbed."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from broker.children import end, tied_to_us
from broker.folders import temporary_folder

FOLDER_PREFIX: Final = "stageline-mosquitto"
LOOPBACK: Final = "127.0.0.1"
_LOG = logging.getLogger(__name__)
_START_TIMEOUT_S: Final = 10.0
_STOP_TIMEOUT_S: Final = 5.0
_ATTEMPTS: Final = 5
_NOBODY: Final = 65534
_SBIN: Final = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")

TEMPLATE: Final = Path(__file__).with_name("mosquitto.conf")

HEAP_ENVIRONMENT: Final[Mapping[str, str]] = {
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
}
"""For every mosquitto of ours. glibc: keep freed buffers, fetch no fresh zeroed pages for each (see heap.py)."""


class MosquittoMissingError(RuntimeError):
    """mosquitto is not installed; the message says how to install it."""

    def __init__(self) -> None:
        super().__init__(
            "mosquitto, the MQTT broker, is not installed. Install it with "
            "`sudo apt-get install mosquitto mosquitto-clients` (Debian, Raspberry Pi OS) or `brew install mosquitto`"
        )


class BrokerStartError(RuntimeError):
    """mosquitto started and would not serve; the message ends with what it wrote."""

    def __init__(self, problem: str, log: str) -> None:
        super().__init__(f"the private mosquitto {problem}; it wrote:\n{log.strip() or '(nothing)'}")


def find_mosquitto() -> str:
    """Path of the mosquitto binary, which distributions keep out of a user's PATH.

    Raises:
        MosquittoMissingError: there is none.
    """
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path=":".join(_SBIN))
    if found is None:
        raise MosquittoMissingError
    return found


def configure(template: str, settings: Mapping[str, str | None]) -> str:
    """A mosquitto configuration from another: each setting replaces its line or is added; None removes it."""
    kept = [
        line
        for line in template.splitlines()
        if line.lstrip().startswith("#") or line.split(maxsplit=1)[:1] == [] or line.split()[0] not in settings
    ]
    added = [f"{name} {value}" for name, value in settings.items() if value is not None]
    return "\n".join([*kept, *added, ""])


class EmbeddedBroker:
    """One mosquitto on one address, nothing kept on disk. Use as a context manager, or `start` and `stop`.

    Args:
        settings: mosquitto settings that differ from `mosquitto.conf`, e.g. `{"max_packet_size": "100000"}`.
        files: settings that name a file, and the text of that file: acl_file, password_file, certfile, keyfile.
        host: the address of this machine that it listens on. Anybody who reaches it is let in: loopback, or an
            address of a network of our own.

    Started from the main thread it also ends when this process is killed: the kernel ties that promise to the
    thread that started it, so a broker started from another thread relies on `stop`.
    """

    def __init__(
        self,
        settings: Mapping[str, str | None] | None = None,
        *,
        files: Mapping[str, str] | None = None,
        host: str = LOOPBACK,
    ) -> None:
        self.host = host
        self._settings = dict(settings or {})
        self._files = dict(files or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Address for `Bus`, e.g. `mqtt://127.0.0.1:40123`; the same after `restart`."""
        return f"mqtt://{self.host}:{self._port}"

    @property
    def port(self) -> int:
        """The port; 0 before the first start."""
        return self._port

    @property
    def pid(self) -> int:
        """Process id of mosquitto; 0 when it does not run."""
        return self._process.pid if self._process else 0

    @property
    def ended(self) -> bool:
        """Whether mosquitto was started and ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start and wait until it accepts connections.

        Raises:
            MosquittoMissingError: not installed.
            BrokerStartError: it ended or did not listen in time.
        """
        if self._process is not None:
            return
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it in good order and remove its files."""
        self._end(signal.SIGTERM)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def kill(self) -> None:
        """End it at once (SIGKILL), as a power cut would; `restart` brings back an empty broker."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again on the same port; nothing is remembered, retained messages included."""
        self._end(signal.SIGTERM)
        self.start()

    def log(self, lines: int = 20) -> str:
        """The last lines that mosquitto wrote."""
        if self._folder is None:
            return ""
        path = Path(self._folder.name) / "log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        if self._folder is None:
            self._folder = temporary_folder(FOLDER_PREFIX)
            # mosquitto started by root gives its rights up, and must still reach its files.
            Path(self._folder.name).chmod(0o755)
        for attempt in range(_ATTEMPTS):
            fresh_port = self._port == 0
            if fresh_port:
                self._port = _free_port(self.host)
            try:
                self._launch(Path(self._folder.name))
            except BrokerStartError as error:
                # Between asking for a free port and mosquitto taking it, somebody else may have it.
                if not fresh_port or attempt == _ATTEMPTS - 1 or "Address already in use" not in str(error):
                    raise
                self._port = 0
            else:
                return

    def _launch(self, folder: Path) -> None:
        settings: dict[str, str | None] = {
            "persistence": "false",
            "persistence_location": None,
            "autosave_interval": None,
            **self._settings,
            "listener": f"{self._port} {self.host}",
        }
        for name, text in self._files.items():
            path = folder / name
            path.write_text(text)
            path.chmod(0o644)
            settings[name] = str(path)
        configuration = folder / "mosquitto.conf"
        configuration.write_text(configure(TEMPLATE.read_text(), settings))
        configuration.chmod(0o644)
        with (folder / "log").open("wb") as log, configuration.open("rb") as source:
            self._process = subprocess.Popen(
                # Never with root's rights.
                [*tied_to_us(as_user=_NOBODY if os.geteuid() == 0 else None), find_mosquitto(), "-c", "/dev/stdin"],
                env={**os.environ, **HEAP_ENVIRONMENT},
                stdin=source,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_listening()
        _LOG.debug("private mosquitto, pid %d, on port %d", self.pid, self._port)

    def _wait_until_listening(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while self._process is not None:
            if self._process.poll() is not None:
                status, self._process = self._process.returncode, None
                raise BrokerStartError(f"ended with status {status}", self.log())
            try:
                socket.create_connection((self.host, self._port), timeout=1.0).close()
            except OSError:
                if time.monotonic() > deadline:
                    self._end(signal.SIGKILL)
                    raise BrokerStartError(f"did not listen within {_START_TIMEOUT_S:g} s", self.log()) from None
                time.sleep(0.01)
            else:
                return

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            end(process, how=how, patience_s=_STOP_TIMEOUT_S)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port
