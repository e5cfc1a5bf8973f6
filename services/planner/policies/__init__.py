"""Every planning policy, by name."""

from __future__ import annotations

from typing import Final

from services.planner.errors import PlanningError
from services.planner.policies.amp4ec import Amp4ec
from services.planner.policies.bandit import Bandit
from services.planner.policies.best_single import BestSingle
from services.planner.policies.brute_force import BruteForce
from services.planner.policies.carbon_edge import CarbonEdge
from services.planner.policies.dads import Dads
from services.planner.policies.even_split import EvenSplit
from services.planner.policies.exact import Exact
from services.planner.policies.heft import Heft
from services.planner.policies.large_fleet import LargeFleet
from services.planner.policies.neurosurgeon import Neurosurgeon
from services.planner.policies.nsa_replicas import NsaReplicas
from services.planner.policies.pipe_edge import PipeEdge
from services.planner.policies.ppo import Ppo
from services.planner.policies.replicas import Replicas, RoundRobin
from services.planner.policy import LEARNING_POLICIES, Policy

POLICIES: Final[tuple[Policy, ...]] = (
    Exact(),
    LargeFleet(),
    BestSingle(),
    Replicas(),
    RoundRobin(),
    EvenSplit(),
    Neurosurgeon(),
    Dads(),
    PipeEdge(),
    Heft(),
    Amp4ec(),
    Amp4ec(plain=True),
    NsaReplicas(),
    CarbonEdge(),
    CarbonEdge("performance"),
    CarbonEdge("green"),
    Bandit(),
    Ppo(),
    BruteForce(),
)
OWN_POLICIES: Final = ("exact", "large-fleet", *LEARNING_POLICIES)
"""Whose plans experience may put right (`services.planner.certainty`); the literature's stay as they are."""


class UnknownPolicyError(PlanningError):
    """A name that no policy has; lists those there are."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no policy {name!r}; there are {', '.join(policy_names())}")


def policy_names() -> tuple[str, ...]:
    """Names for `--policy` and `Deployment.policy`."""
    return tuple(policy.name for policy in POLICIES)


def find_policy(name: str) -> Policy:
    """The policy of that name.

    Raises:
        UnknownPolicyError: there is none.
    """
    for policy in POLICIES:
        if policy.name == name:
            return policy
    raise UnknownPolicyError(name)
