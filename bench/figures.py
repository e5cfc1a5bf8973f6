"""What results.json holds, whatever that is: rows of a part, and the figures of a row. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]


def rows(results: Mapping[str, Any], part: str) -> list[Row]:
    """The rows of a part that is a list; none where it was not measured."""
    value = results.get(part)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def figure(row: Row, key: str) -> float | None:
    """A finite number of a row; None where there is none, as in rows that say why instead."""
    value = row.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def fleet_of(row: Row) -> str:
    """The row's fleet, by its name."""
    return str(row.get("fleet", ""))
