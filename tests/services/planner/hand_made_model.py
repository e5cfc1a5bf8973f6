"""A model made by hand: equal blocks in a library, for planners that never run it."""

from __future__ import annotations

from models.library import Library
from schemas.model import Block, Cut, ModelCard, TensorSpec


def make_card(library: Library, name: str = "net", *, blocks: int = 4, weight_bytes: int = 1000) -> ModelCard:
    """A model of equal blocks, each with a weight blob of its own, in the library."""
    graph = library.blobs.add(f"graph of {name}".encode() * 50)
    weights = tuple(library.blobs.add(f"{name} {n} ".encode().ljust(weight_bytes, b"w")) for n in range(blocks))
    cut = Cut(tensors=(TensorSpec(name="x", dtype="float32", shape=(1, 64)),))
    card = ModelCard(
        name=name,
        source="made by hand",
        graph=graph,
        blobs=weights,
        blocks=tuple(
            Block(
                label=f"b{n}", first_node=n, last_node=n + 1, macs=1000, weight_bytes=weight_bytes,
                peak_activation_bytes=512, layer_cost=100, blobs=(n,),
            )
            for n in range(blocks)
        ),
        cuts=(cut,) * (blocks + 1),
        inputs=cut.tensors,
        outputs=cut.tensors,
    )  # fmt: skip
    library.save(card)
    return card
