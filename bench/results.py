"""results.json: rewritten after every experiment, so that a run that is cut short leaves what it has.

An experiment owns the top-level keys it returns. What a run does not measure stays as an earlier run left it, with its
own time, machine and mode under `meta.experiments`, so a report can say of each figure when it was taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from models.durable import write_file

META: Final = "meta"
_ABOUT: Final[dict[str, type | tuple[type, ...]]] = {
    "taken": str, "took_s": (int, float), "mode": str, "machine": str, "commit": str, "links": str,
    "load_before": (int, float), "load_after": (int, float),
}  # fmt: skip
"""What is told of every experiment, beside the `parts` that it gave."""
Results = dict[str, Any]


class BadResultsError(ValueError):
    """A results.json that cannot be read; says what to do with it."""

    def __init__(self, path: Path, why: object) -> None:
        super().__init__(f"{path} cannot be read ({why}): move it away, or measure into another folder with --out DIR")


def read_results(path: Path) -> Results:
    """What earlier runs left, or an empty document.

    Raises:
        BadResultsError: there is something else at `path`.
    """
    if not path.exists():
        return {META: {"experiments": {}, "failures": {}}}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        experiments, failures = document[META]["experiments"], document[META]["failures"]
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        raise BadResultsError(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(experiments, dict) or not isinstance(failures, dict):
        raise BadResultsError(path, "meta.experiments and meta.failures must be objects")
    if not isinstance(document[META].get("versions", {}), dict):
        raise BadResultsError(path, "meta.versions must be an object")
    for name, about in experiments.items():
        if not (_holds(about, _ABOUT) and isinstance(about.get("parts"), list)):
            raise BadResultsError(path, f"meta.experiments.{name} must tell parts, {', '.join(_ABOUT)}")
        if absent := [part for part in about["parts"] if not isinstance(part, str) or part not in document]:
            raise BadResultsError(path, f"it has no {absent[0]!r}, which meta.experiments.{name} names")
    for name, failure in failures.items():
        if not _holds(failure, {"taken": str, "reason": str}):
            raise BadResultsError(path, f"meta.failures.{name} must tell taken and reason")
    return dict(document)


def _holds(value: Any, wanted: Mapping[str, type | tuple[type, ...]]) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), kind) for key, kind in wanted.items())


def write_results(path: Path, results: Results) -> None:
    """Replace the file in one step: whoever reads it meanwhile sees the old or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, (json.dumps(results, indent=2, allow_nan=False) + "\n").encode())


def with_outcome(results: Results, experiment: str, parts: Results, about: dict[str, Any]) -> Results:
    """`results` with what an experiment found in place of what it found earlier; `about` says when, where and how.

    Raises:
        ValueError: a part cannot be written as JSON (not-a-number, a type of another library), or is not the
            experiment's to write.
    """
    if META in parts:
        raise ValueError(f"{experiment} returned {META!r}, which belongs to the runner")
    try:
        json.dumps(parts, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"{experiment} returned what JSON has no word for: {error}") from error
    meta = results[META]
    earlier = meta["experiments"].get(experiment, {}).get("parts", ())
    kept = {key: value for key, value in results.items() if key not in earlier}
    experiments = {**meta["experiments"], experiment: {**about, "parts": list(parts)}}
    failures = {name: failure for name, failure in meta["failures"].items() if name != experiment}
    return {**kept, META: {**meta, "experiments": experiments, "failures": failures}, **parts}


def with_failure(results: Results, experiment: str, reason: str, about: dict[str, Any]) -> Results:
    """`results` with the reason why an experiment gave nothing this time; what it gave earlier stays, and its age."""
    meta = results[META]
    return {**results, META: {**meta, "failures": {**meta["failures"], experiment: {**about, "reason": reason}}}}
