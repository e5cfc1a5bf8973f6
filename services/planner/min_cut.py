"""A network of blocks cut in two by max-flow: each block on one of two sides, each tensor across paid for once.

The construction is that of DADS (Hu et al., INFOCOM 2019) [P]. A block pays its server time through the edge
`source -> block` when it falls on the server's side, and its device time through `block -> sink` when it stays on the
device's. A tensor that several blocks read has a node of its own: `producer -> tensor` carries its transfer time and
`tensor -> consumer` is infinite, so that it is paid for once, however many consumers lie on the server's side.

A stage here is a run of blocks, so only a prefix of the blocks may stay on the device. The published graph does not see
to that: two branches may be cut at different depths, and nothing keeps a tensor from coming back from the server. One
infinite edge `b + 1 -> b` per block does both [R]: a cut of finite cost has no block on the device after one on the
server, and that is what a prefix is. A border that memory, pins or links forbid is an infinite edge `b - 1 -> b`.

Capacities are whole nanoseconds: with floats the residual graph may keep crumbs, and the cut would not be sure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True)
class LiveTensor:
    """A tensor between blocks, and what moving it from the device to the server takes."""

    producer: int
    """Block that makes it; the first block for what enters the model, for that is where it arrives."""
    consumers: tuple[int, ...]
    """Blocks that read it; the last block for what leaves the model."""
    transfer_ms: float


def prefix_cut(
    device_ms: Sequence[float],
    server_ms: Sequence[float],
    tensors: Sequence[LiveTensor],
    *,
    forbidden: Collection[int] = (),
) -> tuple[int, float] | None:
    """How many blocks stay on the device, at least one and not all, so that the sum of all times is least.

    Args:
        device_ms: time of each of B blocks on the device.
        server_ms: the same on the server.
        tensors: all that may have to cross.
        forbidden: borders, 1 to B-1, at which the cut must not be.

    Returns:
        The border and the sum, ms to the nanosecond; None when every border is forbidden or costs infinitely much.
    """
    # Imported here because it takes a tenth of a second, and most planners never cut this way.
    import networkx as nx  # noqa: PLC0415

    blocks = len(device_ms)
    if blocks < 2:
        return None
    finite = [ms for ms in (*device_ms, *server_ms, *(tensor.transfer_ms for tensor in tensors)) if math.isfinite(ms)]
    infinite = sum(map(_ns, finite)) + 1

    def capacity(ms: float) -> int:
        return _ns(ms) if math.isfinite(ms) else infinite

    graph = nx.DiGraph()
    for block in range(blocks):
        graph.add_edge("source", block, capacity=infinite if block == 0 else capacity(server_ms[block]))
        graph.add_edge(block, "sink", capacity=infinite if block == blocks - 1 else capacity(device_ms[block]))
        if block:
            graph.add_edge(block, block - 1, capacity=infinite)
    for border in forbidden:
        graph.add_edge(border - 1, border, capacity=infinite)
    for index, tensor in enumerate(tensors):
        later = [block for block in tensor.consumers if block != tensor.producer]
        if later:
            graph.add_edge(tensor.producer, f"tensor {index}", capacity=capacity(tensor.transfer_ms))
        for consumer in later:
            graph.add_edge(f"tensor {index}", consumer, capacity=infinite)
    total, (kept, _) = nx.minimum_cut(graph, "source", "sink")
    border = sum(1 for node in kept if isinstance(node, int))
    return None if total >= infinite else (border, total / _NS_PER_MS)


def _ns(ms: float) -> int:
    return round(ms * _NS_PER_MS)
