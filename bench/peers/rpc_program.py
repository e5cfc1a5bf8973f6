"""A pipeline on torch.distributed.rpc, as PyTorch's tutorial "Distributed Pipeline Parallelism Using RPC" builds it.

Rank 0 asks; every other rank holds one part of the module. A request is a chain of remote calls: each part is told
where the tensor before it lies and fetches it from there, so activations go from worker to worker, not through rank 0.
"""

from __future__ import annotations

import threading
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final

import torch
from torch.distributed import rpc

from bench.peers.arguments import ranks_parser
from bench.peers.conversation import Conversation, FlatOut, lead, load_input, several_in_flight
from bench.peers.forked import fork, pid_of
from bench.peers.torch_split import parts_by_shares, whole_module
from models.library import Library
from schemas.codec import Array

IN_FLIGHT_PER_PART: Final = 2
_TIMEOUT_S: Final = 60.0


class Part:
    """One part of the module, on the rank that made it; remote references point to it."""

    here: torch.nn.Module
    """Set in every rank before it joins: a module need not travel."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()

    def forward(self, before: Any) -> torch.Tensor:
        """From a remote reference to this part's input to its output."""
        tensor = before.to_here()
        with self._one_at_a_time, torch.inference_mode():
            made: torch.Tensor = self.here(tensor)
            return made


class Chain:
    """What rank 0 holds: references to the parts, and the input."""

    def __init__(self, parts: list[Any], tensor: torch.Tensor) -> None:
        self._parts = parts
        self._input = tensor

    def infer(self) -> Array:
        """One request."""
        answer: Array = self._ask().wait().numpy()
        return answer

    def flat_out(self, seconds: float) -> FlatOut:
        """Several micro-requests in flight for every part; answers come in order."""
        window = IN_FLIGHT_PER_PART * len(self._parts)
        return several_in_flight(self._ask, lambda answer: answer.wait(), window, seconds)

    def _ask(self) -> Any:
        at: Any = rpc.RRef(self._input)
        for part in self._parts[:-1]:
            at = part.remote().forward(at)
        return self._parts[-1].rpc_async().forward(at)


def main() -> None:
    """`python -m bench.peers.rpc_program --library D --model M --input F --store F --parts KEY:CORES:SHARE ...`."""
    options = ranks_parser().parse_args()
    conversation = Conversation()
    parts = [part.split(":") for part in options.parts]
    torch.set_num_threads(1)
    tensor = torch.from_numpy(load_input(options.input))
    module = whole_module(Library(options.library).card(options.model))
    modules = parts_by_shares(module, tensor, [float(share) for _, _, share in parts])
    join = partial(_join, options.store.as_uri(), len(parts) + 1)
    members = {}
    kept = []
    for rank, (key, cores, _) in enumerate(parts, start=1):
        process, connection = fork(partial(_hold, join, modules[rank - 1]), rank)
        kept.append(connection)
        members[key] = (pid_of(process), float(cores))
    join(0)
    chain = Chain([rpc.remote(f"rank{rank + 1}", Part) for rank in range(len(parts))], tensor)
    chain.infer()
    conversation.say(members=members)
    lead(conversation, chain)
    # In good order would mean waiting for everybody; all are to end now.
    rpc.shutdown(graceful=False)


def _hold(join: partial[None], module: torch.nn.Module, rank: int, connection: Connection) -> None:
    Part.here = module
    join(rank)
    connection.poll(None)


def _join(store: str, ranks: int, rank: int) -> None:
    rpc.init_rpc(  # type: ignore[no-untyped-call]  # torch gives it no types
        f"rank{rank}",
        rank=rank,
        world_size=ranks,
        rpc_backend_options=rpc.TensorPipeRpcBackendOptions(
            init_method=store,
            rpc_timeout=_TIMEOUT_S,
            # Shared memory, its default on one machine, waits by polling and would eat the devices' quotas.
            _transports=["uv"],
        ),
    )


if __name__ == "__main__":
    main()
