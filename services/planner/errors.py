"""Why there can be no plan. Every planning failure is one of these, so that a service can report it and live on."""


class PlanningError(ValueError):
    """There is no plan; the message says why and what would help."""


class InfeasibleError(PlanningError):
    """This policy found no plan that keeps the constraints (another policy might)."""
