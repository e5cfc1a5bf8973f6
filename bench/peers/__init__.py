"""Other ways of running the same model on the same devices, measured like Stageline.

Every peer gets the same card and so the same weights, the same input, batch 1, and each device's CPU quota. No link is
shaped for any of them and no memory limited, both to their advantage. Where a peer can be run in several ways (threads,
splits), all are measured and each figure is the best one's.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from bench.peers.line import PeerLine, peer_line
from bench.peers.program import PeerFailedError
from bench.peers.variants import PEERS

__all__ = ["PEERS", "PeerFailedError", "PeerLine", "available", "peer_line"]

_NEEDS: Final = {"torch": "pip install 'stageline[torch]'", "ray": "pip install 'stageline[ray]'"}
"""By the package that is a peer's first word: how it is got."""


def available(name: str) -> str | None:
    """Why a peer cannot run here and what to do, or None when it can."""
    package = name.partition("-")[0]
    if package in _NEEDS and find_spec(package) is None:
        return f"{name} needs {package}, which is not installed: {_NEEDS[package]}"
    return None
