"""What results.json holds that a target asks for: rows and figures, looked up. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.figures import figure, fleet_of, rows
from bench.verdict import Case

Results = Mapping[str, Any]
Named = list[tuple[str, Mapping[str, Any]]]
"""Rows with the name of what each is of: a policy, a system."""


def planned(results: Results, policy: str, devices: int, key: str) -> list[Case]:
    """One figure of every fleet of so many devices that a policy planned for."""
    return [
        Case(", ".join(str(row[key]) for key in ("model", "objective", "memory") if key in row), value)
        for row in rows(results, "planning")
        if row.get("policy") == policy and row.get("devices") == devices and (value := figure(row, key)) is not None
    ]


def nested(results: Results, *path: str) -> list[Case]:
    """The one figure at the end of a path of keys; none where something on the way is missing."""
    value: Any = results
    for key in path[:-1]:
        value = value.get(key) if isinstance(value, dict) else None
    found = figure(value, path[-1]) if isinstance(value, dict) else None
    return [] if found is None else [Case("", found)]


def by_model(results: Results, fleet: str) -> dict[str, Named]:
    """Rows of one fleet as (policy, row), by model."""
    found: dict[str, Named] = {}
    for row in rows(results, "policies"):
        if fleet_of(row) == fleet:
            found.setdefault(str(row.get("model")), []).append((str(row.get("policy")), row))
    return found


def ratios(what: str, cases: list[Case]) -> str:
    """A remark that gives one ratio for each model; empty without any."""
    each = ", ".join(f"{case.what} {case.value:.2f} x" for case in cases)
    return f"{what}: {each}" if each else ""


def some_failed(found: Named, names: tuple[str, ...], where: str) -> list[str]:
    """Rows of which some rounds failed: what they show is of the other rounds."""
    return [f"all rounds of {name} {where} (some failed)" for name, row in found if name in names and row.get("failed")]


def highest(found: Named, names: tuple[str, ...], key: str) -> float | None:
    """The highest figure of the rows with these names; None where there is none."""
    return max(_figures(found, names, key), default=None)


def lowest(found: Named, names: tuple[str, ...], key: str) -> float | None:
    """The lowest figure of the rows with these names; None where there is none."""
    return min(_figures(found, names, key), default=None)


def _figures(found: Named, names: tuple[str, ...], key: str) -> list[float]:
    return [value for name, row in found if name in names and (value := figure(row, key)) is not None]
