"""A client that the broker lets do anything, and that does: garbage, floods and well-formed lies on every topic."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final, Literal

import numpy as np
import zstandard

from broker.bus import Bus
from broker.message import Outgoing
from schemas import topics
from schemas.accuracy import RouteSeen, Seen
from schemas.base import Message
from schemas.codec import EncodedTensor, TensorHeader
from schemas.deployment import Decision, Deployment, HubStatus
from schemas.device import (
    Claim,
    Command,
    DeviceInfo,
    DeviceStatus,
    Duty,
    LinkMeasure,
    Power,
    PowerModel,
    Profile,
    Telemetry,
)
from schemas.frame import encode_frame, pack_frame
from schemas.frame_header import FrameHeader
from schemas.model import Blob, BlobChunk, BlobRequest, Cut, ModelCard, TensorSpec
from schemas.plan import Plan, Route, Stage
from schemas.stages import HeldStage, StagesHeld, StageTiming, Timing
from schemas.topics import Topic

MADE_UP: Final = 4500
"""More devices than anybody follows."""
_MOST: Final = 1e18
_SHA: Final = "e" * 64
_AT_ONCE: Final = 200


class Hostile:
    """Everything here is sent as fast as the broker takes it, and awaited until it has."""

    def __init__(self, bus: Bus, *, card: ModelCard, victims: tuple[str, ...]) -> None:
        self._bus = bus
        self._card = card
        self._victims = victims

    async def send(self, address: str, payload: bytes, *, retain: bool = False, qos: Literal[0, 1] = 1) -> None:
        """Any bytes to any address below the root."""
        message = Outgoing(f"{self._bus.root}/{address}", payload, qos, retain=retain)
        await self._bus._entered().publish(message, timeout_s=30)

    async def say(self, topic: Topic[Any], message: Message, **parameters: str) -> None:
        """A well-formed message; kept where the topic's are."""
        await self.send(topic.address(**parameters), topic.encode(message), retain=topic.retained)

    async def all_at_once(self, sending: Iterable[Any]) -> None:
        """Many at a time."""
        waiting: list[Any] = []
        for one in sending:
            waiting.append(one)
            if len(waiting) == _AT_ONCE:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)

    async def garbage_everywhere(self, generation: int, submitter: str) -> None:
        """What is no message, on every topic of everybody, kept where the topic's are, and on topics nobody knows."""
        real = {
            "device": self._victims[0], "deployment": "line", "model": self._card.name, "generation": str(generation),
            "stage": "r0s0", "sha": self._card.graph.sha256, "receiver": self._victims[0], "submitter": submitter,
            "gateway": "g", "request": "q",
        }  # fmt: skip
        spoilt = (
            b"\xff\xfe", b"{", b"[" * 60_000, b"null", b"{}", b'{"online": 1e999}', b"\x91" * 9000,
            b"\xdf\xff\xff\xff\xff", b'{"a": "\\ud800"}', b"\0" * 100,
        )  # fmt: skip
        for topic in topics.ALL:
            for victim in self._victims:
                address = topic.address(**{**real, "device": victim})
                for payload in spoilt:
                    await self.send(address, payload, retain=topic.retained)
            await self.send(address, bytes(min(topic.most_bytes + 1, 5 << 20)), retain=topic.retained)
            await self.send(topic.template.replace("{", "").replace("}", " !"), b"x", retain=True)
        for payload in spoilt:
            await self.send("no/such/topic", payload, retain=True)
            await self.send(f"device/{self._victims[0]}/echo", payload)

    async def wipe_everything(self) -> None:
        """Clear every retained topic of the devices, the plan and the card."""
        for topic in topics.ALL:
            if topic.retained and topic is not topics.DEPLOYMENT:
                for victim in self._victims:
                    real = {"device": victim, "deployment": "line", "model": self._card.name}
                    if set(topic.parameters) <= real.keys():
                        await self.send(topic.address(**real), b"", retain=True)

    async def invent_devices(self) -> None:
        """Thousands of devices that say everything a device can say, none of which is there."""
        await self.all_at_once(
            self.say(topic, message, **where)
            for number in range(MADE_UP)
            for topic, message, where in _words_of(f"ghost-{number}", self._card, full=number % 50 == 0)
        )

    async def lie_about(self, device: str, generation: int) -> None:
        """Absurd words in the name of a device that is there, and of the hub."""
        for topic, message, where in _words_of(device, self._card, full=True):
            await self.say(topic, message, **where)
        stage = StageTiming(
            deployment="line", generation=generation, stage="r0s0", frames=2**53, wait_ms=_MOST, compute_ms=_MOST,
            codec_ms=_MOST, bytes_in=2**53, bytes_out=2**53,
        )  # fmt: skip
        kept = await self._bus.snapshot(topics.DEVICE_STAGES, device=device)
        for boot in ["0", *(one.message.boot_id for one in kept)]:
            lie = Timing(
                device=device, boot_id=boot, period_s=1e-9, queue_depth=2**53, cpu_s=_MOST, stages=(stage,) * 50,
                rejected={"x": 2**53},
            )  # fmt: skip
            await self.say(topics.DEVICE_TIMING, lie, device=device)
        for role in ("monitor", "worker"):
            claim = Claim(device=device, boot_id="0", role=role, hostname="\x1b[2J\n" * 500)
            for _ in range(100):
                await self.say(topics.DEVICE_CLAIM, claim, device=device)
        for kind in ("profile", "probe"):
            for number in range(5):
                await self.say(topics.DEVICE_COMMAND, Command(kind=kind, model=f"none-{number}"), device=device)
        await self.say(topics.HUB_STATUS, HubStatus(online=True, boot_id="0", version="x" * 4000))
        await self.say(topics.HUB_STATUS, HubStatus(online=False, boot_id="zzz"))

    async def lie_about_answers(self, generation: int) -> None:
        """What nobody can have seen, from submitters that nobody knows."""
        routes = tuple(
            RouteSeen(route=number, answers=2**53, latency_ms=_MOST, waiting=2**53, silent_s=_MOST)
            for number in range(9)
        )
        await self.all_at_once(
            self.say(
                topics.SEEN,
                Seen(submitter=f"s{n}", deployment="line", generation=generation, period_s=1e-9, routes=routes),
                deployment="line",
                submitter=f"s{n}",
            )
            for n in range(1200)
        )

    async def lying_plans(self, plan: Plan) -> None:
        """Plans of the deployment that is served and of others: absurd stages, absurd many, absurd generations."""
        absurd = Route(stages=tuple(Stage(device=self._victims[0], first=n, last=n + 1) for n in range(64)))
        many = Route(stages=(Stage(device=self._victims[1], first=0, last=2**53),), window=1024)
        for deployment in ("line", *(f"other-{n}" for n in range(40))):
            for generation, routes in ((plan.generation + 1, (many,) * 9), (2**53, (absurd,))):
                lie = plan.model_copy(
                    update={"deployment": deployment, "generation": generation, "routes": routes, "card_sha": _SHA}
                )
                for topic in (topics.PLAN_CURRENT, topics.PLAN_NEXT):
                    await self.say(topic, lie, deployment=deployment)
            if deployment != "line":
                await self._place_lies(plan, deployment)
            decision = Decision(deployment=deployment, generation=2**53, requested=0.0, state="removed")
            await self.say(topics.PLAN_DECISION, decision, deployment=deployment)

    async def _place_lies(self, plan: Plan, deployment: str) -> None:
        """A stage of a card that lies, on a device that is there."""
        number = int(deployment.partition("-")[2]) % 5
        kept = await self._bus.snapshot(topics.MODEL_CARD, model=f"lie-{number}")
        for card in kept[:1]:
            last = len(card.message.blocks)
            route = Route(stages=(Stage(device=self._victims[number % 3], first=0, last=last),))
            update = {
                "deployment": deployment, "routes": (route,), "model": card.message.name,
                "card_sha": card.message.sha256,
            }  # fmt: skip
            await self.say(topics.PLAN_NEXT, plan.model_copy(update=update), deployment=deployment)

    async def lying_cards(self) -> None:
        """Cards under the model's name and others, of other hashes, with petabytes of weights."""
        petabytes = tuple(Blob(sha256=f"{n:064x}", nbytes=2**46) for n in range(50))
        block = self._card.blocks[0].model_copy(update={"weight_bytes": 2**46, "peak_activation_bytes": 2**46})
        lie = self._card.model_copy(
            update={"blobs": petabytes, "blocks": (block, *self._card.blocks[1:]), "notes": ("x" * 4096,) * 500}
        )
        nowhere = TensorSpec(name="nowhere", dtype="float32", shape=(1, 2**31, 2**31))
        block = self._card.blocks[-1].model_copy(update={"last_node": 2**50})
        lies = [
            lie,
            self._card.model_copy(update={"blocks": (*self._card.blocks[:-1], block)}),
            self._card.model_copy(update={"cuts": (Cut(tensors=(nowhere,)),) * len(self._card.cuts)}),
            self._card.model_copy(update={"cuts": (Cut(tensors=()),) * len(self._card.cuts), "inputs": (nowhere,)}),
            self._card.model_copy(update={"graph": Blob(sha256=_SHA, nbytes=2**46)}),
        ]
        for number, one in enumerate(lies):
            for name in (self._card.name, f"lie-{number}"):
                await self.say(topics.MODEL_CARD, one.model_copy(update={"name": name}), model=name)
            for victim in self._victims:
                command = Command(kind="profile", model=f"lie-{number}")
                await self.say(topics.DEVICE_COMMAND, command, device=victim)

    async def lying_wishes(self) -> None:
        """Deployments by the hundred, of models that nobody has."""
        for number in range(150):
            wish = Deployment(
                deployment=f"wish-{number}", model=f"none-{number}", latency_bound_ms=1e-300, requested=1e18
            )
            await self.say(topics.DEPLOYMENT, wish, deployment=wish.deployment)

    async def take_wishes_back(self) -> None:
        """As they were made."""
        for number in range(150):
            await self.send(topics.DEPLOYMENT.address(deployment=f"wish-{number}"), b"", retain=True)

    async def forge_frames(self, plan: Plan, submitter: str) -> None:
        """Work that nobody asked for, and answers to what others asked: wrong, cut off, bombs, and a flood of junk."""
        zeros = bytes(64 << 20)
        packed = zstandard.ZstdCompressor().compress(zeros)
        tensor = TensorHeader(name="x", dtype="uint8", shape=(1, 64 << 20), zstd=True, nbytes=len(packed))
        bomb = [EncodedTensor(tensor, memoryview(packed))]
        places = [
            (stage.device, f"r{number}s{index}", plan.generation)
            for number, route in enumerate(plan.routes)
            for index, stage in enumerate(route.stages)
        ]
        for number in range(24):
            header = FrameHeader(
                kind=("work", "answer", "error")[number % 3], request=f"q{number}", submitter=submitter,
                deployment="line", generation=plan.generation, budget_ms=1e6,
            )  # fmt: skip
            wrong = encode_frame(header, {"x": np.zeros((1, 3), np.float32)})
            for payload in (wrong, pack_frame(header, bomb), wrong[: len(wrong) // 2], b"\xc1"):
                for device, stage, generation in places:
                    where = {"deployment": "line", "generation": generation, "device": device, "stage": stage}
                    await self.send(topics.STAGE.address(**where), payload, qos=number % 2)
                await self.send(topics.ANSWER.address(submitter=submitter), payload, qos=number % 2)
        flood = bytes(2 << 20)
        for number in range(24):
            for device, stage, generation in places:
                where = {"deployment": "line", "generation": generation, "device": device, "stage": stage}
                await self.send(topics.STAGE.address(**where), flood, qos=number % 2)

    async def blobs_never_asked_for(self) -> None:
        """Chunks for everybody, and requests for what nobody has."""
        for victim in self._victims:
            for sha in (_SHA, self._card.graph.sha256):
                for number in range(20):
                    chunk = BlobChunk(offset=number << 18, total=2**53, data=bytes(1 << 18))
                    where = {"model": self._card.name, "sha": sha, "receiver": victim}
                    await self.say(topics.BLOB_CHUNK, chunk, **where)
        for number in range(200):
            request = BlobRequest(receiver="nobody", offset=2**53, length=1 << 20)
            await self.say(topics.BLOB_REQUEST, request, model=f"none-{number}", sha=_SHA)


def _words_of(device: str, card: ModelCard, *, full: bool) -> Iterable[tuple[Topic[Any], Message, dict[str, str]]]:
    """All that a device can say, in absurd numbers; `full` ones look as if they could be planned with."""
    where = {"device": device}
    boot = "0"
    yield topics.DEVICE_STATUS, DeviceStatus(device=device, boot_id=boot, online=True), where
    if not full:
        return
    held = HeldStage(
        deployment="line", generation=2**53, stage="r0s0", model=card.name, card_sha=_SHA, first=0, last=2**53,
        state="failed", memory_bytes=2**53, error="x" * 4096,
    )  # fmt: skip
    power = PowerModel(idle_w=0, busy_w=1e6, method="measured", source="x")
    link = LinkMeasure(rtt_ms=0, up_mbps=1e12, down_mbps=1e12, probe_bytes=0, age_s=_MOST)
    yield (
        topics.DEVICE_STAGES,
        StagesHeld(
            device=device, boot_id=boot, online=True, threads=1024, memory_budget_bytes=2**53, stages=(held,) * 20
        ),
        where,
    )
    yield topics.DEVICE_INFO, DeviceInfo(
        device=device, boot_id=boot, hostname=f"{device}\n" * 100, machine="x", architecture="x", cores=4096,
        capacity_cores=4096, memory_bytes=2**46, power=power,
    ), where  # fmt: skip
    yield topics.DEVICE_TELEMETRY, Telemetry(
        device=device, boot_id=boot, sequence=2**53, unix_time=_MOST, load=0, capacity_cores=4096,
        memory_free_bytes=2**46, memory_bytes=2**46, power=Power(watts=1e6, method="measured", source="x"), link=link,
        monitor_cpu=_MOST, rejected={"x": 2**53},
    ), where  # fmt: skip
    yield topics.DEVICE_PROFILE, Profile(
        device=device, boot_id=boot, model=card.name, card_sha=card.sha256, backend="onnxruntime", threads=1024,
        block_ms=(0.0,) * len(card.blocks), frame_ms=0, frame_ms_per_mb=0, rounds=1, capacity_cores=4096,
    ), {**where, "model": card.name}  # fmt: skip
    yield topics.DEVICE_DUTY, Duty(device=device, duty="serve", since=_MOST, reason="x" * 4096), where
