"""The policy that a deployment wants; ours only split where that wins by the margin that predictions may be off."""

from __future__ import annotations

from services.planner.certainty import Cautious
from services.planner.policies import OWN_POLICIES, find_policy
from services.planner.policy import Policy


def careful(name: str) -> Policy:
    """The policy of that name; ours with what experience adds (`services.planner.certainty`).

    Raises:
        services.planner.policies.UnknownPolicyError: there is none.
    """
    policy = find_policy(name)
    return Cautious(policy) if policy.name in OWN_POLICIES else policy
