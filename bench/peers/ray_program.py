"""Ray Serve, computing with ONNX Runtime: as a pipeline, or as replicas of the whole model.

A pipeline has one deployment per part, which calls the next one's handle. Replicas are one deployment's, and Ray's own
router chooses among them.

The same stages as `tcp_stage` has, so that what differs is Ray. Ray's own processes (raylet, control store, controller)
are on no device's quota, as Stageline's broker and planner are not.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from pathlib import Path
from typing import Any, Final

# Before it is imported: this cluster serves one process on loopback for a minute, and reports to nobody.
os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}

import ray
from ray import serve

from bench.peers.arguments import line_parser
from bench.peers.conversation import Conversation, FlatOut, lead, load_input, several_in_flight
from models.library import Library
from models.runtime import load_stage
from schemas.codec import Array
from schemas.model import ModelCard

IN_FLIGHT_PER_PART: Final = 2
_TIMEOUT_S: Final = 30.0


class Part:
    """One stage; the constructor runs where Ray puts it."""

    def __init__(self, library: str, model: str, first: int, last: int, following: Any = None) -> None:
        from models.runtime.heap import return_freed_memory  # noqa: PLC0415 - imported where Ray runs this

        opened = Library(Path(library))
        self._runner = load_stage(opened.card(model), opened.blobs, first, last, threads=1)
        self._following = following
        return_freed_memory()

    async def __call__(self, tensors: dict[str, Array]) -> dict[str, Array]:
        """This part and all that follow."""
        made = self._runner.run(tensors)
        return made if self._following is None else await self._following.remote(made)

    async def pids(self) -> list[int]:
        """Of this part's process and of those after it."""
        after: list[int] = [] if self._following is None else await self._following.pids.remote()
        return [os.getpid(), *after]


class Chain:
    """What asks: a handle on the first part."""

    def __init__(self, handle: Any, card: ModelCard, tensor: Array, parts: int) -> None:
        self._handle = handle
        self._input = {card.inputs[0].name: tensor}
        self._output = card.outputs[0].name
        self._window = IN_FLIGHT_PER_PART * parts

    def infer(self) -> Array:
        """One request."""
        answer: Array = self._ask().result()[self._output]
        return answer

    def flat_out(self, seconds: float) -> FlatOut:
        """Several requests in flight for every part."""
        return several_in_flight(self._ask, lambda answer: answer.result(), self._window, seconds)

    def _ask(self) -> Any:
        return self._handle.remote(self._input)


def main() -> None:
    """`python -m bench.peers.ray_program --library D --model M --input F --parts KEY:CORES:FIRST:LAST ...`."""
    parser = line_parser()
    parser.add_argument("--parts", nargs="+", required=True, help="in the order that a request visits them")
    parser.add_argument("--copies", action="store_true", help="each part is the whole model")
    options = parser.parse_args()
    conversation = Conversation()
    parts = [part.split(":") for part in options.parts]
    card = Library(options.library).card(options.model)
    ray.init(
        address="local",
        num_cpus=len(parts) + 2,
        include_dashboard=False,
        _temp_dir=str(options.input.parent / "ray"),
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
        runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join((str(Path.cwd()), os.environ.get("PYTHONPATH", "")))}},
    )
    application = _copies(options, parts) if options.copies else _pipeline(options, parts)
    handle = serve.run(application, name="line", route_prefix=None)
    chain = Chain(handle, card, load_input(options.input), len(parts))
    chain.infer()
    pids = _all_pids(handle, len(parts))
    conversation.say(members={key: (pid, float(cores)) for (key, cores, _, _), pid in zip(parts, pids, strict=True)})
    lead(conversation, chain)
    serve.shutdown()
    ray.shutdown()


def _pipeline(options: argparse.Namespace, parts: list[list[str]]) -> Any:
    # The handle of the one after it is an argument of each, so the last is bound first.
    following: tuple[Any, ...] = ()
    for number, (_key, _cores, first, last) in reversed(list(enumerate(parts))):
        deployment = serve.deployment(
            Part,
            name=f"part{number}",
            max_ongoing_requests=IN_FLIGHT_PER_PART * len(parts),
            ray_actor_options={"num_cpus": 0},
        )
        following = (deployment.bind(str(options.library), options.model, int(first), int(last), *following),)
    return following[0]


def _copies(options: argparse.Namespace, parts: list[list[str]]) -> Any:
    _, _, first, last = parts[0]
    deployment = serve.deployment(
        Part,
        name="copies",
        num_replicas=len(parts),
        max_ongoing_requests=IN_FLIGHT_PER_PART,
        ray_actor_options={"num_cpus": 0},
    )
    return deployment.bind(str(options.library), options.model, int(first), int(last))


def _all_pids(handle: Any, count: int) -> list[int]:
    """Of all parts or copies; which copy is asked is Ray's choice, so ask until all have said theirs.

    Raises:
        TimeoutError: one is never asked.
    """
    found: dict[int, None] = {}
    deadline = time.monotonic() + _TIMEOUT_S
    while len(found) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(found)} of {count} replicas answered within {_TIMEOUT_S:g} s; see Ray's logs")
        for asked in [handle.pids.remote() for _ in range(IN_FLIGHT_PER_PART * count)]:
            found |= dict.fromkeys(asked.result())
    return list(found)


if __name__ == "__main__":
    main()
