"""Runs experiments one after the other: what one finds is kept at once, what one fails of stops no other."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

from bench.context import Context
from bench.machine import commit, machine, versions
from bench.reasons import reason
from bench.results import META, Results, read_results, with_failure, with_outcome, write_results
from bench.testbed.start import why_not_shaped

FILE: Final = "results.json"
EARLIER_FULL: Final = "results-full.json"


class Experiment(Protocol):
    """What a module of `bench.experiments` offers."""

    def run(self, context: Context) -> dict[str, Any]:
        """Measure, and return parts of results.json by their top-level key."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: everything known now, and the reasons of what failed this time."""

    results: Results
    failures: dict[str, str]


def experiment(name: str) -> Experiment:
    """The experiment of that name, imported: some need PyTorch, and none should wait for what another needs."""
    module: Any = import_module(f"bench.experiments.{name}")
    return module  # type: ignore[no-any-return]  # a module is the object; its `run` is looked for when used


def run_all(
    names: Sequence[str],
    context: Context,
    *,
    find: Callable[[str], Experiment] = experiment,
    begun: Callable[[str], None] = lambda _name: None,
) -> Outcome:
    """Run the experiments and keep results.json up to date in the context's folder.

    Args:
        names: of experiments, in their order.
        context: what each is given.
        find: from a name to its experiment.
        begun: told the name of each one as it starts.

    Raises:
        bench.results.BadResultsError: what earlier runs left cannot be read.
    """
    path = context.folder / FILE
    results = read_results(path)
    _keep_full(results, path, context)
    results[META] |= {"machine": machine(), "versions": versions(), "date": _now(), "mode": _mode(context)}
    failures: dict[str, str] = {}
    for name in names:
        begun(name)
        start, load = time.monotonic(), os.getloadavg()[0]
        try:
            parts = find(name).run(context)
            results = with_outcome(results, name, parts, _about(context, start, load))
        except Exception as error:  # whatever one experiment meets, the others are to be measured
            failures[name] = reason(error)
            _keep_traceback(context.folder, name, error)
            results = with_failure(results, name, failures[name], _about(context, start, load))
        write_results(path, results)
    return Outcome(results, failures)


def _about(context: Context, start: float, load: float) -> dict[str, Any]:
    return {
        "taken": _now(),
        "took_s": round(time.monotonic() - start, 1),
        "mode": _mode(context),
        "machine": machine(),
        "commit": commit(),
        "links": why_not_shaped() or "emulated",
        "load_before": load,
        "load_after": os.getloadavg()[0],
    }


def _keep_full(results: Results, path: Path, context: Context) -> None:
    """A quick look must not cost anybody the figures of half an hour: they are kept aside, each its latest."""
    full = {name: about for name, about in results[META]["experiments"].items() if about["mode"] == "full"}
    if not context.quick or not full:
        return
    aside = path.with_name(EARLIER_FULL)
    kept = read_results(aside)
    kept[META] |= {key: value for key, value in results[META].items() if key not in ("experiments", "failures")}
    for name, about in full.items():
        told = {key: value for key, value in about.items() if key != "parts"}
        kept = with_outcome(kept, name, {part: results[part] for part in about["parts"]}, told)
    write_results(aside, kept)


def _keep_traceback(folder: Path, name: str, error: BaseException) -> None:
    path = folder / "raw" / f"{name}.failed.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")


def _mode(context: Context) -> str:
    return "quick" if context.quick else "full"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
