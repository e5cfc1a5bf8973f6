"""A pipeline on torch.distributed.pipelining over gloo: every rank holds one part, the first also asks.

Answers travel back to the first rank, as they would to whoever asked. A latency is that of a schedule with a single
micro-batch; flat out, batches of many micro-batches of one picture each follow one another without a pause.
"""

from __future__ import annotations

import time
from functools import partial
from math import ceil
from multiprocessing.connection import Connection
from typing import Any, Final

import torch
from torch import distributed, nn
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

from bench.peers.arguments import ranks_parser
from bench.peers.conversation import Conversation, load_input, rests
from bench.peers.forked import fork, pid_of
from bench.peers.torch_split import parts_by_shares, whole_module
from models.library import Library

MICRO_BATCHES: Final = 32
"""In one batch; filling and draining the pipeline costs (parts - 1) / MICRO_BATCHES of the time."""
_ANSWERS: Final = 1
"""Tag of answers: between two ranks they must not be taken for what the schedule sends."""


class Rank:
    """One rank's part of every batch. All ranks do the same steps in the same order, or wait for ever."""

    def __init__(self, module: nn.Module, *, rank: int, ranks: int, tensor: torch.Tensor, answer: torch.Size) -> None:
        self._rank, self._last = rank, ranks - 1
        self._input = tensor
        self._answer = answer
        self._schedules = {
            count: ScheduleGPipe(PipelineStage(module, rank, ranks, torch.device("cpu")), n_microbatches=count)
            for count in (1, MICRO_BATCHES)
        }

    def step(self, count: int) -> torch.Tensor:
        """One batch of so many micro-batches; its answers, which only the first rank gets."""
        schedule = self._schedules[count]
        with torch.no_grad():
            if self._rank == 0:
                answers = torch.empty((count, *self._answer[1:]))
                # Posted first: gloo sends nothing that nobody waits for.
                coming = distributed.irecv(answers, src=self._last, tag=_ANSWERS) if self._last else None
                made = schedule.eval(self._input.expand(count, *self._input.shape[1:]).contiguous())
                if coming is None:
                    return _tensor(made)
                coming.wait()
                return answers
            made = schedule.eval()
            if self._rank == self._last:
                distributed.send(_tensor(made).contiguous(), dst=0, tag=_ANSWERS)
            return torch.empty(0)

    def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """This rank's part of one command."""
        if command["do"] == "answer":
            return {"answer": self.step(1).ravel().tolist()}
        if command["do"] == "one_by_one":
            return {"latencies_ms": [self._rested_ms(rest) for rest in rests(command["count"])]}
        return self._flat_out(command["seconds"])

    def _rested_ms(self, rest_s: float) -> float:
        # Only the one who asks rests; the others wait for it.
        if self._rank == 0:
            time.sleep(rest_s)
        started = time.perf_counter()
        self.step(1)
        return (time.perf_counter() - started) * 1000

    def _flat_out(self, seconds: float) -> dict[str, Any]:
        """As many batches as fit by the time that the first one takes, which is not counted."""
        started = time.perf_counter()
        self.step(MICRO_BATCHES)
        batch_s = torch.tensor([time.perf_counter() - started])
        distributed.broadcast(batch_s, src=0)
        batches = max(1, ceil(seconds / float(batch_s)))
        started = time.perf_counter()
        for _ in range(batches):
            self.step(MICRO_BATCHES)
        wall = time.perf_counter() - started
        return {"answered": batches * MICRO_BATCHES, "wall_s": wall, "requests": (batches + 1) * MICRO_BATCHES}


def main() -> None:
    """`python -m bench.peers.pipelining_program --library D --model M --input F --store F --parts KEY:CORES:SHARE`."""
    options = ranks_parser().parse_args()
    conversation = Conversation()
    parts = [part.split(":") for part in options.parts]
    torch.set_num_threads(1)
    card = Library(options.library).card(options.model)
    tensor = torch.from_numpy(load_input(options.input))
    modules = parts_by_shares(whole_module(card), tensor, [float(share) for _, _, share in parts])
    make = partial(Rank, tensor=tensor, answer=torch.Size(card.outputs[0].shape))
    run = partial(_run, options.store.as_uri(), modules, make)
    ranks = [fork(run, rank) for rank in range(len(parts))]
    for _, connection in ranks:
        connection.recv()
    members = {key: (pid_of(process), float(cores)) for (process, _), (key, cores, _) in zip(ranks, parts, strict=True)}
    conversation.say(members=members)
    for command in conversation.commands():
        for _, connection in ranks:
            connection.send(command)
        said = [connection.recv() for _, connection in ranks]
        conversation.say(**said[0])


def _run(store: str, modules: list[nn.Module], make: partial[Rank], number: int, connection: Connection) -> None:
    distributed.init_process_group("gloo", init_method=store, rank=number, world_size=len(modules))
    rank = make(modules[number], rank=number, ranks=len(modules))
    rank.step(1)
    rank.step(MICRO_BATCHES)
    connection.send("ready")
    while True:
        connection.send(rank.do(connection.recv()))


def _tensor(made: Any) -> torch.Tensor:
    if not isinstance(made, torch.Tensor):
        raise TypeError(f"a part made {type(made).__name__}; parts are cut where one tensor crosses")
    return made


if __name__ == "__main__":
    main()
