"""Who proposes plans for a deployment: the bandit always can, a trained policy only where it is for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from schemas.deployment import Deployment
from schemas.model import ModelCard
from services.lifecycle import OperatorError
from services.planner.facts import DeviceFacts
from services.planner.learning.arms import check_learnable
from services.planner.learning.learner import Proposer
from services.planner.learning.policy_file import PolicyFileError, TrainedPolicy, load_policy
from services.planner.learning.policy_fits import check_fits
from services.planner.learning.ucb import Ucb
from services.planner.policy import LEARNING_POLICIES


class NoTrainedPolicyError(PolicyFileError):
    """A deployment wants a trained policy, and the planner was given none."""

    def __init__(self) -> None:
        super().__init__(
            "policy ppo has to be trained first, and the planner was given no trained policy: make one with `stageline "
            "learn train`, start the planner with --learned FILE, or use --policy bandit, which needs none"
        )


def trained_in(path: Path | None) -> TrainedPolicy | None:
    """What a planner that was given this file starts with.

    Raises:
        services.lifecycle.OperatorError: it holds no trained policy.
    """
    try:
        return load_policy(path) if path is not None else None
    except PolicyFileError as error:
        raise OperatorError(f"STAGELINE_LEARNED (--learned): {error}") from error


class Proposers:
    """The bandit, and what was trained.

    Args:
        trained: the planner's policy file; None when it was given none.
        transfer: it may be used for other fleets and models than it was trained on.
    """

    def __init__(self, trained: TrainedPolicy | None = None, *, transfer: bool = False) -> None:
        self._trained = trained
        self._transfer = transfer

    def proposer(self, wish: Deployment, card: ModelCard, facts: Sequence[DeviceFacts]) -> Proposer:
        """Who proposes for a deployment of a learning policy.

        Raises:
            services.planner.learning.arms.NotLearnableError: nobody sees its objective.
            services.planner.learning.policy_file.PolicyFileError: nothing was trained for it.
        """
        check_learnable(wish.policy, wish.objective)
        if wish.policy == "bandit":
            return Ucb()
        if self._trained is None:
            raise NoTrainedPolicyError
        check_fits(self._trained, card, wish.objective, facts, transfer=self._transfer)
        return self._trained.actor

    def check(self, wish: Deployment, card: ModelCard, facts: Sequence[DeviceFacts]) -> None:
        """Whether a deployment that is asked for can be learned of; others always can.

        Raises:
            services.planner.errors.PlanningError: as `proposer`.
        """
        if wish.policy in LEARNING_POLICIES:
            self.proposer(wish, card, facts)
