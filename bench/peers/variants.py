"""Of what processes each peer is made on a fleet. Pure but for the profile that `measured_split` takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil
from pathlib import Path
from typing import Final

from bench.peers.cast import Variant
from bench.peers.program import STARTER, SUBMITTER, Role
from bench.peers.splits import Part, even_split, measured_split
from models.library import Library
from schemas.model import ModelCard
from services.capacity import threads_for
from stageline.emulation.fleet_file import FleetFile

ALL: Final = "all cores"
"""The key of a process that has the whole fleet's quota."""


@dataclass(frozen=True)
class Given:
    """What every peer is given: the same model, input and devices."""

    card: ModelCard
    library: Library
    fleet: FleetFile
    folder: Path
    """The line's own, empty; `input.npy` is in it."""

    @property
    def common(self) -> tuple[str, ...]:
        """Arguments of every program that looks at the input."""
        return (*self.model, "--input", str(self.folder / "input.npy"))

    @property
    def model(self) -> tuple[str, ...]:
        """Arguments of every program."""
        return ("--library", str(self.library.root), "--model", self.card.name)

    @property
    def cores(self) -> list[float]:
        """Of each device, as emulated here."""
        return [self.fleet.cores_here(device) for device in self.fleet.devices]


def variants(peer: str, given: Given) -> tuple[Variant, ...]:
    """All ways of running a peer that are measured."""
    return _MAKERS[peer](peer, given)


def _single(peer: str, given: Given) -> tuple[Variant, ...]:
    fastest = max(given.fleet.devices, key=given.fleet.cores_here)
    return tuple(_whole(peer, given, fastest.name, given.fleet.cores_here(fastest)))


def _monolith(peer: str, given: Given) -> tuple[Variant, ...]:
    return tuple(_whole(peer, given, ALL, given.fleet.total_cores))


def _whole(peer: str, given: Given, key: str, cores: float) -> list[Variant]:
    runtime = peer.partition("-")[0]
    counts = {1, threads_for(cores), ceil(cores)}
    if runtime == "torch":
        # One process for all of them: PyTorch changes its number of threads as it runs.
        role = Role(key, "bench.peers.whole_program", (*given.common, "--runtime", runtime), cores)
        found = [Variant(peer, f"threads={count}", (role,), threads=count) for count in sorted(counts)]
        return [*found, Variant(peer, "threads as PyTorch comes", (role,), threads=0)]
    return [
        Variant(
            peer,
            f"threads={count}",
            (
                Role(
                    key,
                    "bench.peers.whole_program",
                    (*given.common, "--runtime", runtime, "--threads", str(count)),
                    cores,
                ),
            ),
        )
        for count in sorted(counts)
    ]


def _replicas(peer: str, given: Given) -> tuple[Variant, ...]:
    blocks = len(given.card.blocks)
    fastest_first = sorted(range(len(given.cores)), key=lambda device: -given.cores[device])
    return (_tcp(peer, "", given, [[Part(device, 0, blocks)] for device in fastest_first]),)


def _tcp_pipeline(peer: str, given: Given) -> tuple[Variant, ...]:
    even = even_split(given.card, len(given.cores))
    measured = measured_split(given.card, given.library, given.cores)
    return (
        _tcp(peer, "even split", given, [even]),
        _tcp(peer, f"split as measured, {_spans(given, measured)}", given, [measured]),
    )


def _tcp(peer: str, label: str, given: Given, routes: Sequence[Sequence[Part]]) -> Variant:
    front = (*given.common, "--routes", ",".join(str(len(route)) for route in routes))
    roles = [Role(SUBMITTER, "bench.peers.tcp_front", front, None)]
    for door, route in enumerate(routes):
        for part in route:
            following = f"0:{door}" if part == route[-1] else str(len(roles) + 1)
            roles.append(_tcp_stage(given, part, following))
    return Variant(peer, label, tuple(roles))


def _tcp_stage(given: Given, part: Part, following: str) -> Role:
    device, cores = given.fleet.devices[part.device], given.cores[part.device]
    arguments = {"--first": part.first, "--last": part.last, "--threads": threads_for(cores), "--next": following}
    texts = (str(item) for item in chain.from_iterable(arguments.items()))
    return Role(device.name, "bench.peers.tcp_stage", (*given.model, *texts), cores)


def _torch_rpc(peer: str, given: Given) -> tuple[Variant, ...]:
    return _torch_pipeline(peer, given, "bench.peers.rpc_program", SUBMITTER)


def _torch_pipelining(peer: str, given: Given) -> tuple[Variant, ...]:
    return _torch_pipeline(peer, given, "bench.peers.pipelining_program", STARTER)


def _torch_pipeline(peer: str, given: Given, module: str, key: str) -> tuple[Variant, ...]:
    """Equal parts, as users of these systems begin; and shares by cores, the least that unequal devices ask for."""
    found: list[Variant] = []
    for label, shares in {"even split": [1.0] * len(given.cores), "split by cores": given.cores}.items():
        devices = zip(given.fleet.devices, given.cores, shares, strict=True)
        parts = [f"{device.name}:{cores}:{share}" for device, cores, share in devices]
        store = str(given.folder / f"store-{len(found)}")
        arguments = (*given.common, "--store", store, "--parts", *parts)
        found.append(Variant(peer, label, (Role(key, module, arguments, None),)))
    return tuple(found)


def _ray_serve(peer: str, given: Given) -> tuple[Variant, ...]:
    return (_ray(peer, given, measured_split(given.card, given.library, given.cores)),)


def _ray_replicas(peer: str, given: Given) -> tuple[Variant, ...]:
    whole = [Part(device, 0, len(given.card.blocks)) for device in range(len(given.cores))]
    return (_ray(peer, given, whole, "--copies"),)


def _ray(peer: str, given: Given, split: Sequence[Part], *options: str) -> Variant:
    parts = [
        f"{given.fleet.devices[part.device].name}:{given.cores[part.device]}:{part.first}:{part.last}" for part in split
    ]
    arguments = (*given.common, *options, "--parts", *parts)
    return Variant(peer, "", (Role(SUBMITTER, "bench.peers.ray_program", arguments, None),))


def _spans(given: Given, parts: Sequence[Part]) -> str:
    return " -> ".join(f"{given.fleet.devices[part.device].name}[{part.first}:{part.last})" for part in parts)


_MAKERS: Final[dict[str, Callable[[str, Given], tuple[Variant, ...]]]] = {
    "torch-single": _single,
    "onnxruntime-single": _single,
    "torch-monolith": _monolith,
    "onnxruntime-monolith": _monolith,
    "onnxruntime-replicas": _replicas,
    "torch-rpc": _torch_rpc,
    "torch-pipelining": _torch_pipelining,
    "ray-serve": _ray_serve,
    "ray-serve-replicas": _ray_replicas,
    "tcp-pipeline": _tcp_pipeline,
}
PEERS: Final = tuple(_MAKERS)
