"""What people touch: the client, the command line, the demo. `from stageline import Client`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stageline.answer_cache import AnswerCache
    from stageline.client import Client
    from stageline.journal.source import hand_over
    from stageline.receipts import Answer, Receipt, RequestFailedError
    from stageline.sync_client import SyncClient

__all__ = ["Answer", "AnswerCache", "Client", "Receipt", "RequestFailedError", "SyncClient", "hand_over"]

_HOMES = {
    "Answer": "stageline.receipts",
    "AnswerCache": "stageline.answer_cache",
    "Client": "stageline.client",
    "Receipt": "stageline.receipts",
    "RequestFailedError": "stageline.receipts",
    "SyncClient": "stageline.sync_client",
    "hand_over": "stageline.journal.source",
}


def __getattr__(name: str) -> Any:
    """Import on first use: `stageline --help` and the services need none of these."""
    if name not in _HOMES:
        raise AttributeError(f"module 'stageline' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    return getattr(import_module(_HOMES[name]), name)
