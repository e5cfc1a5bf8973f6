"""Learning which plan is best from what is measured, beside the exact planner and never without it."""
