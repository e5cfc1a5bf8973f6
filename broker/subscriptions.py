"""Who listens to what on one connection, and which listener a message is for. Pure bookkeeping, no connection.

Every SUBSCRIBE carries an identifier of its own, and the broker puts it on each message that it caused. So a message
that matches two overlapping filters reaches each listener once, and the retained messages that a newcomer asked for
reach the newcomer only.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from broker.inbox import Inbox
from broker.message import Incoming

_IDENTIFIERS_KEPT: Final = 32
"""Per filter: messages under an earlier identifier may still be on their way when a newcomer subscribes again."""


@dataclass(eq=False)
class Filter:
    """One subscription at the broker, and all who listen to it here."""

    pattern: str
    inboxes: list[Inbox] = field(default_factory=list)
    identifiers: deque[int] = field(default_factory=deque)


class Subscriptions:
    """The filters of one connection."""

    def __init__(self) -> None:
        self._filters: dict[str, Filter] = {}
        self._meaning: dict[int, tuple[Filter, Inbox | None]] = {}
        self._numbers = itertools.count(1)

    def __iter__(self) -> Iterator[Filter]:
        return iter(list(self._filters.values()))

    def add(self, inbox: Inbox) -> Filter:
        """Let `inbox` listen; the filter still has to be subscribed at the broker."""
        entry = self._filters.setdefault(inbox.pattern, Filter(inbox.pattern))
        entry.inboxes.append(inbox)
        return entry

    def remove(self, inbox: Inbox) -> bool:
        """Stop listening. True when nobody is left and the broker should be told."""
        entry = self._filters[inbox.pattern]
        entry.inboxes.remove(inbox)
        if entry.inboxes:
            return False
        del self._filters[inbox.pattern]
        for number in entry.identifiers:
            del self._meaning[number]
        return True

    def identify(self, entry: Filter, newcomer: Inbox | None) -> int:
        """A new identifier for subscribing `entry`; what is retained goes to `newcomer`, or to all if None."""
        number = next(self._numbers)
        self._meaning[number] = (entry, newcomer)
        entry.identifiers.append(number)
        if len(entry.identifiers) > _IDENTIFIERS_KEPT:
            del self._meaning[entry.identifiers.popleft()]
        return number

    def listeners(self, message: Incoming) -> list[Inbox]:
        """Whose message this is; each inbox once."""
        found: list[Inbox] = []
        for number in message.packet.subscriptions:
            entry, newcomer = self._meaning.get(number, (None, None))
            if entry is not None:
                found += [
                    inbox
                    for inbox in entry.inboxes
                    if inbox not in found and (newcomer is None or inbox is newcomer or not message.packet.retained)
                ]
        return found
