"""What the planner can be told, by environment (`STAGELINE_...`) or flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from services.planner.facts import HubFacts
from services.planner.patience import Patience
from services.settings import HubSettings

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class PlannerSettings(HubSettings):
    """Settings of the hub's planner; frozen."""

    profile_timeout_s: Seconds = 120.0
    """A device that has not measured a model by then is left out of the plan."""
    ready_timeout_s: Seconds = 60.0
    """A device that makes no progress for so long while it gets ready is planned around."""
    retry_s: Seconds = 30.0
    """When there is no plan: try again after this, with the devices that were left out."""
    settle_s: Annotated[float, Field(ge=0, le=60)] = 1.0
    """Wait so long after a device joined a fleet that had no plan: others may be joining too."""
    answer_within_s: Seconds = 8.0
    """After (re)connecting, workers that the broker calls online must say so themselves within this time. Longer than
    the longest pause between two attempts to reconnect: after a broker's restart, they may come back after us."""
    adapt: bool = True
    """Plans follow what devices and links can do now. Without, one is only changed on request or when a device that it
    needs is lost, stops or is drained."""
    learned: Path | None = None
    """A policy file for deployments that want policy ppo (`stageline learn train`)."""
    learned_transfer: bool = False
    """It may be used for other models and fleets than it was trained on; the safety net is the same."""
    learn_period_s: Annotated[float, Field(ge=0.1, le=3600)] = 5.0
    """A plan of a deployment that learns is judged by what was seen in so long, at least."""
    submitter_mbps: Annotated[float, Field(gt=0)] = 1000.0
    """Link of the submitters to the broker, each way; they are not measured."""
    submitter_hop_ms: Annotated[float, Field(ge=0, le=60_000)] = 1.0
    """Round trip of a small message submitter -> broker -> submitter; not measured either."""
    hub_mbps: Annotated[float, Field(gt=0)] | None = None
    """Link of the hub, each way, which all routes share; unset: no limit."""

    @property
    def hub_facts(self) -> HubFacts:
        """What all routes share, as the cost model wants it."""
        return HubFacts(self.submitter_mbps, self.submitter_mbps, self.submitter_hop_ms, self.hub_mbps)

    @property
    def patience(self) -> Patience:
        """How long a rollout waits for what."""
        return Patience(
            ready_s=self.ready_timeout_s, retry_s=self.retry_s, out_s=10 * self.retry_s, settle_s=self.settle_s
        )
