"""The line that shows people everything on the bus that they can read."""

from __future__ import annotations

from typing import Final

from schemas.root import ECHO_TEMPLATE, ROOT

BYTES: Final = ("stage/#", "answer/#", "model/+/blob/#", ECHO_TEMPLATE.format(device="+"))
"""Filters, below the root, of what is no text: tensors, weights and the probes of links."""


def watch_line(root: str = ROOT, *, options: str = "") -> str:
    """A `mosquitto_sub` line for everything but bytes, which would garble a terminal.

    Args:
        root: the topic root.
        options: where the broker is and who asks, e.g. `-h hub.local -u ann -P secret`.
    """
    words = ["mosquitto_sub", *([options] if options else []), "-v", f"-t '{root}/#'"]
    return " ".join([*words, *(f"-T '{root}/{one}'" for one in BYTES)])
