"""The whole model on the one device that serves the objective best: what every split has to beat."""

from __future__ import annotations

from services.planner.complete import choose
from services.planner.cost import Problem
from services.planner.errors import InfeasibleError
from services.planner.policy import Choice
from services.planner.search import pick
from services.planner.whole_copies import no_copy, whole_copies


class BestSingle:
    """No distribution at all."""

    name = "best-single"
    citation = "baseline"

    def plan(self, problem: Problem) -> Choice:
        """Decide.

        Raises:
            InfeasibleError: no device can serve the whole model; says why for each.
        """
        fit = whole_copies(problem)
        if not fit:
            raise InfeasibleError(f"no single device can serve the whole model: {'; '.join(no_copy(problem).values())}")
        return choose(problem, pick(problem, [[line] for line in fit]), "one device")
