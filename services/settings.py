"""What every service can be told. Environment first (`STAGELINE_...`), then flags, which win; nothing else reads it."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.base import check_name
from schemas.topics import ROOT
from services.lifecycle import OperatorError

ENV_PREFIX: Final = "STAGELINE_"
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class BadSettingsError(OperatorError):
    """A setting that cannot be used; the message names its variable, its flag and what is wrong with it."""

    def __init__(self, error: ValidationError, options: Mapping[str, str]) -> None:
        super().__init__("; ".join(_describe(one, options) for one in error.errors(include_url=False)))


def _describe(error: Any, options: Mapping[str, str]) -> str:
    name = str(error["loc"][0]) if error["loc"] else "settings"
    reason = str(error["msg"]).removeprefix("Value error, ")
    return f"{ENV_PREFIX}{name.upper()} ({options.get(name) or '--' + name.replace('_', '-')}): {reason}"


def _check_root(root: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", root):
        raise ValueError(
            f"{root!r} cannot be a topic root: use letters, digits, '-' and '_', levels separated by '/', like {ROOT!r}"
        )
    return root


def default_device_name(hostname: str | None = None) -> str:
    """The host name's first label, with everything that a topic level may not hold replaced by `-`."""
    label = (socket.gethostname() if hostname is None else hostname).split(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", label).strip("-_")[:64] or "device"


DeviceName = Annotated[str, AfterValidator(lambda name: check_name("device", name))]


class ServiceSettings(BaseSettings):
    """Base of each service's settings; frozen. Load it with `load`, which turns bad values into one clear line."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    broker: Annotated[str, Field(repr=False)] = "mqtt://127.0.0.1:1883"
    """Address of the broker; may hold a password, so it is never printed whole."""
    root: Annotated[str, AfterValidator(_check_root)] = ROOT
    log_level: LogLevel = "INFO"
    state_dir: Path = Field(default_factory=lambda: Path.home() / ".local" / "state" / "stageline")
    connect_timeout_s: Annotated[float, Field(gt=0)] | None = None
    """Give up (exit 2) when the broker was not reached in this time; unset: keep trying, the hub may boot later."""


class HubSettings(ServiceSettings):
    """What the planner and the command line must agree on where both run on the hub."""

    library: Path | None = None
    """Where models are kept; `library` under the state directory unless said otherwise."""

    @property
    def library_dir(self) -> Path:
        """The model library's directory."""
        return self.library or self.state_dir / "library"


class DeviceSettings(ServiceSettings):
    """Settings of the services that run on a device (monitor and worker)."""

    device: DeviceName = Field(default_factory=default_device_name)
    capacity_cores: Annotated[float, Field(ge=0.001, le=4096)] | None = None
    """Lend at most this many cores, where nothing that the system enforces says so."""


S = TypeVar("S", bound=ServiceSettings)


def load(kind: type[S], *, option_names: Mapping[str, str] = MappingProxyType({}), **flags: object) -> S:
    """Settings from the environment and the flags that were given (`None` means not given).

    Args:
        kind: whose settings.
        option_names: what the caller's options are called where that is not the setting's own name.
        flags: what was given.

    Raises:
        BadSettingsError: a value that cannot be used.
    """
    given: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    try:
        return kind(**given)
    except ValidationError as error:
        raise BadSettingsError(error, option_names) from None
