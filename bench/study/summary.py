"""What is kept of the study, as JSON, and what is shown of it, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table as RichTable

from bench.machine import commit, machine, versions
from bench.study.assumptions import BASE
from bench.study.gaps import beaten, gaps
from bench.study.methods import NAMES
from bench.study.sensitivity import Sensitivity
from bench.study.statements import Verdict, verdicts
from bench.study.study import Studied
from stageline.tables import new_table

_SHORT = {"reproduced": "yes", "in part": "part", "refuted": "no"}


def document(studied: Sequence[Studied], checked: Sequence[Sensitivity], *, seed: int, quick: bool) -> dict[str, Any]:
    """summary.json: what was assumed, what came out, and how much of it hangs on what was assumed."""
    return {
        "meta": {
            "machine": machine(), "versions": versions(), "commit": commit(), "mode": "quick" if quick else "full",
        },
        "seed": seed,
        "assumed": asdict(BASE),
        "methods": NAMES,
        "tables": {one.table.name: _of_table(one) for one in studied},
        "sensitivity": [asdict(one) for one in checked],
    }  # fmt: skip


def _of_table(one: Studied) -> dict[str, Any]:
    return {
        "exits": [list(exits) for exits in one.table.exits],
        "gap_to_exact": {name: asdict(gap) for name, gap in gaps(one.answers).items()},
        "beaten": beaten(one.answers),
        "statements": [asdict(verdict) for verdict in said_of(one)],
        "training": {
            name: {"s": each.trained_s, "cpu_s": each.trained_cpu_s, "decisions": each.decisions}
            for name, each in one.learned.items()
        },
        "decide_ms": dict(one.decide_ms),
        "exits_too": asdict(one.exits_too),
    }


def said_of(one: Studied) -> list[Verdict]:
    """The paper's statements about a table, judged."""
    return verdicts(one.table.name, one.answers, one.joint)


def gap_table(one: Studied) -> RichTable:
    """How far every method is from the best decision."""
    name = one.table.name
    made = new_table(
        f"{name}: cost above the least there is", "method", ">mean", ">p95", ">worst", ">as good at", "paper"
    )
    for method, gap in gaps(one.answers).items():
        figures = (f"{gap.mean:.2%}", f"{gap.p95:.2%}", f"{gap.worst:.2%}", f"{gap.best_at:.0%}")
        made.add_row(method, *figures, NAMES.get(method, ""))
    return made


def statement_table(studied: Iterable[Studied]) -> RichTable:
    """What the paper says, and what came of it."""
    made = new_table("what the paper says", "table", "~statement", "here", "~figures", keys=1)
    for one in studied:
        for verdict in said_of(one):
            made.add_row(verdict.table, verdict.statement, verdict.verdict, verdict.figures)
    return made


def sensitivity_table(checked: Sequence[Sensitivity]) -> RichTable:
    """Every statement under every set of assumptions, with the exact planner as the joint method."""
    statements = list(dict.fromkeys((said.table, said.statement) for one in checked for said in one.verdicts))
    variants = list(dict.fromkeys(one.assumed for one in checked))
    made = new_table("the same under other assumptions", "table", "~statement", *variants, keys=2)
    by_name = {(one.assumed, said.table, said.statement): said.verdict for one in checked for said in one.verdicts}
    for table, statement in statements:
        made.add_row(table, statement, *(_SHORT[by_name[variant, table, statement]] for variant in variants))
    return made


def faults(studied: Iterable[Studied], checked: Iterable[Sensitivity]) -> list[str]:
    """Where a method was cheaper than `exact`: nowhere, or the study is wrong."""
    return [f"{one.table.name}: {fault}" for one in studied for fault in beaten(one.answers)] + [
        f"{one.table}, {one.assumed}: {fault}" for one in checked for fault in one.beaten
    ]
