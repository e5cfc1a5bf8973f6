"""Where the broker is and who asks: one URL, parsed once."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

_DEFAULT_PORT = {"mqtt": 1883, "mqtts": 8883}


class BadAddressError(ValueError):
    """A broker address that cannot be understood; the message shows what one looks like."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(
            f"{_without_password(url)!r} is no broker address: {problem}. "
            "Write host, host:1883, mqtt://user:password@host:1883 or mqtts://host:8883?ca=/path/ca.crt"
        )


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker and the credentials for it. Printing it never shows the password."""

    host: str
    port: int = 1883
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca_file: str | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `mqtt://`, `mqtts://`, `host:port` or a bare host; user and password percent-encoded where needed.

        Raises:
            BadAddressError: another scheme, no host, a port that is none, an unknown option.
        """
        text = url.strip()
        scheme, marker, _ = text.partition("://")
        if not marker:
            scheme, text = "mqtt", f"mqtt://{text}"
        if scheme not in _DEFAULT_PORT:
            raise BadAddressError(url, f"the scheme must be mqtt or mqtts, not {scheme!r}")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise BadAddressError(url, str(error)) from error
        if not parts.hostname or any(character.isspace() for character in parts.netloc):
            raise BadAddressError(url, "it names no host")
        if port == 0 or parts.path not in ("", "/") or parts.fragment:
            raise BadAddressError(url, "after the host there may only be a port from 1 to 65535 and ?ca=FILE")
        options = dict(parse_qsl(parts.query))
        ca_file = options.pop("ca", None)
        if options or (ca_file and scheme != "mqtts"):
            raise BadAddressError(url, "the only option is ca=FILE, and only with mqtts://")
        return cls(
            host=parts.hostname,
            port=port or _DEFAULT_PORT[scheme],
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=scheme == "mqtts",
            ca_file=ca_file,
        )

    def __str__(self) -> str:
        user = f"{self.username}@" if self.username else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{user}{host}:{self.port}"

    def tls_context(self) -> ssl.SSLContext | None:
        """What the connection is to be wrapped in; None without TLS. Reads the CA file.

        Raises:
            OSError: the CA file cannot be read (ssl.SSLError: it holds no certificate).
        """
        return ssl.create_default_context(cafile=self.ca_file) if self.tls else None


def _without_password(url: str) -> str:
    head, at, tail = url.rpartition("@")
    user, colon, _ = head.rpartition(":")
    return f"{user}:...@{tail}" if at and colon and not user.endswith(("mqtt", "mqtts")) else url
