"""What scenarios deploy: the same model as replicas, as a pipeline, or wherever it is quickest."""

from __future__ import annotations

from bench.chaos.scenario import DEPLOYMENT
from schemas.deployment import Deployment
from schemas.model import ModelCard
from stageline.demo.memory import forcing_budget_bytes
from stageline.emulation.fleet_file import FleetFile


def quickest(card: ModelCard, _fleet: FleetFile) -> Deployment:
    """For latency: one device, where splitting does not pay."""
    return Deployment(deployment=DEPLOYMENT, model=card.name)


def replicas(card: ModelCard, _fleet: FleetFile) -> Deployment:
    """For throughput: a whole copy on every device, where that is best."""
    return Deployment(deployment=DEPLOYMENT, model=card.name, objective="throughput")


def pipeline(card: ModelCard, fleet: FleetFile) -> Deployment:
    """So little memory on each device that two are needed, and any two are enough: nothing is pinned to any."""
    limit = forcing_budget_bytes(card, 2)
    limits = {device.name: limit for device in fleet.devices}
    return Deployment(deployment=DEPLOYMENT, model=card.name, memory_limit_bytes=limits)
