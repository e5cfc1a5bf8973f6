"""Model cards, as the hub publishes them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from broker.bus import Bus
from schemas.model import ModelCard
from schemas.topics import MODEL_CARD

_KEPT: Final = 8


class Cards:
    """Finds cards on the bus, and remembers the latest few."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known: OrderedDict[str, ModelCard] = OrderedDict()

    async def exact(self, model: str, card_sha: str) -> ModelCard:
        """The card of that hash, as soon as the broker has it."""
        if card_sha in self._known:
            self._known.move_to_end(card_sha)
            return self._known[card_sha]
        async with self._bus.subscribe(MODEL_CARD, model=model) as deliveries:
            async for delivery in deliveries:
                if self._remember(delivery.message) == card_sha:
                    break
        return self._known[card_sha]

    async def newest(self, model: str) -> ModelCard:
        """The card that the broker has now, or the first one to come."""
        async with self._bus.subscribe(MODEL_CARD, model=model) as deliveries:
            async for delivery in deliveries:
                return self._known[self._remember(delivery.message)]
        raise RuntimeError(f"the subscription to the card of {model} ended by itself")

    def _remember(self, card: ModelCard) -> str:
        sha = card.sha256
        self._known[sha] = card
        self._known.move_to_end(sha)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return sha
