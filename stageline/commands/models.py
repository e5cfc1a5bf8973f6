"""`stageline models`: what can be deployed."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from models.library import Library
from schemas.model import ModelCard
from schemas.topics import MODEL_CARD
from stageline.commands import options
from stageline.commands.conduct import DONE, Report, conduct, open_bus, settings_of
from stageline.tables import new_table


def models(
    local: Annotated[
        bool, typer.Option("--local", help="Those in this machine's library, without asking a hub.")
    ] = False,
    library: options.Library = None,
    broker: options.Broker = None,
    root: options.Root = None,
    json: options.Json = None,
) -> None:
    """List the models that the hub offers (or, with --local, those in this machine's library).

    Exit codes: 0 listed; 2 to mend: no broker.
    """

    async def work(report: Report) -> int:
        settings = settings_of(broker=broker, root=root, library=library)
        if local:
            cards = list((await asyncio.to_thread(Library(settings.library_dir).cards)).values())
        else:
            async with open_bus(settings, "models") as bus:
                cards = [delivery.message for delivery in await bus.snapshot(MODEL_CARD)]
        cards.sort(key=lambda card: card.name)
        report.out.print(_table(cards) if cards else "No models yet. On the hub: stageline import mobilenet_v2")
        report.write_json(
            [
                {
                    "name": card.name, "blocks": len(card.blocks), "macs": card.macs, "weight_bytes": card.weight_bytes,
                    "inputs": [str(spec) for spec in card.inputs], "labels": len(card.labels), "source": card.source,
                }
                for card in cards
            ]
        )  # fmt: skip
        return DONE

    conduct(json, work)


def _table(cards: list[ModelCard]) -> Table:
    table = new_table(None, "model", ">blocks", ">MMAC", ">weights MB", "~input", ">classes", "~from")
    for card in cards:
        table.add_row(
            card.name,
            str(len(card.blocks)),
            f"{card.macs / 1e6:.0f}",
            f"{card.weight_bytes / 1e6:.1f}",
            escape(", ".join(map(str, card.inputs))),
            str(len(card.labels) or "-"),
            escape(card.source),
        )
    return table
