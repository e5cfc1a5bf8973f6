"""Plans, devices and faults in a word each, and what requests in flight have to do at a moment."""

from __future__ import annotations

from schemas.frame_header import ErrorCode, FrameFault
from schemas.parts import stage_id
from schemas.plan import Plan, Prediction, Route, Stage
from schemas.stages import HeldStage, StagesHeld
from stageline.requests_in_flight import RequestsInFlight
from stageline.sending import GiveUp, Send

SHA = "0" * 64
DEVICES = ("a", "b", "c")


def make_plan(generation: int, routes: tuple[tuple[str, ...], ...], window: int = 2) -> Plan:
    return Plan(
        deployment="d", generation=generation, model="m", card_sha=SHA, objective="latency", policy="exact",
        routes=tuple(
            Route(stages=tuple(Stage(device=one, first=i, last=i + 1) for i, one in enumerate(devices)), window=window)
            for devices in routes
        ),
    )  # fmt: skip


def slow_plan(generation: int, routes: tuple[tuple[str, ...], ...], *, latency_s: float, window: int) -> Plan:
    plan = make_plan(generation, routes, window)
    predicted = Prediction(latency_ms=latency_s * 1000, throughput_rps=1 / latency_s, energy_j=1)
    return plan.model_copy(
        update={"routes": tuple(route.model_copy(update={"predicted": predicted}) for route in plan.routes)}
    )


def worker(device: str, plan: Plan | None, *, online: bool = True, boot: str = "b1") -> StagesHeld:
    stages = [
        HeldStage(
            deployment="d", generation=plan.generation, stage=stage_id(i, j), model="m", card_sha=SHA, first=j,
            last=j + 1, state="ready",
        )
        for i, route in enumerate(plan.routes)
        for j, stage in enumerate(route.stages)
        if stage.device == device
    ] if plan and online else []  # fmt: skip
    return StagesHeld(device=device, boot_id=boot, online=online, stages=tuple(stages))


def fault(code: ErrorCode, device: str = "a") -> FrameFault:
    return FrameFault(code=code, detail="it said so", device=device)


def sends(actions: list[Send | GiveUp]) -> list[tuple[str, int, int]]:
    return [(one.request, one.attempt, one.route) for one in actions if isinstance(one, Send)]


def act(flight: RequestsInFlight, now: float) -> list[Send | GiveUp]:
    """Do what is due, with a broker that takes everything at once."""
    actions = flight.due(now)
    for one in actions:
        if isinstance(one, Send):
            flight.heard(one.request, one.attempt, now=now)
    return actions


def go(flight: RequestsInFlight, now: float) -> list[tuple[str, int, int]]:
    return sends(act(flight, now))


def give_ups(actions: list[Send | GiveUp]) -> list[tuple[str, str]]:
    return [(one.request, one.reason) for one in actions if isinstance(one, GiveUp)]
