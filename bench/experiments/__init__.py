"""What can be measured: one module each, with a `run(context)` that returns its part of results.json."""

from typing import Final

EXPERIMENTS: Final = (
    "seed_table",
    "headline",
    "limit",
    "policies",
    "peers",
    "memory_bound",
    "rows",
    "codec",
    "planning",
    "bus",
    "overhead",
)
"""In the order of their telling, which is also the order of their running."""
ONLY_BY_NAME: Final = ("rows",)
"""What a quick run leaves out unless it is named: with one round there is nothing to see in it but noise."""
