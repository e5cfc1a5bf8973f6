"""Fixtures that every part's tests share: a real private mosquitto, a topic root of one's own, and systemd's ear."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from systemd_listener import Systemd

from broker.embedded import EmbeddedBroker

# How long an example takes says something of the machine and its other work, not of what is tested.
_ANY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", _ANY)
# The same examples every time: a check that is asked whether a change is good must not depend on luck. For new ones:
# pytest --hypothesis-profile explore
settings.register_profile("stageline", _ANY, derandomize=True)
settings.load_profile("stageline")


SCENARIOS = "tests/bench/chaos/"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Two processes share the files (`make test`): much of what is tested is waiting. Each file stays in one of them,
    and so do all scenarios, which are played on devices that they share. (Of `--dist loadgroup` and its marks nothing
    is left with pytest 9.2: xdist 3.8 writes groups where ids are no longer read.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class FilesTogether(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return SCENARIOS if nodeid.startswith(SCENARIOS) else nodeid.split("::", 1)[0]

    return FilesTogether(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was logged may hold anything (some tests see to that), and goes from one process to another as UTF-8."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(scope="session")
def broker() -> Iterator[EmbeddedBroker]:
    """One mosquitto for the whole session; tests keep apart by `root`."""
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def root() -> str:
    """A topic root that no other test uses."""
    return f"test-{secrets.token_hex(3)}/v1"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter: pytest's own are closed to the one that mosquitto, run by root, becomes."""
    with tempfile.TemporaryDirectory(prefix="stageline-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    """What runs in this test, processes that it starts too, reports here."""
    listener = Systemd()
    for name, value in listener.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    yield listener
    listener.close()
